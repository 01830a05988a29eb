"""Small datasets of random numbers in the layouts that further readers of TorchGeo's know, and
those of pairs, fields and land cover that are ours."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from published_parts import SIDE, reflectance, rgb, rng, write

from earthloom.datasets import load_entry


def _pairs(
    splits: tuple[str, ...], before: str, after: str, masks: str, values: tuple[int, ...]
) -> Callable[[Path], None]:
    """Files whose names have `{}` for the split, in three folders."""

    def make(root: Path) -> None:
        draw = rng(before)
        for split in splits:
            write(root / before.format(split), rgb(draw))
            write(root / after.format(split), rgb(draw))
            write(root / masks.format(split), draw.choice(values, (SIDE, SIDE)).astype(np.uint8))

    return make


def _fields(root: Path) -> None:
    draw = rng("fields")
    for country in ("austria", "south_africa"):
        base, rows = root / country, []
        for number, split in enumerate(("train", "val", "test")):
            aoi = f"g{number}_00012_4"
            rows.append({"aoi_id": aoi, "split": split})
            for part in ("s2_images/window_a", "s2_images/window_b"):
                write(base / part / f"{aoi}.tif", reflectance(draw, 4), placed=True)
            mask = draw.integers(0, 4, (SIDE, SIDE)).astype(np.uint8)
            write(base / "label_masks/semantic_3class" / f"{aoi}.tif", mask, placed=True)
        pd.DataFrame(rows).to_parquet(base / f"chips_{country}.parquet")


def _flair(root: Path) -> None:
    draw = rng("flair")
    for images, labels, domain in (
        ("flair_aerial_train", "flair_labels_train", "D004_2021"),
        ("flair_1_aerial_test", "flair_1_labels_test", "D064_2021"),
    ):
        image = draw.integers(1, 256, (5, SIDE, SIDE)).astype(np.uint8)
        file = root / images / domain / "Z1_NN" / "img" / "IMG_000001.tif"
        write(file, image, placed=True, step=0.2)
        mask = draw.integers(1, 20, (SIDE, SIDE)).astype(np.uint8)
        file = root / labels / domain / "Z1_NN" / "msk" / "MSK_000001.tif"
        write(file, mask, placed=True, step=0.2)


def _vhr10(root: Path) -> None:
    draw, base = rng("vhr10"), root / "NWPU VHR-10 dataset"
    for number in (1, 2):
        write(base / "positive image set" / f"{number:03d}.jpg", rgb(draw))
    write(base / "negative image set" / "001.jpg", rgb(draw))
    images = [
        {"id": at, "file_name": f"{at + 1:03d}.jpg", "height": SIDE, "width": SIDE} for at in (0, 1)
    ]
    things = [
        {"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 2, 4, 6], "area": 24, "iscrowd": 0,
         "segmentation": [[1, 2, 5, 2, 5, 8, 1, 8]]},
        {"id": 1, "image_id": 1, "category_id": 10, "bbox": [0, 0, 3, 3], "area": 5, "iscrowd": 0,
         "segmentation": [[0, 0, 3, 0, 3, 3]]},
    ]  # fmt: skip
    names = load_entry("vhr10").classes
    kinds = [{"id": at, "name": name} for at, name in enumerate(names, start=1)]
    table = {"images": images, "annotations": things, "categories": kinds}
    (base / "annotations.json").write_text(json.dumps(table))


def _isprs(name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        draw, entry = rng(name), load_entry(name)
        colours = np.array([tuple(bytes.fromhex(each[1:])) for each in entry.colours], np.uint8)
        for tile in {
            "potsdam": ("top_potsdam_2_10", "top_potsdam_5_15"),
            "vaihingen": ("top_mosaic_09cm_area1", "top_mosaic_09cm_area6"),
        }[name]:
            bands = len(entry.layers[0].bands)
            image = draw.integers(1, 256, (bands, SIDE, SIDE)).astype(np.uint8)
            mask = np.moveaxis(colours[draw.integers(0, 6, (SIDE, SIDE))], -1, 0)
            if name == "potsdam":
                write(root / "4_Ortho_RGBIR" / f"{tile}_RGBIR.tif", image, placed=True, step=0.05)
                write(root / f"{tile}_label.tif", mask)
            else:
                write(root / "top" / f"{tile}.tif", image, placed=True, step=0.09)
                write(root / f"{tile}.tif", mask)

    return make


def _cloud_cover(root: Path) -> None:
    draw = rng("clouds")
    for split in ("train", "test"):
        base, chip = root / split, f"{split[:2]}aa"
        for band in ("B02", "B03", "B04", "B08"):
            write(base / f"{split}_features" / chip / f"{band}.tif", reflectance(draw, 1), True)
        mask = draw.integers(0, 2, (SIDE, SIDE)).astype(np.uint8)
        write(base / f"{split}_labels" / f"{chip}.tif", mask, placed=True)
        row = {"chip_id": chip, "location": "Chifunfu", "datetime": "2020-04-29T08:20:47Z"}
        pd.DataFrame([row]).to_csv(base / f"{split}_metadata.csv", index=False)


def _substation(root: Path) -> None:
    draw = rng("substation")
    (root / "image_stack").mkdir(parents=True)
    (root / "mask").mkdir()
    for number, dates in enumerate((5, 4, 2)):
        image = draw.integers(100, 6000, (dates, 13, SIDE, SIDE)).astype(np.float64)
        np.savez(root / "image_stack" / f"image_{number}.npz", image)
        mask = draw.integers(0, 5, (SIDE, SIDE)).astype(np.float64)
        np.savez(root / "mask" / f"image_{number}.npz", mask)


def _treesatai(sensor: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        draw, labels = rng("treesatai"), {}
        (root / "labels").mkdir(parents=True)
        for number, split in enumerate(("train", "test")):
            name = f"Abies_alba_1_8383{number}_WEFL_NLF.tif"
            aerial = draw.integers(1, 256, (4, 304, 304)).astype(np.uint8)
            optical = reflectance(draw, 12, 6)
            folder = root / sensor / "60m"
            image, step = (aerial, 0.2) if sensor == "aerial" else (optical, 10.0)
            write(folder / name, image, placed=True, step=step)
            (root / f"{split}_filenames.lst").write_text(f"{name}\n")
            labels[name] = [["Abies", 0.93], ["Tilia", 0.07]]
        (root / "labels" / "TreeSatBA_v9_60m_multi_labels.json").write_text(json.dumps(labels))

    return make


def _copernicus_eurosat(root: Path) -> None:
    draw, base = rng("cb"), root / "eurosat_s2"
    for number, split in enumerate(("train", "val", "test")):
        name = f"Highway_{number}"
        write(base / "all_imgs" / "Highway" / f"{name}.tif", reflectance(draw, 13), placed=True)
        (base / f"eurosat-{split}.txt").write_text(f"{name}.jpg\n")


def _copernicus_cloud(root: Path) -> None:
    draw, base = rng("cbc"), root / "cloud_s2"
    for number, split in enumerate(("train", "val", "test")):
        name = f"ROI_0000{number}__20180618T101021_20180618T101024_T33UUP"
        write(base / "s2_toa" / f"{name}.tif", reflectance(draw, 13), placed=True)
        mask = draw.integers(0, 4, (SIDE, SIDE)).astype(np.uint8)
        write(base / "cloud" / f"{name}.tif", mask, placed=True)
        (base / f"{split}.csv").write_text(f"{name}\n")


def _copernicus_dfc(kind: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        draw, base = rng("dfc2020"), root / "dfc2020_s1s2"
        for number, split in enumerate(("train", "val", "test")):
            name = f"ROIs0000_validation_dfc_0_p{number}.tif"
            radar = draw.uniform(-25, 0, (2, SIDE, SIDE)).astype(np.float32)
            image = radar if kind == "s1" else reflectance(draw, 13)
            write(base / kind / name.replace("dfc", kind), image, placed=True)
            mask = draw.integers(0, 11, (SIDE, SIDE)).astype(np.uint8)
            write(base / "dfc" / name, mask, placed=True)
            (base / f"dfc-{split}-new.csv").write_text(f"{name}\n")

    return make


def _copernicus_bigearthnet(kind: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        draw, base = rng("cbb"), root / "bigearthnet_s1s2"
        names = [f"class_{number}" for number in range(19)]
        for split in ("train", "val", "test"):
            radar = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39.tif"
            optical = f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{split}.tif"
            backscatter = draw.uniform(-25, 0, (2, SIDE, SIDE)).astype(np.float32)
            image = backscatter if kind == "s1" else reflectance(draw, 12)
            file = base / f"BigEarthNet-{kind.upper()}-5%" / (radar if kind == "s1" else optical)
            write(file, image, placed=True)
            row = [radar, optical, *(int(at in (4, 18)) for at in range(19))]
            table = pd.DataFrame([row], columns=["s1", "s2", *names])
            table.to_csv(base / f"multilabel-{split}.csv", index=False)

    return make


def _copernicus_lcz(root: Path) -> None:
    draw = rng("lcz")
    root.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        with h5py.File(root / f"lcz_{split}.h5", "w") as store:
            store["sen2"] = draw.uniform(0.01, 0.6, (3, 32, 32, 10)).astype(np.float32)
            store["label"] = np.eye(17)[[0, 5, 16]]


def _spacenet(root: Path) -> None:
    draw, base = rng("spacenet"), root / "SN1_buildings"
    ring = [[[14.99, 45.14], [15.01, 45.14], [15.01, 45.17], [14.99, 45.17], [14.99, 45.14]]]
    for split in ("train", "test"):
        for number in (1, 2):
            name = f"AOI_1_RIO_img{number}"
            write(base / split / "3band" / f"3band_{name}.tif", rgb(draw), placed=True, step=0.5)
            if split == "train":
                outline = {"type": "Polygon", "coordinates": ring}
                thing = {"type": "Feature", "properties": {}, "geometry": outline}
                table = {"type": "FeatureCollection", "features": [thing]}
                (base / split / "geojson").mkdir(exist_ok=True)
                file = base / split / "geojson" / f"Geo_{name}.geojson"
                file.write_text(json.dumps(table))


def _bright(root: Path) -> None:
    draw, base = rng("bright"), root / "dfc25_track2_trainval"
    for split, part, name in (
        ("train_setlevel", "train", "bata-explosion_00000000"),
        ("holdout_setlevel", "train", "turkey-earthquake_00000001"),
        ("val_setlevel", "val", "hawaii-wildfire_00000002"),
    ):
        write(base / part / "pre-event" / f"{name}_pre_disaster.tif", rgb(draw), placed=True)
        radar = draw.integers(1, 256, (1, SIDE, SIDE)).astype(np.uint8)
        write(base / part / "post-event" / f"{name}_post_disaster.tif", radar, placed=True)
        if part == "train":
            mask = draw.integers(0, 4, (SIDE, SIDE)).astype(np.uint8)
            write(base / part / "target" / f"{name}_building_damage.tif", mask, placed=True)
        (base / f"{split}.txt").write_text(f"{name}\n")


def _reforestree(root: Path) -> None:
    draw, name = rng("reforestree"), "Carlos Vera Arteaga RGB_0_0_0_4000_4000.png"
    write(root / "tiles" / "Carlos Vera Arteaga RGB" / name, rgb(draw))
    rows = [[name, 2.0, 3.0, 8.0, 9.0, "cacao", 6.75], [name, 0.0, 0.0, 4.0, 4.0, "timber", 20.5]]
    columns = ["img_path", "xmin", "ymin", "xmax", "ymax", "group", "AGB"]
    (root / "mapping").mkdir()
    pd.DataFrame(rows, columns=columns).to_csv(root / "mapping" / "final_dataset.csv")


def _debris(root: Path) -> None:
    name = "20160928_153233_0e16_16816-29821-16"
    write(root / "source" / f"{name}.tif", rgb(rng("debris")), placed=True, step=3.0)
    (root / "labels").mkdir()
    np.save(root / "labels" / f"{name}.npy", np.array([[1, 2, 7, 9, 1], [4, 4, 4, 6, 1]]))


def _everwatch(root: Path) -> None:
    draw, base = rng("everwatch"), root / "everwatch-benchmark"
    for split, label in (("train", "Wood Stork"), ("test", "Unknown White")):
        name = f"Joule_05_05_2021_{split}.png"
        write(base / name, rgb(draw))
        rows = [
            [1, 2, 5, 6, label, name],
            [0, 0, 4, 3, "Anhinga", name],
            [7, 7, 7, 9, "Anhinga", name],
        ]
        columns = ["xmin", "ymin", "xmax", "ymax", "label", "image_path"]
        pd.DataFrame(rows, columns=columns).to_csv(base / f"{split}.csv", index=False)


def _caffe(root: Path) -> None:
    draw, base = rng("caffe"), root / "caffe"
    for split in ("train", "val", "test"):
        name = "Crane_2002-11-09_ERS_20_2_061_{}__93_102_0_0_0.png"
        image = draw.integers(1, 256, (SIDE, SIDE)).astype(np.uint8)
        write(base / "sar_images" / split / name.replace("_{}_", "_"), image)
        zones = draw.choice((0, 64, 127, 254), (SIDE, SIDE)).astype(np.uint8)
        write(base / "zones" / split / name.format("zones"), zones)
        front = draw.choice((0, 255), (SIDE, SIDE)).astype(np.uint8)
        write(base / "fronts" / split / name.format("front"), front)


def _chabud(root: Path) -> None:
    draw = rng("chabud")
    with h5py.File(root / "train_eval.hdf5", "w") as store:
        for fold in range(5):
            group = store.create_group(f"uuid_{fold}")
            group.attrs["fold"] = fold
            for name in ("pre_fire", "post_fire"):
                group[name] = np.moveaxis(reflectance(draw, 12), 0, -1)
            group["mask"] = (draw.random((SIDE, SIDE, 1)) < 0.3).astype(np.uint16)


def _l8biome(root: Path) -> None:
    draw, name = rng("l8biome"), "LC81930282014101LGN00"
    base = root / "forest" / name
    image = draw.integers(6000, 30000, (11, 300, 300)).astype(np.uint16)
    write(base / f"{name}.TIF", image, placed=True, step=30)
    mask = draw.choice((0, 64, 128, 192, 255), (300, 300)).astype(np.uint8)
    write(base / f"{name}_fixedmask.TIF", mask, placed=True, step=30)


def _naip_nlcd(root: Path) -> None:
    draw = rng("naip")
    image = draw.integers(1, 256, (4, 300, 300)).astype(np.uint8)
    image_file = root / "m_4509533_ne_33_060_20230629.tif"
    write(image_file, image, placed=True, step=1.0)
    codes = (11, 12, 21, 22, 23, 24, 31, 41, 42, 43, 52, 71, 81, 82, 90, 95)
    area = draw.choice(codes, (15, 15)).astype(np.uint8)
    write(root / "Annual_NLCD_LndCov_2023_CU_C1V1.tif", area, placed=True, step=30)


SPLITS = ("train", "val", "test")
PUBLISHED_MORE: dict[str, Callable[[Path], None]] = {
    "s2looking": _pairs(SPLITS, "{}/Image1/1.png", "{}/Image2/1.png", "{}/label/1.png", (0, 255)),
    "sysu-cd": _pairs(
        SPLITS, "{}/time1/00000.png", "{}/time2/00000.png", "{}/label/00000.png", (0, 255)
    ),
    "xview2": _pairs(
        ("train", "test"),
        "{}/images/hurricane-harvey_00000000_pre_disaster.png",
        "{}/images/hurricane-harvey_00000000_post_disaster.png",
        "{}/targets/hurricane-harvey_00000000_post_disaster_target.png",
        (0, 1, 2, 3, 4),
    ),
    "fields-of-the-world": _fields,
    "flair-1": _flair,
    "vhr10": _vhr10,
    "vhr10-instances": _vhr10,
    "potsdam": _isprs("potsdam"),
    "vaihingen": _isprs("vaihingen"),
    "cloud-cover": _cloud_cover,
    "substation": _substation,
    "treesatai": _treesatai("s2"),
    "treesatai-aerial": _treesatai("aerial"),
    "copernicus-bench-eurosat-s2": _copernicus_eurosat,
    "copernicus-bench-cloud-s2": _copernicus_cloud,
    "copernicus-bench-dfc2020-s1": _copernicus_dfc("s1"),
    "copernicus-bench-dfc2020-s2": _copernicus_dfc("s2"),
    "copernicus-bench-bigearthnet-s1": _copernicus_bigearthnet("s1"),
    "copernicus-bench-bigearthnet-s2": _copernicus_bigearthnet("s2"),
    "copernicus-bench-lcz-s2": _copernicus_lcz,
    "spacenet-1": _spacenet,
    "bright-dfc2025": _bright,
    "reforestree": _reforestree,
    "nasa-marine-debris": _debris,
    "chabud": _chabud,
    "everwatch": _everwatch,
    "caffe": _caffe,
    "l8-biome": _l8biome,
    "naip-nlcd": _naip_nlcd,
}
