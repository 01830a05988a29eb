"""Small datasets of random numbers in the layouts in which others publish theirs.

Each function writes one into an empty folder; names are those of the registry.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from published_more import PUBLISHED_MORE
from published_own import PUBLISHED_OWN
from published_parts import S2, SIDE, reflectance, rgb, rng, write

from earthloom.datasets import load_entry


def _eurosat(prefix: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        draw, names = rng(prefix), []
        base = root / "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
        for name in load_entry("eurosat").classes:
            for number in (1, 2, 3):
                write(base / name / f"{name}_{number}.tif", reflectance(draw, 13, 64), placed=True)
            names.append(name)
        for number, split in enumerate(("train", "val", "test"), start=1):
            lines = "".join(f"{name}_{number}.jpg\n" for name in names)
            (root / f"{prefix}-{split}.txt").write_text(lines)

    return make


def _scenes(base: str, lists: str, dataset: str, suffix: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        draw = rng(dataset)
        for name in load_entry(dataset).classes:
            for number in (1, 2, 3):
                file = root / base / name / f"{name}{number:02d}{suffix}"
                write(file, rgb(draw, 32))
        for number, split in enumerate(("train", "val", "test"), start=1):
            if lists:
                names = load_entry(dataset).classes
                text = "".join(f"{name}{number:02d}{suffix}\n" for name in names)
                (root / f"{lists}-{split}.txt").write_text(text)

    return make


def _firerisk(root: Path) -> None:
    for split in ("train", "val"):
        for name in load_entry("firerisk").classes:
            write(root / "FireRisk" / split / name / "27032281_4.png", rgb(rng(name)))


def _loveda(root: Path) -> None:
    draw = rng("loveda")
    for split in ("Train", "Val", "Test"):
        for number, scene in enumerate(("Urban", "Rural")):
            write(root / split / scene / "images_png" / f"{number}.png", rgb(draw))
            if split != "Test":
                mask = draw.integers(0, 8, (SIDE, SIDE)).astype(np.uint8)
                write(root / split / scene / "masks_png" / f"{number}.png", mask)


def _landcoverai(root: Path) -> None:
    draw = rng("landcoverai")
    for number, split in enumerate(("train", "val", "test")):
        name = f"M-33-20-D-c-4-2_{number}"
        (root / f"{split}.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / f"{split}.txt").write_text(f"{name}\n")
        write(root / "output" / f"{name}.jpg", rgb(draw))
        mask = draw.integers(0, 5, (SIDE, SIDE)).astype(np.uint8)
        write(root / "output" / f"{name}_m.png", mask)


def _oscd(root: Path) -> None:
    draw, base = rng("oscd"), "Onera Satellite Change Detection dataset - "
    for split, city in (("Train", "abudhabi"), ("Test", "brasilia")):
        place = root / f"{base}Images" / city
        for at in (1, 2):
            for band in (*S2, "B10"):
                write(place / f"imgs_{at}_rect" / f"{band}.tif", reflectance(draw, 1))
        (place / "dates.txt").write_text("date_1: 20160120\ndate_2: 20180328\n")
        mask = (draw.random((SIDE, SIDE)) < 0.2).astype(np.uint8) * 255
        write(root / f"{base}{split} Labels" / city / "cm" / "cm.png", mask)


def _levir(plus: bool) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        draw = rng("levir")
        for split in ("train", "test") if plus else ("train", "val", "test"):
            for number in (1, 2):
                for part in ("A", "B", "label"):
                    place = root / "LEVIR-CD+" / split / part if plus else root / part
                    name = f"{number}.png" if plus else f"{split}_{number}.png"
                    mask = (draw.random((SIDE, SIDE)) < 0.3).astype(np.uint8) * 255
                    write(place / name, mask if part == "label" else rgb(draw))

    return make


def _inria(root: Path) -> None:
    draw, base = rng("inria"), root / "AerialImageDataset"
    for number in (1, 6, 7):
        write(base / "train/images" / f"austin{number}.tif", rgb(draw), placed=True)
        mask = (draw.random((SIDE, SIDE)) < 0.3).astype(np.uint8) * 255
        write(base / "train/gt" / f"austin{number}.tif", mask, placed=True)
    write(base / "test/images/bellingham1.tif", rgb(draw), placed=True)


def _deepglobe(root: Path) -> None:
    draw = rng("deepglobe")
    entry = load_entry("deepglobe-land-cover")
    table = [(int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in entry.colours]
    colours = np.array([*table, (0, 0, 0)], np.uint8)
    for split in ("training_data", "test_data"):
        write(root / "data" / split / "images" / "119_sat.jpg", rgb(draw))
        mask = colours[draw.integers(0, 7, (SIDE, SIDE))]
        write(root / "data" / split / "masks" / "119_mask.png", np.moveaxis(mask, -1, 0))


def _cabuar(root: Path) -> None:
    draw = rng("cabuar")
    root.mkdir(parents=True, exist_ok=True)
    folds = {"512x512.hdf5": (0, 1, 2), "chabud_test.h5": ("chabud",)}
    for file, each in folds.items():
        with h5py.File(root / file, "w") as store:
            for fold in each:
                group = store.create_group(f"uuid_{fold}")
                group.attrs["fold"] = fold
                for name in ("pre_fire", "post_fire"):
                    image = np.moveaxis(reflectance(draw, 12), 0, -1)
                    group.create_dataset(name, data=image)
                mask = (draw.random((SIDE, SIDE, 1)) < 0.3).astype(np.uint8)
                group.create_dataset("mask", data=mask)


def _so2sat(root: Path) -> None:
    draw = rng("so2sat")
    for name in ("training", "testing"):
        (root / "culture_10").mkdir(parents=True, exist_ok=True)
        with h5py.File(root / "culture_10" / f"{name}.h5", "w") as store:
            store["label"] = np.eye(17)[[0, 5, 16]]
            store["sen1"] = draw.normal(size=(3, 32, 32, 8))
            store["sen2"] = draw.uniform(0.01, 0.6, (3, 32, 32, 10))


PATCH = "S2A_MSIL2A_20170613T101031_{}_48"


def _patches(root: Path, sides: dict[str, int]) -> list[str]:
    """Sentinel-2 patches with their metadata."""
    draw, names = rng("bigearthnet"), [PATCH.format(at) for at in (87, 88, 89)]
    for name in names:
        for band in S2:
            step = 1200 / sides.get(band, 20)
            image = reflectance(draw, 1, sides.get(band, 20))
            write(root / name / f"{name}_{band}.tif", image, placed=True, step=step)
        labels = {"labels": ["Pastures", "Sea and ocean"], "acquisition_date": "2017-06-13"}
        (root / name / f"{name}_labels_metadata.json").write_text(json.dumps(labels))
    return names


NATIVE = dict.fromkeys(("B02", "B03", "B04", "B08"), 120) | dict.fromkeys(
    ("B05", "B06", "B07", "B8A", "B11", "B12"), 60
)


def _bigearthnet(root: Path) -> None:
    names = _patches(root / "BigEarthNet-v1.0", NATIVE)
    for name, split in zip(names, ("train", "val", "test"), strict=True):
        (root / f"bigearthnet-{split}.csv").write_text(f"{name},S1A_{name}\n")


def _reben(root: Path) -> None:
    draw, rows = rng("reben"), []
    tile = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    for number, split in enumerate(("train", "validation", "test")):
        patch = f"{tile}_{number}_57"
        for band in S2:
            image = reflectance(draw, 1, NATIVE.get(band, 20))
            file = root / "BigEarthNet-S2" / tile / patch / f"{patch}_{band}.tif"
            write(file, image, placed=True, step=1200 / image.shape[-1])
        area = np.full((120, 120), 231, np.uint16)
        map_ = root / "Reference_Maps" / tile / patch / f"{patch}_reference_map.tif"
        write(map_, area, placed=True)
        rows.append(
            {"patch_id": patch, "labels": ["Pastures", "Marine waters"], "split": split,
             "s1_name": "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_0_57"}
        )  # fmt: skip
    (root / "BigEarthNet-S1").mkdir()
    pd.DataFrame(rows).to_parquet(root / "metadata.parquet")


def _sen12ms(root: Path) -> None:
    draw = rng("sen12ms")
    for season in ("ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall", "ROIs2017_winter"):
        for kind in ("lc", "s1", "s2"):
            if kind == "lc":
                image = draw.integers(1, 18, (4, SIDE, SIDE)).astype(np.uint16)
            elif kind == "s1":
                image = draw.uniform(-25, 0, (2, SIDE, SIDE)).astype(np.float32)
            else:
                image = reflectance(draw, 13)
            file = root / season / f"{kind}_1" / f"{season}_{kind}_1_p30.tif"
            write(file, image, placed=True)
    for split, season in (("train", "ROIs1158_spring"), ("test", "ROIs2017_winter")):
        (root / f"{split}_list.txt").write_text(f"{season}_s2_1_p30.tif\n")


def _crop_yield(root: Path) -> None:
    draw, base = rng("yield"), root / "soybeans" / "usa"
    base.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        hists = draw.random((3, 32, 32, 9))
        np.savez(base / f"{split}_hists.npz", data=hists / hists.sum(axis=1, keepdims=True))
        np.savez(base / f"{split}_yields.npz", data=np.array([1.5, 2.5, 3.5]))
        np.savez(base / f"{split}_years.npz", data=np.array([2005, 2006, 2007]))
        np.savez(base / f"{split}_ndvi.npz", data=draw.random((3, 32)))


def _dfc2022(root: Path) -> None:
    draw = rng("dfc2022")
    for split in ("labeled_train", "unlabeled_train", "val"):
        base, name = root / split / "Nantes_Saint-Nazaire", "44-2013-0295-6713-LA93-0M50-E080"
        write(base / "BDORTHO" / f"{name}.tif", rgb(draw), placed=True, step=0.5)
        height = draw.uniform(0, 80, (1, SIDE // 2, SIDE // 2)).astype(np.float32)
        write(base / "RGEALTI" / f"{name}_RGEALTI.tif", height, placed=True, step=1.0)
        if split == "labeled_train":
            mask = draw.integers(0, 16, (SIDE, SIDE)).astype(np.uint8)
            write(base / "UrbanAtlas" / f"{name}_UA2012.tif", mask, placed=True, step=0.5)


VOC = """<annotation><folder>x</folder><filename>{file}</filename>
<size><width>16</width><height>16</height><depth>3</depth></size>{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax>
<ymax>{3}</ymax></bndbox></object>"""


def voc(file: Path, image: str, things: Sequence[tuple[str, tuple[int, int, int, int]]]) -> None:
    """A Pascal VOC file; bounds count pixels from 1."""
    file.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(OBJECT.format(*bounds, name=name) for name, bounds in things)
    file.write_text(VOC.format(file=image, objects=objects))


def _dior(root: Path) -> None:
    draw = rng("dior")
    (root / "ImageSets/Main").mkdir(parents=True)
    for number, split in ((1, "train"), (2, "val")):
        name = f"{number:05d}"
        write(root / "JPEGImages-trainval" / f"{name}.jpg", rgb(draw))
        file = root / "Annotations/Horizontal Bounding Boxes" / f"{name}.xml"
        voc(file, f"{name}.jpg", [("windmill", (3, 4, 8, 10)), ("airplane", (1, 1, 16, 16))])
        (root / "ImageSets/Main" / f"{split}.txt").write_text(f"{name}\n")


def _dota(root: Path) -> None:
    draw = rng("dota")
    for split in ("train", "val"):
        write(root / split / "images" / "P0001.png", rgb(draw))
        labels = root / split / "labelTxt" / "P0001.txt"
        labels.parent.mkdir(parents=True)
        labels.write_text(
            "imagesource:GoogleEarth\ngsd:0.146343590398\n"
            "2.0 1.0 8.0 3.0 7.0 6.0 1.0 4.0 small-vehicle 0\n"
            "4.0 4.0 10.0 4.0 10.0 9.0 4.0 9.0 plane 1\n"
        )


def _aid(root: Path) -> None:
    for name in load_entry("aid").classes:
        write(root / name / f"{name.lower()}_1.jpg", rgb(rng(name)))


def _native(root: Path) -> None:
    _patches(root, NATIVE)


PUBLISHED: dict[str, Callable[[Path], None]] = (
    {
        "eurosat": _eurosat("eurosat"),
        "eurosat-spatial": _eurosat("eurosat-spatial"),
        "eurosat-100": _eurosat("eurosat-100"),
        "ucmerced": _scenes("UCMerced_LandUse/Images", "uc_merced", "ucmerced", ".tif"),
        "resisc45": _scenes("NWPU-RESISC45", "resisc45", "resisc45", ".jpg"),
        "patternnet": _scenes("PatternNet/images", "", "patternnet", ".jpg"),
        "firerisk": _firerisk,
        "loveda": _loveda,
        "landcoverai": _landcoverai,
        "oscd": _oscd,
        "levir-cd": _levir(plus=False),
        "levir-cd-plus": _levir(plus=True),
        "inria": _inria,
        "deepglobe-land-cover": _deepglobe,
        "cabuar": _cabuar,
        "so2sat-lcz42": _so2sat,
        "bigearthnet": _bigearthnet,
        "bigearthnet-native": _native,
        "reben": _reben,
        "sen12ms": _sen12ms,
        "sustainbench-crop-yield": _crop_yield,
        "dfc2022": _dfc2022,
        "dior": _dior,
        "dota-v1.0": _dota,
        "aid": _aid,
    }
    | PUBLISHED_OWN
    | PUBLISHED_MORE
)
