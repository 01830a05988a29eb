"""Running cells: search, fit, test, count."""

import hashlib
import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from earthloom.bench import registry
from earthloom.bench.cells import (
    FAILED,
    HALF,
    REFUSED,
    SUMS,
    WHOLE,
    Cell,
    Outcome,
    Row,
    cells_of,
    failed,
    row_of,
)
from earthloom.bench.cost import flops_of, size_of, spent
from earthloom.bench.examine import Examination, Reading, batches, main_score, reading_of
from earthloom.bench.held_out import held_out
from earthloom.bench.hidden import hidden_parts, hide_half
from earthloom.bench.problem import Problem, open_problem, tags_of
from earthloom.bench.settings import Bench, DatasetChoice
from earthloom.bench.statistics import bootstrap_groups, interval
from earthloom.bench.store import Store, note_of
from earthloom.bench.tasks import kind_of
from earthloom.bench.truth import Truth, few, read_truth
from earthloom.chips.folds import Fold
from earthloom.encoders import Encoder
from earthloom.errors import ContractError, EarthloomError, LabelError
from earthloom.fit.adaptation import Adaptation
from earthloom.fit.model import Model
from earthloom.fit.statistics import statistics_of
from earthloom.progress import Tick
from earthloom.sample import Samples, Subset
from earthloom.tasks.base import Task


@dataclass(frozen=True)
class Part:
    """Which share of the cells a machine does: those whose number leaves `at` over `of`."""

    at: int = 0
    of: int = 1


@dataclass
class _Fitted:
    """What is noted of all folds of a cell."""

    examinations: dict[str, Examination]
    floor: Examination
    settings: list[str] = field(default_factory=list)
    tried: int = 0
    labels: list[int] = field(default_factory=list)
    fit_s: list[float] = field(default_factory=list)
    fit_j: list[float] = field(default_factory=list)
    how: str = ""
    answer_s: float = 0.0
    parameters: int = 0
    learned: int = 0
    flops: float = float("nan")
    leaks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Bench:
    """What all cells of a dataset have in common."""

    bench: Bench
    problem: Problem
    task: Task[Any]
    metric: str
    reading: Reading | None


def run_bench(
    bench: Bench, tick: Tick | None = None, part: Part = Part(), retry: bool = False
) -> Store:
    """Does every cell that is not in the store; with `retry`, those that failed once more.

    Stop it at any moment and run it again: what is whole is kept.
    """
    store = Store(bench.out_folder)
    total = len(bench.datasets)
    for number, choice in enumerate(bench.datasets):
        if tick:
            tick(number, total, choice.name)
        _run_dataset(bench, choice, store, part, retry, tick)
    store.write_results()
    return store


def _run_dataset(
    bench: Bench, choice: DatasetChoice, store: Store, part: Part, retry: bool, tick: Tick | None
) -> None:
    try:
        problem = open_problem(bench, choice)
        kind = kind_of(problem.task)
    except EarthloomError as error:
        # Not the cells' fault: once the folder is there they are run.
        cells = list(cells_of(bench, choice.name, ("folds",), "not opened"))
        store.note(bench, choice.name, None, [cell.key for cell in cells])
        for cell in cells:
            store.put(cell, failed(cell, FAILED, str(error)))
        return
    divisions = problem.divisions(bench.transfer)
    cells = list(cells_of(bench, choice.name, divisions, problem.digest))
    store.note(bench, choice.name, note_of(problem, divisions), [cell.key for cell in cells])
    task = kind.make(problem.classes, problem.unit)
    reading = reading_of(problem.task, len(problem.classes))
    shared = _Bench(bench, problem, task, choice.metric or kind.metric, reading)
    for number, cell in enumerate(cells):
        if number % part.of != part.at or store.has(cell, retry):
            continue
        if tick:
            words = f"{cell.dataset} {cell.encoder} {cell.adaptation} {cell.budget} {cell.seed}"
            tick(number, len(cells), words)
        store.put(cell, run_cell(shared, cell, registry.encoders()[cell.encoder]))


def run_cell(shared: _Bench, cell: Cell, make: registry.MakeEncoder) -> Outcome:
    """Search, fit and test on every fold; a failure is an outcome too."""
    adaptation = registry.adaptations()[cell.adaptation]()
    if not adaptation.serves(shared.task):
        reason = f"{cell.adaptation} does not serve the task '{shared.problem.task}'"
        return failed(cell, REFUSED, reason)
    try:
        return _run_folds(shared, cell, make, adaptation)
    except ContractError as error:
        return failed(cell, REFUSED, str(error))
    except EarthloomError as error:
        return failed(cell, FAILED, f"{type(error).__name__}: {error}")
    except Exception as error:
        # A bug in one cell must not end a run of a thousand; its row says what and where.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return failed(cell, FAILED, f"{type(error).__name__}: {error} ({where})")


