"""A report's sentences on numbers, as a person without statistics reads them."""

import math
from collections.abc import Mapping
from typing import Any

from earthloom.assess.words import grouped, percent

_DASH = "–"


def number(value: float | None) -> str:
    """Three figures that count: 0.0123, 1.23, 123, 12 300; a dash where there is none."""
    if value is None or math.isnan(value):
        return _DASH
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return grouped(round(value, digits), max(digits, 0)).replace("-", "−")


def folds_answer(figures: Mapping[str, Any], others: Mapping[str, str]) -> list[str]:
    """The top of a report on a model that was tested on labels it had not seen."""
    model, unit = figures["model"], figures["unit"]
    first = (
        f"On labels that it had not seen, this model is typically {number(model['rmse'])} {unit} "
        f"off (root mean square error), and {number(model['mae'])} {unit} on average."
    )
    if others:
        told = " and ".join(f"{number(figures[way]['rmse'])} for {others[way]}" for way in others)
        first += f" The root mean square error is {told}."
    return [first, _explained(model), _interval_words(figures)]


def sample_answer(figures: Mapping[str, Any]) -> list[str]:
    """The top of a report on a map that a probability sample was compared with."""
    unit, mean = figures["unit"], figures["area_mean"]
    first = (
        f"The mean {figures['quantity']} of the area is {number(mean['value'])} {unit} (with 95 % "
        f"confidence between {number(mean['low'])} and {number(mean['high'])})."
    )
    if "area_total" in figures:
        total = figures["area_total"]
        first += (
            f" Over all {grouped(figures['area_ha'])} hectares that is {number(total['value'])} "
            f"{total['unit']} ({number(total['low'])} to {number(total['high'])})."
        )
    model = figures["model"]
    second = f"A pixel of the map is typically {number(model['rmse'])} {unit} off. "
    return [first, second + _explained(model), _interval_words(figures)]


def unchecked_answer(figures: Mapping[str, Any]) -> list[str]:
    """The top of a report on a map that nobody has checked yet."""
    return [
        "This map has no accuracy yet: nobody has compared it with what is on the ground, so it "
        "must not be relied on.",
        f"A sample of {figures['points']} points to compare it at has been drawn and waits for "
        "its reference values.",
        f"By the map itself the mean {figures['quantity']} is {number(figures['map_mean'])} "
        f"{figures['unit']}; errors of the map bias this figure by an unknown amount.",
    ]


def _explained(model: Mapping[str, Any]) -> str:
    if model["r2"] is None:
        return "The reference is the same everywhere: how well it is followed cannot be said."
    if model["r2"] <= 0:
        return (
            "It follows the differences between places no better than one number for all of them "
            f"would (R² {model['r2']:.2f})."
        )
    return (
        f"It explains {percent(model['r2'], 0)} of the differences between pixels (R²: 100 % is "
        "perfect, 0 % is one number for all)."
    )


def _interval_words(figures: Mapping[str, Any]) -> str:
    model, level = figures["model"], figures["level"]
    if model["coverage"] is None:
        return "The map has no interval."
    return (
        f"The map's interval is meant to hold {percent(level, 0)} of true values; it holds "
        f"{percent(model['coverage'])}, and is {number(model['width'])} {figures['unit']} wide on "
        "average."
    )
