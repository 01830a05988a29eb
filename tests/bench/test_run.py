"""A bench from its file to its table: resumed, merged, repeated, refused."""

import html
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bench_fakes import write_bench

from earthloom.bench import Part, Store, load_bench, merge, run_bench, show
from earthloom.bench.page import PAGE, SCORES, TABLE
from earthloom.bench.store import RESULTS, asked_of, fingerprint, without_costs
from earthloom.bench.table import leaderboard
from earthloom.errors import DataError, ProjectError


def same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(without_costs(first), without_costs(second))


@pytest.fixture(scope="module")
def bench_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench(tmp_path_factory.mktemp("bench"))


def run(file: Path, out: Path, **options: object) -> Store:
    return run_bench(load_bench(file, out=out), **options)


def test_twice_the_same(bench_file, tmp_path):
    first, second = run(bench_file, tmp_path / "a"), run(bench_file, tmp_path / "b")
    same(first.rows(), second.rows())
    boards = [leaderboard(each.rows(), each.sums(), 100) for each in (first, second)]
    assert boards[0].ranking.mean_ranks.tolist() == boards[1].ranking.mean_ranks.tolist()
    assert [line.score for line in boards[0].lines] == [line.score for line in boards[1].lines]
    assert boards[0].scores == boards[1].scores


def test_every_cell_has_its_figures(bench_file, tmp_path):
    """2 datasets x (2 budgets of folds + 1 of regions) x 2 seeds, whole and half."""
    rows = run(bench_file, tmp_path).rows()
    assert rows["key"].nunique() == 2 * 3 * 2
    assert set(rows["condition"]) == {"whole", "half"}
    deciding = rows[rows["decides"]]
    assert len(deciding) == 2 * 2 * 3 * 2
    assert deciding["value"].between(0, 1).all()
    assert (deciding["low"] <= deciding["value"]).all()
    assert (deciding["value"] <= deciding["high"]).all()
    assert (rows["parameters"] > rows["learned"]).all()
    assert (rows["flops"] > 0).all()
    assert (rows["fit_j"] > 0).all()
    assert set(rows["temporality"]) == {"series"}
    few, many = (deciding[deciding["budget"] == each] for each in ("1", "all"))
    assert (few["labels"] == 3).all()
    assert many["labels"].min() > 10
    assert few["value"].mean() < many["value"].mean()


def test_interrupted_and_resumed_is_the_same(bench_file, tmp_path):
    """Interrupted in the middle of every run, again and again, until all is there."""
    whole = run(bench_file, tmp_path / "whole")
    seen, stops = 0, 0

    def stop_in_the_third(done: int, total: int, detail: str = "") -> None:
        nonlocal seen
        seen += 1
        if seen > 3:
            raise KeyboardInterrupt

    for _ in range(40):
        seen = 0
        try:
            store = run(bench_file, tmp_path / "parts", tick=stop_in_the_third)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops > 2
    same(whole.rows(), store.rows())


CHILD = """
import sys, time
sys.path[:0] = [sys.argv[1]]
from bench_fakes import Centroids, make_flat
from earthloom.bench import load_bench, registry, run_bench
registry.encoders = lambda: {"flat": make_flat}
registry.adaptations = lambda: {"centroids": Centroids}
run_bench(load_bench(sys.argv[2]), tick=lambda *_: print("cell", flush=True))
"""


def test_killed_and_resumed_is_the_same(tmp_path):
    """SIGKILL while cells are being done; the next run adds what is missing alone."""
    file = write_bench(tmp_path / "killed", transfer=False)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(file)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    for _ in range(4):
        child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    bench = load_bench(file)
    left = {
        path.name: path.stat().st_mtime_ns
        for path in Store(bench.out_folder).folder.glob("cells/*.parquet")
    }
    assert 0 < len(left) < 8
    store = run_bench(bench)
    kept = {path.name: path.stat().st_mtime_ns for path in store.folder.glob("cells/*.parquet")}
    assert {name: kept[name] for name in left} == left
    same(store.rows(), run(file, tmp_path / "whole").rows())


def test_nothing_is_done_twice(bench_file, tmp_path):
    store = run(bench_file, tmp_path)
    before = (store.folder / RESULTS).read_bytes()
    run(bench_file, tmp_path)
    assert (store.folder / RESULTS).read_bytes() == before


