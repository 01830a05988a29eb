"""A folder of image files, described by a pattern over their paths: one file a band, or several
bands in a file."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from shapely.geometry.base import BaseGeometry

from earthloom.archive.formats import inspect_file
from earthloom.archive.scene import Asset, Scene, in_order, parse_time
from earthloom.errors import ArchiveError, choices
from earthloom.project import ISO, FolderArchive, FolderPart
from earthloom.sensors import Sensor


@dataclass(frozen=True)
class FileSlot:
    """Where the numbers of one band are."""

    href: str
    """Of the file, or of an image in it, as `scene.nc#red`."""
    index: int = 1

    @property
    def file(self) -> str:
        return self.href.partition("#")[0]


@dataclass(frozen=True)
class FolderOfFiles:
    """Files below `path` whose relative path matches the archive's pattern."""

    path: Path
    settings: FolderArchive

    @property
    def folder(self) -> Path:
        return self.path

    def places(self, sensor: Sensor) -> list[str]:
        """Names of all places that have files."""
        return sorted({scene.place for scene in self._scenes(sensor)})

    def of_place(self, sensor: Sensor, place: str, start: date, end: date) -> list[Scene]:
        """The scenes of a place within a period, both days included."""
        found = [s for s in self._scenes(sensor) if s.place == place and start <= s.day <= end]
        return in_order(found)

    def search(self, sensor: Sensor, start: date, end: date, outline: BaseGeometry) -> list[Scene]:
        """See `SceneSource`; a folder does not say where its files lie, so all are listed and
        those that do not meet the outline show nothing of it."""
        return in_order([s for s in self._scenes(sensor) if start <= s.day <= end])

    def _scenes(self, sensor: Sensor) -> list[Scene]:
        parts = self.settings.parts
        if sensor.name not in parts:
            raise ArchiveError(f"the folder {self.path} holds {choices(parts)}, not {sensor.name}")
        return _Part(self.path, parts[sensor.name], alone=len(parts) == 1).scenes(sensor)


