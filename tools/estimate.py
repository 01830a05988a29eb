"""What a map of a country or of the globe would take: core hours, money, bytes.

A paper estimate: it scales what was measured on one small machine by the area. Every assumption is
an option below, and is printed with the result. The throughput of maps has no default: take it
from `benchmarks/maps.py` of the machine and the model that you mean.

    python tools/estimate.py --map-mpx 0.9 [--cube-mpx 4.2] [--dates 24] [--cores 512] ...

A throughput is that of one core: millions of pixels in a second. That of a run is

    pixels / (wall seconds * cores * 1e6)

and for cubes, pixels * dates. Prints a table and, as its last line, one JSON object.
"""

import argparse
import json
from dataclasses import asdict, dataclass

AREAS_KM2 = {
    "a country of 100,000 km2": 1.0e5,
    "Kenya": 5.8e5,
    "all land but Antarctica": 1.345e8,
}
"""Land areas, rounded."""
PER_KM2 = 1e6
"""Square metres."""


@dataclass(frozen=True)
class Assumptions:
    """What the estimate rests on."""

    map_mpx: float
    """Millions of pixels that a core maps in a second, reading and writing included."""
    cube_mpx: float
    """Millions of pixels of one date, all bands, that a core composites in a second."""
    dates: int
    """Dates that are read for each pixel, the cloudy ones too."""
    steps: int
    """Time steps of the cube, which are stored."""
    bands: int
    gsd: float
    """Metres between the base grid's pixels; all bands are counted at this spacing."""
    overlap: float
    """Part of the pixels that is read and mapped twice: edges of tiles, zones and orbits."""
    efficiency: float
    """Part of the cores' time that is not lost to waiting, dead workers and the last units."""
    cores: int
    price: float
    """Of one core for one hour, with its memory, in any currency."""
    read_bytes: float
    """Compressed bytes of a pixel of one band on one date, in the archive."""
    cube_bytes: float
    """Compressed bytes of a pixel of one band in one time step, in the cube."""
    map_bytes: float
    """Compressed bytes of a pixel of the map with its probabilities."""
    core_mb_s: float
    """Megabytes that the archive gives to one core in a second; less than it decodes is a limit."""


@dataclass(frozen=True)
class Estimate:
    """What one area takes."""

    pixels: float
    cube_core_hours: float
    map_core_hours: float
    hours: float
    """By the clock, with so many cores."""
    cost: float
    read_tb: float
    cube_tb: float
    map_tb: float


def estimate(area_km2: float, given: Assumptions) -> Estimate:
    """Scales measured throughputs to an area."""
    pixels = area_km2 * PER_KM2 / given.gsd**2
    seen = pixels * (1 + given.overlap)
    read = seen * given.dates * given.bands * given.read_bytes
    computing = seen * given.dates / (given.cube_mpx * 1e6)
    waiting = read / (given.core_mb_s * 1e6)
    cube = max(computing, waiting) / given.efficiency / 3600
    mapping = seen / (given.map_mpx * 1e6) / given.efficiency / 3600
    return Estimate(
        pixels=pixels,
        cube_core_hours=cube,
        map_core_hours=mapping,
        hours=(cube + mapping) / given.cores,
        cost=(cube + mapping) * given.price,
        read_tb=read / 1e12,
        cube_tb=seen * given.steps * given.bands * given.cube_bytes / 1e12,
        map_tb=pixels * given.map_bytes / 1e12,
    )


def _parsed() -> Assumptions:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--map-mpx", type=float, required=True, help="from benchmarks/maps.py")
    add("--cube-mpx", type=float, default=4.2, help="from benchmarks/cube.py")
    add("--dates", type=int, default=24)
    add("--steps", type=int, default=4)
    add("--bands", type=int, default=10)
    add("--gsd", type=float, default=10.0)
    add("--overlap", type=float, default=0.15)
    add("--efficiency", type=float, default=0.8)
    add("--cores", type=int, default=512)
    add("--price", type=float, default=0.05)
    add("--read-bytes", type=float, default=1.3)
    add("--cube-bytes", type=float, default=2.0)
    add("--map-bytes", type=float, default=3.0)
    add("--core-mb-s", type=float, default=40.0)
    return Assumptions(**vars(parser.parse_args()))


def _two_digits(value: float) -> str:
    """More would say more than an estimate knows."""
    digits = 2 - len(str(int(abs(value)))) if abs(value) >= 1 else 3
    return f"{round(value, digits):,.{max(digits, 0)}f}" if value < 1e9 else f"{value:.1e}"


def main() -> None:
    given = _parsed()
    print("Assumed:")
    for name, value in asdict(given).items():
        print(f"  {name:<12} {value:g}")
    print(
        f"\n| area | pixels | cube, core hours | map, core hours | hours on {given.cores} cores "
        "| cost | read TB | cube TB | map TB |\n|---|---|---|---|---|---|---|---|---|"
    )
    found = {name: estimate(area, given) for name, area in AREAS_KM2.items()}
    for name, each in found.items():
        print(
            f"| {name} | "
            + " | ".join(_two_digits(value) for value in asdict(each).values())
            + " |"
        )
    print(json.dumps({name: asdict(each) for name, each in found.items()}))


if __name__ == "__main__":
    main()
