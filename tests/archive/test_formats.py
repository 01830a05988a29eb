"""Image files of any kind: loaded as rasterio reads them, or refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine, from_origin
from rasterio.warp import calculate_default_transform, reproject

from earthloom.archive import Asset
from earthloom.archive.formats import inspect_file, open_source
from earthloom.archive.sign import FakeSigner, HeaderSigner
from earthloom.cube.read import Reader, native_box
from earthloom.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SHARED = Path(__file__).parents[3] / "shared" / "data"
FILES = [
    file
    for name in ("cog_riotiler", "rioxarray_data")
    for file in sorted((SHARED / name).rglob("*"))
    if file.is_file()
]
REFUSED = {
    "SOURCE.txt": "is not an image",
    "*.json": "is a description of other files",
    "*.rpb": "is not an image",
    "dataset_2d.nc": "has no CRS, nor a transform",
    "no_geo2.jpg": "has no CRS, nor a transform",
    "MOD09GA*.hdf": "is HDF4, which this GDAL does not read; take rasterio and GDAL from conda",
    "MODIS_POINT.nc": "has a CRS, but does not say where its pixels lie",
    "unicode.nc": "has a CRS, but does not say where its pixels lie",
    "cint16.tif": r"holds complex numbers \(complex_int16\)",
    "test_rpcs*.tif": r"rational polynomials \(RPC\).* gdalwarp -rpc",
    "veris_interpolate.nc#*": "has no CRS, so it does not say where it lies",
    "test_find_crs.nc#*": "has no CRS, nor a transform",
}
"""Files that cannot be used, by pattern, and why."""


def why_refused(name):
    return next((why for pattern, why in REFUSED.items() if Path(name).match(pattern)), None)


def physical(source, band):
    """What rasterio reads: masked numbers in physical units, NaN where masked."""
    stored = source.read(band.index, masked=True).astype(np.float64).filled(np.nan)
    return stored * band.scale + band.offset


def images(file):
    """What can be opened of a file: itself, or the images in it."""
    if why_refused(file.name):
        return [str(file)]
    return list(inspect_file(file).subdatasets.values()) or [str(file)]


@pytest.mark.shared
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_real_file_loads_as_rasterio_reads_it_or_says_why_not(file):
    for address in images(file):
        reason = why_refused(Path(address).name)
        if reason:
            with pytest.raises(DataError, match=reason) as caught:
                open_source(address)
            assert "\n" not in str(caught.value)
            with pytest.raises(DataError, match=reason):
                inspect_file(address)
            continue
        held = inspect_file(address)
        if held.placed_by == "transform" and "#" not in address:
            read_all(address, held)
        else:
            with open_source(address) as source:
                assert source.crs is not None
                assert np.isfinite(source.read(1)).any()


def read_all(address, held):
    """All bands, on the file's own grid, by the reader of cubes and by rasterio."""
    with rasterio.open(address) as source:
        for band in (band for band in held.bands if not band.is_alpha):
            asset = Asset(address, None, band.scale, band.offset, band.nodata, band.index)
            found = Reader("/").physical(asset, native_box("/", asset))
            np.testing.assert_allclose(found, physical(source, band), rtol=1e-6, atol=1e-6)


@pytest.mark.shared
@pytest.mark.skipif(not FILES, reason="needs the shared data")
@pytest.mark.parametrize("name", ["sentinel_2_L1C_geographic.nc", "PLANET_SCOPE_3D.nc", "veris.nc"])
def test_images_in_a_file_are_those_of_gdal(name, shared_data):
    file = shared_data / "rioxarray_data" / "input" / name
    with rasterio.open(file) as whole:
        expected = {each.rpartition(":")[2]: each for each in whole.subdatasets}
    assert set(inspect_file(file).subdatasets) == set(expected)
    for key, inner in expected.items():
        with open_source(f"{file}#{key}") as ours, rasterio.open(inner) as theirs:
            np.testing.assert_array_equal(ours.read(), theirs.read())
    with pytest.raises(DataError, match="holds several images; name one after a '#'; there are: "):
        open_source(str(file))
    with pytest.raises(DataError, match="holds no image 'none'; there are: "):
        open_source(f"{file}#none")


# -- control points ------------------------------------------------------------------------------

GRID = Affine(10, 0, 500_000, 0, -10, 5_400_000)


@pytest.fixture
def with_points(tmp_path):
    """A file of 60 x 80 pixels, placed by points on a shifted, turned grid."""

    def write(nodata=None):
        turned = GRID @ Affine.rotation(20)
        points = []
        for row in (0, 30, 60):
            for col in (0, 40, 80):
                x, y = turned @ (col, row)
                points.append(GroundControlPoint(row, col, x, y, 0))
        pixels = np.arange(1, 60 * 80 + 1, dtype=np.uint16).reshape(60, 80)
        path = tmp_path / f"points{nodata}.tif"
        profile = {"driver": "GTiff", "width": 80, "height": 60, "count": 1, "dtype": "uint16"}
        with rasterio.open(path, "w", **profile, nodata=nodata) as target:
            target.gcps = (points, "EPSG:32632")
            target.write(pixels, 1)
        return path, points, pixels

    return write


