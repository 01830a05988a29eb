"""Image files as they come: what a file holds, where it lies, and why it cannot be used.

A file that holds several images (NetCDF, HDF5) is named with the one that is meant after a `#`, as
`scene.nc#red`.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import rasterio
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.env import Env
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from earthloom.archive.http import without_queries
from earthloom.archive.sign import Signer, Unsigned
from earthloom.errors import DataError, choices

PlacedBy = Literal["transform", "gcps", "nothing"]

_OTHER_BUILDS = "take rasterio and GDAL from conda-forge, or convert the file to GeoTIFF"
_SIGNATURES: Mapping[bytes, tuple[str, str]] = {
    b"\x0e\x03\x13\x01": ("HDF4", "HDF4"),
    b"\x89HDF\r\n\x1a\n": ("HDF5", "HDF5"),
    b"CDF": ("netCDF", "NetCDF"),
    b"\x00\x00\x00\x0cjP  ": ("JP2OpenJPEG", "JPEG 2000"),
    b"\xff\x4f\xff\x51": ("JP2OpenJPEG", "JPEG 2000"),
}
"""First bytes of formats that not every GDAL reads: its driver, and its name for a person."""
_DESCRIPTIONS = (b"{", b"[", b"<GDAL_WMS", b"<WMS_", b"<WCS_", b"<TileMap")
"""First bytes of files that GDAL would open by asking the servers that they name."""


@dataclass(frozen=True)
class FileBand:
    """One band of a file, as the file itself describes it."""

    index: int
    """From 1."""
    dtype: str
    nodata: float | None
    scale: float
    """physical = stored * scale + offset; 1 and 0 where the file says nothing."""
    offset: float
    masked_by: Literal["nothing", "nodata", "mask", "alpha"]
    """What tells pixels that are not there: a number, a mask of the file, or its alpha band."""
    is_alpha: bool


@dataclass(frozen=True)
class RasterFile:
    """An image file that can be used, or one that holds several."""

    path: str
    driver: str
    shape: tuple[int, int]
    """Rows and columns; (0, 0) where the file only holds other images."""
    placed_by: PlacedBy
    """What says where pixels lie: an affine transform, or ground control points, by a polynomial
    through them."""
    crs: str
    """As WKT; of the control points where they place the file. Empty with `nothing`."""
    transform: tuple[float, float, float, float, float, float] | None
    """Of column and row to x and y: a, b, c, d, e, f. Rows may run north and grids be turned."""
    bands: tuple[FileBand, ...]
    subdatasets: Mapping[str, str]
    """Where a file holds several images: for the name of each, what to open instead."""


def inspect_file(path: Path | str) -> RasterFile:
    """What a file holds. DataError, in one line, says why a file is of no use, and what to do;
    RasterioError that an address does not answer."""
    with _opened(str(path), None, Unsigned()) as source:
        held = _images_in(source, str(path))
        if held:
            return RasterFile(str(path), source.driver, (0, 0), "nothing", "", None, (), held)
        by = _placed_by(source, str(path))
        crs = source.crs if by == "transform" else source.gcps[1]
        return RasterFile(
            path=str(path),
            driver=source.driver,
            shape=source.shape,
            placed_by=by,
            crs=crs.to_wkt(),
            transform=tuple(source.transform)[:6] if by == "transform" else None,
            bands=tuple(_band(source, index) for index in source.indexes),
            subdatasets={},
        )


def open_source(
    address: str,
    overview: int | None = None,
    continuous: bool = True,
    signer: Signer = Unsigned(),
) -> DatasetReader | WarpedVRT:
    """Opens an image with a CRS and a transform, to be closed or used as a context.

    A file that is placed by ground control points is brought onto a north-up grid in their CRS, by
    the polynomial that GDAL fits through them, bilinearly or, of classes (not `continuous`), by the
    nearest pixel; what lies beyond its edges is masked. `overview` opens a coarser copy in the
    file, from 0. DataError says why a file is of no use.
    """
    source = _opened(address, overview, signer)
    held = _images_in(source, address)
    if held:
        source.close()
        raise DataError(
            f"{address} holds several images; name one after a '#'; there are: {choices(held)}"
        )
    try:
        by = _placed_by(source, address)
    except DataError:
        source.close()
        raise
    if by == "transform":
        return source
    return WarpedVRT(
        source,
        crs=source.gcps[1],
        resampling=Resampling.bilinear if continuous else Resampling.nearest,
        add_alpha=source.nodata is None,
    )


def _opened(address: str, overview: int | None, signer: Signer) -> DatasetReader:
    """An open file, or one of the images in it; DataError if it does not open. An address may
    open at another time: RasterioError is left to who tries again."""
    if "://" in address:
        return _opened_remote(address, overview, signer)
    file, name = _parted(address)
    if _begin(file).lstrip().startswith(_DESCRIPTIONS):
        raise DataError(f"{file} is a description of other files, not an image")
    try:
        return _open(_gdal_name(file, name) if name else file, overview)
    except RasterioError as error:
        raise DataError(_why_not_open(file, error)) from error


def _opened_remote(address: str, overview: int | None, signer: Signer) -> DatasetReader:
    """A file at an address; no message holds its key."""
    sent = "\r\n".join(f"{name}: {text}" for name, text in signer.headers(address).items())
    # GDAL keeps the headers with the open file, for all that is read of it later.
    with Env(**({"GDAL_HTTP_HEADERS": sent} if sent else {})):
        try:
            return _open(signer.signed(address), overview)
        except RasterioError as error:
            raise type(error)(without_queries(str(error))) from None


def _open(name: str, overview: int | None) -> DatasetReader:
    options = {} if overview is None else {"OVERVIEW_LEVEL": str(overview)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(name, sharing=False, **options)


def _parted(address: str) -> tuple[str, str]:
    """The file, and the name of the image in it that is meant, if any."""
    file, mark, name = address.rpartition("#")
    if not mark or Path(address).exists():
        return address, ""
    return file, name


def _gdal_name(file: str, name: str) -> str:
    """How GDAL's driver writes an image in a file."""
    with rasterio.open(file, sharing=False) as whole:
        held = {_short_name(each): str(each) for each in whole.subdatasets}
        # A NetCDF of one variable is that variable, and does not list it.
        if not held and whole.driver == "netCDF":
            return f"netcdf:{file}:{name}"
    if name not in held:
        raise DataError(f"{file} holds no image '{name}'; there are: {choices(held)}")
    return held[name]


