"""Collections and the catalog of the simulated archive."""

from collections.abc import Iterable

import numpy as np

from earthloom.archive.simulated_landsat import LANDSAT
from earthloom.archive.simulated_modis import MODIS
from earthloom.archive.simulated_stac import DEM, SENTINEL1, SENTINEL2, Json, link_to

COLLECTIONS = (SENTINEL2, SENTINEL1, LANDSAT, MODIS, DEM)
"""In the order of the catalog."""

_DESCRIPTIONS = {
    SENTINEL2: (
        "Simulated Sentinel-2 Level-2A",
        "Surface reflectance and scene classification of a "
        "simulated landscape, in the format of the real product. No satellite took it.",
    ),
    SENTINEL1: (
        "Simulated Sentinel-1 RTC",
        "Terrain-corrected gamma nought of a simulated landscape, "
        "in the format of the real product. No satellite took it.",
    ),
    LANDSAT: (
        "Simulated Landsat 8 and 9 Collection 2 Level-2",
        "Surface reflectance, surface temperature and pixel quality of a simulated landscape, in "
        "the format of the real product. No satellite took it.",
    ),
    MODIS: (
        "Simulated MODIS Terra MOD09GA",
        "Daily surface reflectance at 500 m and state of a simulated landscape, with the numbers "
        "of the real product, as GeoTIFF. No satellite took it.",
    ),
    DEM: (
        "Simulated Copernicus DEM GLO-30",
        "Surface height of a simulated landscape, in the format "
        "of the real product. No satellite took it.",
    ),
}


def collection_of(name: str, items: Iterable[Json]) -> Json:
    """A collection of items, with the extent that they have together."""
    listed = sorted(items, key=lambda item: (item["properties"]["datetime"], item["id"]))
    boxes = np.array([item["bbox"] for item in listed])
    times = [item["properties"]["datetime"] for item in listed]
    title, description = _DESCRIPTIONS[name]
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "title": title,
        "description": description,
        "license": "Apache-2.0",
        "keywords": ["simulated"],
        "extent": {
            "spatial": {
                "bbox": [[*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]]
            },
            "temporal": {"interval": [[times[0], times[-1]]]},
        },
        "links": [
            link_to("root", "../catalog.json"),
            link_to("parent", "../catalog.json"),
            *(
                link_to("item", f"./{item['id']}/{item['id']}.json", "application/geo+json")
                for item in listed
            ),
        ],
    }


def catalog_of(collections: Iterable[str]) -> Json:
    """The catalog over the collections."""
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "earthloom-simulated",
        "title": "Earthloom's simulated archive",
        "description": "A simulated landscape as satellite products, with its truth beside it.",
        "links": [
            link_to("root", "./catalog.json"),
            *(link_to("child", f"./{name}/collection.json") for name in collections),
        ],
    }
