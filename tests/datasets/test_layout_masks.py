"""Images with masks: how they are paired, and what the masks say."""

import json

import numpy as np
import pytest
from layout_files import image
from published import SIDE, rgb, rng, write

from earthloom.datasets import read_layout
from earthloom.errors import DataError, LabelError


def test_masks_of_codes_and_of_colours(tmp_path):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:4] = 7
    image(tmp_path / "images/a_sat.png")
    image(tmp_path / "images/lost.png")
    write(tmp_path / "masks/a_mask.png", mask)
    options = {"classes": ["tree"], "image_suffix": "_sat", "mask_suffix": "_mask"}
    samples = read_layout("masks", tmp_path, values=[7], unlabelled=[0], **options)
    np.testing.assert_array_equal(samples[0].label, mask == 7)
    assert samples.report.sentence() == (
        "2 found, 1 kept; 1 without a mask; "
        "read as: 'tree' and no label beside it: nothing to tell it from"
    )
    write(tmp_path / "masks/a_mask.png", np.stack([mask * 8, mask, mask]))
    options |= {"colours": ["#380707"], "unlabelled_colours": ["#000000"]}
    np.testing.assert_array_equal(read_layout("masks", tmp_path, **options)[0].label, mask == 7)


def test_masks_in_pieces(tmp_path):
    stored, mask = rgb(rng("pieces"), 20), rng("m").integers(0, 3, (20, 20)).astype(np.uint8)
    write(tmp_path / "train/images/a.tif", stored, placed=True)
    write(tmp_path / "train/masks/a.png", mask)
    image(tmp_path / "train/images/b.png", side=7)
    write(tmp_path / "train/masks/b.png", mask[:7, :7])
    samples = read_layout("masks", tmp_path, split="train", size=8, classes=["a", "b"])
    assert samples.report.skipped == {"smaller than 8 pixels": 1}
    assert [chip.id for chip in (samples[at] for at in range(9))][:4] == [
        "images/a_0_0", "images/a_0_8", "images/a_0_12", "images/a_8_0",
    ]  # fmt: skip
    assert len(samples) == 9
    assert set(samples.groups) == {"images/a"}
    chip = samples[5]  # rows from 8, columns from 12
    np.testing.assert_array_equal(chip.label, mask[8:16, 12:20])
    pixels = chip.layers["aerial-rgb_10m"].pixels[0]
    np.testing.assert_array_equal(pixels, stored[:, 8:16, 12:20])
    assert chip.place.transform[2::3] == (5e5 + 120, 5e6 - 80)


def test_masks_that_do_not_fit(tmp_path):
    image(tmp_path / "images/a.png")
    write(tmp_path / "masks/a.png", np.full((SIDE, SIDE), 9, np.uint8))
    samples = read_layout("masks", tmp_path, classes=["tree"], check=False)
    with pytest.raises(
        LabelError,
        match="has the value 9 in 256 pixels, which is of no class; valid are: 1, 0; what",
    ):
        samples[0]
    write(tmp_path / "masks/a.png", np.ones((8, SIDE), np.uint8))
    with pytest.raises(LabelError, match="has 8 x 16 pixels, but its image has 16 x 16"):
        samples[0]
    with pytest.raises(DataError, match="must be as #00ff7f"):
        read_layout("masks", tmp_path, classes=["tree"], colours=["red"])


