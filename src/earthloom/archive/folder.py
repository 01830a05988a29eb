"""A folder of image files, one file a band, described by a pattern over their paths."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path

from shapely.geometry.base import BaseGeometry

from earthloom.archive.scene import Asset, Scene, in_order
from earthloom.errors import ArchiveError, choices
from earthloom.project import FolderArchive
from earthloom.sensors import Sensor


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
        if sensor.name != self.settings.sensor:
            raise ArchiveError(
                f"the folder {self.path} holds {self.settings.sensor}, not {sensor.name}"
            )
        groups: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        fields: dict[tuple[str, str], dict[str, str]] = {}
        for href, found in self._matches():
            key = (found.get("place") or "", found.get("slot") or found.get("date") or "")
            band = found.pop("band")
            if band in sensor.by_name:
                groups[key][band] = href
                fields[key] = found
        if not groups:
            raise ArchiveError(
                f"no file in {self.path} fits the pattern {self.settings.pattern} with a band of "
                f"{sensor.name}: {choices(sensor.by_name)}"
            )
        return [self._scene(sensor, fields[key], groups[key]) for key in sorted(groups)]

    def _matches(self) -> Iterator[tuple[str, dict[str, str]]]:
        if not self.path.is_dir():
            raise ArchiveError(f"the archive's folder {self.path} does not exist")
        pattern = re.compile(self.settings.pattern)
        for file in sorted(self.path.rglob("*")):
            href = file.relative_to(self.path).as_posix()
            match = pattern.fullmatch(href)
            if match and file.is_file():
                yield href, {name: text for name, text in match.groupdict().items() if text}

    def _scene(self, sensor: Sensor, fields: dict[str, str], files: Mapping[str, str]) -> Scene:
        day = self._day(fields)
        place, slot = fields.get("place", ""), fields.get("slot", "")
        return Scene(
            id="_".join(part for part in (place, slot, day.isoformat()) if part),
            sensor=sensor.name,
            time=datetime.combine(day, time(12), UTC),
            day=day,
            bounds=None,
            place=place,
            cloud_cover=None,
            bands={name: self._asset(sensor, name, href) for name, href in files.items()},
            quality=None,
        )

    def _asset(self, sensor: Sensor, name: str, href: str) -> Asset:
        band = sensor.band(name)
        size = (self.path / href).stat().st_size
        return Asset(href, size, band.scale, band.offset, band.nodata)

    def _day(self, fields: Mapping[str, str]) -> date:
        text = fields.get("date")
        if text is None:
            text = self._written_date(fields)
        try:
            return datetime.strptime(text, "%Y%m%d").date()
        except ValueError:
            raise ArchiveError(f"'{text}' in {self.path} is not a date as YYYYMMDD") from None

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