def _run_folds(
    shared: _Bench, cell: Cell, make: registry.MakeEncoder, adaptation: Adaptation
) -> Outcome:
    problem, bench = shared.problem, shared.bench
    conditions = [WHOLE]
    if bench.missing_inputs and hidden_parts(problem.samples.specs):
        conditions.append(HALF)
    found = _Fitted(
        {each: Examination(shared.reading, shared.task.score()) for each in conditions},
        Examination(shared.reading, shared.task.score()),
    )
    folds = problem.folds(cell.division, cell.seed)
    for number, fold in enumerate(folds):
        leak = problem.leak(fold)
        if leak.found:
            raise LabelError(f"the split leaks in fold {fold.name}: {leak.words()}")
        found.leaks.append(leak.words())
        train = _training(problem, fold, cell)
        truth = read_truth(train, len(problem.classes))
        found.labels.append(int(truth.labels.sum()))
        model = _fit(shared, cell, make, adaptation, train, truth, found)
        _test(shared, cell, model, Subset(problem.samples, fold.test.tolist()), found)
        _floor(shared, fold, truth, found)
        if number == 0:
            found.parameters, found.learned = size_of(model, adaptation.trains_encoder)
    return _outcome(shared, cell, found, len(folds))


def _training(problem: Problem, fold: Fold, cell: Cell) -> Samples:
    """The fold's training samples with the budget's labels."""
    if cell.budget == "all":
        labelled = fold.train[problem.truth.labels[fold.train] > 0]
        return Subset(problem.samples, labelled.tolist())
    return few(problem.samples, problem.truth, fold.train, cell.budget, cell.seed)


def _fit(
    shared: _Bench, cell: Cell, make: registry.MakeEncoder, adaptation: Adaptation,
    train: Samples, truth: Truth, found: _Fitted,
) -> Model:  # fmt: skip
    """Tries the declared number of settings on validation of the training samples, then fits the
    best one on all of them."""
    with spent() as cost:
        encoder = _encoder(make, train, cell.seed)
        tried = list(adaptation.candidates(shared.bench.search))
        chosen = tried[0]
        if len(tried) > 1:
            chosen = _searched(shared, cell, make, tried, validation_of(train, truth, cell.seed))
        model = chosen.fit(encoder, train, shared.task.fitted(train), cell.seed)
    found.tried = max(found.tried, len(tried))
    found.settings.append(settings_of(chosen))
    found.fit_s.append(cost.seconds)
    found.fit_j.append(cost.joules)
    found.how = cost.how
    return model


def _encoder(make: registry.MakeEncoder, train: Samples, seed: int) -> Encoder:
    """The encoder with the statistics of these samples; ContractError if it is not for them."""
    torch.manual_seed(seed)
    layers = tuple(train.specs.values())
    encoder = make(layers, statistics_of(train), train, seed).eval()
    encoder.check(train.specs)
    return encoder


def _searched(
    shared: _Bench,
    cell: Cell,
    make: registry.MakeEncoder,
    tried: list[Adaptation],
    parts: tuple[Samples, Samples],
) -> Adaptation:
    """The first of the best settings by samples to learn from and to judge by; the default where
    none could be held out to judge."""
    inner, judge = parts
    if not len(judge):
        return tried[0]
    encoder = _encoder(make, inner, cell.seed)
    task = shared.task.fitted(inner)
    scores = []
    for each in tried:
        model = each.fit(encoder, inner, task, cell.seed, judge)
        scores.append(main_score(task, shared.reading, shared.metric, model, judge))
    best = int(np.nan_to_num(np.array(scores), nan=-np.inf).argmax())
    return tried[best]


def validation_of(train: Samples, truth: Truth, seed: int) -> tuple[Samples, Samples]:
    """Training samples without about a quarter of their groups, and that quarter, with something of
    every class in both where the groups let it; of single samples where there is but one group."""
    groups = list(train.groups)
    if len(set(groups)) < 2:
        groups = [str(number) for number in range(len(groups))]
    judge = held_out(groups, truth.strata, seed)
    inner, outer = np.flatnonzero(~judge), np.flatnonzero(judge)
    return Subset(train, inner.tolist()), Subset(train, outer.tolist())


