"""Blind places: connected regions that a cube's layer never or rarely shows, as polygons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy.ndimage import label, mean
from shapely.geometry import mapping
from shapely.geometry import shape as to_shape
from shapely.geometry.base import BaseGeometry

from earthloom.cube.coverage import Coverage
from earthloom.errors import DataError
from earthloom.grid import crs_wkt
from earthloom.stages import canonical_json

RARELY = 0.25
"""Share of the time steps up to which a place that is seen at all counts as rarely seen."""

Kind = Literal["never", "rarely"]


@dataclass(frozen=True)
class BlindPlace:
    """A connected region, at the scale of the coverage's picture."""

    layer: str
    """The key of the cube's layer."""
    kind: Kind
    """No pixel of it was ever seen; or it was seen in few time steps."""
    share: float
    """Of the time steps that saw a pixel of it, on average."""
    area_ha: float
    outline: BaseGeometry
    """In EPSG:4326."""


def blind_places(coverage: Coverage, rarely: float = RARELY) -> tuple[BlindPlace, ...]:
    """The blind places of a layer, those never seen first, then by their area.

    Rarely seen is what at most `rarely` of the time steps show. Pixels of the picture that touch
    along an edge are one region.
    """
    if not 0 <= rarely < 1:
        raise DataError(f"the share of steps up to which a place is rarely seen is not {rarely:g}")
    never, few = (label(kind)[0] for kind in _kinds(coverage, rarely))
    labels = np.where(few > 0, few + never.max(initial=0), never).astype(np.int32)
    drawn = shapes(labels, labels > 0, 4, coverage.box.affine)
    regions = {int(number): to_shape(region) for region, number in drawn}
    if not regions:
        return ()
    frame = gpd.GeoSeries(list(regions.values()), crs=crs_wkt(coverage.box))
    metres = frame if frame.crs.is_projected else frame.to_crs(frame.estimate_utm_crs())
    shares = mean(coverage.shown, labels, list(regions))
    places = [
        BlindPlace(
            layer=coverage.key,
            kind="never" if number <= never.max(initial=0) else "rarely",
            share=float(share),
            area_ha=float(area) / 10_000,
            outline=outline,
        )
        for number, share, area, outline in zip(regions, shares, metres.area, frame.to_crs(4326))
    ]
    return tuple(sorted(places, key=lambda place: (place.kind, -place.area_ha)))


def _kinds(coverage: Coverage, rarely: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(h, w) where the picture was never seen, and where it was rarely seen."""
    never = coverage.shown == 0
    return never, (coverage.shown <= rarely) & ~never


def to_geojson(places: Sequence[BlindPlace]) -> str:
    """Places as a GeoJSON feature collection (RFC 7946)."""
    features = [
        {
            "type": "Feature",
            "geometry": mapping(shapely.set_precision(place.outline, 1e-7)),
            "properties": {
                "layer": place.layer,
                "kind": place.kind,
                "share_of_steps": round(place.share, 4),
                "area_ha": round(place.area_ha, 4),
            },
        }
        for place in places
    ]
    return canonical_json({"type": "FeatureCollection", "features": features})