def test_two_machines_are_merged_in_any_order(bench_file, tmp_path):
    first = run(bench_file, tmp_path / "a", part=Part(0, 2))
    second = run(bench_file, tmp_path / "b", part=Part(1, 2))
    whole = run(bench_file, tmp_path / "whole")
    assert 0 < first.rows()["key"].nunique() < whole.rows()["key"].nunique()
    one = merge(first, second, tmp_path / "ab")
    other = merge(second, first, tmp_path / "ba")
    assert one.card == other.card == whole.card
    assert (one.folder / RESULTS).read_bytes() == (other.folder / RESULTS).read_bytes()
    same(one.rows(), whole.rows())
    pd.testing.assert_frame_equal(one.sums(), whole.sums())


def test_a_merge_takes_scores_before_failures(bench_file, tmp_path):
    good = run(bench_file, tmp_path / "good")
    bad = Store(tmp_path / "bad")
    run(bench_file, bad.folder)
    for path in (bad.folder / "cells").iterdir():
        rows = pd.read_parquet(path).iloc[:1].assign(status="failed", reason="the disk was full")
        rows.to_parquet(path, index=False)
    same(merge(bad, good, tmp_path / "merged").rows(), good.rows())


def test_results_of_another_bench_are_not_merged(bench_file, tmp_path):
    first = run(bench_file, tmp_path / "a")
    other = run(write_bench(tmp_path / "other", seeds=1, budgets=["all"]), tmp_path / "b")
    with pytest.raises(DataError, match="not of one bench file: they differ in budgets, seeds"):
        merge(first, other, tmp_path / "c")


def test_failures_and_refusals_are_rows(tmp_path):
    file = write_bench(
        tmp_path, encoders=["flat", "choosy"], adaptations=["centroids", "broken"],
        budgets=["all"], seeds=1, transfer=False,
    )  # fmt: skip
    store = run(file, tmp_path / "out")
    rows = store.rows().drop_duplicates("key").set_index(["dataset", "encoder", "adaptation"])
    assert rows.loc[("first", "flat", "centroids"), "status"] == "ok"
    assert rows.loc[("first", "flat", "broken"), "status"] == "failed"
    assert "it broke" in rows.loc[("first", "flat", "broken"), "reason"]
    assert rows.loc[("first", "choosy", "centroids"), "status"] == "refused"
    assert "other_10m" in rows.loc[("first", "choosy", "centroids"), "reason"]
    page = show(store).page.read_text()
    assert "it broke" in page
    assert "other_10m" in page


def test_numbers_of_another_scale_are_refused(tmp_path):
    """Reflectance in ten thousandths: the dataset is not opened, and the page says why."""
    file = write_bench(tmp_path, budgets=["all"], seeds=1)
    table = tmp_path / "first" / "table.npz"
    with np.load(table) as given:
        arrays = dict(given)
    np.savez(table, **(arrays | {"X": arrays["X"] * 10_000}))
    store = run(file, tmp_path / "out")
    rows = store.rows()
    failed = rows[rows["dataset"] == "first"]
    assert set(failed["status"]) == {"failed"}
    assert failed["reason"].str.contains("do not look like its unit").all()
    assert (rows[rows["dataset"] == "second"]["status"] == "ok").all()
    assert "could not be opened" in show(store).page.read_text()


def test_a_dataset_that_is_there_at_last_is_run(tmp_path):
    file = write_bench(tmp_path, budgets=["all"], seeds=1)
    away = tmp_path / "away"
    (tmp_path / "first").rename(away)
    assert "failed" in set(run(file, tmp_path / "out").rows()["status"])
    away.rename(tmp_path / "first")
    assert set(run(file, tmp_path / "out").rows()["status"]) == {"ok"}


def test_retry_does_failed_cells_alone(tmp_path, monkeypatch):
    file = write_bench(tmp_path, adaptations=["broken"], budgets=["all"], seeds=1)
    store = run(file, tmp_path / "out")
    assert set(store.rows()["status"]) == {"failed"}
    from bench_fakes import Centroids

    from earthloom.bench import registry

    monkeypatch.setattr(registry, "adaptations", lambda: {"broken": Centroids})
    assert set(run(file, tmp_path / "out").rows()["status"]) == {"failed"}
    assert set(run(file, tmp_path / "out", retry=True).rows()["status"]) == {"ok"}


