"""Which classes and images a YOLO dataset has: `data.yaml`, or darknet's `obj.data`."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import yaml

from earthloom.datasets.imagery import images_in
from earthloom.datasets.layouts.items import codes_of
from earthloom.errors import DataError, choices

_NAMES = ("classes.txt", "obj.names")
"""Files of class names, a line each, where there are no settings."""


def classes_and_images(
    folder: Path, split: str, data: str, classes: Sequence[str]
) -> tuple[tuple[str, ...], list[Path]]:
    """The classes, and the images of a split. DataError names what is missing."""
    file = _settings_file(folder, data)
    if file is None:
        names = tuple(classes) or _names_beside(folder)
        codes_of(names)
        ways = (folder / "images" / split, folder / split / "images")
        place = next((way for way in ways if way.is_dir()), None)
        if place is None:
            raise DataError(
                f"there is neither {ways[0]} nor {ways[1]}; name a 'split', which is '' where all "
                f"lie in {folder / 'images'}"
            )
        return names, images_in(place, deep=True)
    settings = _darknet(file) if file.suffix == ".data" else _yaml(file)
    return tuple(classes) or _names(settings, file), _images_of(settings, folder, split, file)


def _settings_file(folder: Path, data: str) -> Path | None:
    """The settings that `data` names; else the only file that can be them."""
    if data:
        return folder / data
    for pattern in ("data.y*ml", "*.y*ml", "*.data"):
        found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
        if len(found) > 1:
            raise DataError(
                f"{folder} has several settings; name one as 'data': "
                f"{choices(path.name for path in found)}"
            )
        if found:
            return found[0]
    return None


def _names_beside(folder: Path) -> tuple[str, ...]:
    file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if file is None:
        raise DataError(
            f"{folder} has no data.yaml, and none of {choices(_NAMES)}; name its 'classes'"
        )
    return _lines(file)


def _yaml(file: Path) -> Mapping[str, object]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"the YOLO settings {file} cannot be read: {words}") from error
    if not isinstance(found, dict):
        raise DataError(f"the YOLO settings {file} must be keys and values")
    return found


def _darknet(file: Path) -> Mapping[str, object]:
    """Lines `key = value`; `names` is a file."""
    pairs = [line.partition("=") for line in _lines(file)]
    found: dict[str, object] = {key.strip(): value.strip() for key, _, value in pairs}
    names = _there(str(found.get("names", "obj.names")), [file.parent])
    if names is None:
        raise DataError(f"{file}: the file of names {found.get('names')} is not there")
    return found | {"names": list(_lines(names))}


def _names(settings: Mapping[str, object], file: Path) -> tuple[str, ...]:
    names = settings.get("names")
    if isinstance(names, dict):
        numbered = {str(key): name for key, name in names.items()}
        keys = [str(at) for at in range(len(numbered))]
        names = [numbered[key] for key in keys] if set(keys) == set(numbered) else None
    if not isinstance(names, list) or not names:
        raise DataError(
            f"{file}: 'names' must list the classes, or number them from 0 on, but is "
            f"{settings.get('names')!r}"
        )
    found = tuple(str(name) for name in names)
    codes_of(found)
    return found


def _images_of(settings: Mapping[str, object], folder: Path, split: str, file: Path) -> list[Path]:
    """The images of a split: a folder, a list of folders, or a text file of paths."""
    listed = settings.get(split) or (settings.get("valid") if split == "val" else None)
    if not listed:
        known = [key for key in ("train", "val", "valid", "test") if settings.get(key)]
        raise DataError(f"{file} has no split '{split}'; it has: {choices(known)}")
    roots = [folder / str(settings.get("path") or "."), folder]
    found: list[Path] = []
    for each in listed if isinstance(listed, list) else [listed]:
        place = _there(str(each), roots)
        if place is None:
            raise DataError(f"{file}: the split '{split}' names {each}, which is not there")
        if place.is_dir():
            found += images_in(place, deep=True)
        else:
            around = [place.parent, *roots]
            found += [_there(line, around) or place.parent / line for line in _lines(place)]
    return found


def _there(named: str, roots: Sequence[Path]) -> Path | None:
    """A file or folder that settings name, seen from one of some folders.

    Settings were often written on another machine, or speak of a folder above: the last parts of
    the path then tell it; two at least of a folder, so that `val/images` is never `images`.
    """
    whole = [root / named for root in roots]
    parts = [
        part
        for part in PurePosixPath(named.replace("\\", "/")).parts
        if part not in ("/", ".", "..")
    ]
    tails = [parts[at:] for at in range(len(parts))]
    ways = [(root.joinpath(*tail), len(tail)) for tail in tails for root in roots]
    found = (way for way, length in ways if way.is_file() or (way.is_dir() and length > 1))
    return next((way for way in whole if way.exists()), None) or next(found, None)


def _lines(file: Path) -> tuple[str, ...]:
    """The lines of a file that are not empty."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())
