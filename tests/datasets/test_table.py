"""The table in the documentation is that of the registry."""

from pathlib import Path

import pytest

from earthloom.datasets import known_datasets, parse_entry
from earthloom.datasets.table import registry_table, with_table
from earthloom.errors import DataError

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


def test_the_page_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "run: python -m earthloom.datasets.table docs/datasets.md"


def test_the_entry_in_the_page_is_valid():
    text = PAGE.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    assert parse_entry(text, "ships.dataset.toml").classes == ("ship", "buoy")


def test_every_dataset_is_a_row():
    table = registry_table()
    for name in known_datasets():
        assert table.count(f"| `{name}` |") == 1
    assert "| 175 | `eurosat` (a fixture), `eurosat-spatial` (a fixture) |" in table


def test_a_page_without_marks():
    with pytest.raises(DataError, match="lacks the marks"):
        with_table("no marks")