def _images_in(source: DatasetReader, address: str) -> dict[str, str]:
    """The images of a file that has none of its own, by name; what to open for each."""
    if source.count:
        return {}
    return {name: f"{address}#{name}" for name in map(_short_name, source.subdatasets)}


def _short_name(subdataset: str) -> str:
    """`red` of `netcdf:/folder/scene.nc:red`, `group/red` of `HDF5:"scene.h5"://group/red`."""
    return subdataset.rpartition(":")[2].lstrip("/")


def _placed_by(source: DatasetReader, address: str) -> PlacedBy:
    """What says where an image lies; DataError if nothing does, or if it is no measured image."""
    complex_ones = [dtype for dtype in source.dtypes if dtype.startswith("complex")]
    if complex_ones:
        raise DataError(
            f"{address} holds complex numbers ({complex_ones[0]}), as single-look radar has; "
            "make its amplitude or its backscatter first"
        )
    points, points_crs = source.gcps
    placed = not source.transform.is_identity
    if source.crs is not None and placed:
        return "transform"
    if points and points_crs is not None:
        return "gcps"
    if source.rpcs is not None:
        raise DataError(
            f"{address} is placed by rational polynomials (RPC), which need the height of the "
            "ground; bring it onto a map first: gdalwarp -rpc -to RPC_DEM=heights.tif"
        )
    if source.crs is not None:
        raise DataError(
            f"{address} has a CRS, but does not say where its pixels lie: it has neither a "
            "transform nor ground control points"
        )
    also = "" if placed else ", nor a transform"
    raise DataError(f"{address} has no CRS{also}, so it does not say where it lies")


def _band(source: DatasetReader, index: int) -> FileBand:
    at = index - 1
    return FileBand(
        index=index,
        dtype=source.dtypes[at],
        nodata=source.nodatavals[at],
        scale=source.scales[at],
        offset=source.offsets[at],
        masked_by=_masked_by(source.mask_flag_enums[at]),
        is_alpha=source.colorinterp[at] == ColorInterp.alpha,
    )


def _masked_by(flags: list[MaskFlags]) -> Literal["nothing", "nodata", "mask", "alpha"]:
    if MaskFlags.alpha in flags:
        return "alpha"
    if MaskFlags.per_dataset in flags:
        return "mask"
    return "nodata" if MaskFlags.nodata in flags else "nothing"


def _why_not_open(address: str, error: RasterioError) -> str:
    """A reason with what to do about it, as far as the file's first bytes tell."""
    path = Path(address)
    if not path.exists():
        return f"{address} does not exist"
    if path.is_dir():
        return f"{address} is a folder, not an image"
    begin = _begin(address)
    if not begin:
        return f"{address} is empty"
    known = next((what for sign, what in _SIGNATURES.items() if begin.startswith(sign)), None)
    if known is not None:
        driver, title = known
        with Env() as env:
            if driver not in env.drivers():
                return f"{address} is {title}, which this GDAL does not read; {_OTHER_BUILDS}"
    if "not recognized as being in a supported file format" in str(error):
        return f"{address} is not an image in a format that GDAL reads"
    return f"{address} cannot be opened: {error}"


def _begin(file: str) -> bytes:
    """The first bytes of a file; none where it cannot be read, which GDAL will say."""
    path = Path(file)
    if not path.is_file():
        return b""
    with path.open("rb") as content:
        return content.read(64)
