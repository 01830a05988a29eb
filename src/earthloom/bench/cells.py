"""The unit of work: one dataset, division, encoder, adaptation, budget and seed; and its rows."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace

import pandas as pd

import earthloom
from earthloom.bench.settings import Bench, Budget
from earthloom.stages import digest_of

FORMAT = 2
"""Of rows and keys; a new one makes all cells anew."""

OK, REFUSED, FAILED = "ok", "refused", "failed"
"""Status: scored; not possible by what encoder, adaptation and dataset declare; or it broke."""

WHOLE, HALF = "whole", "half"
"""Condition of the test's inputs: as they are, or with half of bands and dates hidden."""

COSTS = ("fit_s", "fit_j", "energy_how", "samples_s")
"""Columns that differ from run to run and from machine to machine; no other does."""


SUMS = ("key", "condition", "group", "kind", "config", "sums")
"""`config` is JSON, `sums` a list of numbers; see `earthloom.bench.tally`."""


@dataclass(frozen=True)
class Cell:
    """What is fitted and tested together, all folds of it."""

    dataset: str
    division: str
    encoder: str
    adaptation: str
    budget: Budget
    seed: int
    key: str
    """SHA-256 of all inputs: names, the dataset's digest, seed, search, version."""


@dataclass(frozen=True)
class Row:
    """A cell's figure of one metric, or why there is none."""

    key: str
    dataset: str
    division: str
    encoder: str
    adaptation: str
    budget: str
    seed: int
    status: str = OK
    reason: str = ""
    task: str = ""
    condition: str = ""
    metric: str = ""
    decides: bool = False
    """Whether this metric is the one by which competitors are ranked."""
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    """95 % by bootstrap over the test groups of this cell."""
    floor: float = float("nan")
    """The metric, had always the most frequent training class, or the training mean, been said."""
    answered: float = float("nan")
    """Share of the labelled test pixels or chips that got an answer."""
    labels: float = float("nan")
    """Labels that were learned from, mean over the folds."""
    tested: int = 0
    """Samples tested on, in all folds together."""
    groups: int = 0
    """Groups that the test samples are of."""
    folds: int = 0
    leak: str = ""
    """What training and test have in common, in words; empty for nothing known."""
    settings: str = ""
    """The settings chosen in each fold, as JSON."""
    tried: int = 0
    """Settings tried in each fold."""
    parameters: int = 0
    """Numbers that the model keeps: weights and whatever else was learned, frozen or not."""
    learned: int = 0
    """Those of them that the fit made or changed."""
    flops: float = float("nan")
    """Floating-point operations of one answer to one sample, as torch counts matrix products and
    convolutions; trees and element-wise work are not counted."""
    fit_s: float = float("nan")
    """Seconds to search and fit, mean over the folds."""
    fit_j: float = float("nan")
    """Joules of the same."""
    energy_how: str = ""
    samples_s: float = float("nan")
    """Test samples answered in a second."""
    resolution: str = ""
    bands: str = ""
    temporality: str = ""
    sensors: str = ""


@dataclass(frozen=True)
class Outcome:
    """All that is kept of a cell."""

    rows: tuple[Row, ...]
    sums: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SUMS)))
    """Columns `SUMS`: a row a condition and test group."""

    @property
    def status(self) -> str:
        return self.rows[0].status


ROW_COLUMNS = tuple(each.name for each in fields(Row))


def cells_of(bench: Bench, dataset: str, divisions: tuple[str, ...], digest: str) -> Iterator[Cell]:
    """The cells of a dataset, always in the same order."""
    budgets = list(bench.budgets)
    for division in divisions:
        # Transfer asks what all labels of other regions are worth.
        for budget in budgets if division == divisions[0] else [most_of(bench)]:
            for encoder in bench.encoders:
                for adaptation in bench.adaptations:
                    for seed in range(bench.seeds):
                        named = (dataset, division, encoder, adaptation, budget, seed)
                        yield Cell(*named, key=_key(bench, digest, *named))


def most_of(bench: Bench) -> Budget:
    """The largest budget."""
    if "all" in bench.budgets:
        return "all"
    return max(budget for budget in bench.budgets if budget != "all")


def rows_frame(rows: tuple[Row, ...]) -> pd.DataFrame:
    """Rows as a table of `ROW_COLUMNS`."""
    return pd.DataFrame([asdict(row) for row in rows], columns=list(ROW_COLUMNS))


def row_of(cell: Cell) -> Row:
    """A row that says which cell it is of, and no more."""
    return Row(
        cell.key, cell.dataset, cell.division, cell.encoder, cell.adaptation, str(cell.budget),
        cell.seed,
    )  # fmt: skip


def failed(cell: Cell, status: str, reason: str) -> Outcome:
    """A cell without figures, and why."""
    return Outcome((replace(row_of(cell), status=status, reason=" ".join(reason.split())),))


def _key(bench: Bench, digest: str, *named: str | int) -> str:
    parts = {
        "format": FORMAT,
        "earthloom": earthloom.__version__,
        "dataset": digest,
        "named": list(named),
        "search": bench.search,
        "missing_inputs": bench.missing_inputs,
        "resamples": bench.resamples,
    }
    return digest_of(parts)
