"""Energy: measured where it can be, else estimated, and the record says which."""

import os
import stat

import pytest

from earthloom.energy import (
    Assumptions,
    EnergyUse,
    Meter,
    NvmlGauge,
    RaplGauge,
    Share,
    SmiGauge,
    TimeGauge,
    gauges_of,
    metered,
    rapl_zones,
    smi_watts,
)


def write_zone(folder, number, name, microjoules, most=262_143_328_850):
    zone = folder / f"intel-rapl:{number}"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text(name + "\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text(f"{most}\n")
    return zone


class ListedNvml:
    """NVML of two GPUs, whose counters are read from a list."""

    def __init__(self, readings):
        self.readings = iter(readings)

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, number):
        return number

    def nvmlDeviceGetTotalEnergyConsumption(self, device):
        return next(self.readings)


def test_sockets_and_memory_are_added_but_nothing_twice(tmp_path):
    for number, name in (
        ("0", "package-0"), ("0:0", "core"), ("0:1", "dram"), ("1", "package-1"), ("2", "psys"),
    ):  # fmt: skip
        write_zone(tmp_path, number, name, 5_000_000)
    zones = rapl_zones(tmp_path)
    assert [zone.name for zone in zones] == ["intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1"]
    gauge = RaplGauge(zones)
    for number, name in (("0", "package-0"), ("0:1", "dram"), ("1", "package-1")):
        write_zone(tmp_path, number, name, 7_500_000)
    gauge.look()
    share = gauge.share()
    assert share.joules == pytest.approx(7.5)
    assert not share.estimated
    assert "dram, package-0, package-1" in share.how


def test_a_counter_that_runs_over_goes_on(tmp_path):
    write_zone(tmp_path, "0", "package-0", 900, most=999)
    gauge = RaplGauge(rapl_zones(tmp_path))
    for reading in (950, 20, 70, 10):
        write_zone(tmp_path, "0", "package-0", reading, most=999)
        gauge.look()
    assert gauge.share().joules * 1e6 == pytest.approx(50 + 70 + 50 + 940)


def test_without_counters_it_is_an_estimate_that_says_so(tmp_path):
    gauge = gauges_of(Assumptions(), tmp_path)[0]
    assert isinstance(gauge, TimeGauge)
    assert gauge.share().estimated
    assert gauge.share().how.startswith("estimate, not measured:")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_counters_that_may_not_be_read_are_passed_over(tmp_path):
    zone = write_zone(tmp_path, "0", "package-0", 1)
    (zone / "energy_uj").chmod(0)
    assert rapl_zones(tmp_path) == []


def test_a_counter_that_is_no_number_is_passed_over(tmp_path):
    (write_zone(tmp_path, "0", "package-0", 1) / "energy_uj").write_text("")
    assert rapl_zones(tmp_path) == []


def test_processor_time_costs_watts():
    gauge = TimeGauge(Assumptions(watts_per_core=10, watts_per_gb=0))
    total = sum(number * number for number in range(400_000))
    gauge.look()
    assert total > 0
    first = gauge.share().joules
    assert first > 0
    dearer = TimeGauge(Assumptions(watts_per_core=0, watts_per_gb=0))
    total = sum(number * number for number in range(400_000))
    dearer.look()
    assert dearer.share().joules == 0


def test_gpu_counters_are_added():
    gauge = NvmlGauge(ListedNvml([1000, 50, 4000, 250]))
    gauge.look()
    assert gauge.share() == Share("gpus", 3.2, "measured: NVML counters of 2 GPUs", False)


def test_nvidia_smi_is_asked_for_power(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '300.5\\n99.5\\n'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert smi_watts(str(program)) == 400
    gauge = SmiGauge(str(program))
    began = gauge._clock
    gauge.look()
    assert gauge.share().joules == pytest.approx(400 * (gauge._clock - began))
    program.write_text("#!/bin/sh\necho '[N/A]'\n")
    assert smi_watts(str(program)) is None
    gauge.look()  # keeps the power that it knew
    assert gauge.share().joules == pytest.approx(400 * (gauge._clock - began))
    assert smi_watts(str(tmp_path / "nothing")) is None


def test_record_has_energy_carbon_and_cost():
    prices = Assumptions(grams_per_kwh=400, price_per_kwh=0.3, price_per_hour=2, currency="EUR")
    shares = (Share("processors", 3.6e6, "estimate", True), Share("gpus", 1.8e6, "NVML", False))
    record = EnergyUse(1800, shares, prices).to_json()
    assert record["kwh"] == 1.5
    assert record["estimated"] is True
    assert record["parts"]["gpus"] == {"kwh": 0.5, "estimated": False, "how": "NVML"}
    assert record["carbon_g"] == 600
    assert record["cost"] == pytest.approx(1.45)
    assert record["assumptions"]["currency"] == "EUR"


def test_what_was_not_given_is_not_said():
    record = EnergyUse(60, (Share("processors", 10, "RAPL", False),), Assumptions()).to_json()
    assert "carbon_g" not in record
    assert "cost" not in record
    assert record["estimated"] is False
    assert "workers of a cluster" in record["not_counted"]


class CountedGauge:
    """A gauge that uses one joule a look."""

    def __init__(self):
        self.looks = 0

    def look(self):
        self.looks += 1

    def share(self):
        return Share("processors", float(self.looks), "counted", False)


def test_meter_takes_a_last_look_even_after_an_error():
    gauge = CountedGauge()
    with pytest.raises(ZeroDivisionError), metered(gauges=[gauge]) as meter:
        _ = 1 / 0
    assert gauge.looks == 1
    used = meter.use()
    assert gauge.looks == 1
    assert used == meter.use()


def test_use_may_be_asked_for_on_the_way():
    meter = Meter([CountedGauge()], Assumptions())
    assert meter.use().shares[0].joules == 1
    assert meter.use().shares[0].joules == 2
    meter.stop()
    assert meter.use().shares[0].joules == meter.use().shares[0].joules == 3


def test_this_machine_can_be_measured_somehow():
    with metered() as meter:
        total = sum(number * number for number in range(300_000))
    used = meter.use()
    assert total > 0
    assert used.kwh >= 0
    assert {share.part for share in used.shares} >= {"processors"}
