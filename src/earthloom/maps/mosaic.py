"""Several maps as one: what GIS programs open instead of each map of a project by itself.

The mosaic is a GDAL virtual raster (`.vrt`), which every QGIS opens: a text that names the maps. A
map that does not lie on the others' lattice of pixels, such as one in the next UTM zone, has a
virtual raster of its own beside it, which is brought to their CRS while it is read, by nearest
pixels.
"""

import math
import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rasterio
import rasterio.shutil
from affine import Affine
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from earthloom.errors import DataError
from earthloom.maps import MAP
from earthloom.stages import write_atomic

MOSAIC = "mosaic.vrt"

_GDAL_TYPES = {"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "float32": "Float32"}


@dataclass(frozen=True)
class _Lattice:
    """What pixels lie on."""

    crs: CRS
    affine: Affine

    def holds(self, other: "_Lattice") -> bool:
        """Whether the two differ by whole pixels alone."""
        one, two = self.affine, other.affine
        alike = all(
            math.isclose(a, b, rel_tol=1e-9)
            for a, b in ((one.a, two.a), (one.b, two.b), (one.d, two.d), (one.e, two.e))
        )
        shifts = ((one.c - two.c) / one.a, (one.f - two.f) / one.e)
        whole = all(abs(shift - round(shift)) < 1e-3 for shift in shifts)
        return self.crs == other.crs and alike and whole


def write_mosaic(folder: Path, maps: Mapping[str, Path], file: str = MAP) -> Path:
    """Writes the mosaic of a file of several maps, whose folders are given by area; its path.

    It is in the CRS that most of the maps have. Where maps overlap, the later one lies on top.
    DataError if a map is missing.
    """
    paths = [place / file for place in maps.values()]
    missing = [str(path) for path in paths if not path.exists()]
    if missing or not paths:
        raise DataError(f"no mosaic without its maps; missing: {', '.join(missing) or 'all'}")
    lattices = [_lattice_of(path) for path in paths]
    common = max(lattices, key=lambda one: sum(one.holds(other) for other in lattices))
    sources = [
        path if common.holds(own) else _warped(path, folder / f"mosaic-{area}-{file}", common)
        for area, path, own in zip(maps, paths, lattices)
    ]
    made = folder / (MOSAIC if file == MAP else f"mosaic-{Path(file).stem}.vrt")
    write_atomic(made, _virtual(sources, folder))
    return made


def _lattice_of(path: Path) -> _Lattice:
    with rasterio.open(path) as source:
        return _Lattice(CRS.from_user_input(source.crs), source.transform)


def _warped(path: Path, beside: Path, common: _Lattice) -> Path:
    """A virtual raster of a map on another lattice, in the folder of mosaics."""
    target = beside.with_suffix(".vrt")
    with rasterio.open(path) as source:
        box = transform_bounds(source.crs, common.crs.to_wkt(), *source.bounds)
        first = ~common.affine * (box[0], box[3])
        last = ~common.affine * (box[2], box[1])
        col, row = math.floor(first[0]), math.floor(first[1])
        with WarpedVRT(
            source,
            crs=common.crs.to_wkt(),
            transform=common.affine * Affine.translation(col, row),
            width=math.ceil(last[0]) - col,
            height=math.ceil(last[1]) - row,
            resampling=Resampling.nearest,
        ) as warped:
            rasterio.shutil.copy(warped, target, driver="VRT")
    # GDAL names files relatively only where they lie below.
    tree = ET.parse(target)
    for named in tree.iter("SourceDataset"):
        named.text = _relative(path, target.parent)
        named.set("relativeToVRT", "1")
    tree.write(target)
    return target


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _virtual(paths: Sequence[Path], folder: Path) -> str:
    """The text of a virtual raster over all maps."""
    bounds = []
    for path in paths:
        with rasterio.open(path) as source:
            bounds.append(source.bounds)
    west, north = min(b.left for b in bounds), max(b.top for b in bounds)
    with rasterio.open(paths[0]) as like:
        width = round((max(b.right for b in bounds) - west) / like.transform.a)
        height = round((min(b.bottom for b in bounds) - north) / like.transform.e)
        root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
        ET.SubElement(root, "SRS").text = like.crs.to_wkt()
        numbers = (west, like.transform.a, 0.0, north, 0.0, like.transform.e)
        ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, map(float, numbers)))
        bands = [_virtual_band(root, like, number) for number in range(1, like.count + 1)]
    for path in paths:
        _add_source(bands, path, folder, (west, north))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _virtual_band(root: ET.Element, like: DatasetReader, number: int) -> ET.Element:
    kind = _GDAL_TYPES[like.dtypes[number - 1]]
    band = ET.SubElement(root, "VRTRasterBand", dataType=kind, band=str(number))
    if like.descriptions[number - 1]:
        ET.SubElement(band, "Description").text = like.descriptions[number - 1]
    if like.nodata is not None:
        ET.SubElement(band, "NoDataValue").text = f"{like.nodata:g}"
    if like.scales[number - 1] != 1:
        ET.SubElement(band, "Scale").text = repr(like.scales[number - 1])
    try:
        colours = like.colormap(number)
    except ValueError:  # there is none
        return band
    ET.SubElement(band, "ColorInterp").text = "Palette"
    table = ET.SubElement(band, "ColorTable")
    for value in range(max(colours) + 1):
        entry = zip(("c1", "c2", "c3", "c4"), map(str, colours.get(value, (0, 0, 0, 0))))
        ET.SubElement(table, "Entry", dict(entry))
    return band


def _add_source(
    bands: list[ET.Element], path: Path, folder: Path, corner: tuple[float, float]
) -> None:
    with rasterio.open(path) as source:
        col = round((source.bounds.left - corner[0]) / source.transform.a)
        row = round((source.bounds.top - corner[1]) / source.transform.e)
        size = {"xSize": str(source.width), "ySize": str(source.height)}
        for number, band in enumerate(bands, start=1):
            tag = "SimpleSource" if source.nodata is None else "ComplexSource"
            part = ET.SubElement(band, tag)
            name = ET.SubElement(part, "SourceFilename", relativeToVRT="1")
            name.text = _relative(path, folder)
            ET.SubElement(part, "SourceBand").text = str(number)
            ET.SubElement(part, "SrcRect", {"xOff": "0", "yOff": "0"} | size)
            ET.SubElement(part, "DstRect", {"xOff": str(col), "yOff": str(row)} | size)
            if source.nodata is not None:
                ET.SubElement(part, "NODATA").text = f"{source.nodata:g}"