@pytest.mark.parametrize("form", ["{split}/{kind}", "{kind}/{split}", "list"])
def test_splits_of_masks(form, tmp_path):
    """Above the folders of images and masks, in them, or in a list."""
    names = {"train": "a", "val": "b"}
    for split, name in names.items():
        for kind in ("img_dir", "ann_dir"):
            place = tmp_path / (kind if form == "list" else form.format(split=split, kind=kind))
            image(place / f"{name}.png") if kind == "img_dir" else write(
                place / f"{name}.png", np.ones((SIDE, SIDE), np.uint8)
            )
        if form == "list":
            (tmp_path / "splits").mkdir(exist_ok=True)
            (tmp_path / "splits" / f"{split}.txt").write_text(f"img_dir/{name}.png\n")
    given = {"images": "img_dir", "masks": "ann_dir", "classes": ["tree"]}
    for split, name in names.items():
        samples = read_layout("masks", tmp_path, split=split, **given)
        assert [samples[at].id.rpartition("/")[2] for at in range(len(samples))] == [name]
    with pytest.raises(DataError, match=r"the split 'test' is none of: .*img_dir/test, .*test.txt"):
        read_layout("masks", tmp_path, split="test", **given)
    if form == "{kind}/{split}":
        with pytest.raises(DataError, match="img_dir holds the splits train, val; name one"):
            read_layout("masks", tmp_path, **given)


def test_images_and_masks_in_one_folder(tmp_path):
    for name in ("a", "b"):
        image(tmp_path / f"train/{name}.jpg")
        write(tmp_path / f"train/{name}_mask.png", np.ones((SIDE, SIDE), np.uint8))
    given = {"split": "train", "images": "", "masks": "", "classes": ["tree"]}
    samples = read_layout("masks", tmp_path, mask_suffix="_mask", **given)
    assert samples.report.sentence().startswith("2 found, 2 kept")
    assert samples.groups == ["a", "b"]
    image(tmp_path / "train/a.png")
    with pytest.raises(DataError, match="have the same name 'a'"):
        read_layout("masks", tmp_path, mask_suffix="_mask", **given)


def test_names_that_differ_are_shown(tmp_path):
    image(tmp_path / "images/image_1.png")
    write(tmp_path / "masks/label_1.png", np.ones((SIDE, SIDE), np.uint8))
    with pytest.raises(DataError, match=r"images such as image_1.png, masks such as label_1.png"):
        read_layout("masks", tmp_path, classes=["tree"])
    given = {"image_prefix": "image_", "mask_prefix": "label_", "classes": ["tree"]}
    assert len(read_layout("masks", tmp_path, **given)) == 1


def test_regions_below_the_folder_of_images_are_groups(tmp_path):
    for region in ("north", "south"):
        image(tmp_path / f"images/{region}/1.png")
        write(
            tmp_path / f"masks/{region}/1.png",
            np.full((SIDE, SIDE), 1 + (region == "south"), np.uint8),
        )
    samples = read_layout("masks", tmp_path, classes=["a", "b"])
    assert samples.groups == ["north", "south"]
    assert [int(samples[at].label.max()) for at in range(2)] == [1, 2]


def placed(path, mask, crs="EPSG:32633", step=10.0, nodata=None):
    """A mask that says where it lies, and what is no label."""
    import rasterio
    from rasterio.transform import from_origin

    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=SIDE, width=SIDE, dtype=mask.dtype, crs=crs,
        transform=from_origin(5e5, 5e6, step, step), nodata=nodata,
    ) as file:  # fmt: skip
        file.write(mask[None])


@pytest.mark.parametrize(("dtype", "nothing"), [("float32", np.nan), ("uint8", 255), ("int16", -1)])
def test_what_a_mask_calls_nodata_is_no_label(dtype, nothing, tmp_path):
    mask = np.ones((SIDE, SIDE), dtype)
    mask[0] = nothing
    write(tmp_path / "images/a.tif", rgb(rng("a")), placed=True)
    placed(tmp_path / "masks/a.tif", mask, nodata=nothing)
    label = read_layout("masks", tmp_path, classes=["tree"])[0].label
    np.testing.assert_array_equal(label, np.arange(SIDE)[:, None].repeat(SIDE, 1) > 0)


