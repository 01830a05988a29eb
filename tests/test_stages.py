"""Stages reach the disk whole or not at all, and are built again only when they must be."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import StageError
from earthloom.stages import (
    canonical_json,
    digest_of,
    file_digest,
    run_stage,
    write_atomic,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Builder:
    """Builds a stage of one file, and counts how often."""

    def __init__(self, content="one"):
        self.content, self.calls = content, 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "deep" / "result.txt").write_text(self.content)


def _breaks(folder):
    (folder / "half.txt").write_text("half")
    raise RuntimeError("broken off")


def test_unchanged_inputs_build_once(tmp_path):
    build = Builder()
    first = run_stage(tmp_path, "cube/a", {"seed": 1}, build)
    second = run_stage(tmp_path, "cube/a", {"seed": 1}, build)
    assert (first.fresh, second.fresh, build.calls) == (True, False, 1)
    assert first.digest == second.digest
    assert second.folder == tmp_path / "cube/a"


def test_changed_inputs_build_again(tmp_path):
    old = run_stage(tmp_path, "a", {"seed": 1}, Builder("one"))
    new = run_stage(tmp_path, "a", {"seed": 2}, Builder("two"))
    assert new.fresh
    assert new.digest != old.digest
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_same_files_have_the_same_digest_whatever_they_were_made_from(tmp_path):
    """A later stage that takes it as an input is then unchanged."""
    old = run_stage(tmp_path, "a", {"seed": 1}, Builder())
    assert run_stage(tmp_path, "a", {"seed": 2}, Builder()).digest == old.digest


@pytest.mark.parametrize("damage", ["shorter", "missing", "manifest"])
def test_damaged_results_are_stale(damage, tmp_path):
    run_stage(tmp_path, "a", {}, Builder())
    file = tmp_path / "a" / "deep" / "result.txt"
    if damage == "shorter":
        file.write_text("")
    elif damage == "missing":
        file.unlink()
    else:
        manifest = tmp_path / "a" / "manifest.json"
        manifest.write_text(manifest.read_text()[:40])
    assert run_stage(tmp_path, "a", {}, Builder()).fresh
    assert file.read_text() == "one"


def test_a_build_that_fails_leaves_the_older_result(tmp_path):
    run_stage(tmp_path, "a", {"seed": 1}, Builder())
    with pytest.raises(RuntimeError, match="broken off"):
        run_stage(tmp_path, "a", {"seed": 2}, _breaks)
    assert (tmp_path / "a" / "deep" / "result.txt").read_text() == "one"
    assert not run_stage(tmp_path, "a", {"seed": 1}, Builder()).fresh
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_work_of_the_same_inputs_is_gone_on_from(tmp_path):
    with pytest.raises(RuntimeError):
        run_stage(tmp_path, "a", {"seed": 1}, _breaks)
    found = []
    run_stage(tmp_path, "a", {"seed": 1}, lambda folder: found.extend(folder.glob("half.txt")))
    assert found


def test_work_of_other_inputs_is_thrown_away(tmp_path):
    with pytest.raises(RuntimeError):
        run_stage(tmp_path, "a", {"seed": 1}, _breaks)
    run_stage(tmp_path, "a", {"seed": 2}, Builder())
    assert not (tmp_path / "a" / "half.txt").exists()


def test_killed_between_the_two_renames(tmp_path):
    """The older result stands aside, the newer one is not yet in its place."""
    run_stage(tmp_path, "a", {"seed": 1}, Builder("one"))
    (tmp_path / "a").rename(tmp_path / "a.old")
    run_stage(tmp_path, "a", {"seed": 2}, Builder("two"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "deep" / "result.txt").read_text() == "two"


def test_killed_before_the_older_result_was_removed(tmp_path):
    run_stage(tmp_path, "a", {}, Builder())
    (tmp_path / "a.old").mkdir()
    assert not run_stage(tmp_path, "a", {}, Builder()).fresh
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_manifest_names_inputs_and_outputs_and_no_time(tmp_path):
    run_stage(tmp_path, "a", {"seed": 1}, Builder())
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest.keys() == {"stage", "earthloom", "inputs", "key", "outputs"}
    assert manifest["inputs"] == {"seed": 1}
    assert manifest["outputs"] == {
        "deep/result.txt": {"bytes": 3, "sha256": file_digest(tmp_path / "a/deep/result.txt")}
    }


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "cannot write .*Permission denied.*'out'"),
        (errno.EROFS, "cannot write .*Read-only"),
    ],
)
def test_what_the_system_says_becomes_words(number, words, tmp_path):
    def build(folder):
        raise OSError(number, os.strerror(number))

    with pytest.raises(StageError, match=words):
        run_stage(tmp_path, "a", {}, build)


def test_other_errors_of_the_system_are_not_called_a_full_disk(tmp_path):
    def build(folder):
        raise FileNotFoundError(errno.ENOENT, "No such file")

    with pytest.raises(FileNotFoundError):
        run_stage(tmp_path, "a", {}, build)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "deep" / "run.json"
    write_atomic(file, "old")

    def fails(self, target):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(StageError):
        write_atomic(file, "new")
    assert file.read_text() == "old"


@settings(deadline=None, max_examples=40)
@given(JSON)
def test_json_is_canonical(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(), st.integers(), min_size=2, max_size=4))
def test_digest_does_not_hang_on_the_order_of_keys(value):
    turned = dict(reversed(value.items()))
    assert digest_of(turned) == digest_of(value)
    assert digest_of(value | {"another key": None}) != digest_of(value)


def test_nan_has_no_digest():
    with pytest.raises(ValueError, match="JSON"):
        digest_of(float("nan"))


def test_digest_of_a_folder_knows_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("1")
    first = file_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert file_digest(tmp_path) != first
