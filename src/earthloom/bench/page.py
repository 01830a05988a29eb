"""The leaderboard as one HTML file, and as CSV."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml

import earthloom
from earthloom.assess.templating import environment_of
from earthloom.bench import registry
from earthloom.bench.cells import FAILED, OK, REFUSED
from earthloom.bench.plots import (
    capability_picture,
    cost_picture,
    efficiency_picture,
    has_curves,
    ranks_picture,
)
from earthloom.bench.settings import Bench
from earthloom.bench.store import Store, fingerprint
from earthloom.bench.table import Leaderboard, as_csv, leaderboard, scores_csv
from earthloom.errors import DataError
from earthloom.stages import write_atomic

PAGE, TABLE, SCORES = "leaderboard.html", "leaderboard.csv", "scores.csv"


METRICS: Mapping[str, str] = {
    "macro_f1": "macro-F1",
    "macro_iou": "mean IoU",
    "micro_f1": "micro-F1",
    "f1": "F1",
    "iou": "IoU",
    "r2": "R²",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_ap": "mean AP",
    "map_50": "mAP at IoU 0.5",
    "map": "mAP",
}
"""Metrics as they are cited, by their names in the results."""


@dataclass(frozen=True)
class Unscored:
    """Cells of one encoder that have no figures for one reason."""

    status: str
    encoder: str
    adaptations: str
    datasets: str
    reason: str
    cells: int


@dataclass(frozen=True)
class Shown:
    """The files that `show` writes."""

    page: Path
    table: Path
    scores: Path
    board: Leaderboard


def show(store: Store) -> Shown:
    """Writes the page and the tables beside the results; DataError where there are no scores."""
    card, rows = store.card, store.rows()
    if not (rows["status"] == OK).any():
        reasons = sorted(set(rows["reason"])) or ["no cell has been run"]
        raise DataError(f"no cell in {store.folder} has a score: {reasons[0]}")
    asked = card["asked"]
    abouts = {name: each["about"] for name, each in card["datasets"].items()}
    regional = [name for name, about in abouts.items() if about and about["regions"]]
    board = leaderboard(rows, store.sums(), int(asked["resamples"]), regional)
    found = Shown(store.folder / PAGE, store.folder / TABLE, store.folder / SCORES, board)
    write_atomic(found.table, as_csv(board).to_csv(index=False))
    write_atomic(found.scores, scores_csv(board).to_csv(index=False))
    write_atomic(found.page, render(card, rows, board, len(store.keys)))
    return found


def render(card: Mapping[str, Any], rows: pd.DataFrame, board: Leaderboard, asked: int) -> str:
    """The page as HTML."""
    done = rows["key"].nunique()
    context = {
        "version": ", ".join(card["versions"].get("earthloom", [earthloom.__version__])),
        "versions": {n: v for n, v in card["versions"].items() if n != "earthloom"},
        "asked": card["asked"],
        "bench_file": yaml.safe_dump(_asked(card["asked"]), sort_keys=False, width=100),
        "title": card["asked"]["title"] or card["asked"]["name"],
        "datasets": {n: each["about"] for n, each in card["datasets"].items()},
        "board": board,
        "labels": "all labels" if board.budget == "all" else f"{board.budget} labels of each class",
        "top": {
            (score.dataset, score.encoder, score.adaptation): score
            for score in board.scores
            if score.budget == board.budget
        },
        "floors": {s.dataset: s.floor for s in board.scores if s.budget == board.budget},
        "best": _best(board),
        "encoder_notes": registry.encoder_notes(),
        "adaptation_notes": registry.adaptation_notes(),
        "ranks": ranks_picture(board.ranking) if _can_rank(board) else "",
        "capabilities": capability_picture(board.lines),
        "efficiency": efficiency_picture(board) if has_curves(board) else "",
        "cost": cost_picture(board.lines),
        "notes": notes(card, rows, board, asked - done),
        "leaks": _leaks(rows),
        "cells": {"asked": asked, "done": done, **_counts(rows)},
        "unscored": _unscored(board),
        "fingerprint": fingerprint(rows),
        "energy": ", ".join(sorted({str(how) for how in rows["energy_how"] if how})),
        "joules": _joules(rows),
    }
    return _environment().get_template("leaderboard.html.j2").render(context)


def notes(
    card: Mapping[str, Any], rows: pd.DataFrame, board: Leaderboard, lacking: int
) -> list[str]:
    """What a reader must know before citing a figure, a sentence each."""
    said = []
    begun = card["datasets"]
    waiting = [each["name"] for each in card["asked"]["datasets"] if each["name"] not in begun]
    if waiting:
        said.append(f"Not begun yet, and so not in any figure: {', '.join(waiting)}.")
    closed = [name for name, each in begun.items() if each["about"] is None]
    if closed:
        said.append(f"Not opened, and so not in any figure: {', '.join(closed)}.")
    if lacking > 0:
        said.append(f"{lacking} cells have not been run yet; run the bench again to add them.")
    said += _lacking(board)
    ranked, all_of = board.ranked_datasets, {score.dataset for score in board.scores}
    if set(ranked) != all_of:
        left = ", ".join(sorted(all_of - set(ranked)))
        said.append(f"Ranks leave out {left}, where fewer than two competitors have a score.")
    if 0 < len(ranked) < 6:
        said.append(
            f"Ranks rest on {len(ranked)} datasets: the tests of ranks have little power, and what "
            "does not differ here may differ elsewhere."
        )
    seeds = int(card["asked"]["seeds"])
    if seeds < 5:
        said.append(f"{seeds} seeds: the spread over seeds is known roughly.")
    few = sorted(
        {str(n) for n, g in rows[rows["groups"] > 0].groupby("dataset")["groups"] if g.max() < 10}
    )
    if few:
        said.append(
            f"Fewer than ten test groups in {', '.join(few)}: their intervals are rough, and "
            "likely too narrow."
        )
    if rows.loc[rows["status"] == OK, "answered"].min() < 0.999:
        said.append("Where a model saw nothing it says nothing; scores are of what it answered.")
    return said


def _lacking(board: Leaderboard) -> list[str]:
    """Who has no score on what, those that lack the same in one sentence."""
    by_missing: dict[tuple[str, ...], list[str]] = {}
    for line in board.lines:
        if line.missing:
            by_missing.setdefault(line.missing, []).append(line.name)
    return [
        f"No score on {', '.join(missing)}, and so not comparable with those that have one: "
        f"{', '.join(names)}."
        for missing, names in by_missing.items()
    ]


def _leaks(rows: pd.DataFrame) -> list[str]:
    """What training and test have in common, by dataset."""
    told = rows[rows["leak"] != ""].groupby("dataset")["leak"].first()
    return [f"{name}: {words}" for name, words in told.items()]


def _best(board: Leaderboard) -> dict[str, float]:
    """The best value on each dataset."""
    found: dict[str, float] = {}
    for score in board.scores:
        if score.budget == board.budget:
            known = found.get(score.dataset, -np.inf)
            found[score.dataset] = max(known, score.estimate.value)
    return found


def _can_rank(board: Leaderboard) -> bool:
    """Whether ranks say anything: of two competitors or more, on two datasets or more."""
    return len(board.ranking.names) > 1 and board.ranking.datasets > 1


def _joules(rows: pd.DataFrame) -> float:
    """Of all fits together."""
    cells = rows.drop_duplicates("key")
    return float((cells["fit_j"] * cells["folds"]).sum())


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    """Cells of each status."""
    found = rows.drop_duplicates("key")["status"].value_counts()
    return {status: int(found.get(status, 0)) for status in (OK, REFUSED, FAILED)}


def _asked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The bench file in the order of its documentation, without what was left to defaults."""
    kept = {key: asked[key] for key in Bench.model_fields if asked.get(key) not in (None, "")}
    kept["datasets"] = [
        {key: value for key, value in each.items() if value not in (None, [], {}, False)}
        for each in asked["datasets"]
    ]
    return kept


