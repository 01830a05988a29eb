"""A report's numbers and sentences, as a person without statistics reads them."""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_THIN = "\u202f"
"""Narrow no-break space: between thousands, and before a unit."""

IntervalFigures = Mapping[str, float | None]
"""`value`, `low` and `high` of a 95 % interval, as `accuracy_json` writes them."""


def grouped(value: float, decimals: int = 0) -> str:
    """12345.6 as `12 346`."""
    return f"{value:,.{decimals}f}".replace(",", _THIN)


def hectares(value: float | None) -> str:
    """An area to the hectare, below 10 ha to the tenth; a dash where there is none."""
    if value is None:
        return "–"
    return f"{grouped(value, 1 if 0 < abs(value) < 10 else 0)}{_THIN}ha"


def rounded_hectares(value: float) -> str:
    """An area to three figures, for a sentence."""
    if value < 1:
        return hectares(value)
    digits = 2 - math.floor(math.log10(value))
    return hectares(round(value, digits))


def percent(share: float | None, decimals: int = 1) -> str:
    """0.953 as `95.3 %`; a dash where there is none. What is not all is never rounded to 100."""
    if share is None:
        return "–"
    value = round(100 * share, decimals)
    if value == 100 and share < 1:
        value = 100 - 10**-decimals
    return f"{value:.{decimals}f}{_THIN}%"


def out_of_100(*shares: float) -> tuple[str, ...]:
    """Shares as so many in a hundred: to a tenth where one means very few or almost all."""
    fine = any(0 < share < 0.02 or 0.98 < share < 1 for share in shares)
    return tuple(f"{100 * share:.{1 if fine else 0}f}" for share in shares)


def range_percent(interval: IntervalFigures) -> str:
    """`93.1 to 96.9 %`; a dash where there is no interval."""
    if interval["low"] is None or interval["high"] is None:
        return "–"
    return f"{100 * interval['low']:.1f} to {percent(interval['high'])}"


def range_hectares(interval: IntervalFigures) -> str:
    """`4 050 to 4 380 ha`; a dash where there is no interval."""
    if interval["low"] is None or interval["high"] is None:
        return "–"
    low = hectares(interval["low"]).removesuffix(f"{_THIN}ha")
    return f"{low} to {hectares(interval['high'])}"


def is_month(step: str) -> bool:
    """Whether a time step's label is a month, such as `2023-05`."""
    return len(step) == 7 and step[4] == "-"


def answer(figures: Mapping[str, Any]) -> list[str]:
    """The sentences at the top of a report on a map whose accuracy is known."""
    overall = figures["overall_accuracy"]
    value, low, high = out_of_100(overall["value"], overall["low"], overall["high"])
    first = f"Of every 100 hectares of this map, about {value} are right"
    first += "." if low == high else f" (with 95{_THIN}% confidence between {low} and {high})."
    return [first, _largest(figures["area_ha"]), _weakest(figures)]


def no_accuracy(mapped_ha: Mapping[str, float], points: int) -> list[str]:
    """The sentences at the top of a report on a map that nobody has checked yet."""
    name = max(mapped_ha, key=lambda each: mapped_ha[each])
    return [
        (
            "This map has no accuracy yet: nobody has compared it with what is on the ground, so "
            "it must not be relied on."
        ),
        f"A sample of {points} points to compare it at has been drawn and waits to be labelled.",
        (
            f"As the map itself counts, its largest class is {name}, with "
            f"{rounded_hectares(mapped_ha[name])}; errors of the map bias this figure by an "
            "unknown amount."
        ),
    ]


def fold_answer(
    figures: Mapping[str, Any], others: Mapping[str, str], groups: str, focus: str | None
) -> list[str]:
    """The sentences at the top of a report on a model that was tested by leaving groups out.

    `others` names the baselines as a sentence does, `groups` what was left out, such as `places`.
    """
    model = figures["model"]
    counts = np.asarray(model["confusion"], np.float64)
    commonest = int(counts.sum(axis=0).argmax())
    (right, always) = out_of_100(model["accuracy"], counts[:, commonest].sum() / counts.sum())
    overall = (
        f"Of every 100 labelled pixels in {groups} that it had not seen, this model gets about "
        f"{right} right; to answer “{figures['classes'][commonest]}” everywhere would get {always}."
    )
    if focus is None:
        return [overall, _compared(figures, others, "macro_f1", "mean F1 score of all classes")]
    index = figures["classes"].index(focus)
    hits = counts[index, index]
    true, found = out_of_100(
        hits / max(counts[index].sum(), 1), hits / max(counts[:, index].sum(), 1)
    )
    first = (
        f"In {groups} that it had not seen, of every 100 pixels that this model marks as "
        f"“{focus}” about {true} are so; of every 100 that are so it finds about {found}."
    )
    return [first, _compared(figures, others, "f1", f"F1 score for “{focus}”"), overall]


def _compared(figures: Mapping[str, Any], others: Mapping[str, str], score: str, name: str) -> str:
    words = f"Its {name} is {figures['model'][score]:.2f} (1 is perfect, 0 is useless)"
    if others:
        told = " and ".join(f"{figures[way][score]:.2f} for {others[way]}" for way in others)
        words += f", against {told}"
    return words + "."


def without_folders(text: str) -> str:
    """A message with the folders of absolute paths left out: they are of no use to a reader
    elsewhere, and would make the report hang on where it was written."""
    return re.sub(r"(?<![\w.:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\"]+[/\\])+", "", text)


def _largest(area_ha: Mapping[str, IntervalFigures]) -> str:
    name = max(area_ha, key=lambda each: area_ha[each]["value"] or 0)
    area = area_ha[name]
    total = sum(each["value"] or 0 for each in area_ha.values())
    value, low, high = (area[key] or 0 for key in ("value", "low", "high"))
    between = (
        "" if low == high else (f" (between {rounded_hectares(low)} and {rounded_hectares(high)})")
    )
    (share,) = out_of_100(value / total if total else 0.0)
    return (
        f"The largest class is {name}, with about {rounded_hectares(value)}{between}: "
        f"{share}{_THIN}% of the area."
    )


def _weakest(figures: Mapping[str, Any]) -> str:
    """The lowest of all user's and producer's accuracies, said in words."""
    found = [
        (accuracy["value"], which, name)
        for which in ("users_accuracy", "producers_accuracy")
        for name, accuracy in figures[which].items()
        if accuracy["value"] is not None
    ]
    value, which, name = min(found)
    interval = figures[which][name]
    if value == 1:
        return "The sample found no error in any class; a larger one might."
    about, low, high = out_of_100(value, interval["low"], interval["high"])
    between = "" if low == high else f" (between {low} and {high})"
    if which == "users_accuracy":
        what = f"of 100 hectares mapped as {name}, about {about}{between} are {name}"
    else:
        what = f"of 100 hectares that are {name}, the map finds about {about}{between}"
    return f"The map is weakest at {name}: {what}."
