"""Styles of maps for GIS programs: QGIS (`.qml`) and any that reads SLD.

QGIS loads a `.qml` file by itself where it has the name of the data beside it. The layout is that
of QGIS 3 (`QgsPalettedRasterRenderer`, `QgsSingleBandPseudoColorRenderer` and
`QgsCategorizedSymbolRenderer` in its documentation).
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earthloom.maps import CLASS_NODATA, MAP, PROBABILITY

if TYPE_CHECKING:  # it loads torch, which styles do not need
    from earthloom.tasks.planes import ClassesOfPixels

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_VERSION = "3.22.0"
_SLD = "http://www.opengis.net/sld"

RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
"""From low to high, even in lightness and for the colour-blind (viridis; Smith and van der Walt,
2015)."""


@dataclass(frozen=True)
class Ramp:
    """How a band of values is coloured."""

    band: int
    low: float
    high: float
    colours: tuple[str, ...] = RAMP
    unit: str = ""

    def stops(self) -> list[tuple[float, str]]:
        """Values with their colours, evenly spread."""
        step = (self.high - self.low) / (len(self.colours) - 1)
        return [(self.low + number * step, each) for number, each in enumerate(self.colours)]


PROBABILITY_RAMP = Ramp(band=1, low=0.0, high=1.0)
"""Of the first class; QGIS applies the file's scale, so that values are probabilities."""


def write_styles(folder: Path, task: "ClassesOfPixels") -> list[str]:
    """Writes styles beside `map.tif` and `probability.tif`; their names."""
    styles = {
        Path(MAP).with_suffix(".qml").name: class_style(task),
        Path(MAP).with_suffix(".sld").name: class_sld(task),
        Path(PROBABILITY).with_suffix(".qml").name: value_style(PROBABILITY_RAMP),
    }
    for name, text in styles.items():
        (folder / name).write_text(text, encoding="utf-8")
    return list(styles)


def write_value_style(path: Path, statistics: Mapping[str, float], unit: str) -> None:
    """Writes the style of a file of numbers beside it: its first band, two standard deviations
    around the mean, as far as there are such numbers."""
    mean, spread = statistics.get("mean", 0.0), 2 * statistics.get("stddev", 0.0)
    low = max(statistics.get("minimum", 0.0), mean - spread)
    high = min(statistics.get("maximum", 1.0), mean + spread)
    ramp = Ramp(band=1, low=low, high=high if high > low else low + 1, unit=unit)
    path.with_suffix(".qml").write_text(value_style(ramp), encoding="utf-8")


def class_style(task: "ClassesOfPixels") -> str:
    """The QGIS style of a map of classes: a palette with names."""
    root, pipe = _raster_root()
    renderer = _renderer(pipe, "paletted", 1)
    palette = ET.SubElement(renderer, "colorPalette")
    for code, name, colour in _legend(task):
        ET.SubElement(
            palette, "paletteEntry", value=str(code), color=colour, alpha="255", label=name
        )
    return _text(root, pipe)


def value_style(ramp: Ramp) -> str:
    """The QGIS style of a band of values, such as a probability: colours between stops."""
    root, pipe = _raster_root()
    limits = {"minimumValue": f"{ramp.low:g}", "maximumValue": f"{ramp.high:g}"}
    renderer = _renderer(
        pipe,
        "singlebandpseudocolor",
        ramp.band,
        classificationMin=limits["minimumValue"],
        classificationMax=limits["maximumValue"],
    )
    shader = ET.SubElement(ET.SubElement(renderer, "rastershader"), "colorrampshader", limits)
    shader.attrib |= {
        "colorRampType": "INTERPOLATED",
        "classificationMode": "2",
        "clip": "0",
        "labelPrecision": "4",
    }
    _gradient(shader, ramp.colours)
    for value, colour in ramp.stops():
        label = f"{value:g} {ramp.unit}".strip()
        ET.SubElement(shader, "item", value=f"{value:g}", color=colour, alpha="255", label=label)
    return _text(root, pipe)


def polygon_style(task: "ClassesOfPixels") -> str:
    """The QGIS style of polygons with a column `code`."""
    root = ET.Element("qgis", version=_VERSION, styleCategories="Symbology")
    renderer = ET.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="code", enableorderby="0",
        forceraster="0", symbollevels="0", referencescale="-1",
    )  # fmt: skip
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, (code, name, colour) in enumerate(_legend(task)):
        ET.SubElement(
            categories, "category", value=str(code), symbol=str(number), label=name,
            render="true", type="integer",
        )  # fmt: skip
        _fill(symbols, str(number), colour)
    ET.SubElement(root, "layerGeometryType").text = "2"
    return _text(root)


