"""Progress of long work, on the terminal's error stream, so that stdout holds results alone."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_console = Console(stderr=True, highlight=False)
_quiet = False


class Tick(Protocol):
    """Called when `done` of the steps are done; `detail` is said beside the bar."""

    def __call__(self, done: int, total: int, detail: str = "") -> None: ...


class _Rate(ProgressColumn):
    """Steps a second, or seconds a step where steps are slow."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        slow = task.speed < 1
        text = f"{1 / task.speed:.1f} s/step" if slow else f"{task.speed:.1f}/s"
        return Text(text, style="progress.data.speed")


def set_quiet(quiet: bool) -> None:
    """Turns progress bars and notices off, or on again."""
    global _quiet
    _quiet = quiet


def say(message: str) -> None:
    """One line of notice."""
    if not _quiet:
        _console.print(message, markup=False)


def warn(message: str) -> None:
    """One line that a person should not miss; said even when quiet."""
    print(f"earthloom: warning: {message}", file=sys.stderr)


@contextmanager
def bar(title: str) -> Iterator[Tick]:
    """A progress bar with rate and remaining time, for as long as the block runs."""
    if _quiet or not _console.is_terminal:
        yield _silent
        return
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=_console, transient=True) as progress:
        task = progress.add_task(title, total=None, detail="")

        def tick(done: int, total: int, detail: str = "") -> None:
            progress.update(task, completed=done, total=total, detail=detail)

        yield tick


def _silent(done: int, total: int, detail: str = "") -> None:
    """Progress that nobody watches."""
