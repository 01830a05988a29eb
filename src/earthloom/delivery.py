"""What is made of finished maps for others: polygons, a mosaic, the Collection over all of them."""

from pathlib import Path

from earthloom.mapping import map_of
from earthloom.maps import MAP, PROBABILITY
from earthloom.maps.collection import (
    ITEMS,
    MapProvider,
    Publication,
    mosaic_assets,
    polygon_assets,
    write_collection,
)
from earthloom.maps.item import COLLECTION
from earthloom.maps.mosaic import MOSAIC, write_mosaic
from earthloom.maps.polygon_files import FORMATS
from earthloom.maps.polygons import PolygonSettings, make_polygons
from earthloom.pipeline import Pipeline
from earthloom.progress import bar
from earthloom.project import PublishChoice
from earthloom.stages import StageResult


def polygons_of(pipeline: Pipeline, name: str) -> StageResult | None:
    """The polygons of an area's map; None if none are asked for."""
    choice = pipeline.project.map.polygons
    if choice is None:
        return None
    mapped = map_of(pipeline, name)
    chosen = PolygonSettings(
        choice.formats, choice.minimum_area_m2, choice.simplify_m, choice.corners
    )

    def write(folder: Path) -> None:
        share = mapped.folder / PROBABILITY
        with bar("polygons") as tick:
            make_polygons(
                mapped.folder / MAP,
                share if share.exists() else None,
                pipeline.classes,
                chosen,
                folder,
                tick,
            )

    inputs = {"map": mapped.digest, "polygons": choice.as_inputs()}
    return pipeline.stage(f"polygons/{name}", inputs, write)


def deliver(pipeline: Pipeline) -> dict[str, str]:
    """The Collection of all areas' maps with the polygons that are asked for, and the mosaic where
    there are several; their paths."""
    project = pipeline.project
    maps = {name: map_of(pipeline, name) for name in pipeline.areas}
    drawn = {name: polygons_of(pipeline, name) for name in maps}
    polygons = {name: each for name, each in drawn.items() if each is not None}
    formats = project.map.polygons.formats if project.map.polygons is not None else ()

    def write(folder: Path) -> None:
        files = {
            name: [result.folder / FORMATS[each][0] for each in formats]
            for name, result in polygons.items()
        }
        assets = polygon_assets(folder, files)
        places = {name: result.folder for name, result in maps.items()}
        if len(places) > 1:
            assets |= mosaic_assets(write_mosaic(folder, places))
        about = publication_of(project.publish)
        write_collection(folder, project.name, places, pipeline.task, about, assets=assets)

    inputs = {
        "maps": {name: result.digest for name, result in maps.items()},
        "polygons": {name: result.digest for name, result in polygons.items()},
        "publish": project.publish.as_inputs(),
        "classes": [each.as_inputs() for each in project.classes],
    }
    folder = pipeline.stage("collection", inputs, write).folder
    made = {"stac_collection": folder / COLLECTION, "items": folder / ITEMS}
    if len(maps) > 1:
        made["mosaic"] = folder / MOSAIC
    return {key: str(path) for key, path in made.items()}


def publication_of(choice: PublishChoice) -> Publication:
    """The project file's words as those of the Collection."""
    return Publication(
        title=choice.title,
        description=choice.description,
        licence=choice.licence,
        licence_url=choice.licence_url,
        providers=tuple(
            MapProvider(each.name, each.roles, each.url, each.description)
            for each in choice.providers
        ),
        keywords=choice.keywords,
    )
