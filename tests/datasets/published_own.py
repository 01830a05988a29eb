"""Small datasets of random numbers in the layouts that our own readers know."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from published_parts import SIDE, reflectance, rgb, rng, write

from earthloom.datasets import load_entry


def _pastis(root: Path) -> None:
    draw, features = rng("pastis"), []
    base = root / "PASTIS-R"
    for name in ("DATA_S2", "ANNOTATIONS"):
        (base / name).mkdir(parents=True)
    for fold in range(1, 6):
        patch, count = 10000 + fold, 38 + fold
        image = draw.integers(100, 6000, (count, 10, SIDE, SIDE)).astype(np.int16)
        np.save(base / "DATA_S2" / f"S2_{patch}.npy", image)
        target = draw.integers(0, 20, (3, SIDE, SIDE)).astype(np.uint8)
        np.save(base / "ANNOTATIONS" / f"TARGET_{patch}.npy", target)
        days = np.arange(count) * 5 + np.datetime64("2018-09-17")
        dates = {str(at): int(str(day).replace("-", "")) for at, day in enumerate(days)}
        properties = {"ID_PATCH": patch, "Fold": fold, "TILE": "t30uxv", "dates-S2": dates}
        features.append({"type": "Feature", "properties": properties, "geometry": None})
    table = {"type": "FeatureCollection", "features": features}
    (base / "metadata.geojson").write_text(json.dumps(table))


def _cropharvest(root: Path) -> None:
    draw, features = rng("cropharvest"), []
    (root / "features" / "arrays").mkdir(parents=True)
    for index in range(4):
        name = "geowiki-landcover-2017" if index % 2 else "togo"
        columns = [
            draw.uniform(-20, -5, (12, 2)),
            draw.integers(100, 6000, (12, 11)),
            draw.uniform(280, 310, (12, 1)),
            draw.uniform(0, 0.01, (12, 1)),
            np.full((12, 1), 350.0),
            np.full((12, 1), 2.5),
            draw.uniform(0, 1, (12, 1)),
        ]
        with h5py.File(root / "features" / "arrays" / f"{index}_{name}.h5", "w") as store:
            store["array"] = np.concatenate(columns, axis=1)
        properties = {
            "index": index, "dataset": name, "is_crop": index // 2, "lat": 8.5, "lon": 1.0 + index,
            "export_end_date": "2022-02-01T00:00:00", "label": None,
        }  # fmt: skip
        features.append({"type": "Feature", "properties": properties, "geometry": None})
    table = {"type": "FeatureCollection", "features": features}
    (root / "labels.geojson").write_text(json.dumps(table))


def _burn_scars(root: Path) -> None:
    draw = rng("burn")
    for split, tile in (("training", "T10SDH"), ("validation", "T11SKU")):
        name = f"subsetted_512x512_HLS.S30.{tile}.2020245.v1.4"
        image = draw.uniform(0.01, 0.5, (6, SIDE, SIDE)).astype(np.float32)
        write(root / split / f"{name}_merged.tif", image, placed=True, step=30)
        mask = draw.integers(-1, 2, (SIDE, SIDE)).astype(np.int16)
        write(root / split / f"{name}.mask.tif", mask, placed=True, step=30)


def _crop_chips(root: Path) -> None:
    draw, lines = rng("crops"), ["chip_id,first_img_date,middle_img_date,last_img_date"]
    for number, split in enumerate(("training_chips", "validation_chips")):
        name = f"chip_102_34{number}"
        image = draw.integers(100, 6000, (18, SIDE, SIDE)).astype(np.int16)
        write(root / split / f"{name}_merged.tif", image, placed=True, step=30)
        mask = draw.integers(0, 14, (SIDE, SIDE)).astype(np.uint8)
        write(root / split / f"{name}.mask.tif", mask, placed=True, step=30)
        lines.append(f"{name},2022-03-18,2022-06-06,2022-09-24")
    (root / "chip_df_final.csv").write_text("\n".join(lines))


def _sen1floods11(root: Path) -> None:
    draw, base = rng("sen1floods11"), root / "v1.1/data/flood_events/HandLabeled"
    lists = root / "v1.1/splits/flood_handlabeled"
    lists.mkdir(parents=True)
    for split, event in zip(
        ("train", "valid", "test", "bolivia"), ("Ghana", "India", "USA", "Bolivia"), strict=True
    ):
        name = f"{event}_103272"
        (lists / f"flood_{split}_data.csv").write_text(f"{name}_S1Hand.tif,{name}_LabelHand.tif\n")
        radar = draw.uniform(-25, 0, (2, SIDE, SIDE)).astype(np.float32)
        write(base / "S1Hand" / f"{name}_S1Hand.tif", radar, placed=True)
        optical = reflectance(draw, 13).astype(np.int16)
        write(base / "S2Hand" / f"{name}_S2Hand.tif", optical, placed=True)
        label = draw.integers(-1, 2, (SIDE, SIDE)).astype(np.int16)
        write(base / "LabelHand" / f"{name}_LabelHand.tif", label, placed=True)
    dates = {"location": "Ghana", "s1_date": "2018/09/18", "s2_date": "2018/09/19"}
    table = {"features": [{"properties": dates, "geometry": None}]}
    (root / "v1.1/Sen1Floods11_Metadata.geojson").write_text(json.dumps(table))


def _biomassters(root: Path) -> None:
    draw, rows = rng("biomassters"), ["filename,chip_id,satellite,split,month,corresponding_agbm"]
    for split, chip in (("train", "0003d2eb"), ("test", "001b0634")):
        for kind, months in (("S1", range(12)), ("S2", (1, 7, 8, 11))):
            for month in months:
                name = f"{chip}_{kind}_{month:02d}.tif"
                rows.append(f"{name},{chip},{kind},{split},x,{chip}_agbm.tif")
                radar = draw.uniform(-25, 0, (4, SIDE, SIDE)).astype(np.float32)
                radar[2:, :, :3] = -9999
                image = radar if kind == "S1" else reflectance(draw, 11)
                write(root / f"{split}_features" / name, image)
        if split == "train":
            biomass = draw.uniform(0, 300, (SIDE, SIDE)).astype(np.float32)
            write(root / "train_agbm" / f"{chip}_agbm.tif", biomass)
    (root / "biomassters_features_metadata.csv").write_text("\n".join(rows))


MADOS = {
    10: (492, 560, 665, 833),
    20: (704, 740, 783, 865, 1614, 2202),
    60: (443,),
}


def _mados(root: Path) -> None:
    draw, base = rng("mados"), root / "MADOS"
    (base / "splits").mkdir(parents=True)
    for number, split in enumerate(("train", "val", "test")):
        scene = f"Scene_{number}"
        (base / "splits" / f"{split}_X.txt").write_text(f"{scene}_7\n")
        for gsd, wavelengths in MADOS.items():
            side = 24 * 10 // gsd
            for wavelength in wavelengths:
                image = draw.uniform(0.001, 0.2, (side, side)).astype(np.float32)
                name = f"{scene}_L2R_rhorc_{wavelength}_7.tif"
                write(base / scene / str(gsd) / name, image)
        label = draw.integers(0, 16, (24, 24)).astype(np.uint8)
        write(base / scene / "10" / f"{scene}_L2R_cl_7.tif", label)
        write(base / scene / "10" / f"{scene}_L2R_conf_7.tif", label)


def _geobench(name: str, date: str = "", extra: tuple[str, ...] = ()) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        draw, entry = rng(name), load_entry(name)
        base = root / str(entry.source.arguments["folder"])
        base.mkdir(parents=True)
        listed = {split: [f"id_{at}{n}" for n in (0, 1)] for at, split in enumerate(entry.splits)}
        (base / "default_partition.json").write_text(json.dumps(listed))
        ids = [each for split in listed.values() for each in split]
        arrays = entry.source.arguments["arrays"]
        for each in ids:
            with h5py.File(base / f"{each}.hdf5", "w") as store:
                values = rgb(draw) if len(arrays) == 3 else reflectance(draw, len(arrays))
                for array, plane in zip(arrays, values, strict=True):
                    store[f"{array}{date}"] = plane.astype(np.int16)
                for array in extra:
                    store[f"{array}{date}"] = values[0].astype(np.int16)
                if entry.task == "pixel-class":
                    top = len(entry.classes) + len(entry.unlabelled)
                    label = draw.integers(0, top, (SIDE, SIDE)).astype(np.uint8)
                    store[f"label{date}" if name == "m-nz-cattle" else "label"] = label
                store.attrs["pickle"] = "b'no reader of ours looks at this'"
        if entry.task == "scene-class":
            (base / "label_map.json").write_text(json.dumps({"4": ids[::2], "0": ids[1::2]}))
        if entry.task == "scene-labels":
            vector = [float(at in (4, 17)) for at in range(len(entry.classes))]
            (base / "label_stats.json").write_text(json.dumps(dict.fromkeys(ids, vector)))

    return make


SHIP = """<HRSC_Object><Class_ID>100000{kind}</Class_ID><box_xmin>2</box_xmin><mbox_cx>{0}</mbox_cx>
<mbox_cy>{1}</mbox_cy><mbox_w>{2}</mbox_w><mbox_h>{3}</mbox_h><mbox_ang>{4}</mbox_ang>
</HRSC_Object>"""


def _hrsc(root: Path) -> None:
    draw, base = rng("hrsc"), root / "HRSC2016"
    for folder in ("FullDataSet/Annotations", "ImageSets"):
        (base / folder).mkdir(parents=True)
    names = {"train": "100000001", "val": "100000002", "test": "100000003"}
    for split, name in names.items():
        write(base / "FullDataSet/AllImages" / f"{name}.bmp", rgb(draw))
        ships = SHIP.format(8, 6, 10, 4, 0.0, kind="02") + SHIP.format(
            8, 8, 6, 2, 1.5708, kind="13"
        )
        text = (
            f"<HRSC_Image><Img_ID>{name}</Img_ID><HRSC_Objects>{ships}</HRSC_Objects></HRSC_Image>"
        )
        (base / "FullDataSet/Annotations" / f"{name}.xml").write_text(text)
        (base / "ImageSets" / f"{split}.txt").write_text(f"{name}\n")
    both = f"{names['train']}\n{names['val']}\n"
    (base / "ImageSets/trainval.txt").write_text(both)


CLOUDS = ("Cloud Probability",)
PUBLISHED_OWN: dict[str, Callable[[Path], None]] = {
    "pastis": _pastis,
    "cropharvest": _cropharvest,
    "hls-burn-scars": _burn_scars,
    "hls-crops": _crop_chips,
    "sen1floods11": _sen1floods11,
    "mados": _mados,
    "hrsc2016": _hrsc,
    "biomassters": _biomassters,
    "m-eurosat": _geobench("m-eurosat"),
    "m-bigearthnet": _geobench("m-bigearthnet"),
    "m-cashew-plant": _geobench("m-cashew-plant", "_2019-11-20", CLOUDS),
    "m-sa-crop-type": _geobench("m-sa-crop-type", "", CLOUDS),
    "m-nz-cattle": _geobench("m-nz-cattle", "_2017-01-01"),
    "m-pv4ger-seg": _geobench("m-pv4ger-seg"),
}
