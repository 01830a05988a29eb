"""Results on disk: a file a cell, written whole or not at all; and all of them as one table."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import earthloom
from earthloom.bench.cells import (
    COSTS,
    FAILED,
    OK,
    REFUSED,
    ROW_COLUMNS,
    SUMS,
    Cell,
    Outcome,
    rows_frame,
)
from earthloom.bench.problem import Problem
from earthloom.bench.settings import Bench
from earthloom.bench.tasks import kind_of
from earthloom.errors import DataError, choices
from earthloom.stages import canonical_json, digest_of, write_atomic

RESULTS, SUMS_FILE, CARD = "results.parquet", "sums.parquet", "bench.json"

ORDER = [
    "dataset", "division", "encoder", "adaptation", "budget", "seed", "condition", "metric",
]  # fmt: skip
"""Of the rows of a table."""

_BETTER = (OK, REFUSED, FAILED)

_PACKAGES = ("numpy", "scikit-learn", "scipy", "timm", "torch", "torchvision")


@dataclass(frozen=True)
class Store:
    """A folder of results.

    `cells/KEY.parquet` holds a cell's rows and `sums/KEY.parquet` its sums; `bench.json` what was
    asked for, and what the datasets are; `results.parquet` all rows, for others to read.
    """

    folder: Path

    def has(self, cell: Cell, retry: bool = False) -> bool:
        """Whether a cell is done; with `retry`, one that failed is not."""
        path = self._rows(cell.key)
        if not path.is_file():
            return False
        return not retry or bool(_read(path)["status"].iloc[0] != FAILED)

    def put(self, cell: Cell, outcome: Outcome) -> None:
        """Writes a cell. Its rows come last: where they are, all of it is."""
        if len(outcome.sums):
            write_atomic(self._sums(cell.key), _bytes(outcome.sums))
        write_atomic(self._rows(cell.key), _bytes(rows_frame(outcome.rows)))

    def note(
        self, bench: Bench, dataset: str, about: Mapping[str, Any] | None, keys: Iterable[str]
    ) -> None:
        """Writes down what a dataset is, None where it did not open, and which cells it has."""
        there = (self.folder / CARD).is_file()
        card = self.card if there else {"asked": {}, "datasets": {}, "versions": {}}
        card["asked"] = asked_of(bench)
        card["versions"] = _together(card["versions"], versions())
        listed = {each.name for each in bench.datasets}
        known = {name: each for name, each in card["datasets"].items() if name in listed}
        known[dataset] = {"about": about, "cells": sorted(keys)}
        write_atomic(self.folder / CARD, canonical_json(card | {"datasets": known}))

    @property
    def card(self) -> dict[str, Any]:
        """What `bench.json` says; DataError if it is not there or damaged."""
        path = self.folder / CARD
        try:
            card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            versions = card.get("versions", {})
            return {"asked": card["asked"], "datasets": card["datasets"], "versions": versions}
        except (OSError, KeyError, json.JSONDecodeError) as error:
            raise DataError(
                f"there are no results in {self.folder}: {error}; 'earthloom bench run' makes them"
            ) from error

    @property
    def keys(self) -> list[str]:
        """Cells that were asked for last, done or not."""
        datasets = self.card["datasets"].values()
        return sorted({key for each in datasets for key in each["cells"]})

    def rows(self) -> pd.DataFrame:
        """All rows of the cells that were asked for and are done."""
        found = [_read(path) for path in map(self._rows, self.keys) if path.is_file()]
        if not found:
            return pd.DataFrame(columns=list(ROW_COLUMNS))
        table = pd.concat(found, ignore_index=True)
        return table.sort_values(ORDER, kind="stable", ignore_index=True)

    def sums(self) -> pd.DataFrame:
        """All sums of the same cells."""
        found = [_read(path) for path in map(self._sums, self.keys) if path.is_file()]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(SUMS))

    def write_results(self) -> None:
        """All rows as one file."""
        write_atomic(self.folder / RESULTS, _bytes(self.rows()))

    def _rows(self, key: str) -> Path:
        return self.folder / "cells" / f"{key}.parquet"

    def _sums(self, key: str) -> Path:
        return self.folder / "sums" / f"{key}.parquet"


def merge(first: Store, second: Store, into: Path) -> Store:
    """The cells of two stores of one bench file in a third; the order does not matter.

    Of a cell that both have, one with figures goes before one without; of two with figures, whose
    figures are the same but for costs, one is chosen by its bytes. DataError where the stores were
    asked different things.
    """
    cards = first.card, second.card
    asked = [card["asked"] for card in cards]
    differing = [key for key in asked[0] if asked[0][key] != asked[1].get(key)]
    if differing:
        raise DataError(
            f"{first.folder} and {second.folder} are not of one bench file: they differ in "
            f"{choices(differing)}"
        )
    merged = Store(into)
    datasets = {}
    for name in sorted({*cards[0]["datasets"], *cards[1]["datasets"]}):
        datasets[name] = _joined([card["datasets"].get(name) for card in cards])
    card = {
        "asked": asked[0],
        "datasets": datasets,
        "versions": _together(*(each["versions"] for each in cards)),
    }
    write_atomic(into / CARD, canonical_json(card))
    for key in merged.keys:
        chosen = _chosen(first, second, key)
        if chosen is not None:
            for source, target in (
                (chosen._sums(key), merged._sums(key)),
                (chosen._rows(key), merged._rows(key)),
            ):
                if source.is_file():
                    write_atomic(target, source.read_bytes())
    merged.write_results()
    return merged


def asked_of(bench: Bench) -> dict[str, Any]:
    """What a bench file asks for, but where its folders are."""
    asked = bench.as_inputs()
    plain = {key: value for key, value in asked.items() if key not in ("out", "data")}
    plain["datasets"] = [
        {key: value for key, value in each.items() if key != "folder"} for each in asked["datasets"]
    ]
    return plain


def note_of(problem: Problem, divisions: tuple[str, ...]) -> dict[str, Any]:
    """What the page says of a dataset."""
    return {
        "title": problem.title,
        "citation": problem.citation,
        "task": problem.task,
        "words": kind_of(problem.task).words,
        "metric": problem.choice.metric or kind_of(problem.task).metric,
        "classes": len(problem.classes),
        "samples": len(problem.samples),
        "labels": int(problem.truth.labels.sum()),
        "groups": len(set(problem.samples.groups)),
        "split": problem.choice.split.model_dump(mode="json"),
        "regions": problem.choice.regions,
        "divisions": list(divisions),
        "digest": problem.digest,
    }


def versions() -> dict[str, list[str]]:
    """Of the packages that decide figures; a list each, as machines may differ."""
    found = {name: [version(name)] for name in _PACKAGES}
    return {"earthloom": [earthloom.__version__], **found}


def _together(
    first: Mapping[str, list[str]], second: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """All versions that either knows."""
    names = sorted({*first, *second})
    return {name: sorted({*first.get(name, ()), *second.get(name, ())}) for name in names}


def fingerprint(rows: pd.DataFrame) -> str:
    """SHA-256 of all figures to six digits, costs left out: the same for the same results."""
    figures = without_costs(rows).sort_values(ORDER, kind="stable")
    text = figures.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def without_costs(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows without what differs from run to run."""
    return rows.drop(columns=list(COSTS))


def _joined(given: list[dict[str, Any] | None]) -> dict[str, Any]:
    """What two stores say of a dataset; cells that could not be opened give way."""
    known = [each for each in given if each is not None]
    opened = [each for each in known if each["about"] is not None] or known
    about = min((each["about"] for each in opened), key=digest_of)
    return {"about": about, "cells": sorted({key for each in opened for key in each["cells"]})}


def _chosen(first: Store, second: Store, key: str) -> Store | None:
    """Which store a cell is taken from."""
    having = [store for store in (first, second) if store._rows(key).is_file()]
    if not having:
        return None

    def order(store: Store) -> tuple[int, bytes]:
        path = store._rows(key)
        return _BETTER.index(_read(path)["status"].iloc[0]), path.read_bytes()

    return min(having, key=order)


def _bytes(table: pd.DataFrame) -> bytes:
    """A table as Parquet, the same bytes for the same values."""
    stream = io.BytesIO()
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(arrow, stream, compression="zstd")
    return stream.getvalue()


def _read(path: Path) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged: {error}; remove it and run again") from error
    return table
