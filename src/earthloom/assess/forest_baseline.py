"""A random forest on the pixels of two dates: the plain baseline of change detection."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.assess.extent import common_multiple
from earthloom.cube import Cube
from earthloom.progress import Tick
from earthloom.sample import Shape2d, Window
from earthloom.tasks import PixelClasses
from earthloom.tasks.class_scores import confusion_of

_TREES = 100
_CHANGED, _UNCHANGED = 1000, 4000
"""Most pixels of each kind that a place gives for training."""
_AROUND = 5
"""Pixels, both ways, of the surroundings whose means are features as well."""
_ROWS = 240


@dataclass(frozen=True)
class LabelledPlace:
    """A cube of two dates with the class code of every pixel (H, W), 0 where unlabelled."""

    cube: Cube
    truth: NDArray[np.uint8]


def forest_confusions(
    places: Mapping[str, LabelledPlace], task: PixelClasses, seed: int, tick: Tick
) -> dict[str, NDArray[np.int64]]:
    """(K, K) counts of each place, predicted by a forest that was grown on the others.

    Features of a pixel are both dates, their difference, and the means of all three around it. A
    pixel is mapped as change where half of the trees or more say so.
    """
    # It takes a second to import, and is not needed by those who only read results.
    from sklearn.ensemble import RandomForestClassifier

    drawn = {name: _draw(place, task, seed) for name, place in sorted(places.items())}
    found = {}
    for number, (name, place) in enumerate(places.items(), start=1):
        others = [each for other, each in drawn.items() if other != name]
        forest = RandomForestClassifier(
            n_estimators=_TREES, min_samples_leaf=2, random_state=seed, n_jobs=-1
        )
        forest.fit(*(np.concatenate(part) for part in zip(*others)))
        total = np.zeros((len(task.codes),) * 2, np.int64)
        for row, features in _strips(place.cube):
            share = forest.predict_proba(features.reshape(-1, features.shape[-1]))[:, 1]
            codes = np.where(share >= 0.5, task.codes[1], task.codes[0]).astype(np.uint8)
            truth = place.truth[row : row + len(features)]
            total += confusion_of(codes.reshape(truth.shape), truth, task.codes)
        found[name] = total
        tick(number, len(places), f"forest {name}")
    return found


def _draw(
    place: LabelledPlace, task: PixelClasses, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features (N, F) of some pixels of a place, and whether each changed (N,)."""
    random = np.random.default_rng([seed, 0xF0])
    chosen = np.zeros(place.truth.shape, np.bool_)
    for code, most in zip(task.codes, (_UNCHANGED, _CHANGED)):
        flat = np.flatnonzero(place.truth == code)
        taken = random.choice(len(flat), min(most, len(flat)), replace=False)
        chosen.flat[flat[taken]] = True
    rows = [features[chosen[row : row + len(features)]] for row, features in _strips(place.cube)]
    return np.concatenate(rows), place.truth[chosen] == task.codes[1]


def _strips(cube: Cube) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Features (rows, W, F) strip by strip, with the first row of each; 0 where not seen."""
    multiple = common_multiple(cube)
    margin = -(-(_AROUND // 2) // multiple) * multiple
    width = -(-cube.shape.cols // multiple) * multiple
    for row in range(0, cube.shape.rows, _ROWS):
        window = Window(row - margin, 0, Shape2d(_ROWS + 2 * margin, width))
        features = _features(cube, window)
        rows = min(_ROWS, cube.shape.rows - row)
        yield row, features[margin : margin + rows, : cube.shape.cols]


def _features(cube: Cube, window: Window) -> NDArray[np.float32]:
    from scipy.ndimage import uniform_filter

    dates: list[list[NDArray[np.float32]]] = [[], []]
    for layer in cube.window(window).values():
        factor = layer.spec.factor
        for time, images in zip((0, -1), dates):
            image = np.nan_to_num(layer.pixels[time])
            images.extend(image.repeat(factor, axis=1).repeat(factor, axis=2))
    first, last = (np.stack(images) for images in dates)
    own = np.concatenate([first, last, last - first])
    around = uniform_filter(own, (0, _AROUND, _AROUND), mode="nearest")
    return np.moveaxis(np.concatenate([own, around]), 0, -1).astype(np.float32)