def _test(shared: _Bench, cell: Cell, model: Model, test: Samples, found: _Fitted) -> None:
    for batch, chips in batches(test):
        with spent_seconds() as clock:
            found.examinations[WHOLE].add(model, batch, chips)
        found.answer_s += clock[0]
        if np.isnan(found.flops):
            found.flops = flops_of(model, batch)
        if HALF in found.examinations:
            hidden = hide_half(batch, model.members[0].encoder, cell.seed)
            found.examinations[HALF].add(model, hidden, chips)


@contextmanager
def spent_seconds() -> Iterator[list[float]]:
    """Seconds of a block, in the list that it gets."""
    found, began = [0.0], time.perf_counter()
    yield found
    found[0] = time.perf_counter() - began


def _floor(shared: _Bench, fold: Fold, truth: Truth, found: _Fitted) -> None:
    """Notes what the best constant answer by the training samples would have scored."""
    if shared.reading is None:
        return
    groups = {shared.problem.samples.groups[int(at)] for at in fold.test}
    tested = found.examinations[WHOLE].by_group
    for group in groups & set(tested):
        found.floor.by_group[group] = shared.reading.constant(tested[group], truth)


def _outcome(shared: _Bench, cell: Cell, found: _Fitted, folds: int) -> Outcome:
    common = _common(shared, cell, found, folds)
    floor = found.floor.metrics() if shared.reading is not None else {}
    rows: list[Row] = []
    tables: list[pd.DataFrame] = []
    for condition, examination in found.examinations.items():
        row = replace(
            common,
            condition=condition,
            tested=examination.tested,
            groups=len(examination.by_group),
            answered=examination.answered / max(examination.labelled, 1),
        )
        intervals = _intervals(shared, cell, examination)
        for name, value in examination.metrics().items():
            low, high = intervals.get(name, (float("nan"), float("nan")))
            rows.append(
                replace(
                    row, metric=name, decides=name == shared.metric, value=value,
                    low=low, high=high, floor=floor.get(name, float("nan")),
                )
            )  # fmt: skip
        if examination.reading is not None:
            tables.append(_sums_table(cell, condition, examination, examination.reading))
    if not any(row.decides for row in rows):
        known = ", ".join(sorted({row.metric for row in rows}))
        raise LabelError(f"there is no metric '{shared.metric}' here; known are: {known}")
    sums = pd.concat(tables, ignore_index=True) if tables else Outcome(()).sums
    return Outcome(tuple(rows), sums)


def _common(shared: _Bench, cell: Cell, found: _Fitted, folds: int) -> Row:
    tags = tags_of(shared.problem)
    tested = found.examinations[WHOLE].tested
    return replace(
        row_of(cell),
        labels=float(np.mean(found.labels)),
        folds=folds,
        leak="; ".join(sorted({each for each in found.leaks if each})),
        settings=json.dumps(found.settings),
        tried=found.tried,
        parameters=found.parameters,
        learned=found.learned,
        flops=found.flops,
        fit_s=float(np.mean(found.fit_s)),
        fit_j=float(np.mean(found.fit_j)),
        energy_how=found.how,
        samples_s=tested / max(found.answer_s, 1e-9),
        task=tags["task"],
        resolution=tags["resolution"],
        bands=tags["bands"],
        temporality=tags["temporality"],
        sensors=tags["sensors"],
    )


def _intervals(
    shared: _Bench, cell: Cell, examination: Examination
) -> dict[str, tuple[float, float]]:
    """95 % of each metric by bootstrap over the test groups; none for a single group."""
    if examination.reading is None or len(examination.by_group) < 2:
        return {}
    tally = examination.reading.tally
    _, sums = examination.sums
    seed = int.from_bytes(hashlib.sha256(cell.key.encode()).digest()[:8])
    found = {}
    for name in tally.metrics(sums[0]):
        random = np.random.default_rng(seed)
        draws = bootstrap_groups(
            sums, lambda drawn, name=name: tally.metrics(drawn)[name],  # type: ignore[misc]
            shared.bench.resamples, random,
        )  # fmt: skip
        found[name] = interval(draws)
    return found


def _sums_table(
    cell: Cell, condition: str, examination: Examination, reading: Reading
) -> pd.DataFrame:
    names, sums = examination.sums
    config = json.dumps(reading.tally.config(), sort_keys=True)
    rows = [
        (cell.key, condition, group, reading.tally.kind, config, row.tolist())
        for group, row in zip(names, sums, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(SUMS))


def settings_of(adaptation: Adaptation) -> str:
    """An adaptation's settings as it prints them."""
    return " ".join(repr(adaptation).split())
