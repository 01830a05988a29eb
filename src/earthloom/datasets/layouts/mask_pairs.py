"""Which mask belongs to which image, by folders and names."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earthloom.datasets.imagery import Imagery, folders_in, hidden, images_in, size_of
from earthloom.datasets.layouts.items import MISSING, named_in, size_or_reason
from earthloom.datasets.layouts.scenes import SPLITS
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Shape2d, Window

_LISTS = ("", "splits", "ImageSets/Segmentation")
"""Folders in which lists `SPLIT.txt` lie."""


@dataclass(frozen=True)
class Named:
    """A kind of files: their folder, and what their names have before and behind NAME."""

    folder: str
    prefix: str = ""
    suffix: str = ""

    def key(self, path: Path) -> str | None:
        """NAME; None for a file of another kind."""
        stem = path.stem
        if not (stem.startswith(self.prefix) and stem.endswith(self.suffix)):
            return None
        return stem.removeprefix(self.prefix).removesuffix(self.suffix) or None

    def files(self, place: Path, alone: bool = False) -> dict[str, Path]:
        """Files by NAME, with the folders between where the kind has a folder of its own. Of a kind
        that is `alone` in its folder, those named otherwise count too."""
        root = place / self.folder
        paths = images_in(root, deep=bool(self.folder))
        keys = ((path, self.key(path) or (path.stem if alone else None)) for path in paths)
        found: dict[str, Path] = {}
        for path, key in keys:
            name = None if key is None else (path.relative_to(root).parent / key).as_posix()
            if name in found:
                raise DataError(f"{found[name]} and {path} have the same name '{name}'")
            if name is not None:
                found[name] = path
        return found


@dataclass(frozen=True)
class Pair:
    """An image, or a piece of it, with its masks."""

    image: Path
    masks: tuple[Path | None, ...]
    """One of all classes, or one a class; None where there is none of a class."""
    id: str
    group: str
    part: Window | None = None


@dataclass(frozen=True)
class _Search:
    """Where pairs are looked for."""

    root: Path
    images: Named
    masks: tuple[Named, ...]
    only: frozenset[str] | None = None
    """Names of the split, where a list says them."""

    def wants(self, name: str) -> bool:
        return self.only is None or name.rpartition("/")[2] in self.only


def find_pairs(
    folder: Path,
    imagery: Imagery,
    images: Named,
    masks: Sequence[Named],
    split: str,
    size: int,
) -> tuple[list[Pair], Counter[str]]:
    """Images with their masks, in pieces of `size` pixels, and why others are left out."""
    search = _search(folder, images, tuple(masks), split)
    skipped, pairs, seen = Counter[str](), list[Pair](), set[str]()
    for place in _places(search):
        known = [kind.files(place) for kind in search.masks]
        others = {path for files in known for path in files.values()}
        alone = search.images.folder not in {kind.folder for kind in search.masks}
        for name, image in search.images.files(place, alone).items():
            found = tuple(files.get(name) for files in known)
            if image in others or not search.wants(name):
                continue
            seen.add(name)
            if not any(found):
                skipped["without a mask"] += 1
            elif whole := size_or_reason(image, skipped, imagery):
                group = (place / name).parent.relative_to(search.root).as_posix()
                pair = Pair(image, found, _name(search.root, image), group)
                pieces = _pieces(pair, whole, size)
                skipped[f"smaller than {size} pixels"] += not pieces
                pairs += pieces
    if not pairs:
        raise _nothing(search, +skipped)
    if search.only is not None:
        met = {name.rpartition("/")[2] for name in seen}
        skipped[MISSING] += len(search.only - met)
    several = len({pair.group for pair in pairs}) > 1
    if not several:
        pairs = [replace(pair, group=_name(search.root, pair.image)) for pair in pairs]
    return pairs, +skipped


def _search(folder: Path, images: Named, masks: tuple[Named, ...], split: str) -> _Search:
    """Where a split lies: a folder, a folder within those of images and masks, or a list."""
    if not split or (folder / split).is_dir():
        return _Search(folder / split, images, masks)
    within = [replace(kind, folder=f"{kind.folder}/{split}") for kind in (images, *masks)]
    if all((folder / kind.folder).is_dir() for kind in within):
        return _Search(folder, within[0], tuple(within[1:]))
    lists = [folder / each / f"{split}.txt" for each in _LISTS]
    file = next((each for each in lists if each.is_file()), None)
    if file is None:
        ways = choices([folder / split, folder / within[0].folder, *lists])
        raise DataError(f"the split '{split}' is none of: {ways}")
    return _Search(folder, images, masks, frozenset(named_in(file)))


def _places(search: _Search) -> list[Path]:
    """The folders that have the folders of images and masks in them."""
    root, kinds = search.root, (search.images, *search.masks)
    inside = [root, *(path for path in sorted(root.rglob("*")) if path.is_dir())]
    shown = [path for path in inside if not any(map(hidden, path.relative_to(root).parts))]
    found = [path for path in shown if all((path / kind.folder).is_dir() for kind in kinds)]
    if not found:
        names = " and ".join(dict.fromkeys(f"'{kind.folder}'" for kind in kinds))
        raise DataError(
            f"no folder in {root} has the folders {names} in it; its folders are: "
            f"{choices(path.relative_to(root).as_posix() for path in shown[1:12])}; "
            "name the right ones as 'images' and 'masks'"
        )
    folders = folders_in(found[0] / search.images.folder) if search.images.folder else []
    if folders and {path.name.casefold() for path in folders} <= SPLITS:
        raise DataError(
            f"{found[0] / search.images.folder} holds the splits "
            f"{choices(path.name for path in folders)}; name one as 'split'"
        )
    return found


def _nothing(search: _Search, skipped: Counter[str]) -> DataError:
    """The error where no image has a mask, with names as they are."""
    place = _places(search)[0]
    kinds = {"images": search.images, "masks": search.masks[0]}
    seen = []
    for what, kind in kinds.items():
        files = images_in(place / kind.folder, deep=bool(kind.folder))
        seen.append(f"{what} such as {files[0].name if files else _other(place / kind.folder)}")
    why = "; ".join(f"{count} {reason}" for reason, count in skipped.items()) or "none is there"
    return DataError(
        f"{search.root} has no image with a mask: {why}; there are {', '.join(seen)}; what their "
        "names differ in is said by image_prefix, image_suffix, mask_prefix, mask_suffix"
    )


def _other(folder: Path) -> str:
    """A file of a folder without images, and why it is passed over."""
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    return f"{files[0]}, which is no image" if files else "(none)"


def _pieces(pair: Pair, whole: Shape2d, size: int) -> list[Pair]:
    """A pair in square pieces; the last ones lie at the edges. None if it is smaller."""
    if not size:
        return [pair]
    for mask in pair.masks:
        other = None if mask is None else size_of(mask)
        if other is not None and other != whole:
            raise other_size(mask, other, whole)
    if min(whole) < size:
        return []
    starts = [sorted({*range(0, side - size, size), side - size}) for side in whole]
    shape = Shape2d(size, size)
    return [
        replace(pair, id=f"{pair.id}_{row}_{col}", part=Window(row, col, shape))
        for row in starts[0]
        for col in starts[1]
    ]


def other_size(mask: Path | None, size: Shape2d, whole: Shape2d) -> LabelError:
    """The error for a mask that is not of its image's size."""
    return LabelError(
        f"the mask {mask} has {size.rows} x {size.cols} pixels, but its image has "
        f"{whole.rows} x {whole.cols}"
    )


def _name(root: Path, image: Path) -> str:
    return image.relative_to(root).with_suffix("").as_posix()