def class_sld(task: "ClassesOfPixels") -> str:
    """The style of a map of classes as OGC SLD 1.0, which GeoServer and others read."""
    ET.register_namespace("sld", _SLD)
    root = ET.Element(f"{{{_SLD}}}StyledLayerDescriptor", version="1.0.0")
    layer = _sld(root, "NamedLayer")
    _sld(layer, "Name", "classes")
    rule = _sld(_sld(_sld(layer, "UserStyle"), "FeatureTypeStyle"), "Rule")
    colours = _sld(_sld(rule, "RasterSymbolizer"), "ColorMap")
    colours.set("type", "values")
    entries = [(CLASS_NODATA, "no data", "#000000", "0"), *((*e, "1") for e in _legend(task))]
    for code, name, colour, opacity in entries:
        entry = _sld(colours, "ColorMapEntry")
        entry.attrib |= {
            "color": colour, "quantity": str(code), "label": name, "opacity": opacity
        }  # fmt: skip
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _legend(task: "ClassesOfPixels") -> list[tuple[int, str, str]]:
    """Code, name and colour (`#rrggbb`) of each class."""
    return [
        (code, name, f"#{bytes(rgb).hex()}")
        for code, name, rgb in zip(task.codes, task.names, task.colours)
    ]


def _raster_root() -> tuple[ET.Element, ET.Element]:
    root = ET.Element(
        "qgis", version=_VERSION, styleCategories="Symbology|Rendering", minScale="1e+08",
        maxScale="0", hasScaleBasedVisibilityFlag="0",
    )  # fmt: skip
    pipe = ET.SubElement(root, "pipe")
    ET.SubElement(
        ET.SubElement(pipe, "provider"), "resampling", enabled="false", maxOversampling="2",
        zoomedInResamplingMethod="nearestNeighbour", zoomedOutResamplingMethod="nearestNeighbour",
    )  # fmt: skip
    return root, pipe


def _renderer(pipe: ET.Element, kind: str, band: int, **limits: str) -> ET.Element:
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type=kind, band=str(band), opacity="1", alphaBand="-1",
        nodataColor="",
    )  # fmt: skip
    renderer.attrib |= limits
    ET.SubElement(renderer, "rasterTransparency")
    origin = ET.SubElement(renderer, "minMaxOrigin")
    for tag, text in (("limits", "None"), ("extent", "WholeRaster"), ("statAccuracy", "Estimated")):
        ET.SubElement(origin, tag).text = text
    return renderer


def _gradient(shader: ET.Element, colours: Sequence[str]) -> None:
    """The ramp that QGIS shows in its dialogue."""
    ramp = ET.SubElement(shader, "colorramp", type="gradient", name="[source]")
    options = ET.SubElement(ramp, "Option", type="Map")
    inner = [
        f"{number / (len(colours) - 1):g};{_rgba(each)}"
        for number, each in enumerate(colours)
        if 0 < number < len(colours) - 1
    ]
    for name, value in (
        ("color1", _rgba(colours[0])),
        ("color2", _rgba(colours[-1])),
        ("discrete", "0"),
        ("rampType", "gradient"),
        ("stops", ":".join(inner)),
    ):
        ET.SubElement(options, "Option", type="QString", name=name, value=value)


def _fill(symbols: ET.Element, name: str, colour: str) -> None:
    """A filled symbol without an outline, so that neighbours meet without a line."""
    symbol = ET.SubElement(
        symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0"
    )
    layer = ET.SubElement(
        symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
    )
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in (
        ("color", _rgba(colour)), ("style", "solid"), ("outline_style", "no"),
        ("joinstyle", "bevel"), ("offset", "0,0"),
    ):  # fmt: skip
        ET.SubElement(options, "Option", type="QString", name=key, value=value)


def _rgba(colour: str) -> str:
    return ",".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5)) + ",255"


def _sld(parent: ET.Element, tag: str, text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, f"{{{_SLD}}}{tag}")
    element.text = text
    return element


def _text(root: ET.Element, pipe: ET.Element | None = None) -> str:
    if pipe is not None:
        ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
        ET.SubElement(
            pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0",
            colorizeRed="255", colorizeGreen="128", colorizeBlue="128", colorizeStrength="100",
        )  # fmt: skip
        ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
        ET.SubElement(root, "blendMode").text = "0"
    ET.indent(root)
    return _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"
