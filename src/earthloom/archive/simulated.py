"""The simulated archive: the simulated Earth as a static STAC catalog of the real products' kind.

    folder/
    ├── simulation.json            what the archive was made from
    ├── catalog.json               written last
    ├── sentinel-2-l2a/            collection.json, and a folder per item
    ├── sentinel-1-rtc/
    ├── landsat-oli-c2-l2/         where asked for
    ├── modis-mod09ga/             where asked for
    ├── cop-dem-glo-30/
    ├── area.geojson               the area to map
    ├── labels.gpkg                what a mapper has: points and polygons
    └── truth/                     what a mapper never has

What departs from the real products is listed in `docs/simulated-archive.md`.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

from earthloom.archive.simulated_collections import COLLECTIONS, catalog_of, collection_of
from earthloom.archive.simulated_files import read_json, remove_parts, write_json
from earthloom.archive.simulated_plan import lay_grids, most_passes
from earthloom.archive.simulated_spec import Faults, SimulationSpec, check_spec
from earthloom.archive.simulated_tasks import Studio, Task, list_tasks, open_studio
from earthloom.errors import ArchiveError

__all__ = ["Faults", "SimulationSpec", "simulate"]

Progress = Callable[[int, int, str], None]


def simulate(
    folder: Path,
    spec: SimulationSpec = SimulationSpec(),
    progress: Progress | None = None,
    workers: int | None = None,
) -> Path:
    """Writes a simulated archive into a folder and returns the path of its catalog.

    An archive that is there is left alone, one that was interrupted is finished, and one that was
    made from another spec is an ArchiveError. `progress` is called with files' groups done, their
    total, and what was done last. The bytes do not depend on `workers` (default: one per core, at
    most 8); with 1, nothing is started beside this process.
    """
    folder = Path(folder)
    check_spec(spec, *most_passes())
    layout = lay_grids(spec)
    catalog = folder / "catalog.json"
    _claim(folder, spec)
    tasks = list_tasks(spec, layout)
    missing = [task for task in tasks if task.missing(folder)]
    if catalog.exists() and not missing:
        return catalog
    remove_parts(folder)
    _do(missing, len(tasks), folder, spec, progress, workers)
    _write_catalog(folder, tasks)
    return catalog


def _claim(folder: Path, spec: SimulationSpec) -> None:
    """Notes the spec in the folder, or sees that the same one stands there."""
    manifest = folder / "simulation.json"
    wanted = spec.as_json()
    if not manifest.exists():
        if (folder / "catalog.json").exists():
            raise ArchiveError(
                f"{folder} holds a catalog that was not simulated; choose another folder"
            )
        write_json(manifest, wanted)
        return
    found = read_json(manifest)
    if found != wanted:
        raise ArchiveError(
            f"{folder} holds an archive simulated with {_difference(found, wanted)}; "
            "choose another folder, or remove this one"
        )


def _difference(found: dict[str, object], wanted: dict[str, object]) -> str:
    """The first thing in which two manifests differ, for a person."""
    old, new = found.get("spec"), wanted["spec"]
    if found.get("format") != wanted["format"] or not isinstance(old, dict):
        return f"format {found.get('format')}, not {wanted['format']}"
    assert isinstance(new, dict)
    names = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    return (
        ", ".join(f"{name} {old.get(name)}, not {new.get(name)}" for name in names)
        or "other fields"
    )


def _do(
    tasks: list[Task],
    total: int,
    folder: Path,
    spec: SimulationSpec,
    progress: Progress | None,
    workers: int | None,
) -> None:
    """Does the tasks, in this process or in several."""
    done = total - len(tasks)
    count = min(workers or min(os.cpu_count() or 1, 8), len(tasks))
    with _finishing(tasks, folder, spec, count) as finished:
        for name in finished:
            done += 1
            if progress:
                progress(done, total, name)


@contextmanager
def _finishing(
    tasks: list[Task], folder: Path, spec: SimulationSpec, count: int
) -> Iterator[Iterator[str]]:
    """The names of tasks as they are done; leaving early cancels what has not begun."""
    if count <= 1:
        yield _in_turn(tasks, folder, spec)
        return
    pool = ProcessPoolExecutor(count, get_context("spawn"), _start_worker, (spec,))
    futures: list[Future[str]] = [pool.submit(_work, task, folder) for task in tasks]
    try:
        yield (future.result() for future in as_completed(futures))
    except BrokenProcessPool as error:
        raise ArchiveError(
            "a process of the simulation was ended from outside, maybe for want of memory; "
            "run it again to go on, with fewer workers"
        ) from error
    finally:
        # Tasks that have begun are finished, within seconds, so that no file is left half-written.
        pool.shutdown(wait=True, cancel_futures=True)


def _in_turn(tasks: list[Task], folder: Path, spec: SimulationSpec) -> Iterator[str]:
    studio = open_studio(spec) if tasks else None
    for task in tasks:
        assert studio is not None
        task.do(studio, folder)
        yield task.name


_studio: Studio | None = None
"""The world of a worker process; None in others."""


def _start_worker(spec: SimulationSpec) -> None:
    """Prepares a worker: it leaves Ctrl-C to its parent, ends with it, and uses one thread."""
    global _studio
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["GDAL_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    _studio = open_studio(spec)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(task: Task, folder: Path) -> str:
    assert _studio is not None
    task.do(_studio, folder)
    return task.name


def _write_catalog(folder: Path, tasks: list[Task]) -> None:
    """Collections over their items, then the catalog: where it is, the archive is whole."""
    present = []
    for name in COLLECTIONS:
        items = [
            read_json(folder / task.item)
            for task in tasks
            if task.item is not None and task.item.parts[0] == name
        ]
        if items:
            write_json(folder / name / "collection.json", collection_of(name, items))
            present.append(name)
    write_json(folder / "catalog.json", catalog_of(present))