@pytest.mark.parametrize("nodata", [None, 0])
def test_control_points_place_a_file(with_points, nodata):
    path, points, pixels = with_points(nodata)
    assert inspect_file(path).placed_by == "gcps"
    crs = rasterio.CRS.from_epsg(32632)
    transform, width, height = calculate_default_transform(crs, crs, 80, 60, gcps=points)
    expected = np.zeros((height, width), np.uint16)
    reproject(
        pixels, expected, gcps=points, src_crs=crs, dst_transform=transform, dst_crs=crs
    )  # the nearest pixel
    with open_source(str(path), continuous=False) as source:
        assert (source.width, source.height) == (width, height)
        assert source.transform.almost_equals(transform, 1e-6)
        found = source.read(1, masked=True)
    np.testing.assert_array_equal(found.filled(0), expected)
    assert found.mask.mean() == pytest.approx((expected == 0).mean())
    assert 0.2 < found.mask.mean() < 0.6


def test_measured_values_are_interpolated(with_points):
    path, _, _ = with_points()
    with open_source(str(path)) as smooth, open_source(str(path), continuous=False) as nearest:
        difference = smooth.read(1, masked=True).astype(float) - nearest.read(1, masked=True)
    assert 0 < np.abs(difference).mean() < 80


# -- formats -------------------------------------------------------------------------------------

PIXELS = np.arange(2 * 20 * 30, dtype=np.uint16).reshape(2, 20, 30) + 1
PLACE = {"crs": "EPSG:32632", "transform": from_origin(600_000, 5_400_000, 10, 10)}


@pytest.mark.parametrize(
    ("driver", "name", "options"),
    [
        ("GTiff", "a.tif", {}),
        ("COG", "a.tif", {}),
        ("JP2OpenJPEG", "a.jp2", {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}),
        ("ENVI", "a.dat", {}),
        ("ENVI", "a", {}),
        ("HFA", "a.img", {}),
    ],
)
def test_formats_that_are_read(driver, name, options, tmp_path):
    path = tmp_path / name
    profile = {"driver": driver, "width": 30, "height": 20, "count": 2, "dtype": "uint16"}
    with rasterio.open(path, "w", **profile, **PLACE, **options) as target:
        target.write(PIXELS)
    assert inspect_file(path).shape == (20, 30)
    with open_source(str(path)) as source:
        assert source.crs.to_epsg() == 32632
        np.testing.assert_array_equal(source.read(), PIXELS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"hello", "is not an image in a format that GDAL reads"),
        (b"\x0e\x03\x13\x01rest", "is HDF4"),
        (b'  {"type": "Feature"}', "is a description of other files"),
        (b"<GDAL_WMS></GDAL_WMS>", "is a description of other files"),
        (b"II*\x00\x08\x00", "cannot be opened|is not an image"),
    ],
)
def test_files_that_do_not_open(content, words, tmp_path):
    path = tmp_path / "x.tif"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        inspect_file(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(DataError, match="is a folder, not an image"):
        open_source(str(tmp_path))


# -- over HTTP -----------------------------------------------------------------------------------


@pytest.fixture
def band(tiny_archive):
    """A file of the archive: its path below the archive's folder."""
    return min(tiny_archive.glob("sentinel-2-l2a/*/B04.tif")).relative_to(tiny_archive).as_posix()


def read(address, **options):
    with open_source(address, **options) as source:
        return source.read(1)


@pytest.mark.parametrize("prefix", ["files", "slow"])
def test_a_file_at_an_address_is_that_on_disk(prefix, band, file_server, tiny_archive):
    found = read(file_server.address(band, prefix))
    np.testing.assert_array_equal(found, read(str(tiny_archive / band)))
    assert any(" 206 " in line for line in file_server.requests)


def test_files_that_a_server_fails_to_give(band, file_server, tiny_archive, monkeypatch):
    monkeypatch.setattr("earthloom.cube.read._FIRST_WAIT", 0.0)
    cut = file_server.damage("cut.tif", (tiny_archive / band).read_bytes()[:3000])
    for address in (
        file_server.address(band, "failing"),
        file_server.address("none/B04.tif"),
        cut,
    ):
        with pytest.raises(rasterio.errors.RasterioError):
            read(address)
        asset = Asset(address, None)
        here = native_box(str(tiny_archive), Asset(band, None))
        with pytest.raises(DataError, match="cannot be read"):
            Reader("").stored(asset, here, continuous=True)


def test_keys_go_with_the_request_and_not_into_messages(band, file_server, tiny_archive):
    expected = read(str(tiny_archive / band))
    keyed = file_server.address(band, "keyed")
    np.testing.assert_array_equal(read(keyed, signer=FakeSigner()), expected)
    with pytest.raises(rasterio.errors.RasterioError) as caught:
        read(keyed, signer=FakeSigner("key=wrong"))
    assert "wrong" not in str(caught.value)


def test_a_bearer_token_goes_with_every_block(band, file_server, tiny_archive, monkeypatch):
    private = file_server.address(band, "private")
    monkeypatch.setenv("OUR_KEY", "hush")
    signer = HeaderSigner("Authorization", "Bearer ", "OUR_KEY", frozenset({"127.0.0.1"}))
    np.testing.assert_array_equal(read(private, signer=signer), read(str(tiny_archive / band)))
    stranger = HeaderSigner("Authorization", "Bearer ", "OUR_KEY", frozenset({"example.org"}))
    with pytest.raises(rasterio.errors.RasterioError):
        read(file_server.address(band.replace("B04", "B08"), "private"), signer=stranger)
