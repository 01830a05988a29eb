"""From rows of cells to one table: a line a competitor, a column an aspect."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earthloom.bench.cells import HALF, OK, WHOLE
from earthloom.bench.problem import FOLDS, REGIONS
from earthloom.bench.statistics import (
    Estimate,
    Ranking,
    area_over_log_budget,
    group_draws,
    interval,
    rank,
    stratified_bootstrap,
    sums_of_draws,
)
from earthloom.bench.tally import Sums, tally_of

TAGS = ("resolution", "bands", "temporality", "sensors", "task")
"""Capability groups (Simumba et al. 2025, GEO-Bench-2)."""

PAIR = ["encoder", "adaptation"]

_COSTS = ("parameters", "learned", "flops", "fit_s", "fit_j", "samples_s")


@dataclass(frozen=True)
class Line:
    """A competitor: an encoder with a way of fitting. Scores are normalised: 0 is the best constant
    answer by the training samples, 1 is perfect."""

    encoder: str
    adaptation: str
    datasets: int
    """With a score."""
    missing: tuple[str, ...]
    """Datasets without one."""
    score: Estimate
    """Interquartile mean over datasets and seeds, all labels, with its stratified bootstrap."""
    mean_rank: float
    """NaN for a competitor that is not ranked, as it lacks datasets."""
    label_efficiency: float
    """Mean height of the curve of scores over the logarithm of the number of labels."""
    missing_half: float
    """Share of the score that is kept with half of bands and dates hidden in the test."""
    transfer: float
    """Mean score with whole regions left out."""
    ece: float
    """Mean expected calibration error; lower is better."""
    parameters: float
    learned: float
    flops: float
    """Of one answer; geometric means over datasets, as all costs."""
    fit_s: float
    fit_j: float
    samples_s: float
    groups: Mapping[tuple[str, str], float]
    """Mean score by capability: tag and its value."""

    @property
    def name(self) -> str:
        return f"{self.encoder} + {self.adaptation}"


@dataclass(frozen=True)
class DatasetScore:
    """A competitor on a dataset with one budget, in the dataset's own metric."""

    dataset: str
    metric: str
    budget: str
    encoder: str
    adaptation: str
    estimate: Estimate
    """Mean over seeds; the interval draws seeds and test groups anew."""
    spread: float
    """Standard deviation over seeds."""
    floor: float
    normalised: float
    labels: float
    seeds: int


@dataclass(frozen=True)
class Leaderboard:
    """All that the page and the CSV show."""

    lines: tuple[Line, ...]
    """Best first; those that lack datasets after all that do not."""
    ranking: Ranking
    ranked_datasets: tuple[str, ...]
    scores: tuple[DatasetScore, ...]
    curves: Mapping[str, tuple[tuple[float, float], ...]]
    """Of each competitor: labels (geometric mean over datasets) and mean score, by budget."""
    budget: str
    """The largest budget, which all else is about."""
    unscored: pd.DataFrame
    """Cells without figures: encoder, adaptation, dataset, status, reason, cells."""


def leaderboard(
    rows: pd.DataFrame,
    sums: pd.DataFrame,
    resamples: int,
    regional: Collection[str] = (),
    seed: int = 0,
) -> Leaderboard:
    """The table of all cells; deterministic but for costs.

    `regional` are datasets whose groups are regions, so that their score is one of transfer.
    """
    good = rows[rows["status"] == OK].copy()
    good["normalised"] = normalised(good)
    budget = _largest(rows["budget"])
    deciding = good[good["decides"]]
    main = deciding[_is(deciding, WHOLE, FOLDS)]
    top = main[main["budget"] == budget]
    datasets = sorted(rows["dataset"].unique())
    table = top.pivot_table(index="dataset", columns=PAIR, values="normalised", sort=True)
    ranking, ranked = _ranked(table)
    lines = [
        _line(pair, good, top, datasets, ranking, resamples, regional, seed)
        for pair in sorted(set(map(tuple, top[PAIR].to_numpy().tolist())))
    ]
    ordered = sorted(lines, key=lambda line: (len(line.missing), -line.score.value, line.name))
    drawn = _by_dataset(main, sums, resamples, seed)
    curves = {line.name: _curve(main, line) for line in ordered}
    return Leaderboard(tuple(ordered), ranking, ranked, drawn, curves, budget, _unscored(rows))


def normalised(rows: pd.DataFrame) -> "pd.Series[float]":
    """(score - floor) / (1 - floor): 0 is the best constant answer, 1 is perfect.

    It does not depend on who else is in the table, so that a merge changes no line. The floor is 0
    where none is known (boxes, instances), and where it is below 0.
    """
    floor = rows["floor"].fillna(0.0).clip(lower=0.0, upper=0.999)
    return (rows["value"] - floor) / (1 - floor)


