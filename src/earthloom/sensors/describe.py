"""A sensor's table as text for a person."""

from collections.abc import Iterable, Sequence

from earthloom.errors import choices
from earthloom.sensors.model import Band, Quality, Sensor


def describe_sensor(sensor: Sensor) -> str:
    """What a sensor's table says, as lines of text."""
    lines = [f"{sensor.name}: {sensor.title}", f"source: {sensor.source}"]
    if sensor.platforms:
        lines.append(f"platforms: {choices(sensor.platforms)}")
    lines.append(f"collections: {choices(sensor.collections)}")
    header = ("band", "kind", "unit", "GSD", "centre", "width", "physical value", "nodata")
    lines += ["", *_columns([header, *(_row(band) for band in sensor.bands)])]
    for rule in sensor.offset_rules:
        held = f"= {rule.equals}"
        if rule.from_value is not None:
            held = f"from {rule.from_value}"
        elif rule.before_value is not None:
            held = f"before {rule.before_value}"
        before = ", whatever the item says" if rule.over_item else ""
        lines.append(f"offset {rule.offset:g} where {rule.item_property} {held}{before}")
    if sensor.classes:
        lines += ["", "classes", *_columns([(str(c.value), c.name) for c in sensor.classes])]
    if sensor.quality is not None:
        lines += ["", *_quality(sensor.quality)]
    return "\n".join(lines)


def list_sensors(sensors: Iterable[Sensor]) -> str:
    """One line a sensor: its name, number of bands, GSDs and title."""
    rows = []
    for sensor in sensors:
        gsds = "/".join(f"{gsd:g}" for gsd in sorted({band.gsd for band in sensor.bands}))
        rows.append((sensor.name, f"{len(sensor.bands)} bands", f"{gsds} m", sensor.title))
    return "\n".join(_columns(rows))


def _row(band: Band) -> tuple[str, ...]:
    if band.frequency_ghz is not None:
        centre, width = f"{band.frequency_ghz:g} GHz", band.polarisation or ""
    elif band.wavelength_nm is not None:
        centre, width = f"{band.wavelength_nm:g} nm", f"{band.width_nm:g} nm"
    else:
        centre, width = "", ""
    nodata = "" if band.nodata is None else f"{band.nodata:g}"
    unit, gsd = band.unit, f"{band.gsd:g} m"
    return band.name, band.kind, unit, gsd, centre, width, _formula(band), nodata


def _formula(band: Band) -> str:
    stored = "stored^2" if band.transform == "square" else "stored"
    text = stored if band.scale == 1 else f"{stored} * {band.scale:g}"
    if band.offset:
        text += f" {'+' if band.offset > 0 else '-'} {abs(band.offset):g}"
    if band.transform == "decibel":
        text = f"10^(({text})/10)"
    elif band.constants is not None:
        k1, k2 = band.constants
        text = f"{k2:g} / ln({k1:g} / ({text}) + 1)"
    if band.over_sun:
        text = f"({text}) / cos(sun zenith)"
    return f"{text}, by the scene" if band.per_scene else text


def _quality(quality: Quality) -> list[str]:
    rows = []
    for state in quality.states:
        held = ", ".join(str(value) for value in state.values)
        if state.bit is not None:
            last = state.bit + state.length - 1
            bits = f"bit {state.bit}" if state.length == 1 else f"bits {state.bit}-{last}"
            held = f"{bits} = {held}"
        hidden = "hides" if state.means in quality.hides else ""
        rows.append((held, state.means, hidden, state.note))
    return [f"quality band {quality.band}, {quality.gsd:g} m", *_columns(rows)]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
