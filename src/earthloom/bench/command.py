"""What the verbs `bench run`, `bench show` and `bench merge` do, and what they say."""

import re
from pathlib import Path
from typing import Any

from earthloom.bench.page import show
from earthloom.bench.run import Part, run_bench
from earthloom.bench.settings import load_bench
from earthloom.bench.store import RESULTS, Store, merge
from earthloom.errors import DataError, ProjectError
from earthloom.progress import Tick

Summary = dict[str, Any]


def run_file(
    file: Path,
    data: Path | None = None,
    out: Path | None = None,
    part: str = "1/1",
    retry: bool = False,
    tick: Tick | None = None,
) -> Summary:
    """Does what is missing of a bench file; `part` is `1/2` for the first of two machines."""
    store = run_bench(load_bench(file, data, out), tick, part_of(part), retry)
    return {"results": str(store.folder / RESULTS)} | _counts(store)


def show_results(where: Path) -> Summary:
    """Writes the leaderboard of a bench file's results, or of a folder of results."""
    store = store_of(where)
    shown = show(store)
    best = shown.board.lines[0]
    return {
        "page": str(shown.page),
        "table": str(shown.table),
        "best": best.name,
        "score": round(best.score.value, 4),
    } | _counts(store)


def merge_results(first: Path, second: Path, into: Path) -> Summary:
    """Joins two folders of results in a third."""
    if into.resolve() in (first.resolve(), second.resolve()):
        raise DataError(f"results are merged into a folder of their own, not into {into}")
    store = merge(store_of(first), store_of(second), into)
    return {"results": str(store.folder / RESULTS)} | _counts(store)


def store_of(where: Path) -> Store:
    """The results in a folder, or those that a bench file names."""
    return Store(where) if where.is_dir() else Store(load_bench(where).out_folder)


def part_of(text: str) -> Part:
    """`2/3` is the second of three parts; ProjectError for anything else."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found and 1 <= int(found[1]) <= int(found[2]):
        return Part(int(found[1]) - 1, int(found[2]))
    raise ProjectError(f"the part '{text}' must be as 1/2, the first of two")


def _counts(store: Store) -> Summary:
    """How many cells were asked for, and what became of them."""
    cells = store.rows().drop_duplicates("key")["status"].value_counts()
    known = {str(status): int(count) for status, count in cells.items()}
    return {"asked": len(store.keys), "cells": known}
