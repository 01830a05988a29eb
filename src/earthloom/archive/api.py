"""A STAC API: scenes found by a server's own search."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import pystac
import shapely
from pystac_client import Client
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from shapely.geometry.base import BaseGeometry

from earthloom.archive.http import Http, Manners, PatientIO
from earthloom.archive.item import NOT_STAC, asset_href, item_of
from earthloom.archive.listing import on_earth, scenes_among
from earthloom.archive.scene import Scene
from earthloom.archive.sign import Signer, blob_container, open_signer
from earthloom.errors import ArchiveError, choices
from earthloom.project import ApiArchive, Remote
from earthloom.sensors import Sensor

_CORNERS = 500
"""Of an outline that is sent as it is; servers refuse requests of many kilobytes."""
_NAMED = 40
"""Most collections that a message lists."""


@dataclass(frozen=True)
class StacApi:
    """A STAC API. Its search narrows; what it returns is checked against period and outline here,
    so that a server's own reading of either does not change a result."""

    settings: ApiArchive
    http: Http

    @cached_property
    def client(self) -> Client:
        """The API's landing page; ArchiveError if there is none."""
        url = self.settings.url
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of conformance classes; we see for ourselves
                client = Client.open(url, stac_io=PatientIO(self.http))
        except (*NOT_STAC, ClientTypeError) as error:
            raise ArchiveError(
                f"{url} is not the landing page of a STAC API: {_first_line(error)}"
            ) from error
        if client.get_search_link() is None:
            raise ArchiveError(
                f"{url} is STAC, but has no search; a static catalog is 'kind: catalog'"
            )
        client.add_conforms_to("ITEM_SEARCH")  # by its link, even where it does not say so
        return client

    @cached_property
    def collections(self) -> Mapping[str, pystac.Collection]:
        """The API's collections by id."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                listed = list(self.client.get_collections())
        except (*NOT_STAC, APIError) as error:
            raise ArchiveError(
                f"{self.settings.url} has a collection that is not STAC: {_first_line(error)}"
            ) from error
        return {each.id: each for each in sorted(listed, key=lambda each: each.id)}

    def collection_of(self, sensor: Sensor) -> str:
        """The collection that holds a sensor's items; ArchiveError names those that there are."""
        chosen = self.settings.collections.get(sensor.name)
        candidates = (chosen,) if chosen else sensor.collections
        found = next((each for each in candidates if each in self.collections), None)
        if found is None:
            raise ArchiveError(
                f"{self.settings.url} has no collection {' or '.join(candidates)} for "
                f"{sensor.name}; name one under archive.collections; it has: "
                f"{_shortened(list(self.collections))}"
            )
        return found

    def search(self, sensor: Sensor, start: date, end: date, outline: BaseGeometry) -> list[Scene]:
        """See `SceneSource`."""
        place = on_earth(outline)
        items = self._items(self.collection_of(sensor), _period(sensor, start, end), place)
        return scenes_among(items, sensor, (start, end), place, self._href)

    def holdings(self, sensor: Sensor) -> str:
        """What the API has of a sensor, as its collection says: a search without bounds would
        list millions of items."""
        collection = self.collections[self.collection_of(sensor)]
        intervals = collection.extent.temporal.intervals
        (first, last), *_ = intervals or [[None, None]]
        since = f"{first.date()}" if first else "the beginning"
        until = f"{last.date()}" if last else "now"
        box = ", ".join(f"{bound:g}" for bound in _flat(collection.extent.spatial.bboxes))
        return f"the collection {collection.id}, from {since} to {until} within ({box})"

    def _items(
        self, collection: str, period: str | None, place: BaseGeometry
    ) -> Iterator[pystac.Item]:
        try:
            search = self.client.search(
                method=self._method,
                collections=[collection],
                datetime=period,
                limit=self.settings.page_size,
                **_space(place),
            )
            for page in search.pages_as_dicts():
                yield from (item_of(feature) for feature in page["features"])
        except APIError as error:
            raise ArchiveError(f"{self.settings.url} cannot be searched: {error}") from error

    @property
    def _method(self) -> str:
        """GET for a server that says that it takes no other."""
        methods = [
            str(link.extra_fields.get("method", "")).upper()
            for link in self.client.links
            if link.rel == "search"
        ]
        return "GET" if methods and set(methods) == {"GET"} else "POST"

    def _href(self, asset: pystac.Asset) -> str:
        """Where a file is, without a token that the server may have appended."""
        href = asset_href(asset)
        return href.partition("?")[0] if blob_container(href) else href


def open_api(settings: ApiArchive) -> StacApi:
    """The API that a project names, asked as it says; nothing is sent yet."""
    return StacApi(settings, Http(manners_of(settings), signer_of(settings, settings.url).headers))


def manners_of(settings: Remote) -> Manners:
    """How a project's remote archive is asked."""
    return Manners(settings.requests_per_second, settings.retries, settings.timeout_s)


def signer_of(settings: Remote, archive: str) -> Signer:
    """The signer of a project's remote archive, whose own address is `archive`."""
    return open_signer(settings.sign, archive, manners_of(settings))


def _period(sensor: Sensor, start: date, end: date) -> str | None:
    """A day more at both ends, as a solar day may begin and end on another day of UTC."""
    if sensor.static:
        return None
    first = ".." if start == date.min else f"{start - timedelta(1)}T00:00:00Z"
    last = ".." if end == date.max else f"{end + timedelta(1)}T23:59:59Z"
    return None if first == last == ".." else f"{first}/{last}"


def _space(place: BaseGeometry) -> dict[str, Any]:
    """What a search is limited to: a box as a box, else the outline or, of many corners, its
    hull."""
    if place.equals(place.envelope):
        return {"bbox": list(place.bounds)}
    simple = place if shapely.get_num_coordinates(place) <= _CORNERS else place.convex_hull
    if shapely.get_num_coordinates(simple) > _CORNERS:
        return {"bbox": list(place.bounds)}
    return {"intersects": shapely.geometry.mapping(simple)}


def _flat(boxes: list[list[float]]) -> list[float]:
    """West, south, east, north of a collection's overall box, which may have heights."""
    box = boxes[0] if boxes else []
    return [box[0], box[1], box[3], box[4]] if len(box) == 6 else list(box)


def _shortened(names: list[str]) -> str:
    more = len(names) - _NAMED
    return choices(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
