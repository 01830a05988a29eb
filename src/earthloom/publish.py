"""Finished stages to an object store, where web maps, GIS and other people read them.

A stage is built on a disk, whole or not at all, and then sent. What the store holds of it is what
its manifest says: the manifest is taken away first, where something changes, and comes back last,
so whoever finds it finds all the rest.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earthloom.errors import ProjectError, StageError, choices
from earthloom.objects import Held, Objects
from earthloom.progress import Tick
from earthloom.stages import MANIFEST, canonical_json, file_digest

RECORD = "published.json"
"""What was sent, in the store itself: size, checksum and tag of each object, so that a run from any
machine sends only what is new."""
DEFAULT = ("map", "assess")
"""Stages that people look at."""
_AT_ONCE = 8
"""Files that are sent at a time."""
_BATCH = 128
"""Files after which the record is written: a killed run sends at most so many again."""

Record = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Published:
    """What a run has done."""

    stages: tuple[str, ...]
    sent: int
    """Files that were sent, manifests among them."""
    kept: int
    """Files that were there with the same checksum."""
    removed: int
    """Files of older results, which are no longer part of a stage."""
    bytes_sent: int


@dataclass(frozen=True)
class _Stage:
    """A finished stage on this machine."""

    name: str
    folder: Path
    outputs: Mapping[str, Mapping[str, Any]]
    """Size and checksum by name, as the manifest says."""

    def key(self, name: str) -> str:
        return f"{self.name}/{name}"


def publish(
    out: Path, url: str, tick: Tick, parts: Sequence[str] = DEFAULT, at_once: int = _AT_ONCE
) -> Published:
    """Sends the finished stages of a project's folder to an object store.

    `parts` are first names of stages, such as `map` for `map/north` and `map/south`. ProjectError
    if there is none of a name; StageError if a file is not what its manifest says, or the store
    refuses.
    """
    stages = [stage for part in parts for stage in _stages(out, part)]
    sender = _Sender(Objects(url), at_once)
    total = sum(len(stage.outputs) for stage in stages)
    done = 0
    for stage in stages:
        for count in sender.send(stage):
            done += count
            tick(done, total, stage.name)
    names = tuple(stage.name for stage in stages)
    return Published(names, sender.sent, sender.kept, sender.removed, sender.bytes_sent)


class _Sender:
    """Sends stages, and keeps the record of what is there."""

    def __init__(self, objects: Objects, at_once: int) -> None:
        self._objects, self._at_once = objects, at_once
        self._there = objects.listing()
        text = objects.read(RECORD)
        self._record: Record = json.loads(text)["files"] if text else {}
        self.sent = self.kept = self.removed = self.bytes_sent = 0

    def send(self, stage: _Stage) -> Iterator[int]:
        """Sends what is new of a stage; yields how many files are done, batch by batch."""
        manifest = (stage.folder / MANIFEST).read_bytes()
        wanted = {stage.key(name) for name in stage.outputs}
        new = [name for name, out in stage.outputs.items() if not self._is_there(stage, name, out)]
        old = [key for key in self._record if key.startswith(f"{stage.name}/")]
        old = [key for key in old if key not in wanted and key != stage.key(MANIFEST)]
        self.kept += len(wanted) - len(new)
        yield len(wanted) - len(new)
        if not new and not old and self._objects.read(stage.key(MANIFEST)) == manifest:
            return
        self._remove([key for key in (stage.key(MANIFEST),) if key in self._there])
        for first in range(0, len(new), _BATCH):
            batch = new[first : first + _BATCH]
            self._send_files(stage, batch)
            yield len(batch)
        self._remove(old)
        self.removed += len(old)
        self._objects.put(stage.key(MANIFEST), manifest)
        self.sent += 1
        self._write_record()

    def _is_there(self, stage: _Stage, name: str, output: Mapping[str, Any]) -> bool:
        """Whether the store holds a file with this checksum: it was sent, and not changed since."""
        key = stage.key(name)
        sent = self._record.get(key)
        if sent is None or sent["sha256"] != output["sha256"]:
            return False
        return self._there.get(key) == Held(sent["bytes"], sent["e_tag"])

    def _send_files(self, stage: _Stage, names: Sequence[str]) -> None:
        """Sends files; what was sent stands in the record even if one of them fails."""
        try:
            with ThreadPoolExecutor(self._at_once) as pool:
                for name, entry in pool.map(lambda name: (name, self._put(stage, name)), names):
                    self._record[stage.key(name)] = entry
                    self.sent += 1
                    self.bytes_sent += entry["bytes"]
        finally:
            self._write_record()

    def _put(self, stage: _Stage, name: str) -> dict[str, Any]:
        path, output = stage.folder / name, stage.outputs[name]
        if file_digest(path) != output["sha256"]:
            raise StageError(
                f"{path} is not what its manifest says; remove the folder {stage.folder} and run "
                "the project again"
            )
        tag = self._objects.put(stage.key(name), path)
        return {"bytes": output["bytes"], "sha256": output["sha256"], "e_tag": tag}

    def _remove(self, keys: Sequence[str]) -> None:
        self._objects.remove(keys)
        for key in keys:
            self._record.pop(key, None)

    def _write_record(self) -> None:
        self._objects.put(RECORD, canonical_json({"files": self._record}).encode())


def _stages(out: Path, part: str) -> list[_Stage]:
    """The finished stages of a first name, in the order of their names."""
    found = sorted(path.parent for path in out.rglob(MANIFEST) if _is_stage(path, out))
    names = [folder.relative_to(out).as_posix() for folder in found]
    chosen = [name for name in names if name.split("/")[0] == part]
    if not chosen:
        first = sorted({name.split("/")[0] for name in names})
        raise ProjectError(
            f"{out} has no finished '{part}' to publish; it has: {choices(first)}; "
            "'earthloom run' makes the rest"
        )
    return [_Stage(name, out / name, _outputs(out / name)) for name in chosen]


def _is_stage(manifest: Path, out: Path) -> bool:
    parts = manifest.parent.relative_to(out).parts
    return bool(parts) and not any(part.endswith((".partial", ".old")) for part in parts)


def _outputs(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """What a manifest lists; StageError where files lack or have another size."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    outputs: Mapping[str, Mapping[str, Any]] = content["outputs"]
    for name, output in outputs.items():
        path = folder / name
        if not path.exists() or path.stat().st_size != output["bytes"]:
            raise StageError(f"{path} is not whole; run the project again before publishing it")
    return outputs
