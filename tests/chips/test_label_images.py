"""Images with masks and without georeference."""

import json

import numpy as np
import pytest
from PIL import Image

from earthloom.chips.label_images import MaskMeaning, read_colour_classes, read_masked_images
from earthloom.errors import LabelError
from earthloom.project import LandClass
from earthloom.sample.batch import collate
from earthloom.sensors import load_sensor

CLASSES = (
    LandClass(code=3, name="water", colour="#0000ff"),
    LandClass(code=7, name="forest", colour="#00ff00"),
)
RGB = load_sensor("aerial-rgb")
CODES = np.array([[3, 3, 7, 7, 0], [3, 7, 7, 0, 0], [0, 0, 3, 3, 255], [3, 3, 3, 7, 7]], np.uint8)
COLOURS = {3: (0, 0, 255), 7: (0, 255, 0), 0: (9, 9, 9), 255: (255, 255, 255)}
NONE = {"unlabelled": ["#090909"], "ignore": ["#ffffff"]}


def _palette():
    mask = Image.fromarray(CODES, "P")
    table = [0] * 768
    for code, colour in COLOURS.items():
        table[3 * code : 3 * code + 3] = colour
    mask.putpalette(table)
    return mask


def _colours():
    return Image.fromarray(
        np.array([[COLOURS[c] for c in row] for row in CODES.tolist()], np.uint8)
    )


@pytest.fixture
def folder(tmp_path):
    """Two folders; an image of the second has no mask, another one is too small."""
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    for place in ("one", "two"):
        for name in ("images", "masks"):
            (tmp_path / place / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / place / "images" / "a.png")
        _palette().save(tmp_path / place / "masks" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "two" / "images" / "b.png")
    Image.fromarray(pixels[:2]).save(tmp_path / "two" / "images" / "c.png")
    Image.fromarray(CODES[:2]).save(tmp_path / "two" / "masks" / "c.png")
    return tmp_path


@pytest.mark.parametrize("kind", ["palette as colours", "palette as codes", "colours", "codes"])
def test_masks_of_every_kind_say_the_same(kind, folder):
    mask = {"colours": _colours(), "codes": Image.fromarray(CODES)}.get(kind, _palette())
    for place in ("one", "two"):
        mask.save(folder / place / "masks" / "a.png")
    coloured = "colours" in kind
    meaning = MaskMeaning.by_colour(CLASSES, **NONE) if coloured else MaskMeaning.by_code(CLASSES)
    samples = read_masked_images(folder, RGB, meaning, 4)
    assert samples.report.skipped == {"mask": 1, "size": 1}
    assert [samples[i].id for i in range(4)] == ["one/a_0_0", "one/a_0_1", "two/a_0_0", "two/a_0_1"]
    assert samples.groups == ["one", "one", "two", "two"]
    for at, columns in ((0, slice(0, 4)), (1, slice(1, 5))):
        chip = samples[at]
        np.testing.assert_array_equal(chip.label, CODES[:, columns])
        assert chip.place is None
        layer = chip.layers["aerial-rgb_0.2m"]
        assert layer.pixels[0, 1, 2, 3] == 3 * (2 * 5 + 3 + at) + 1
        assert layer.valid.all()
    assert collate([samples[i] for i in range(4)]).label.shape == (4, 4, 4)


def test_transparent_pixels_were_not_seen(folder):
    alpha = np.full((4, 5, 4), 7, np.uint8)
    alpha[..., 3] = 255
    alpha[0, 0, 3] = 0
    Image.fromarray(alpha).save(folder / "one" / "images" / "a.png")
    layer = read_masked_images(folder, RGB, MaskMeaning.by_code(CLASSES), 4)[0].layers[
        "aerial-rgb_0.2m"
    ]
    assert (~layer.valid).sum() == 1
    assert np.isnan(layer.pixels[0, :, 0, 0]).all()
    assert (layer.pixels[0, :, 1:, 1:] == 7).all()


def test_what_cannot_be(folder, tmp_path):
    by_code, by_colour = MaskMeaning.by_code(CLASSES), MaskMeaning.by_colour(CLASSES)
    words = "colour #090909 in 4 pixels, which is of no class; valid are: #0000ff, #00ff00"
    with pytest.raises(LabelError, match=words):
        read_masked_images(folder, RGB, by_colour, 4)[1]
    with pytest.raises(LabelError, match=r"no folder in .* has the folders 'pictures' and 'masks'"):
        read_masked_images(folder, RGB, by_code, 4, images="pictures")
    with pytest.raises(LabelError, match=r"no image .* can be used: 4 images read, 0 kept"):
        read_masked_images(folder, RGB, by_code, 64)
    _colours().save(folder / "one" / "masks" / "a.png")
    with pytest.raises(LabelError, match="has 3 bands, but class codes are one band"):
        read_masked_images(folder, RGB, by_code, 4)[0]
    Image.fromarray(CODES[:3]).save(folder / "one" / "masks" / "a.png")
    with pytest.raises(LabelError, match="has 3 x 5 pixels, but its image has 4 x 5"):
        read_masked_images(folder, RGB, by_code, 4)
    (folder / "one" / "masks" / "a.png").write_bytes(b"noise")
    with pytest.raises(LabelError, match=r"a.png cannot be read"):
        read_masked_images(folder, RGB, by_code, 4)
    file = tmp_path / "classes.json"
    for text in ("", "{}", json.dumps({"classes": [{"title": "a", "color": "red"}]})):
        file.write_text(text)
        with pytest.raises(LabelError, match=r"classes.json cannot be read") as error:
            read_colour_classes(file)
        assert "\n" not in str(error.value)


@pytest.mark.shared
def test_aerial_images_of_dubai(shared_data):
    """Their table of classes has other colours than their masks, which is said."""
    folder = shared_data / "dubai_seg"
    classes, none = read_colour_classes(folder / "classes.json")
    assert [each.name for each in classes][:2] == ["Water", "Land (unpaved area)"]
    assert none == ("#9B9B9B",)
    wrong = read_masked_images(folder, RGB, MaskMeaning.by_colour(classes, none), 256)
    with pytest.raises(LabelError, match=r"has the colour #\w{6} in \d+ pixels, which is of no"):
        wrong[0]
    true = ("#e2a929", "#8429f6", "#6ec1e4", "#3c1098", "#fedd3a")
    classes = tuple(
        LandClass(code=each.code, name=each.name, colour=colour)
        for each, colour in zip(classes, true, strict=True)
    )
    # A few stray pixels of the masks are black.
    meaning = MaskMeaning.by_colour(classes, [*none, "#000000"])
    samples = read_masked_images(folder, RGB, meaning, 512)
    assert len(set(samples.groups)) >= 5
    for index in range(0, len(samples), max(len(samples) // 8, 1)):
        chip = samples[index]
        assert set(np.unique(chip.label)) <= {0, 1, 2, 3, 4, 5}
        assert np.isfinite(chip.layers["aerial-rgb_0.2m"].pixels).all()
