"""What readers of single datasets read beside images: lists, tables, dates."""

import datetime
import json
import re
from pathlib import Path
from typing import Any

from earthloom.datasets.model import Entry
from earthloom.errors import DataError


def text_of(file: Path) -> str:
    """A text file; DataError if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def json_of(file: Path) -> Any:
    """A JSON file; DataError if it cannot be read, or is none."""
    try:
        return json.loads(text_of(file))
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}") from error


def features_of(file: Path) -> list[dict[str, Any]]:
    """The properties of a GeoJSON file's features; DataError if it has none."""
    content = json_of(file)
    try:
        return [feature["properties"] for feature in content["features"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{file} is no GeoJSON of features: {error!r}") from error


def day_of(date: str | int) -> int:
    """Days since 1970-01-01 of a date as 20180917, 2018-09-17 or 2018/9/17, whatever follows it;
    DataError for what is none."""
    text = str(date)
    found = re.match(r"(\d{4})(?:[-/.](\d{1,2})[-/.](\d{1,2})|(\d{2})(\d{2}))", text)
    parts = [int(part) for part in found.groups() if part] if found else []
    try:
        year, month, day = parts
        return (datetime.date(year, month, day) - datetime.date(1970, 1, 1)).days
    except ValueError as error:
        raise DataError(f"'{text}' is no date as 20180917 or 2018-09-17") from error


def day_of_year(date: str) -> int:
    """Days since 1970-01-01 of a year and its day, as 2018260."""
    start = datetime.date(int(date[:4]), 1, 1) - datetime.date(1970, 1, 1)
    return start.days + int(date[4:]) - 1


def inside(folder: Path, *names: str) -> Path:
    """The first of these folders in a folder that is there, else the folder itself."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def listed_in(entry: Entry, argument: str) -> tuple[str, ...]:
    """An argument of an entry's reader that is a list of words; DataError if it is none."""
    found = entry.source.arguments.get(argument)
    if not isinstance(found, tuple):
        raise DataError(f"{entry.name}: the reader needs the list '{argument}', not {found!r}")
    return tuple(map(str, found))
