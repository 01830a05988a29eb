"""Class schemes as tables: one TOML file a scheme, and one a mapping from a scheme to another.

`load_scheme("corine")` reads `corine.toml` beside this file; `load_mapping("corine",
"bigearthnet-19")` reads `mappings/corine--bigearthnet-19.toml`, or goes over other schemes.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earthloom.chips.schemes.scheme import Scheme, SchemeClass, SchemeMapping, near, remap
from earthloom.errors import LabelError, choices

__all__ = [
    "Scheme",
    "SchemeClass",
    "SchemeMapping",
    "known_mappings",
    "known_schemes",
    "load_mapping",
    "load_scheme",
    "near",
    "parse_scheme",
    "remap",
]

TABLES = Path(__file__).parent


def known_schemes() -> list[str]:
    """Names of all schemes."""
    return sorted(file.stem for file in TABLES.glob("*.toml"))


def known_mappings() -> list[tuple[str, str]]:
    """Pairs of schemes that a table maps, the first into the second."""
    files = sorted((TABLES / "mappings").glob("*.toml"))
    return [(of, into) for of, into in (file.stem.split("--") for file in files)]


def load_scheme(name: str) -> Scheme:
    """Reads a scheme; LabelError if there is none of that name."""
    if name not in known_schemes():
        raise LabelError(f"unknown scheme '{name}'; known are: {choices(known_schemes())}")
    return parse_scheme(_read(TABLES / f"{name}.toml"))


def parse_scheme(table: Mapping[str, Any]) -> Scheme:
    """A table's content as a `Scheme`; LabelError if codes or parents are wrong."""
    classes = tuple(
        SchemeClass(each["code"], each["name"], each["colour"], each.get("parent"))
        for each in table["classes"]
    )
    return Scheme(table["name"], table["title"], table["source"], table["colours"], classes)


def load_mapping(of: str, into: str) -> SchemeMapping:
    """The mapping of one scheme into another, over others where no table maps them directly.

    LabelError if no way leads there.
    """
    first, last = load_scheme(of), load_scheme(into)
    if of == into:
        same = {each.code: each.code for each in first.classes}
        return SchemeMapping(first, last, same, frozenset(), first.source)
    way = _way(of, into)
    if not way:
        reached = sorted({name for name in known_schemes() if name != of and _way(of, name)})
        raise LabelError(
            f"no mapping leads from the scheme {of} to {into}; from {of} there are ones to: "
            f"{choices(reached)}"
        )
    mapping = _load_direct(*way[0])
    for step in way[1:]:
        mapping = mapping.then(_load_direct(*step))
    return mapping


def _load_direct(of: str, into: str) -> SchemeMapping:
    table = _read(TABLES / "mappings" / f"{of}--{into}.toml")
    pairs = {int(a): int(b) for a, b in table["pairs"]}
    return SchemeMapping(
        load_scheme(of), load_scheme(into), pairs, frozenset(table["dropped"]), table["source"]
    )


def _way(of: str, into: str) -> list[tuple[str, str]]:
    """The shortest chain of tables from one scheme to another; empty if there is none."""
    ways: dict[str, list[tuple[str, str]]] = {of: []}
    edge = [of]
    while edge and into not in ways:
        steps = [(a, b) for a, b in known_mappings() if a in edge and b not in ways]
        for a, b in steps:
            ways.setdefault(b, [*ways[a], (a, b)])
        edge = [b for _, b in steps]
    return ways.get(into, [])


def _read(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))