@dataclass(frozen=True)
class _Part:
    """The files of one sensor in a folder."""

    path: Path
    settings: FolderPart
    alone: bool
    """Whether no other sensor has files there: then names of scenes need not tell it."""

    def scenes(self, sensor: Sensor) -> list[Scene]:
        """All scenes of the sensor."""
        names = self._names(sensor)
        groups: dict[tuple[str, str], dict[str, FileSlot]] = defaultdict(dict)
        fields: dict[tuple[str, str], dict[str, str]] = {}
        for href, found in self._matches():
            key = (found.get("place") or "", found.get("slot") or found.get("date") or "")
            for band, slot in self._slots(href, found.pop("band", None)).items():
                if band not in names:
                    continue
                if band in groups[key]:
                    raise ArchiveError(
                        f"{groups[key][band].file} and {href} in {self.path} are both {band} of "
                        "one place and date; tell them apart by a group 'slot' in the pattern"
                    )
                groups[key][band] = slot
                fields[key] = found
        if not fields:
            raise ArchiveError(
                f"no file in {self.path} fits the pattern {self.settings.pattern} with a band of "
                f"{sensor.name}: {choices(names)}"
            )
        return [self._scene(sensor, fields[key], groups[key]) for key in sorted(fields)]

    def _names(self, sensor: Sensor) -> list[str]:
        """What a file may show: the sensor's bands and its quality band. ArchiveError if the
        project lists another."""
        names = [*sensor.by_name, *([sensor.quality.band] if sensor.quality else [])]
        listed = [band for band in (*self.settings.bands, *self.settings.subdatasets) if band]
        unknown = [band for band in listed if band not in names]
        if unknown:
            raise ArchiveError(
                f"archive: {sensor.name} has no band {choices(unknown)}; it has: {choices(names)}"
            )
        return names

    def _slots(self, href: str, band: str | None) -> dict[str, FileSlot]:
        """What a file shows: of the pattern's band, or of the bands that the project lists."""
        if band is not None:
            return {band: FileSlot(href)}
        inside = {
            name: FileSlot(f"{href}#{image}") for name, image in self.settings.subdatasets.items()
        }
        listed = enumerate(self.settings.bands, start=1)
        return inside | {name: FileSlot(href, at) for at, name in listed if name is not None}

    def _matches(self) -> Iterator[tuple[str, dict[str, str]]]:
        if not self.path.is_dir():
            raise ArchiveError(f"the archive's folder {self.path} does not exist")
        pattern = re.compile(self.settings.pattern)
        for file in sorted(self.path.rglob("*")):
            href = file.relative_to(self.path).as_posix()
            match = pattern.fullmatch(href)
            if match and file.is_file():
                yield href, {name: text for name, text in match.groupdict().items() if text}

    def _scene(
        self, sensor: Sensor, fields: dict[str, str], files: Mapping[str, FileSlot]
    ) -> Scene:
        time, stamp = self._time(fields)
        place, slot = fields.get("place", ""), fields.get("slot", "")
        quality = files.get(sensor.quality.band) if sensor.quality else None
        return Scene(
            id="_".join(
                part for part in ("" if self.alone else sensor.name, place, slot, stamp) if part
            ),
            sensor=sensor.name,
            time=time,
            day=time.date(),
            bounds=None,
            place=place,
            cloud_cover=None,
            bands={
                name: self._asset(sensor, name, files[name])
                for name in files
                if name in sensor.by_name
            },
            quality=self._quality(quality) if quality else None,
        )

    def _asset(self, sensor: Sensor, name: str, slot: FileSlot) -> Asset:
        band = sensor.band(name)
        size = (self.path / slot.file).stat().st_size
        scale, offset, nodata = band.scale, band.offset, band.nodata
        transform, constants = band.transform, band.constants
        if self.settings.values == "table" and (band.per_scene or band.over_sun):
            raise ArchiveError(
                f"the scale of {name} of {sensor.name} is another one in every scene, and a folder "
                "does not tell it; write it into the files and set 'values: file', or make a "
                "catalog of STAC Items that say it"
            )
        if self.settings.values == "file":
            held = inspect_file(self.path / slot.href).bands
            if slot.index > len(held):
                raise ArchiveError(
                    f"{slot.href} in {self.path} has {len(held)} bands, and archive.bands names "
                    f"{name} as its band {slot.index}"
                )
            own = held[slot.index - 1]
            scale, offset, nodata, transform = own.scale, own.offset, own.nodata, "linear"
            constants = None
        return Asset(
            href=slot.href,
            size=size,
            scale=scale,
            offset=offset,
            nodata=nodata,
            index=slot.index,
            transform=transform,
            constants=constants,
        )

    def _quality(self, slot: FileSlot) -> Asset:
        size = (self.path / slot.file).stat().st_size
        return Asset(slot.href, size, index=slot.index)

    def _time(self, fields: Mapping[str, str]) -> tuple[datetime, str]:
        """When a scene was taken, and that as part of its name; noon where only the day is said."""
        text = fields.get("date")
        if text is None and self.settings.dates is None and self.settings.day is not None:
            noon = datetime.combine(self.settings.day, datetime.min.time(), UTC)
            return noon + timedelta(hours=12), self.settings.day.isoformat()
        if text is None:
            text = self._written_date(fields)
        way = self.settings.date_format
        try:
            if way == ISO:
                time, to_the_day = parse_time(text), len(text) <= len("2018-03-01")
            else:
                time = datetime.strptime(text, way).replace(tzinfo=UTC)
                to_the_day = "%H" not in way
        except ValueError:
            form = {"%Y%m%d": "YYYYMMDD", ISO: "ISO 8601"}.get(way, way)
            raise ArchiveError(f"'{text}' in {self.path} is not a date as {form}") from None
        if to_the_day:
            return time + timedelta(hours=12), time.date().isoformat()
        return time, time.strftime("%Y-%m-%dT%H%M%S")

    def _written_date(self, fields: Mapping[str, str]) -> str:
        dates = self.settings.dates
        assert dates is not None  # the project file was checked for it
        file = self.path / dates.file.format(**fields)
        pattern = _fill(dates.pattern, fields)
        try:
            match = re.search(pattern, file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ArchiveError(f"cannot read the dates file {file}: {error.strerror}") from error
        if match is None:
            raise ArchiveError(f"the dates file {file} has nothing that fits {pattern}")
        return match.group(1)


def _fill(pattern: str, fields: Mapping[str, str]) -> str:
    """Puts fields into a regular expression, whose own braces are left alone."""
    for name, text in fields.items():
        pattern = pattern.replace("{" + name + "}", re.escape(text))
    return pattern
