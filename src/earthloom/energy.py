"""Energy, carbon and cost of a run, for `run.json`.

What can be measured is measured: processors by their own counters (RAPL, as Linux shows them below
`/sys/class/powercap`; most systems let root alone read them) and GPUs by theirs (NVML). Without the
processors' counters the energy is estimated from processor time, and the record says so, and with
what assumptions. Counters are of the whole machine, whoever uses it. Cooling, disks, network and
the workers of a cluster are not counted.
"""

import importlib
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")

SECONDS_BETWEEN = 10.0
"""Counters run over (a processor's after some minutes at full power), and power is read off now and
then; both are looked at so often."""

NOT_COUNTED = ("cooling", "disks", "network", "workers of a cluster")


@dataclass(frozen=True)
class Assumptions:
    """What an estimate rests on, and prices. None is for: not given, so nothing is said of it."""

    watts_per_core: float = 8.0
    """Of a core at work. A server's socket of 24 to 64 cores is made for 165 to 280 W, 4 to 8 W a
    core; the upper end covers fans and power supply in part."""
    watts_per_gb: float = 0.375
    """Of memory in use: 3 W for a module of 8 GB."""
    grams_per_kwh: float | None = None
    """Carbon dioxide equivalent of the electricity."""
    price_per_kwh: float | None = None
    price_per_hour: float | None = None
    """Of the machine, as a cloud bills it."""
    currency: str | None = None


@dataclass(frozen=True)
class Share:
    """The energy of one part of a machine."""

    part: str
    """`processors` or `gpus`."""
    joules: float
    how: str
    """One line for a person."""
    estimated: bool


@dataclass(frozen=True)
class EnergyUse:
    """What a run took."""

    seconds: float
    shares: tuple[Share, ...]
    assumptions: Assumptions

    @property
    def kwh(self) -> float:
        return sum(share.joules for share in self.shares) / 3.6e6

    @property
    def estimated(self) -> bool:
        """Whether any of it is estimated."""
        return any(share.estimated for share in self.shares)

    def to_json(self) -> dict[str, Any]:
        """For `run.json`; what was not given is not there."""
        given = {k: v for k, v in asdict(self.assumptions).items() if v is not None}
        record: dict[str, Any] = {
            "kwh": round(self.kwh, 6),
            "estimated": self.estimated,
            "seconds": round(self.seconds, 1),
            "parts": {
                share.part: {
                    "kwh": round(share.joules / 3.6e6, 6),
                    "estimated": share.estimated,
                    "how": share.how,
                }
                for share in self.shares
            },
            "not_counted": list(NOT_COUNTED),
            "assumptions": given,
        }
        return record | self._prices()

    def _prices(self) -> dict[str, Any]:
        chosen, prices = self.assumptions, {}
        if chosen.grams_per_kwh is not None:
            prices["carbon_g"] = round(self.kwh * chosen.grams_per_kwh, 3)
        costs = []
        if chosen.price_per_kwh is not None:
            costs.append(self.kwh * chosen.price_per_kwh)
        if chosen.price_per_hour is not None:
            costs.append(self.seconds / 3600 * chosen.price_per_hour)
        if costs:
            prices["cost"] = round(sum(costs), 4)
        return prices


class Gauge(Protocol):
    """Tells the energy of a part of the machine since it was made."""

    def look(self) -> None:
        """Is called now and then, and once at the end."""
        ...

    def share(self) -> Share:
        """What was used between the first look and the last."""
        ...


class RaplGauge:
    """The processors' and their memory's own counters, in microjoules."""

    def __init__(self, zones: Sequence[Path]) -> None:
        self._zones = {zone: (_number(zone / "energy_uj"), 0) for zone in zones}

    def look(self) -> None:
        for zone, (before, total) in self._zones.items():
            now = _number(zone / "energy_uj")
            gone = now - before
            if gone < 0:  # it ran over, and begins at zero again
                gone += _number(zone / "max_energy_range_uj") + 1
            self._zones[zone] = (now, total + gone)

    def share(self) -> Share:
        joules = sum(total for _, total in self._zones.values()) / 1e6
        names = ", ".join(sorted({_text(zone / "name") for zone in self._zones}))
        return Share("processors", joules, f"measured: RAPL counters of {names}", False)


class TimeGauge:
    """Processor time and memory of this process and of those it has waited for, times watts."""

    def __init__(self, assumptions: Assumptions) -> None:
        self._watts = assumptions
        self._began, self._now = _cpu_seconds(), _cpu_seconds()
        self._clock = time.monotonic()
        self._byte_seconds = 0.0

    def look(self) -> None:
        clock = time.monotonic()
        self._byte_seconds += (clock - self._clock) * _resident_bytes()
        self._clock, self._now = clock, _cpu_seconds()

    def share(self) -> Share:
        seconds = self._now - self._began
        gb_seconds = self._byte_seconds / 1e9
        joules = seconds * self._watts.watts_per_core + gb_seconds * self._watts.watts_per_gb
        how = (
            f"estimate, not measured: {seconds:.0f} s of processor time at "
            f"{self._watts.watts_per_core:g} W a core, and memory at "
            f"{self._watts.watts_per_gb:g} W a GB"
        )
        return Share("processors", joules, how, True)


