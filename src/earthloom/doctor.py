"""Which parts of this machine work for Earthloom, tried out one by one."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "warn", "bad"]

_GB = 1e9
_LEAST_FREE_GB, _FREE_GB = 1.0, 20.0
"""Below the first nothing can be made; a map of thousands of square kilometres wants the second."""
_LEAST_MEMORY_GB, _MEMORY_GB = 2.0, 6.0

_FORMATS = {
    "JP2OpenJPEG": "JPEG 2000, of Sentinel-2 products as ESA ships them",
    "HDF4": "HDF4, of MODIS products",
    "netCDF": "NetCDF",
}
"""GDAL drivers that an archive may need and the demonstration does not."""


@dataclass(frozen=True)
class Check:
    """What was found of one part."""

    part: str
    state: State
    """`ok`; `warn`: something is missing that not everyone needs; `bad`: Earthloom cannot work."""
    found: str
    advice: str = ""
    """What to do; empty where nothing is to be done."""


def examine() -> list[dict[str, str]]:
    """Tries every part out, in a few seconds; a part that fails does not stop the others."""
    parts: dict[str, Callable[[], Check]] = {
        "python": _python,
        "gdal": _gdal,
        "formats": _formats,
        "proj": _proj,
        "torch": _torch,
        "gpu": _gpu,
        "memory": _memory,
        "disk": _disk,
        "folder": _folder,
    }
    return [asdict(_guarded(part, check)) for part, check in parts.items()]


def _guarded(part: str, check: Callable[[], Check]) -> Check:
    """The check's finding; whatever breaks in it is a finding as well."""
    try:
        return check()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return Check(part, "bad", f"fails: {reason}", "install Earthloom anew in a fresh venv")


def _python() -> Check:
    """An older Python than Earthloom needs would not have installed it; 32 bits would."""
    found = f"{platform.python_version()} in {sys.prefix}"
    if sys.maxsize <= 2**32:
        return Check("python", "bad", f"{found}, of 32 bits", "install a Python of 64 bits")
    return Check("python", "ok", found)


def _gdal() -> Check:
    """Writes a small cloud-optimised GeoTIFF and reads it back."""
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin

    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(1, 64, 64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cog.tif"
        with rasterio.open(
            path, "w", driver="COG", width=64, height=64, count=1, dtype="uint8",
            crs="EPSG:32632", transform=from_origin(500_000, 5_000_000, 10, 10),
        ) as target:  # fmt: skip
            target.write(pixels)
        with rasterio.open(path) as source:
            same = bool((source.read() == pixels).all())
    found = f"rasterio {rasterio.__version__} with GDAL {rasterio.__gdal_version__}"
    if not same:
        return Check(
            "gdal", "bad", f"{found} reads other pixels than it wrote", "reinstall rasterio"
        )
    return Check("gdal", "ok", f"{found}; wrote and read a COG")


def _formats() -> Check:
    from rasterio.env import Env

    with Env() as env:
        drivers = env.drivers()
    missing = [title for name, title in _FORMATS.items() if name not in drivers]
    present = [title.split(",")[0] for name, title in _FORMATS.items() if name in drivers]
    if not missing:
        return Check("formats", "ok", f"GDAL reads {', '.join(present)} as well")
    return Check(
        "formats",
        "warn",
        f"GDAL does not read {'; '.join(missing)}",
        "not needed for the demonstration, nor for archives of GeoTIFFs; for others, take rasterio "
        "and GDAL from conda-forge",
    )


def _proj() -> Check:
    """Projects a place forth and back, and finds the UTM zone of it."""
    import pyproj
    from pyproj.aoi import AreaOfInterest
    from pyproj.database import query_utm_crs_info
    from pyproj.network import is_network_enabled  # type: ignore[attr-defined]

    forth = pyproj.Transformer.from_crs(4326, 32632, always_xy=True)
    lon, lat = forth.transform(*forth.transform(11.0, 48.9), direction="INVERSE")
    place = AreaOfInterest(11.0, 48.9, 11.0, 48.9)
    zones = query_utm_crs_info(datum_name="WGS 84", area_of_interest=place)
    found = f"PROJ {pyproj.proj_version_str}"
    if abs(lon - 11.0) + abs(lat - 48.9) > 1e-6 or not zones:
        return Check(
            "proj",
            "bad",
            f"{found} does not find its data in {pyproj.datadir.get_data_dir()}",
            "unset PROJ_DATA and PROJ_LIB, which may point to another installation's data",
        )
    network = "on" if is_network_enabled() else "off"
    return Check("proj", "ok", f"{found}; its database is there; network grids are {network}")


def _torch() -> Check:
    """Multiplies two matrices, in single precision and in bfloat16."""
    import torch

    ones = torch.ones(256, 256)
    exact = bool(((ones @ ones) == 256).all())
    halves = ones.to(torch.bfloat16)
    half = bool(((halves @ halves).float() == 256).all())
    found = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    if not (exact and half):
        return Check("torch", "bad", f"{found}; a matrix product is wrong", "reinstall torch")
    capability = torch.backends.cpu.get_cpu_capability()
    amx = "with" if "amx_bf16" in _cpu_flags() else "without"
    return Check("torch", "ok", f"{found}, {capability}, {amx} AMX for bfloat16")


def _cpu_flags() -> set[str]:
    """What the processor can do, where the system says it (Linux)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def _gpu() -> Check:
    """Multiplies two matrices on the graphics card, where there is one."""
    import torch

    if not torch.cuda.is_available():
        return Check(
            "gpu",
            "ok",
            "none that torch can use",
            "not needed: maps and closed-form models run on the processor; large networks train "
            "faster with one",
        )
    ones = torch.ones(256, 256, device="cuda")
    if not bool(((ones @ ones) == 256).all()):
        return Check("gpu", "warn", "a matrix product on it is wrong", "look at its driver")
    properties = torch.cuda.get_device_properties(0)
    memory = properties.total_memory / _GB
    return Check("gpu", "ok", f"{properties.name}, {memory:.0f} GB")


def _memory() -> Check:
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if not set(names) <= os.sysconf_names.keys():
        return Check("memory", "warn", "this system does not say how much there is")
    total = os.sysconf(names[0]) * os.sysconf(names[1]) / _GB
    found = f"{total:.0f} GB"
    if total < _LEAST_MEMORY_GB:
        return Check("memory", "bad", found, f"at least {_LEAST_MEMORY_GB:g} GB are needed")
    if total < _MEMORY_GB:
        return Check("memory", "warn", found, "lower map.window if a run is killed for memory")
    return Check("memory", "ok", found)


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / _GB
    found = f"{free:.1f} GB free in the current folder"
    if free < _LEAST_FREE_GB:
        return Check("disk", "bad", found, "free some space, or work in a folder on another disk")
    if free < _FREE_GB:
        return Check("disk", "warn", found, "enough for the demonstration; large areas need more")
    return Check("disk", "ok", found)


def _folder() -> Check:
    """Writes a file into the current folder, and renames it as stages do."""
    folder = Path.cwd()
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".earthloom-") as name:
            made = Path(name) / "a.partial"
            made.write_text("earthloom", encoding="utf-8")
            made.replace(made.with_name("a"))
    except OSError as error:
        return Check(
            "folder",
            "bad",
            f"{folder} cannot be written: {os.strerror(error.errno or 0)}",
            "work in another folder, or name one with --out",
        )
    return Check("folder", "ok", f"{folder} can be written")
