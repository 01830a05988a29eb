"""Samples of datasets: chips come with their answers and their groups."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from answers import assert_same
from published import rgb, rng, write

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.sampling import Grid, Sampler
from earthloom.datasets import LabelledSamples, ReadReport, load_entry, read_layout
from earthloom.datasets.torchgeo import TorchGeoItems
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d, Subset
from earthloom.sample.fitted import Fitted
from earthloom.sample.target import SceneClasses, SceneValue

SPEC = LayerSpec("optical", 10.0, ("red",), "1", ("static",), (660.0,))
SHAPE = Shape2d(2, 2)


@dataclass(frozen=True)
class Numbers:
    """A reader of numbers; it says the answer with the pixels, or without."""

    groups: tuple[str, ...]
    with_pixels: bool = False

    @property
    def specs(self):
        return {SPEC.key: SPEC}

    def __len__(self):
        return len(self.groups)

    def chip(self, index):
        pixels = np.full((1, 1, *SHAPE), index, np.float32)
        layer = Layer(SPEC, pixels, np.ones((1, *SHAPE), np.bool_), np.zeros(1, np.int32))
        target = SceneValue(index, "said with the pixels") if self.with_pixels else None
        return Chip(f"chip-{index}", SHAPE, {SPEC.key: layer}, target=target)

    def target(self, index):
        return None if index == 2 else SceneValue(index, "t/ha")


def samples(*groups, with_pixels=False):
    reader = Numbers(groups, with_pixels)
    return LabelledSamples("numbers", "scene-value", (), reader, ReadReport(len(groups)))


def test_chips_have_their_answers():
    found = samples("a", "a", "b")
    assert [found[at].target for at in range(3)] == list(found.targets)
    assert found[-3].target == SceneValue(0, "t/ha")
    assert found[2].target is None


def test_an_answer_that_came_with_the_pixels_is_not_asked_for_again():
    assert samples("a", "a", "b", with_pixels=True)[1].target.unit == "said with the pixels"


def test_a_chip_of_no_group_is_one_of_its_own():
    found = samples("north", "", "")
    assert list(found.groups) == ["north", "000001", "000002"]
    assert [found[at].group for at in range(3)] == list(found.groups)


class Counted:
    """A TorchGeo reader that counts how often it reads."""

    reads = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.reads += 1
        return {"image": np.full((3, 2, 2), index + 1), "label": np.array(index)}


def test_a_file_that_holds_pixels_and_answer_is_read_once():
    entry = replace(load_entry("aid"), source=replace(load_entry("eurosat").source))
    dataset = Counted()
    found = LabelledSamples("aid", "scene-class", (), TorchGeoItems(entry, dataset), ReadReport(2))
    assert [found[at].target for at in range(2)] == [SceneClasses((1,)), SceneClasses((2,))]
    assert dataset.reads == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_images_of_many_sizes_come_as_batches_with_their_boxes(tmp_path, workers):
    """From the files of a detection dataset to what a task is given."""
    sizes = {"a.png": (20, 30), "b.png": (12, 40), "c.png": (16, 16)}
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "ship"}]}
    for number, (name, (rows, cols)) in enumerate(sizes.items()):
        write(tmp_path / name, rgb(rng(name), 40)[:, :rows, :cols])
        content["images"].append({"id": number, "file_name": name})
        for box in ([1, 2, 5, 6], [cols // 2 - 2, rows // 2 - 2, 4, 4]):
            note = {"image_id": number, "category_id": 1, "bbox": box}
            content["annotations"].append({"id": len(content["annotations"]), **note})
    (tmp_path / "ships.json").write_text(json.dumps(content))
    boats = read_layout("coco", tmp_path, annotations="ships.json")
    assert_same(boats[0].target, boats.targets[0])
    fitted = Fitted(Subset(boats, [2, 0, 1]), 16)
    loader = Loader(fitted, Sampler(Grid(np.arange(3)), seed=0), Loading(2, workers=workers))
    batches = list(loader)
    assert [batch.ids for batch in batches] == [("c.png", "a.png"), ("b.png",)]
    bounds = [target.bounds.tolist() for batch in batches for target in batch.targets]
    # The middle is cut of what is too large: from row 2 and column 7, and from column 12.
    assert bounds == [
        [[1, 2, 6, 8], [6, 6, 10, 10]],
        [[6, 6, 10, 10]],
        [[6, 4, 10, 8]],
    ]
    loader.close()