def test_a_mask_of_another_place(tmp_path):
    write(tmp_path / "images/a.tif", rgb(rng("a")), placed=True)
    mask = np.ones((SIDE, SIDE), np.uint8)
    placed(tmp_path / "masks/a.tif", mask, crs="EPSG:32634")
    samples = read_layout("masks", tmp_path, classes=["tree"], check=False)
    with pytest.raises(LabelError, match="is in EPSG:32634, but its image in EPSG:32633"):
        samples[0]
    placed(tmp_path / "masks/a.tif", mask, step=20.0)
    with pytest.raises(LabelError, match="corners differ by 16 pixels"):
        samples[0]
    placed(tmp_path / "masks/a.tif", mask)
    assert samples[0].label.all()


def test_grey_masks_of_three_bands(tmp_path):
    image(tmp_path / "images/a.png")
    mask = np.eye(SIDE, dtype=np.uint8) * 255
    write(tmp_path / "masks/a.png", np.stack([mask] * 3))
    given = {"classes": ["none", "tree"], "values": [0, 255]}
    np.testing.assert_array_equal(read_layout("masks", tmp_path, **given)[0].label, 1 + mask // 255)
    write(tmp_path / "masks/a.png", np.stack([mask, mask, mask // 2]))
    with pytest.raises(LabelError, match=r"has 3 bands, .*name 'colours' or a 'colours_file'"):
        read_layout("masks", tmp_path, **given)


FOLDERS = {"masks": ["gt/road", "gt/house"]}
ENDINGS = {"masks": "gt", "mask_suffix": ["_road", "_house"]}


@pytest.mark.parametrize("given", [FOLDERS, ENDINGS], ids=["folders", "endings"])
def test_a_mask_of_each_class(given, tmp_path):
    road, house = np.zeros((2, SIDE, SIDE), np.uint8)
    road[:4], house[3:6] = 255, 1
    for name in ("a", "b", "c"):
        image(tmp_path / f"images/{name}.png")
    path = "gt/{1}/{0}.png" if given is FOLDERS else "gt/{0}_{1}.png"
    write(tmp_path / path.format("a", "road"), road)
    write(tmp_path / path.format("a", "house"), house)
    write(tmp_path / path.format("b", "house"), house)
    write(tmp_path / path.format("d", "road"), road)
    samples = read_layout("masks", tmp_path, classes=["road", "house"], **given)
    assert samples.report.sentence() == "3 found, 2 kept; 1 without a mask"
    assert samples[0].label[:, 0].tolist() == [1, 1, 1, 0, 2, 2] + [0] * 10
    assert samples[1].label[:, 0].tolist() == [0, 0, 0, 2, 2, 2] + [0] * 10
    rest = {"classes": ["ground", "road", "house"], "rest": "ground"}
    label = read_layout("masks", tmp_path, **rest, **given)[0].label
    assert label[:, 0].tolist() == [2, 2, 2, 0, 3, 3] + [1] * 10
    with pytest.raises(DataError, match="2 masks an image do not fit the 1 classes"):
        read_layout("masks", tmp_path, classes=["road"], **given)
    with pytest.raises(DataError, match="the 'rest' is 'sea', but the classes are: road, house"):
        read_layout("masks", tmp_path, classes=["road", "house"], rest="sea", **given)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nnone:0,0,0::\ntree:56,7,7::\n"),
        ("class_dict.csv", "name, r, g, b\nnone, 0, 0, 0\ntree, 56, 7, 7\n"),
        ("classes.json", json.dumps({"classes": [
            {"title": "none", "color": "#000000"}, {"title": "tree", "color": "#380707"}]})),
    ],
)  # fmt: skip
def test_files_that_tell_colours(name, text, tmp_path):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:4] = 7
    image(tmp_path / "images/a.png")
    write(tmp_path / "masks/a.png", np.stack([mask * 8, mask, mask]))
    (tmp_path / name).write_text(text)
    samples = read_layout("masks", tmp_path, colours_file=name)
    assert samples.classes == ("none", "tree")
    np.testing.assert_array_equal(samples[0].label, 1 + (mask == 7))
