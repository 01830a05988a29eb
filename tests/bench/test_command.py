"""What the verbs say."""

import pytest
from bench_fakes import write_bench

from earthloom.bench.command import merge_results, part_of, run_file, show_results
from earthloom.bench.run import Part
from earthloom.errors import DataError, ProjectError


def test_run_show_and_merge(tmp_path):
    file = write_bench(tmp_path / "files", budgets=["all"], seeds=1, transfer=False)
    first = run_file(file, out=tmp_path / "a", part="1/2")
    assert (first["asked"], first["cells"]) == (2, {"ok": 2})
    run_file(file, out=tmp_path / "b")
    merged = merge_results(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert merged["cells"] == {"ok": 2}
    shown = show_results(tmp_path / "c")
    assert shown["best"] == "flat + centroids"
    assert 0 < shown["score"] <= 1


def test_a_folder_is_not_merged_into_itself(tmp_path):
    with pytest.raises(DataError, match="a folder of their own"):
        merge_results(tmp_path, tmp_path / "b", tmp_path)


def test_parts():
    assert part_of("2/3") == Part(1, 3)
    for wrong in ("0/2", "3/2", "2", "a/b"):
        with pytest.raises(ProjectError, match="must be as 1/2"):
            part_of(wrong)
