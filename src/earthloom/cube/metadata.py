"""What a layer says of itself: CF coordinates, and GeoZarr's conventions."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS

from earthloom.cube.plan import LayerPlan
from earthloom.grid import crs_wkt

_EPOCH = date(1970, 1, 1)
_DAYS = {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}


@dataclass(frozen=True)
class Variable:
    """A coordinate of a layer."""

    name: str
    values: NDArray[Any]
    dimensions: tuple[str, ...]
    attributes: dict[str, Any]


def coordinates_of(plan: LayerPlan) -> list[Variable]:
    """CF coordinates of a layer: pixel centres, the middle and the bounds of each time step (the
    second bound is the first day after it), and the CRS as `spatial_ref`."""
    box = plan.box
    a, _, c, _, e, f = tuple(box.affine)[:6]
    bounds = np.array(
        [[_days(step.start), _days(step.end) + 1] for step in plan.steps], np.int32
    ).reshape(-1, 2)
    middle = ((bounds[:, 0] + bounds[:, 1] - 1) // 2).astype(np.int32)
    x_names, y_names = _axes(box)
    return [
        Variable("x", c + a * (np.arange(box.shape.x) + 0.5), ("x",), {"axis": "X", **x_names}),
        Variable("y", f + e * (np.arange(box.shape.y) + 0.5), ("y",), {"axis": "Y", **y_names}),
        Variable(
            "time",
            middle,
            ("time",),
            {**_DAYS, "axis": "T", "standard_name": "time", "bounds": "time_bounds"},
        ),
        Variable("time_bounds", bounds, ("time", "nv"), _DAYS),
        Variable("spatial_ref", np.array(0, np.int32), (), _grid_mapping(box)),
    ]


def geozarr(box: GeoBox) -> dict[str, Any]:
    """Where a layer lies, as GeoZarr's `proj` and `spatial` conventions say it."""
    code = box.crs.epsg if box.crs is not None else None
    return {
        "zarr_conventions": _CONVENTIONS,
        **({"proj:code": f"EPSG:{code}"} if code else {"proj:wkt2": crs_wkt(box)}),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [box.shape.y, box.shape.x],
        "spatial:bbox": list(box.boundingbox.bbox),
        "spatial:transform": list(box.affine)[:6],
        "spatial:transform_type": "affine",
        "spatial:registration": "pixel",
    }


def _convention(name: str, uuid: str, repository: str, description: str) -> dict[str, str]:
    return {
        "name": name,
        "uuid": uuid,
        "schema_url": f"https://raw.githubusercontent.com/{repository}/refs/tags/v1/schema.json",
        "spec_url": f"https://github.com/{repository}/blob/v1/README.md",
        "description": description,
    }


_CONVENTIONS = [
    _convention(
        "proj",
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "zarr-conventions/geo-proj",
        "Coordinate reference system information for geospatial data",
    ),
    _convention(
        "spatial",
        "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "zarr-conventions/spatial",
        "Spatial coordinate information",
    ),
]


def _grid_mapping(box: GeoBox) -> dict[str, Any]:
    a, b, c, d, e, f = tuple(box.affine)[:6]
    mapping = CRS.from_wkt(crs_wkt(box)).to_cf()
    transform = " ".join(repr(float(v)) for v in (c, a, b, f, d, e))
    return {**mapping, "crs_wkt": crs_wkt(box), "GeoTransform": transform}


def _axes(box: GeoBox) -> tuple[dict[str, str], dict[str, str]]:
    """CF's names and units of x and y."""
    if box.crs is not None and box.crs.geographic:
        return (
            {"standard_name": "longitude", "units": "degrees_east"},
            {"standard_name": "latitude", "units": "degrees_north"},
        )
    unit = "m" if box.crs is None else CRS.from_wkt(crs_wkt(box)).axis_info[0].unit_name
    unit = "m" if unit in ("metre", "meter") else unit
    return (
        {"standard_name": "projection_x_coordinate", "units": unit},
        {"standard_name": "projection_y_coordinate", "units": unit},
    )


def _days(day: date) -> int:
    return (day - _EPOCH).days
