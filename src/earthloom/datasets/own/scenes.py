"""Readers of scenes with a mask each: burn scars, crops, floods, debris, fields, changes."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from earthloom.datasets.model import Entry
from earthloom.datasets.own.files import (
    day_of,
    day_of_year,
    features_of,
    inside,
    listed_in,
    text_of,
)
from earthloom.datasets.own.rasters import Scene, only_label, raster_samples
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError

_HLS = re.compile(r"HLS\.[SL]30\.(?P<tile>T\w{5})\.(?P<date>\d{7})")


def read_merged(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """Chips of HLS: `SPLIT/NAME_merged.tif` with `SPLIT/NAME.mask.tif`.

    Names as of HLS' granules tell the date, and the tile that is the group; else a table
    `chip_df_final.csv` may tell the dates of `chip_id`, and a chip is its own group.
    """
    root, scenes, skipped = folder / entry.splits[split], list[Scene](), Counter[str]()
    if not root.is_dir():
        raise DataError(f"{entry.name}: there is no folder {root}")
    tabled = _chip_dates(folder / "chip_df_final.csv")
    for image in sorted(root.glob("*_merged.tif")):
        name = image.name.removesuffix("_merged.tif")
        mask = image.with_name(f"{name}.mask.tif")
        if not mask.is_file():
            skipped["without a mask"] += 1
            continue
        found = _HLS.search(name)
        days = (day_of_year(found["date"]),) if found else tabled.get(name, ())
        group = found["tile"] if found else name
        scenes.append(Scene(name, group, (((image,),),), (days,), mask, (mask,)))
    return raster_samples(entry, folder, scenes, skipped, only_label)


def read_sen1floods11_lists(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """Sen1Floods11 v1.1 as published: `data/flood_events/HandLabeled/{S1,S2,Label}Hand`, the lists
    `splits/flood_handlabeled/flood_SPLIT_data.csv`, and `Sen1Floods11_Metadata.geojson` for the
    dates; in the folder or in `v1.1`. Groups are flood events."""
    root = inside(folder, "v1.1")
    names = _listed(root / "splits" / "flood_handlabeled", entry.splits[split])
    base = root / "data" / "flood_events" / "HandLabeled"
    dates = _flood_dates(root / "Sen1Floods11_Metadata.geojson")
    scenes, skipped = list[Scene](), Counter[str]()
    for name in names:
        label, *images = [
            base / f"{kind}Hand" / f"{name}_{kind}Hand.tif" for kind in ("Label", "S1", "S2")
        ]
        if not all(file.is_file() for file in (label, *images)):
            skipped["without an image"] += 1
            continue
        event = name.partition("_")[0]
        files = tuple(((image,),) for image in images)
        days = dates.get(event.casefold(), ((), ()))
        scenes.append(Scene(name, event, files, days, label, (label,)))
    return raster_samples(entry, folder, scenes, skipped, only_label)


def read_mados(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """MADOS (Kikaki et al. 2024): `SCENE/{10,20,60}/SCENE_L2R_rhorc_WAVELENGTH_CROP.tif`, their
    classes in `SCENE/10/SCENE_L2R_cl_CROP.tif`, and the lists `splits/SPLIT_X.txt`. Groups are
    scenes. Wavelengths differ between the two satellites; bands are told by their order."""
    root = inside(folder, "MADOS")
    listed = text_of(root / "splits" / f"{entry.splits[split]}_X.txt").split()
    scenes, skipped = list[Scene](), Counter[str]()
    for name in sorted(listed):
        scene, _, crop = name.rpartition("_")
        files = tuple(
            (_by_wavelength(root / scene / f"{layer.gsd:g}", crop),) for layer in entry.layers
        )
        label = root / scene / "10" / f"{scene}_L2R_cl_{crop}.tif"
        wanted = [len(layer.bands) for layer in entry.layers]
        if [len(each[0]) for each in files] != wanted or not label.is_file():
            skipped["not whole"] += 1
            continue
        scenes.append(Scene(name, scene, files, ((),) * len(files), label, (label,)))
    return raster_samples(entry, folder, scenes, skipped, only_label)


def read_pairs(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """Two images of a place and a mask, of one name in three folders: the arguments `before`,
    `after` and `masks` of the entry, in which SPLIT stands for the reader's name of the split, and
    what names end with comes after `*`: `SPLIT/images/*_pre_disaster.png`."""
    parts = [listed_in(entry, name)[0] for name in ("before", "after", "masks")]
    patterns = [part.replace("SPLIT", entry.splits[split]) for part in parts]
    before, after, masks = (_by_name(folder, pattern) for pattern in patterns)
    scenes, skipped = list[Scene](), Counter[str]()
    for name, first in before.items():
        second, mask = after.get(name), masks.get(name)
        if second is None:
            skipped["without a second date"] += 1
        elif mask is None:
            skipped["without a mask"] += 1
        else:
            files = (((first,), (second,)),)
            scenes.append(Scene(name, name, files, ((),), mask, (mask,)))
    return raster_samples(entry, folder, scenes, skipped, only_label)


def read_fields(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """Fields of the World (Kerner et al. 2025), whatever countries are there:
    `COUNTRY/chips_COUNTRY.parquet` with the splits, `COUNTRY/s2_images/window_{a,b}/AOI.tif`, and
    `COUNTRY/label_masks/semantic_3class/AOI.tif`. Groups are countries."""
    scenes, skipped = list[Scene](), Counter[str]()
    for file in sorted(folder.glob("*/chips_*.parquet")):
        root, country = file.parent, file.stem.removeprefix("chips_")
        for aoi in _fields_of(file, entry.splits[split]):
            images = [root / "s2_images" / f"window_{at}" / f"{aoi}.tif" for at in "ab"]
            mask = root / "label_masks" / "semantic_3class" / f"{aoi}.tif"
            if not all(image.is_file() for image in (*images, mask)):
                skipped["not whole"] += 1
                continue
            files = (tuple((image,) for image in images),)
            scenes.append(Scene(f"{country}/{aoi}", country, files, ((),), mask, (mask,)))
    return raster_samples(entry, folder, scenes, skipped, only_label)


def read_flair(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """FLAIR #1 (Garioud et al. 2022): `IMAGES/DOMAIN/ZONE/img/IMG_N.tif` with
    `LABELS/DOMAIN/ZONE/msk/MSK_N.tif`; a split is the two folders. Groups are domains."""
    places = [folder / part for part in entry.splits[split].split(",")]
    scenes, skipped = list[Scene](), Counter[str]()
    for image in sorted(places[0].glob("*/*/img/IMG_*.tif")):
        domain, zone = image.parts[-4:-2]
        number = image.stem.removeprefix("IMG_")
        mask = places[1] / domain / zone / "msk" / f"MSK_{number}.tif"
        if not mask.is_file():
            skipped["without a mask"] += 1
            continue
        count = len(entry.layers)
        files = (((image,),),) * count
        scenes.append(Scene(number, domain, files, ((),) * count, image, (mask,)))
    return raster_samples(entry, folder, scenes, skipped, only_label)


def _fields_of(table: Path, split: str) -> list[str]:
    import pandas as pd

    try:
        rows = pd.read_parquet(table, columns=["aoi_id", "split"])
    except (OSError, ValueError, KeyError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"the table {table} cannot be read: {words}") from error
    return sorted(str(aoi) for aoi in rows.loc[rows["split"] == split, "aoi_id"])


def _by_name(folder: Path, pattern: str) -> dict[str, Path]:
    """Files of a pattern by what stands for its `*`, in the order of their names."""
    end = pattern.partition("*")[2]
    return {file.name.removesuffix(end): file for file in sorted(folder.glob(pattern))}


def _by_wavelength(folder: Path, crop: str) -> tuple[Path, ...]:
    """The files of a crop's bands, by the number in their names."""
    found = {}
    for file in folder.glob(f"*_rhorc_*_{crop}.tif"):
        part = re.search(rf"_rhorc_(\d+)_{re.escape(crop)}\.tif$", file.name)
        if part:
            found[int(part[1])] = file
    return tuple(found[wavelength] for wavelength in sorted(found))


