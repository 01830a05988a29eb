"""How a verb is run: what it prints, how it ends, what Ctrl-C does."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from earthloom.errors import Interrupted

if TYPE_CHECKING:
    from earthloom.project import Project

Result = TypeVar("Result")

FAILED_SCENES_EXIT = 3
"""The maps are made, but scenes did not load; rsync says 23 for the like."""


def run_verb(
    name: str,
    file: Path,
    out: Path | None,
    quiet: bool,
    as_json: bool,
    changes: dict[str, Any] | None = None,
    arguments: dict[str, Any] | None = None,
) -> None:
    """Runs one verb on a project file and prints what it made."""
    ready(quiet)
    project = load(file, out, changes or {})

    def work() -> dict[str, Any]:
        from earthloom import verbs

        summary: dict[str, Any] = getattr(verbs, name)(project, **(arguments or {}))
        return summary

    finish(guarded(work), as_json, accept=project.failed_scenes == "accept")


def load(file: Path, out: Path | None, changes: dict[str, Any]) -> "Project":
    """The project of a file, with what options change of it."""
    from earthloom.project import load_project

    if out is not None:
        changes = changes | {"out": str(out.absolute())}
    return load_project(file, **changes)


def ready(quiet: bool) -> None:
    """Says to all parts whether progress and notices are wanted."""
    from earthloom.progress import set_quiet

    set_quiet(quiet)


def guarded(work: Callable[[], Result]) -> Result:
    """Ctrl-C is an error with words of its own."""
    try:
        return work()
    except KeyboardInterrupt:
        # What was broken off complains when it is thrown away, and has nothing to say.
        warnings.simplefilter("ignore")
        sys.unraisablehook = lambda _: None
        raise Interrupted(
            "stopped; finished stages are kept, and the same command goes on from here"
        ) from None


def finish(summary: dict[str, Any], as_json: bool, accept: bool) -> None:
    """Prints a verb's summary; ends with 3 where scenes did not load, unless that is accepted."""
    from earthloom.progress import warn

    failed = summary.get("failed_scenes", {})
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        _print_human(summary)
    for scene, reason in failed.items():
        warn(f"scene {scene} did not load: {reason}")
    if failed and not accept:
        many = "1 scene" if len(failed) == 1 else f"{len(failed)} scenes"
        print(
            f"earthloom: error: {many} did not load, and the result was made without; "
            "repair the files and run again, or set 'failed_scenes: accept' in the project file",
            file=sys.stderr,
        )
        raise typer.Exit(FAILED_SCENES_EXIT)


def _print_human(summary: dict[str, Any], indent: str = "") -> None:
    for key, value in summary.items():
        # Keys of ours are words; those of inner mappings may be names, which stay as they are.
        title = key if indent else key.replace("_", " ")
        if isinstance(value, dict) and value:
            print(f"{indent}{title}")
            _print_human(value, indent + "  ")
        elif isinstance(value, float):
            print(f"{indent}{title}: {value:.4g}")
        elif value not in ({}, None):
            print(f"{indent}{title}: {value}")
