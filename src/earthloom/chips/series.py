"""Labelled pixel series from one `.npz` table: every series is a chip of 1 x 1 pixel.

The table holds X (n, t, bands) float, bands (bands,), y (n,) class names, lon and lat (n,) degrees
and dates (n, t) as YYYY-MM-DD.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError, DataError, LabelError, choices
from earthloom.project import FoldsAssessment, Project, SeriesArchive
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.place import block_of
from earthloom.sensors import Sensor, measures_of

_KEYS = ("X", "bands", "y", "lon", "lat", "dates")
_PIXEL = Shape2d(1, 1)

_BLOCK = 1.0
"""Degrees: the side of the blocks that make groups where the assessment names none."""


@dataclass(frozen=True)
class SeriesSamples:
    """A table of labelled series in memory; fulfils `Samples`."""

    spec: LayerSpec
    pixels: NDArray[np.float32]
    """(n, T, C) in the sensor's units; NaN where `valid` is False."""
    valid: NDArray[np.bool_]
    """(n, T)."""
    days: NDArray[np.int32]
    """(n, T) days since 1970-01-01."""
    codes: NDArray[np.uint8]
    """(n,) class codes."""
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    groups: tuple[str, ...]
    """The block of longitude and latitude that each series lies in."""

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.spec.key: self.spec}

    @property
    def never_seen(self) -> int:
        """How many series have no valid date at all."""
        return int((~self.valid.any(axis=1)).sum())

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Chip:
        layer = Layer(
            spec=self.spec,
            pixels=self.pixels[index, :, :, None, None],
            valid=self.valid[index, :, None, None],
            days=self.days[index],
        )
        return Chip(
            id=f"{index:06d}",
            shape=_PIXEL,
            layers={self.spec.key: layer},
            label=self.codes[index].reshape(_PIXEL),
            group=self.groups[index],
        )


def read_series(file: Path, project: Project) -> SeriesSamples:
    """Reads a project's table; its groups are the blocks that its assessment asks for."""
    if not isinstance(project.archive, SeriesArchive):
        raise DataError(f"the project's archive is '{project.archive.kind}', not a table of series")
    sensor = project.archive.sensor
    bands = [choice.bands for choice in project.sensors if choice.name == sensor]
    if not bands:
        raise ContractError(
            f"the archive's sensor {sensor} is not among the project's sensors: "
            f"{choices(choice.name for choice in project.sensors)}"
        )
    assess = project.assess
    block = assess.block if isinstance(assess, FoldsAssessment) else _BLOCK
    codes = {each.name: each.code for each in project.classes}
    return read_table(file, project.sensor(sensor), bands[0], codes, block)


def read_table(
    file: Path, sensor: Sensor, bands: Sequence[str], codes: Mapping[str, int], block: float
) -> SeriesSamples:
    """Reads a table; all of the sensor's bands that it has, in the sensor's order, or `bands`.

    `codes` are the class codes by name; `block` is the side in degrees of the squares that make
    the groups. DataError if the table is damaged or lacks something, LabelError for a class that
    is not known.
    """
    table = _load(file)
    chosen = _bands(file, sensor, bands, table["bands"].tolist())
    position = {name: at for at, name in enumerate(table["bands"].tolist())}
    pixels = table["X"][:, :, [position[name] for name in chosen]].astype(np.float32)
    valid: NDArray[np.bool_] = np.all(np.isfinite(pixels), axis=-1)
    pixels[~valid] = np.nan
    lon, lat = table["lon"].astype(np.float64), table["lat"].astype(np.float64)
    return SeriesSamples(
        spec=_spec(sensor, chosen, pixels.shape[1]),
        pixels=pixels,
        valid=valid,
        days=_days(file, table["dates"]),
        codes=_codes(file, table["y"], codes),
        lon=lon,
        lat=lat,
        groups=tuple(block_of(x, y, block) for x, y in zip(lon, lat, strict=True)),
    )


def _load(file: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            present = archive.files
            missing = [key for key in _KEYS if key not in present]
            if missing:
                raise DataError(
                    f"{file} lacks the array(s) {choices(missing)}; present are: {choices(present)}"
                )
            table = {key: archive[key] for key in _KEYS}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read the table of series {file}: {error}") from error
    _check_shapes(file, table)
    return table


def _check_shapes(file: Path, table: Mapping[str, NDArray[np.generic]]) -> None:
    if table["X"].ndim != 3 or not np.issubdtype(table["X"].dtype, np.number):
        raise DataError(f"{file}: X must be numbers (n, t, bands), but has shape {_shape(table)}")
    count, times, bands = table["X"].shape
    expected = {
        "bands": (bands,),
        "y": (count,),
        "lon": (count,),
        "lat": (count,),
        "dates": (count, times),
    }
    for key, shape in expected.items():
        if table[key].shape != shape:
            raise DataError(
                f"{file}: {key} has shape {table[key].shape}; with X {_shape(table)} "
                f"(n, t, bands) it must have {shape}"
            )


def _shape(table: Mapping[str, NDArray[np.generic]]) -> tuple[int, ...]:
    return table["X"].shape


def _bands(file: Path, sensor: Sensor, wanted: Sequence[str], present: list[str]) -> list[str]:
    if not wanted:
        known = [band.name for band in sensor.bands if band.name in present]
        if not known:
            raise DataError(
                f"{file} has none of the bands of {sensor.name}; it has {choices(present)}, "
                f"the sensor {choices(sensor.by_name)}"
            )
        return known
    for name in wanted:
        sensor.band(name)
        if name not in present:
            raise DataError(f"{file} has no band '{name}'; its bands are: {choices(present)}")
    return list(wanted)


def _spec(sensor: Sensor, names: Sequence[str], times: int) -> LayerSpec:
    bands = [sensor.band(name) for name in names]
    for what in ("gsd", "unit"):
        values = sorted({getattr(band, what) for band in bands})
        if len(values) > 1:
            raise DataError(
                f"the bands {choices(names)} of {sensor.name} differ in {what}: {choices(values)}; "
                "a table of series holds bands of one; name them under 'bands'"
            )
    return LayerSpec(
        sensor=sensor.name,
        gsd=bands[0].gsd,
        bands=tuple(names),
        unit=bands[0].unit,
        dates=tuple(f"{number + 1:02d}" for number in range(times)),
        wavelengths_nm=tuple(band.wavelength_nm for band in bands),
        measures=measures_of(sensor, bands),
    )


def _days(file: Path, dates: NDArray[np.generic]) -> NDArray[np.int32]:
    try:
        return dates.astype("datetime64[D]").astype(np.int32)
    except ValueError as error:
        raise DataError(f"{file}: dates must be YYYY-MM-DD: {error}") from error


def _codes(file: Path, names: NDArray[np.generic], codes: Mapping[str, int]) -> NDArray[np.uint8]:
    unknown = sorted(set(names.tolist()) - set(codes))
    if unknown:
        raise LabelError(
            f"{file} has the class(es) {choices(unknown)}, which the project does not name; "
            f"its classes are: {choices(codes)}"
        )
    return np.array([codes[name] for name in names.tolist()], dtype=np.uint8)
