"""The report on a model that was tested by leaving out one group of labels after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.archive import Scene
from earthloom.assess.figures import (
    BLUE,
    GREEN,
    ORANGE,
    Captioned,
    Dots,
    Picture,
    accuracy_chart,
    confusion_chart,
)
from earthloom.assess.observations import clearest_step, layer_counts
from earthloom.assess.page import Context, Titles, how_made, render, scene_context
from earthloom.assess.pictures import (
    coloured,
    jpeg,
    png,
    read_codes,
    thinned,
    true_colour,
    true_colour_of,
)
from earthloom.assess.words import fold_answer, percent
from earthloom.chips.labels import Labels
from earthloom.cube import Cube
from earthloom.grid import Area
from earthloom.maps import MAP
from earthloom.project import FoldsAssessment, LandClass, Project
from earthloom.sample import UNLABELLED
from earthloom.stages import write_atomic

_MOST = 320
"""Pixels, both ways, of a place's pictures."""

_LOOKS = {
    "model": ("this model", BLUE, "o"),
    "forest": ("a random forest", GREEN, "s"),
    "change-vectors": ("change-vector analysis", ORANGE, "^"),
}
"""Of each way of predicting: its name in a sentence, and the colour and mark of its dots."""

_FOUND, _MISSED, _FALSE, _NEITHER = "#1c2126", "#d55e00", "#56b4e9", "#eceef0"
"""Colours of the picture of right and wrong (Okabe and Ito 2008)."""


@dataclass(frozen=True)
class PlaceInputs:
    """A mapped place as a report shows it."""

    area: Area
    cube: Cube
    map_folder: Path
    """With `map.tif`."""
    labels: Labels | None
    """The reference; None where there is none."""
    scenes: Sequence[Scene]


@dataclass(frozen=True)
class FoldsReportInputs:
    """What a report on an assessment by folds is made from."""

    project: Project
    assess: FoldsAssessment
    figures: Mapping[str, Any]
    """`classes`, `leaks` of each fold in sentences, and for `model` and each baseline what
    `FoldScores.summary` gives."""
    places: Sequence[PlaceInputs]
    """Empty where there are no maps, as with a table of pixel series."""
    failed: Mapping[str, str]
    """Why scenes did not load, by their ids."""


@dataclass(frozen=True)
class PlaceView:
    """A place's heading and its row of pictures."""

    name: str
    text: str
    pictures: tuple[Captioned, ...]


def write_folds_report(path: Path, inputs: FoldsReportInputs) -> None:
    """Writes the report. The same inputs give the same bytes: it holds no time, host or folder."""
    figures, assess = inputs.figures, inputs.assess
    baselines: list[str] = list(assess.baselines)
    ways = ["model", *baselines]
    groups = _group_words(assess)
    others = {way: _LOOKS[way][0] for way in baselines}
    places = [_place_view(place, inputs) for place in inputs.places]
    score = "f1" if assess.focus is not None else "accuracy"
    context: Context = {
        "answer": fold_answer(figures, others, groups, assess.focus),
        "groups": groups,
        "names": figures["classes"],
        "ways": [{"key": way, "name": _LOOKS[way][0]} for way in ways],
        "figures": figures,
        "focus": assess.focus,
        "overall": _overall_chart(figures, ways, assess.focus),
        "classes": _class_chart(figures, ways),
        "by_fold": _fold_chart(figures, ways, score, assess.focus),
        "score": f"F1 of {assess.focus}" if assess.focus is not None else "accuracy",
        "score_key": score,
        "ahead": [_ahead_words(figures, way, score) for way in baselines],
        "confusions": [_confusion(figures, way) for way in ways],
        "places": places,
        "split": assess.by == "split",
        "leaks": {name: found for name, found in figures["leaks"].items() if found},
        "classes_legend": inputs.project.classes,
        "marks": _marks(assess.focus),
        "made": how_made(inputs.project, {}),
    }
    scenes = [scene for place in inputs.places for scene in place.scenes]
    context |= scene_context(scenes, inputs.failed)
    count = len(figures["model"]["folds"])
    how = f"{count} {groups}, each left out in turn" if assess.by != "split" else "a part set aside"
    titles = Titles(
        "Model report",
        f"Test of {inputs.project.name}",
        f"{inputs.project.model.name}, tested on {how}",
    )
    write_atomic(path, render("folds.html.j2", titles, inputs.project, context))


# -- figures -------------------------------------------------------------------------------------


def _overall_chart(figures: Mapping[str, Any], ways: Sequence[str], focus: str | None) -> Picture:
    scores = {"accuracy": "accuracy", "macro_f1": "mean F1 of all classes"}
    if focus is not None:
        scores |= {"f1": f"F1 of {focus}", "iou": f"IoU of {focus}"}
    rows = [_dots(way, {t: figures[way][s] for s, t in scores.items()}) for way in ways]
    told = "; ".join(
        f"{_LOOKS[way][0]}: "
        + ", ".join(f"{title} {percent(figures[way][s])}" for s, title in scores.items())
        for way in ways
    )
    return accuracy_chart(rows, list(scores.values()), f"Scores over all groups. {told}.")


def _class_chart(figures: Mapping[str, Any], ways: Sequence[str]) -> Picture:
    rows = [_dots(way, figures[way]["class_f1"]) for way in ways]
    told = ", ".join(f"{n} {percent(v, 0)}" for n, v in figures["model"]["class_f1"].items())
    return accuracy_chart(rows, figures["classes"], f"F1 of each class; this model: {told}.")