def _unscored(board: Leaderboard) -> list[Unscored]:
    """Cells without figures, those of one encoder and reason together; failures first."""
    named = ["status", "encoder", "reason"]
    found = []
    for (status, encoder, reason), rows in board.unscored.groupby(named, sort=True):
        found.append(
            Unscored(
                status=str(status),
                encoder=str(encoder),
                adaptations=", ".join(sorted(set(rows["adaptation"]))),
                datasets=", ".join(sorted(set(rows["dataset"]))),
                reason=str(reason),
                cells=int(rows["cells"].sum()),
            )
        )
    return found


def _number(value: float, digits: int = 3) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _short(value: float) -> str:
    """A cost as a person reads it: 12 k, 3.4 M."""
    if value is None or not np.isfinite(value):
        return "–"
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _probability(value: float) -> str:
    """A test's p, as it is cited."""
    if not np.isfinite(value):
        return "not known"
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _energy(joules: float) -> str:
    hours = joules / 3600
    return f"{hours / 1000:.2g} kWh" if hours >= 1000 else f"{hours:.2g} Wh"


def _metric(name: str) -> str:
    return METRICS.get(name, name)


@cache
def _environment() -> jinja2.Environment:
    filters: dict[str, Callable[..., str]] = {
        "number": _number,
        "short": _short,
        "probability": _probability,
        "energy": _energy,
        "metric": _metric,
    }
    return environment_of("earthloom.bench", filters)