def as_csv(board: Leaderboard) -> pd.DataFrame:
    """One row a competitor."""
    tags = sorted({tag for line in board.lines for tag in line.groups})
    rows = []
    for place, line in enumerate(board.lines, start=1):
        row: dict[str, Any] = {
            "place": place,
            "encoder": line.encoder,
            "adaptation": line.adaptation,
            "score": line.score.value,
            "score_low": line.score.low,
            "score_high": line.score.high,
            "mean_rank": line.mean_rank,
            "label_efficiency": line.label_efficiency,
            "missing_half": line.missing_half,
            "transfer": line.transfer,
            "ece": line.ece,
            "parameters": line.parameters,
            "learned": line.learned,
            "flops": line.flops,
            "fit_s": line.fit_s,
            "fit_j": line.fit_j,
            "samples_s": line.samples_s,
            "datasets": line.datasets,
            "missing_datasets": " ".join(line.missing),
        }
        row |= {f"{tag}: {value}": line.groups.get((tag, value)) for tag, value in tags}
        rows.append(row)
    return pd.DataFrame(rows)


def scores_csv(board: Leaderboard) -> pd.DataFrame:
    """One row a competitor, dataset and budget."""
    return pd.DataFrame(
        [
            {
                "dataset": each.dataset, "metric": each.metric, "budget": each.budget,
                "encoder": each.encoder, "adaptation": each.adaptation,
                "value": each.estimate.value, "low": each.estimate.low,
                "high": each.estimate.high, "sd_over_seeds": each.spread, "floor": each.floor,
                "normalised": each.normalised, "labels": each.labels, "seeds": each.seeds,
            }
            for each in board.scores
        ]
    )  # fmt: skip


def _line(
    pair: tuple[str, str],
    good: pd.DataFrame,
    top: pd.DataFrame,
    datasets: Sequence[str],
    ranking: Ranking,
    resamples: int,
    regional: Collection[str],
    seed: int,
) -> Line:
    own, mine = _of(good, pair), _of(top, pair)
    name = " + ".join(pair)
    runs = [each["normalised"].to_numpy(np.float64) for _, each in mine.groupby("dataset")]
    deciding = own[own["decides"]]
    ranks = dict(zip(ranking.names, ranking.mean_ranks.tolist(), strict=True))
    per_dataset = mine.groupby("dataset").first()
    costs = mine.groupby("dataset")[list(_COSTS)].mean()
    means = {key: _geometric(costs[key]) for key in _COSTS}
    return Line(
        encoder=pair[0],
        adaptation=pair[1],
        datasets=len(runs),
        missing=tuple(each for each in datasets if each not in set(mine["dataset"])),
        score=stratified_bootstrap(runs, resamples, np.random.default_rng(seed)),
        mean_rank=ranks.get(name, float("nan")),
        label_efficiency=_efficiency(deciding[_is(deciding, WHOLE, FOLDS)]),
        missing_half=_kept(mine, deciding[_is(deciding, HALF, FOLDS)]),
        transfer=_transfer(deciding, mine[mine["dataset"].isin(regional)]),
        ece=_calibration(own, mine),
        groups={
            (tag, str(value)): _over_datasets(mine[mine[tag] == value])
            for tag in TAGS
            for value in sorted(per_dataset[tag].unique())
        },
        **means,
    )


def _efficiency(main: pd.DataFrame) -> float:
    """Mean over datasets of the area under the score over the logarithm of the labels."""
    found = []
    for _, rows in main.groupby("dataset"):
        curve = rows.groupby("budget")[["labels", "normalised"]].mean()
        found.append(
            area_over_log_budget(curve["labels"].to_numpy(), curve["normalised"].to_numpy())
        )
    return _mean(found)


def _kept(whole: pd.DataFrame, half: pd.DataFrame) -> float:
    """Mean score with half hidden over mean score, on datasets where something was hidden."""
    half = half[half["budget"].isin(whole["budget"].unique())]
    both = sorted(set(whole["dataset"]) & set(half["dataset"]))
    before = _over_datasets(whole[whole["dataset"].isin(both)])
    after = _over_datasets(half[half["dataset"].isin(both)])
    return after / before if both and before > 0 else float("nan")


def _transfer(deciding: pd.DataFrame, regional: pd.DataFrame) -> float:
    """Mean over datasets of the score with regions left out."""
    rows = pd.concat([deciding[_is(deciding, WHOLE, REGIONS)], regional])
    return _over_datasets(rows)


def _over_datasets(rows: pd.DataFrame) -> float:
    """Mean normalised score, every dataset counting the same; NaN without any."""
    if not len(rows):
        return float("nan")
    return float(rows.groupby("dataset")["normalised"].mean().mean())


