"""The card of pretrained weights: what they learnt from, at what cost, and what they cannot do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import earthloom
from earthloom.encoders.loom import read_card
from earthloom.pretrain.run import History
from earthloom.pretrain.settings import Pretraining
from earthloom.pretrain.simulated import Simulated
from earthloom.pretrain.sources import Source

_SIMULATED = (
    "Simulated landscapes are of one mid-latitude farming region's kind: no tropics, deserts, ice "
    "or sea.",
    "Other optical instruments are weighted sums of Sentinel-2's bands: what those bands cannot "
    "see, such as narrow absorption, was not in the data.",
    "Views are from the zenith; terrain and angles leave less in simulated images than in real "
    "ones.",
)
_ALWAYS = (
    "The features carry no location and no year.",
    "Figures on tasks are not on this card; `benchmarks/encoders.py` measures them.",
)


def card_of(
    settings: Pretraining, history: History, kwh: float, seconds: float, device: str
) -> dict[str, Any]:
    """JSON values."""
    last = history.notes[-1] if history.notes else None
    features = vars(history.looks[-1][1]) if history.looks else {}
    return {
        "encoder": f"loom-{settings.size}",
        "earthloom": earthloom.__version__,
        "data": [_data(source) for source in settings.sources],
        "settings": settings.card(),
        "start": None if settings.start is None else dict(read_card(settings.start)),
        "steps": settings.steps,
        "chips_seen": settings.steps * settings.accumulation * settings.batch * settings.devices,
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
    simulated = any(isinstance(source, Simulated) for source in sources)
    return (*(_SIMULATED if simulated else ()), *_ALWAYS)


def _data(source: Source) -> str:
    if isinstance(source, Simulated):
        labels = "with" if source.labels else "without"
        return f"{source.chips} simulated chips of {', '.join(source.sensors)}, {labels} class maps"
    return f"stored chips ({source.name})"


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {n: round(v, 5) if math.isfinite(v) else None for n, v in values.items()}
