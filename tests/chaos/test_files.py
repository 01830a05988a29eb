"""Files are whole at all times, whoever writes them, and nothing half-written stays."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from earthloom.errors import StageError
from earthloom.stages import job_of, run_stage, write_atomic

TEXT = "x" * 1_000_000


def test_a_file_that_many_write_is_whole_at_all_times(tmp_path):
    path = tmp_path / "file.json"
    write_atomic(path, TEXT)
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write_atomic, path, TEXT) for _ in range(40)]
        while not all(each.done() for each in writing):
            assert path.stat().st_size == len(TEXT)
    assert [each.result() for each in writing] == [None] * 40
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file.json").mkdir()
    with pytest.raises((StageError, OSError)):
        write_atomic(tmp_path / "file.json", TEXT)
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


def test_what_a_killed_process_left_half_written_is_not_in_the_result(tmp_path):
    def build(folder):
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "deep" / "whole.txt").write_text("whole")
        (folder / "deep" / "0.1f3a.partial").write_text("half")
        (folder / "coverage.json.77.partial").write_text("half")

    made = run_stage(tmp_path, "cube/a", {}, build)
    names = {path.name for path in made.folder.rglob("*") if path.is_file()}
    assert names == {"whole.txt", "manifest.json"}


def test_each_job_has_a_name_of_its_own(tmp_path):
    names = []

    def build(folder):
        names.append(job_of(folder))
        raise StageError("broken off")

    for inputs in ({"seed": 1}, {"seed": 1}, {"seed": 2}):
        with pytest.raises(StageError):
            run_stage(tmp_path, "a", inputs, build)
    assert names[0] == names[1] != names[2]
    assert None not in names
    assert job_of(tmp_path) is None