def _calibration(own: pd.DataFrame, mine: pd.DataFrame) -> float:
    rows = own[(own["metric"] == "ece") & _is(own, WHOLE, FOLDS)]
    rows = rows[rows["budget"].isin(mine["budget"].unique())]
    return float(rows.groupby("dataset")["value"].mean().mean()) if len(rows) else float("nan")


def _curve(main: pd.DataFrame, line: Line) -> tuple[tuple[float, float], ...]:
    """(labels, score) of each budget with which all of the competitor's datasets were run."""
    rows = _of(main, (line.encoder, line.adaptation))
    points = []
    for _, each in rows.groupby("budget"):
        if each["dataset"].nunique() == line.datasets:
            labels = _geometric(each.groupby("dataset")["labels"].mean())
            points.append((labels, _over_datasets(each)))
    return tuple(sorted(points))


def _ranked(table: pd.DataFrame) -> tuple[Ranking, tuple[str, ...]]:
    """Competitors with a score on every dataset; datasets that too few were run on are left out
    until there are two such competitors."""
    kept = table
    while len(kept) and kept.notna().all(axis=0).sum() < 2:
        kept = kept.drop(index=kept.notna().sum(axis=1).idxmin())
    complete = kept.loc[:, kept.notna().all(axis=0)]
    names = [" + ".join(pair) for pair in complete.columns] if len(kept) else []
    scores = complete.to_numpy(np.float64) if len(kept) else np.zeros((0, 0))
    return rank(names, scores), tuple(map(str, kept.index))


def _by_dataset(
    main: pd.DataFrame, sums: pd.DataFrame, resamples: int, seed: int
) -> tuple[DatasetScore, ...]:
    by_key: dict[str, pd.DataFrame] = {
        str(key): each for key, each in sums[sums["condition"] == WHOLE].groupby("key")
    }
    found = []
    for named, rows in main.groupby(["dataset", "metric", "budget", *PAIR]):
        values = rows["value"].to_numpy(np.float64)
        draws = _draws(rows, by_key, resamples, np.random.default_rng(seed))
        found.append(
            DatasetScore(
                dataset=str(named[0]),
                metric=str(named[1]),
                budget=str(named[2]),
                encoder=str(named[3]),
                adaptation=str(named[4]),
                estimate=Estimate(float(values.mean()), *interval(draws)),
                spread=float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
                floor=float(rows["floor"].mean()),
                normalised=float(rows["normalised"].mean()),
                labels=float(rows["labels"].mean()),
                seeds=len(values),
            )
        )
    return tuple(found)


def _draws(
    rows: pd.DataFrame,
    by_key: Mapping[str, pd.DataFrame],
    resamples: int,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """(resamples,) means over seeds drawn anew, each on test groups drawn anew.

    The same groups are drawn for every seed: the ground is the same. Without sums (boxes,
    instances) seeds alone are drawn.
    """
    metric, values = str(rows["metric"].iloc[0]), rows["value"].to_numpy(np.float64)
    picked = random.integers(len(values), size=(resamples, len(values)))
    tables = [by_key.get(key) for key in rows["key"]]
    if any(each is None for each in tables):
        return np.asarray(values[picked].mean(axis=1))
    names = sorted({group for each in tables if each is not None for group in each["group"]})
    weights = group_draws(len(names), resamples, random)
    drawn = []
    for each in tables:
        assert each is not None
        tally = tally_of(each["kind"].iloc[0], json.loads(each["config"].iloc[0]))
        matrix: Sums = np.zeros((len(names), tally.width))
        matrix[np.searchsorted(names, each["group"])] = np.stack(each["sums"].tolist())
        drawn.append(tally.metrics(sums_of_draws(weights, matrix))[metric])
    chosen = np.take_along_axis(np.stack(drawn, axis=1), picked, axis=1)
    return np.asarray(chosen.mean(axis=1))


def _unscored(rows: pd.DataFrame) -> pd.DataFrame:
    """Cells without figures, those of one reason together."""
    without = rows[rows["status"] != OK]
    named = ["dataset", *PAIR, "status", "reason"]
    counted = without.groupby(named, sort=True)["key"].nunique().reset_index(name="cells")
    return counted


def _is(rows: pd.DataFrame, condition: str, division: str) -> "pd.Series[bool]":
    return (rows["condition"] == condition) & (rows["division"] == division)


def _of(rows: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return rows[(rows["encoder"] == pair[0]) & (rows["adaptation"] == pair[1])]


def _largest(budgets: "pd.Series[str]") -> str:
    known = set(budgets)
    return "all" if "all" in known or not known else max(known, key=int)


def _geometric(values: "pd.Series[float]") -> float:
    known = values[values > 0].to_numpy(np.float64)
    return float(np.exp(np.log(known).mean())) if len(known) else float("nan")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
