"""The card of pretrained weights: what they learnt from, at what cost, and what they cannot do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import earthloom
from earthloom.encoders.loom import read_card
from earthloom.pretrain.feed import chips_drawn
from earthloom.pretrain.run import History
from earthloom.pretrain.settings import Pretraining
from earthloom.pretrain.sources import Source

_ALWAYS = (
    "The features carry no location and no year.",
    "Figures on tasks are not on this card; `benchmarks/encoders.py` measures them.",
)
_ABOUT = (
    "Weights of the [any-sensor encoder](../decisions/any-sensor-encoder.md), made by "
    "[pretraining](../pretraining.md) without any labels of a task. This page is the card that "
    "stands in the file itself."
)


def card_of(
    settings: Pretraining, history: History, kwh: float, seconds: float, device: str, steps: int
) -> dict[str, Any]:
    """JSON values, after so many steps."""
    last = history.notes[-1] if history.notes else None
    features = vars(history.looks[-1][1]) if history.looks else {}
    seen = chips_drawn(settings, steps, settings.devices)
    sources = zip(settings.sources, seen, strict=True)
    return {
        "encoder": f"loom-{settings.size}",
        "earthloom": earthloom.__version__,
        "note": settings.note,
        "data": [{"what": source.about, "chips_seen": count} for source, count in sources],
        "settings": settings.card(),
        "start": None if settings.start is None else dict(read_card(settings.start)),
        "steps": steps,
        "chips_seen": sum(seen),
        "device": device,
        "energy": {
            "kwh": round(kwh, 6),
            "seconds": round(seconds, 1),
            "of": "the first process's machine",
        },
        "losses": {} if last is None else _finite({"loss": last.loss, **last.seen}),
        "features": _finite(features),
        "limits": list(limits_of(settings.sources)),
    }


def limits_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """What weights that learnt from these sources cannot do."""
    own = dict.fromkeys(limit for source in sources for limit in source.limits)
    return (*own, *_ALWAYS)


def as_page(card: Mapping[str, Any], title: str) -> str:
    """A card as a page of Markdown."""
    energy, steps = card["energy"], f"{card['steps']:,}"
    parts = [
        f"# {title}",
        _ABOUT,
        *([card["note"]] if card["note"] else []),
        f"Trained for {steps} steps on {card['chips_seen']:,} chips, on one {card['device']} "
        f"device, by earthloom {card['earthloom']}. It took {energy['seconds'] / 3600:.1f} hours "
        f"and {energy['kwh']:.3f} kWh ({energy['of']}).",
        "## Data\n\n| what | chips seen |\n|---|---:|\n"
        + "\n".join(f"| {each['what']} | {each['chips_seen']:,} |" for each in card["data"]),
        "## Objectives\n\n" + _lists(card["settings"]["objectives"]),
        "## Settings\n\n" + _table(_plain(card["settings"]), "setting"),
        "## What the log said last\n\n" + _table({**card["losses"], **card["features"]}, "what"),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in card["limits"]),
    ]
    return "\n\n".join(parts) + "\n"


def _lists(objectives: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for each in objectives:
        rest = ", ".join(f"{k} {v}" for k, v in each.items() if k not in ("name", "weight"))
        rows.append(f"- `{each['name']}`, weight {each['weight']:g}: {rest}")
    return "\n".join(rows)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that are one value."""
    return {k: v for k, v in settings.items() if not isinstance(v, list | dict)} | {
        f"schedule: {k}": v for k, v in settings["schedule"].items()
    }


def _table(values: Mapping[str, Any], name: str) -> str:
    rows = "\n".join(f"| `{key}` | {value} |" for key, value in values.items())
    return f"| {name} | value |\n|---|---|\n{rows}"


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {n: round(v, 5) if math.isfinite(v) else None for n, v in values.items()}