def _fold_chart(
    figures: Mapping[str, Any], ways: Sequence[str], score: str, focus: str | None
) -> Picture:
    folds = list(figures["model"]["folds"])
    rows = [_dots(way, {f: figures[way]["folds"][f][score] for f in folds}) for way in ways]
    told = ", ".join(f"{f} {percent(figures['model']['folds'][f][score], 0)}" for f in folds)
    what = f"F1 of {focus}" if focus is not None else "Accuracy"
    return accuracy_chart(rows, folds, f"{what} in each group; this model: {told}.")


def _dots(way: str, values: Mapping[str, float | None]) -> Dots:
    name, colour, marker = _LOOKS[way]
    exact = {key: {"value": v, "low": None, "high": None} for key, v in values.items()}
    return Dots(name, colour, marker, exact)


def _confusion(figures: Mapping[str, Any], way: str) -> Picture:
    cells = np.asarray(figures[way]["confusion"], np.float64)
    name = _LOOKS[way][0]
    right = percent(figures[way]["accuracy"])
    alt = f"Confusion matrix of {name}, in labelled pixels: {right} are right."
    return confusion_chart(cells, figures["classes"], name.capitalize(), False, alt)


def _ahead_words(figures: Mapping[str, Any], way: str, score: str) -> str:
    """In how many groups the model is ahead of a baseline."""
    pairs = [
        (fold[score], figures[way]["folds"][name][score])
        for name, fold in figures["model"]["folds"].items()
    ]
    known = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    ahead = sum(ours > theirs for ours, theirs in known)
    return f"It is ahead of {_LOOKS[way][0]} in {ahead} of {len(known)}."


def _group_words(assess: FoldsAssessment) -> str:
    names = {"place": "places", "blocks": "groups of blocks", "split": "tests"}
    return names[assess.by]


# -- places --------------------------------------------------------------------------------------


def _place_view(place: PlaceInputs, inputs: FoldsReportInputs) -> PlaceView:
    """A place's dates, map and reference, and what is right and wrong in it."""
    name, classes = place.area.name, inputs.project.classes
    pictures = _dates(place)
    codes = read_codes(place.map_folder / MAP, _MOST).values.astype(np.uint8)
    pictures.append(_classes_picture(codes, classes, name, "map"))
    if place.labels is not None:
        reference = thinned(place.labels.onto(place.area.box), codes.shape)
        pictures.append(_classes_picture(reference, classes, name, "reference"))
        if inputs.assess.focus is not None:
            code = next(c.code for c in classes if c.name == inputs.assess.focus)
            pictures.append(_right_and_wrong(codes, reference, code, name))
    return PlaceView(name, _place_words(name, inputs), tuple(pictures))


def _dates(place: PlaceInputs) -> list[Captioned]:
    """Two dates in true colour; of more time steps, the one that shows most of the place."""
    look = true_colour_of(place.cube)
    if look is None:
        return []
    dates = look.spec.dates
    if len(dates) == 2:
        steps: tuple[int, ...] = (0, 1)
    else:
        steps = (clearest_step(layer_counts(place.cube, place.area), look.spec),)
    days = sorted({scene.day for scene in place.scenes if scene.sensor == look.spec.sensor})
    by_date = len(days) == len(dates)
    labels = [str(days[step]) if by_date else dates[step] for step in steps]
    return [
        Captioned(
            Picture(jpeg(image), f"Satellite image of {place.area.name}, {label}.", *_size(image)),
            label,
        )
        for image, label in zip(true_colour(place.cube, look, steps, _MOST), labels)
    ]


def _classes_picture(
    codes: NDArray[np.uint8], classes: tuple[LandClass, ...], place: str, what: str
) -> Captioned:
    image = coloured(codes, classes)
    known = codes[codes != UNLABELLED]
    shares = ", ".join(
        f"{each.name} {percent(float((known == each.code).mean()))}"
        for each in classes
        if known.size
    )
    alt = f"{what.capitalize()} of {place}: {shares or 'empty'}."
    return Captioned(Picture(png(image), alt, *_size(image)), what)


def _right_and_wrong(
    codes: NDArray[np.uint8], reference: NDArray[np.uint8], code: int, name: str
) -> Captioned:
    """Where the class in focus was found, missed, or seen where it is not."""
    known = (codes != UNLABELLED) & (reference != UNLABELLED)
    ours, true = codes == code, reference == code
    image = np.zeros((*codes.shape, 4), np.uint8)
    for mask, colour in (
        (~ours & ~true, _NEITHER), (ours & true, _FOUND), (~ours & true, _MISSED),
        (ours & ~true, _FALSE),
    ):  # fmt: skip
        image[mask & known] = (*(int(colour[i : i + 2], 16) for i in (1, 3, 5)), 255)
    found, missed, false = (
        int((mask & known).sum()) for mask in (ours & true, ~ours & true, ours & ~true)
    )
    alt = f"Right and wrong in {name}: {found} pixels found, {missed} missed, {false} false."
    return Captioned(Picture(png(image), alt, *_size(image)), "right and wrong")


def _marks(focus: str | None) -> list[Context]:
    """The legend of right and wrong."""
    if focus is None:
        return []
    return [
        {"name": f"{focus}, found", "colour": _FOUND},
        {"name": f"{focus}, missed", "colour": _MISSED},
        {"name": f"{focus} seen where there is none", "colour": _FALSE},
    ]


def _place_words(name: str, inputs: FoldsReportInputs) -> str:
    fold = inputs.figures["model"]["folds"].get(name)
    if fold is None:
        return "There is no reference here; mapped by a model fitted on all places that have one."
    words = f"Mapped by a model that has not seen this place: {percent(fold['accuracy'])} right"
    if fold.get("f1") is not None:
        words += f", F1 of {inputs.assess.focus} {fold['f1']:.2f}"
    return words + "."


def _size(image: NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[1], image.shape[0]
