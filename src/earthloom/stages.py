"""How a stage's result reaches the disk: whole or not at all, with a manifest beside it.

A stage is a folder. It is built under the name `NAME.partial` and renamed when it is whole, so a
kill at any moment leaves either the old result, or the new one, never a mixture. Its manifest
(`manifest.json`) holds what the result was made from and what it consists of; a stage whose inputs
are unchanged is not built again. A manifest holds neither time nor host, so that the same inputs
give the same bytes; those stand in `run.json` alone.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import earthloom
from earthloom.errors import StageError

MANIFEST = "manifest.json"
_KEY = ".key"
_PARTIAL = ".partial"
"""Ending of folders and files that are not whole yet."""

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
"""What the system says of a folder that cannot be written to, or that is a file."""

Inputs = Mapping[str, Any]
"""Everything that decides a stage's bytes, as JSON values: settings, seeds, digests of files."""


@dataclass(frozen=True)
class StageResult:
    """A finished stage."""

    folder: Path
    digest: str
    """Of the result's files; a later stage takes it as an input."""
    fresh: bool
    """True if this call built it, False if it was there already."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no chance in its spacing: the same value, the same text."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, or of all files below a folder with their names."""
    if path.is_dir():
        return digest_of({str(p.relative_to(path)): file_digest(p) for p in _files(path)})
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, also where several processes write it at once."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_PARTIAL}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what the system says of a full or forbidden disk into a line for a person."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StageError(disk_full(path)) from error
        if error.errno in _FORBIDDEN:
            raise StageError(
                f"cannot write {path}: {os.strerror(error.errno)}; "
                "choose another folder with 'out' in the project file"
            ) from error
        raise


def disk_full(path: Path) -> str:
    """The line that says that a disk is full, and what to do."""
    return (
        f"the disk is full: {path} could not be written; "
        "free some space, or set 'out' in the project file to another disk, and run again"
    )


def run_stage(
    out: Path, name: str, inputs: Inputs, build: Callable[[Path], None], *, retry: bool = False
) -> StageResult:
    """Builds the stage `name` below `out`, unless it is there and its inputs are unchanged.

    `build` gets a folder to write into. Work that an interrupted build of the same inputs left
    there is kept, so a build may go on from files that it finds whole. With `retry` a finished
    stage is built again, in the hope of better luck with what failed.
    """
    folder = out / name
    recorded = {"stage": name, "earthloom": earthloom.__version__, "inputs": inputs}
    key = digest_of(recorded)
    found = None if retry else _finished(folder, key)
    if found is not None:
        _tidy(folder)
        return StageResult(folder, found, fresh=False)
    partial = folder.with_name(folder.name + ".partial")
    with disk_errors(folder):
        _prepare(partial, key)
        try:
            build(partial)
        except Exception as error:
            # Libraries report a full disk in words of their own; the disk itself is the witness.
            if not isinstance(error, OSError) and _is_full(partial):
                raise StageError(disk_full(folder)) from error
            raise
        _sweep(partial)
        manifest = recorded | {"key": key, "outputs": _outputs(partial)}
        (partial / MANIFEST).write_text(canonical_json(manifest), encoding="utf-8")
        (partial / _KEY).unlink()
        _replace(partial, folder)
    return StageResult(folder, digest_of(manifest["outputs"]), fresh=True)


def job_of(partial: Path) -> str | None:
    """What tells the inputs of the stage that is built in a folder from all others; None where the
    folder is not that of a stage. Files that are named by it cannot be another job's."""
    marker = partial / _KEY
    return marker.read_text() if marker.exists() else None


def _finished(folder: Path, key: str) -> str | None:
    """Digest of a stage that is whole and was made from the same inputs, else None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    if manifest.get("key") != key:
        return None
    outputs = manifest["outputs"]
    for name, output in outputs.items():
        path = folder / name
        if not path.exists() or path.stat().st_size != output["bytes"]:
            return None
    return digest_of(outputs)


def _prepare(partial: Path, key: str) -> None:
    """An empty folder to build in, or the one that a killed build of the same inputs left."""
    marker = partial / _KEY
    if partial.exists() and (not marker.exists() or marker.read_text() != key):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    marker.write_text(key)


def _replace(partial: Path, folder: Path) -> None:
    """Puts a whole stage in the place of an older one.

    A kill between the two renames leaves no stage of that name, so the next run builds it again.
    """
    old = folder.with_name(folder.name + ".old")
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    if old.exists():
        shutil.rmtree(old)


def _sweep(partial: Path) -> None:
    """Removes files that killed processes left half-written in a build."""
    for path in partial.rglob("*" + _PARTIAL):
        path.unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Removes what a killed build of other inputs, or a killed replacement, left beside a stage."""
    for ending in (".partial", ".old"):
        shutil.rmtree(folder.with_name(folder.name + ending), ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _outputs(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size,
            "sha256": file_digest(path),
        }
        for path in _files(folder)
        if path.name not in (_KEY, MANIFEST)
    }


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < 1_000_000