def test_a_bug_is_a_row_that_says_where(tmp_path, monkeypatch):
    from bench_fakes import Centroids

    from earthloom.bench import registry

    def buggy(self: object, *given: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr(Centroids, "fit", buggy)
    monkeypatch.setattr(registry, "adaptations", lambda: {"centroids": Centroids})
    file = write_bench(tmp_path, budgets=["all"], seeds=1, transfer=False)
    rows = run(file, tmp_path / "out").rows()
    assert set(rows["status"]) == {"failed"}
    assert rows["reason"].str.match(r"KeyError: 'no such thing' \(test_run.py:\d+\)").all()


def test_some_of_the_samples_have_regions_too(tmp_path):
    """`most` keeps every group, the draw is the same each time, and regions are of what is kept."""
    from earthloom.bench.problem import open_problem

    file = write_bench(tmp_path)
    bench = load_bench(file)
    whole = open_problem(bench, bench.datasets[0])
    some = open_problem(bench, bench.datasets[0].model_copy(update={"most": 12}))
    assert len(some.samples) == 12 < len(whole.samples)
    assert set(some.samples.groups) == set(whole.samples.groups)
    assert some.divisions(True) == whole.divisions(True) == ("folds", "regions")
    assert some.regions is not None
    assert len(some.regions) == 12
    for name in set(some.samples.groups):
        own = [r for r, g in zip(some.regions, some.samples.groups, strict=True) if g == name]
        assert len(set(own)) == 1


def test_the_search_is_noted_and_equal(tmp_path):
    file = write_bench(
        tmp_path, search=3, budgets=["all"], seeds=1, adaptations=["centroids", "soft"]
    )
    rows = run(file, tmp_path / "out").rows()
    assert set(rows["tried"]) == {3}
    assert rows["settings"].str.contains("scale").all()


def test_the_page_and_the_tables(bench_file, tmp_path):
    shown = show(run(bench_file, tmp_path))
    assert {path.name for path in (shown.page, shown.table, shown.scores)} == {PAGE, TABLE, SCORES}
    page = shown.page.read_text()
    assert page.count("<svg") >= 3
    assert "flat" in page
    assert str(tmp_path) not in page
    table = pd.read_csv(shown.table)
    assert table.loc[0, ["encoder", "adaptation"]].tolist() == ["flat", "centroids"]
    assert 0 < table.loc[0, "score"] <= 1
    assert len(pd.read_csv(shown.scores)) == 2 * 2


def test_the_page_says_how_to_do_it_again(bench_file, tmp_path):
    """The bench file on it is the one that was asked for; data and figures have digests."""
    store = run(bench_file, tmp_path / "out")
    page = html.unescape(show(store).page.read_text())
    told = tmp_path / "told.yaml"
    told.write_text(page.partition("<details><summary class=\"small\">The bench file")[2]
                    .partition("<pre>")[2].partition("</pre>")[0])  # fmt: skip
    assert asked_of(load_bench(told)) == store.card["asked"]
    for about in store.card["datasets"].values():
        assert about["about"]["digest"][:12] in page
    assert fingerprint(store.rows())[:12] in page
    assert f"torch {version('torch')}" in page
    worse = store.rows().assign(value=lambda rows: rows["value"] + 1e-4)
    assert fingerprint(worse) != fingerprint(store.rows())
    dearer = store.rows().assign(fit_s=1.0)
    assert fingerprint(dearer) == fingerprint(store.rows())


def test_there_is_nothing_to_show(tmp_path):
    with pytest.raises(DataError, match="earthloom bench run"):
        show(Store(tmp_path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoders": ["flut"]}, r"line \d+: encoders: unknown encoder 'flut'; known"),
        ({"adaptations": ["lora"]}, "unknown adaptation 'lora'; known are: broken"),
        ({"seeds": 0}, "line 3.: seeds: 0: input should be greater"),
        ({"budgets": [1, 1]}, "named twice under 'budgets': 1"),
        ({"sedes": 3}, "there is no such key; valid keys here: name, title"),
        ({"datasets": [{"name": "atlantis"}]}, "unknown dataset 'atlantis'"),
        ({"datasets": [{"name": "dubai", "metric": "rmse"}]}, "lower is better"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file_have_a_line(tmp_path, change, words):
    with pytest.raises(ProjectError, match=words):
        load_bench(write_bench(tmp_path, **change))


def test_the_folder_of_data_can_be_told(bench_file, tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHLOOM_DATA", str(tmp_path / "env"))
    bench = load_bench(bench_file)
    assert bench.folder_of(bench.datasets[0]) == tmp_path / "env" / "first"
    told = load_bench(bench_file, data=tmp_path / "told")
    assert told.folder_of(told.datasets[0]) == tmp_path / "told" / "first"
