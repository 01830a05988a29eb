"""The table of the documentation: which datasets are registered, and what was run on what.

    python -m earthloom.datasets.table docs/datasets.md

writes it between the two marks in that page. A test says whether the page is up to date.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from earthloom.datasets.model import Entry
from earthloom.datasets.registry import known_datasets, load_entry
from earthloom.errors import DataError

BEGIN = "<!-- registry: begin -->"
END = "<!-- registry: end -->"

_SOURCES = {"torchgeo": "TorchGeo", "layout": "layout", "own": "own reader"}


def registry_table() -> str:
    """The registry as Markdown: a table of datasets, and one of systems of the field list."""
    entries = [load_entry(name) for name in known_datasets()]
    return f"{_datasets(entries)}\n\n{_systems(entries)}"


def with_table(page: str) -> str:
    """A page whose part between the marks is the table; DataError if it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"the page lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{registry_table()}\n\n{END}{after}"


def _datasets(entries: Sequence[Entry]) -> str:
    head = (
        "Name",
        "Dataset",
        "Task",
        "Classes",
        "Layers",
        "Splits",
        "Read by",
        "Run on",
        "Licence",
    )
    rows = [
        (
            f"`{entry.name}`",
            entry.title,
            entry.task,
            str(len(entry.classes)) if entry.classes else f"values in {entry.unit}",
            ", ".join(f"{e.sensor} ({len(e.bands)} bands, {e.gsd:g} m)" for e in entry.layers),
            ", ".join(entry.splits),
            f"{_SOURCES[entry.source.kind]} `{entry.source.reader}`",
            _run_on(entry),
            entry.licence,
        )
        for entry in entries
    ]
    return _table(head, rows)


def _systems(entries: Sequence[Entry]) -> str:
    """For each id in the field list, the datasets of it."""
    ids = sorted({number for entry in entries for number in entry.field_ids})
    rows = [
        (
            str(number),
            ", ".join(
                f"`{entry.name}` ({_run_on(entry)})"
                for entry in entries
                if number in entry.field_ids
            ),
        )
        for number in ids
    ]
    return _table(("System", "Datasets, and what the reader was run on"), rows)


def _run_on(entry: Entry) -> str:
    return "real data" if entry.real else "a fixture"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(with_table(target.read_text(encoding="utf-8")), encoding="utf-8")