def _listed(folder: Path, split: str) -> list[str]:
    """The names in a list of a split: the first column, without what stands after the number."""
    ways = [folder / f"flood_{split}_data{suffix}" for suffix in (".csv", ".txt")]
    file = next((way for way in ways if way.is_file()), ways[0])
    rows = csv.reader(text_of(file).splitlines())
    names = (re.match(r"[A-Za-z-]+_\d+", row[0].strip()) for row in rows if row)
    return sorted({name[0] for name in names if name})


def _flood_dates(file: Path) -> Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """The day of Sentinel-1 and of Sentinel-2 of each event that a table tells once."""
    if not file.is_file():
        return {}
    found: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for each in features_of(file):
        event = str(each.get("location", "")).casefold()
        first, second = (_day(each.get(key)) for key in ("s1_date", "s2_date"))
        found[event] = ((), ()) if event in found else (first, second)
    return found


def _chip_dates(file: Path) -> Mapping[str, tuple[int, ...]]:
    """Three days of each chip, where there is a table of them."""
    if not file.is_file():
        return {}
    rows: Iterable[Mapping[str, str]] = csv.DictReader(text_of(file).splitlines())
    keys = ("first_img_date", "middle_img_date", "last_img_date")
    return {
        row["chip_id"]: tuple(day_of(row[key]) for key in keys)
        for row in rows
        if all(row.get(key) for key in ("chip_id", *keys))
    }


def _day(date: object) -> tuple[int, ...]:
    return (day_of(str(date)),) if date else ()