class NvmlGauge:
    """The counters of all NVIDIA GPUs of the machine, in millijoules (Volta and later)."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        count = nvml.nvmlDeviceGetCount()
        self._devices = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
        self._before = self._now = self._read()

    def look(self) -> None:
        self._now = self._read()

    def share(self) -> Share:
        how = f"measured: NVML counters of {len(self._devices)} GPUs"
        return Share("gpus", (self._now - self._before) / 1e3, how, False)

    def _read(self) -> int:
        return sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(each) for each in self._devices)


class SmiGauge:
    """Power of all GPUs as `nvidia-smi` tells it, times the seconds between two looks."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._clock, self._watts = time.monotonic(), smi_watts(program) or 0.0
        self._joules = 0.0

    def look(self) -> None:
        clock, watts = time.monotonic(), smi_watts(self._program)
        if watts is None:  # no answer this time: as before
            watts = self._watts
        self._joules += (clock - self._clock) * (watts + self._watts) / 2
        self._clock, self._watts = clock, watts

    def share(self) -> Share:
        how = f"measured: power of the GPUs by nvidia-smi, every {SECONDS_BETWEEN:g} s"
        return Share("gpus", self._joules, how, False)


@dataclass
class Meter:
    """Energy since it was made, until it is stopped."""

    gauges: Sequence[Gauge]
    assumptions: Assumptions
    _began: float = field(default_factory=time.monotonic)
    _ended: float | None = None

    def look(self) -> None:
        for gauge in self.gauges:
            gauge.look()

    def stop(self) -> None:
        """Takes the last look."""
        self.look()
        self._ended = time.monotonic()

    def use(self) -> EnergyUse:
        """What was used until now, or until it was stopped."""
        if self._ended is None:
            self.look()
        seconds = (self._ended or time.monotonic()) - self._began
        shares = tuple(gauge.share() for gauge in self.gauges)
        return EnergyUse(seconds, shares, self.assumptions)


@contextmanager
def metered(
    assumptions: Assumptions | None = None, gauges: Sequence[Gauge] | None = None
) -> Iterator[Meter]:
    """Measures the energy of what is done in the block; ask `Meter.use` for it."""
    assumed = assumptions or Assumptions()
    meter = Meter(gauges_of(assumed) if gauges is None else gauges, assumed)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SECONDS_BETWEEN):
            meter.look()

    watcher = threading.Thread(target=watch, name="energy", daemon=True)
    watcher.start()
    try:
        yield meter
    finally:
        ended.set()
        watcher.join()
        meter.stop()


def gauges_of(assumptions: Assumptions, powercap: Path = POWERCAP) -> tuple[Gauge, ...]:
    """What this machine can be measured with; where nothing can, an estimate."""
    zones = rapl_zones(powercap)
    processors: Gauge = RaplGauge(zones) if zones else TimeGauge(assumptions)
    gpus = gpu_gauge()
    return (processors,) if gpus is None else (processors, gpus)


def rapl_zones(powercap: Path = POWERCAP) -> list[Path]:
    """The counters to add up: every socket's and, where it is not in that, its memory's.

    A counter of the whole platform (`psys`) has the sockets in it, and is not added to them; cores
    and built-in graphics are in their socket's.
    """
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = _text(zone / "name")
            _number(zone / "energy_uj")
        except (OSError, ValueError):  # not there, or not for us to read
            continue
        if name.startswith("package") or name == "dram":
            found.append(zone)
    return found


def gpu_gauge() -> Gauge | None:
    """A gauge of the machine's GPUs; None if it has none that can be asked."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        nvml = None
    if nvml is not None:
        try:
            nvml.nvmlInit()
            return NvmlGauge(nvml) if nvml.nvmlDeviceGetCount() else None
        except nvml.NVMLError:  # no driver, or a GPU without a counter
            pass
    program = shutil.which("nvidia-smi")
    if program is None or smi_watts(program) is None:
        return None
    return SmiGauge(program)


def smi_watts(program: str) -> float | None:
    """The power of all GPUs now; None if there is no answer."""
    asked = [program, "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
        return sum(float(line) for line in done.stdout.splitlines() if line.strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _resident_bytes() -> int:
    """Memory of this process now; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _number(path: Path) -> int:
    return int(path.read_text())


def _text(path: Path) -> str:
    return path.read_text().strip()
