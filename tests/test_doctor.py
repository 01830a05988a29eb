"""The doctor: it tries parts out, and a broken part is a line, never a traceback."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from earthloom import doctor
from earthloom.doctor import examine

Usage = namedtuple("Usage", "total used free")


def state_of(part: str) -> dict[str, str]:
    return next(check for check in examine() if check["part"] == part)


def test_every_part_has_a_state_and_what_is_not_ok_has_advice() -> None:
    checks = examine()
    assert [check["part"] for check in checks][:3] == ["python", "gdal", "formats"]
    for check in checks:
        assert set(check) == {"part", "state", "found", "advice"}
        assert check["state"] in ("ok", "warn", "bad")
        assert check["found"]
        assert check["state"] == "ok" or check["advice"]
        assert "\n" not in check["found"] + check["advice"]


def test_a_machine_that_runs_these_tests_has_no_bad_part() -> None:
    assert [check for check in examine() if check["state"] == "bad"] == []


@pytest.mark.parametrize(("free", "state"), [(5e8, "bad"), (5e9, "warn"), (5e11, "ok")])
def test_a_full_disk_is_bad(monkeypatch: pytest.MonkeyPatch, free: float, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1e12, 1e12 - free, free))
    assert state_of("disk")["state"] == state


def test_a_missing_format_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_FORMATS", {"NoSuchDriver": "a format of nobody"})
    check = state_of("formats")
    assert check["state"] == "warn"
    assert "a format of nobody" in check["found"]


def test_a_forbidden_folder_is_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def forbidden(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryDirectory", forbidden)
    check = state_of("folder")
    assert check["state"] == "bad"
    assert "Permission denied" in check["found"]


def test_a_part_that_breaks_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def broken() -> int:
        raise RuntimeError("no\nlibrary")

    monkeypatch.setattr(torch, "get_num_threads", broken)
    checks = {check["part"]: check for check in examine()}
    assert checks["torch"]["state"] == "bad"
    assert checks["torch"]["found"] == "fails: no library"
    assert checks["disk"]["part"] == "disk"
