"""Time steps cover a period once, and seasons follow the vegetation, wherever it grows."""

import itertools
import json
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.cube.periods import Period, periods
from earthloom.cube.seasons import Rules, Season, season_periods, seasons_of
from earthloom.errors import DataError

dates = st.dates(date(1985, 1, 1), date(2034, 12, 31))
lengths = st.sampled_from(["dekad", "month", "quarter", "season", "year", "period"])
every = lengths | st.integers(1, 400).map(lambda n: f"{n} days")


def assert_whole(found, start, end):
    """Steps follow each other without gaps and make up the period; labels differ."""
    assert found[0].start == start
    assert found[-1].end == end
    for step in found:
        assert step.start <= step.end
    for before, after in itertools.pairwise(found):
        assert after.start == before.end + timedelta(days=1)
    assert len({step.label for step in found}) == len(found)


@settings(max_examples=150)
@given(dates, st.integers(0, 900), every)
def test_steps_cover_a_period_once(start, days, every):
    end = start + timedelta(days=days)
    assert_whole(periods(start, end, every), start, end)


@pytest.mark.parametrize(
    ("every", "labels"),
    [
        ("month", ["2023-11", "2023-12", "2024-01", "2024-02", "2024-03"]),
        ("quarter", ["2023-Q4", "2024-Q1"]),
        ("season", ["2023-SON", "2024-DJF", "2024-MAM"]),
        ("year", ["2023", "2024"]),
        ("period", ["period"]),
        ("60 days", ["2023-11-15", "2024-01-14", "2024-03-14"]),
    ],
)
def test_labels(every, labels):
    assert [p.label for p in periods(date(2023, 11, 15), date(2024, 3, 20), every)] == labels


def test_steps_know_their_days():
    months = periods(date(2024, 1, 20), date(2024, 3, 5), "month")
    assert months[1] == Period("2024-02", date(2024, 2, 1), date(2024, 2, 29))
    dekads = periods(date(2023, 2, 5), date(2023, 2, 28), "dekad")
    assert [(d.start.day, d.end.day) for d in dekads] == [(5, 10), (11, 20), (21, 28)]
    assert dekads[2].label == "2023-02-D3"
    assert [p.label for p in periods(date(2023, 1, 1), date(2023, 1, 1), "1 day")] == ["2023-01-01"]


@pytest.mark.parametrize("wrong", ["weekly", "0 days", "-3 days", "10", "days", ""])
def test_other_lengths_are_refused(wrong):
    with pytest.raises(DataError, match=f"'{wrong}' is no length of time steps; there are: dekad"):
        periods(date(2023, 1, 1), date(2023, 2, 1), wrong)


def test_a_period_does_not_end_before_it_starts():
    with pytest.raises(DataError, match="cannot end"):
        periods(date(2023, 2, 1), date(2023, 1, 1), "month")


def growth(days, peak, width=50.0, height=0.6, base=0.2):
    """A bump around a day of the year."""
    apart = (np.asarray(days) - peak + 182.625) % 365.25 - 182.625
    return base + height * np.exp(-0.5 * (apart / width) ** 2)


def day_of_year(day):
    return (date(1970, 1, 1) + timedelta(days=int(day))).timetuple().tm_yday


def assert_whole_year(seasons):
    covered = sorted(
        (season.start - 1 + offset) % 365 + 1
        for season in seasons
        for offset in range((season.end - season.start) % 365 + 1)
    )
    assert covered == list(range(1, 366))


DAYS = np.arange(16800, 16800 + 3 * 365, 10)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 365))
def test_seasons_turn_with_the_vegetation(peak):
    """North, south, and over the turn of the year: the same seasons, at other days."""
    found = seasons_of(growth(DAYS, peak), DAYS)
    assert found.reason == ""
    assert [s.name for s in sorted(found.seasons, key=lambda s: (s.start - peak + 250) % 365)] == [
        "green-up",
        "maturity",
        "senescence",
        "dormancy",
    ]
    assert_whole_year(found.seasons)
    (cycle,) = found.cycles
    # Days since 1970 and days of the year are apart by leap days, which average out.
    middle = day_of_year(peak)
    assert abs((cycle.peak - middle + 182) % 365 - 182) <= 3
    # A bell is at a fifth of its height 1.79 widths from its middle.
    assert (cycle.peak - cycle.start) % 365 == pytest.approx(1.794 * 50, abs=8)
    assert (cycle.end - cycle.peak) % 365 == pytest.approx(1.794 * 50, abs=8)
    assert cycle.amplitude == pytest.approx(0.6, abs=0.06)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 365), st.integers(150, 215))
def test_two_growing_seasons(first, apart):
    index = np.maximum(growth(DAYS, first, 28), growth(DAYS, first + apart, 28, 0.45))
    found = seasons_of(index, DAYS)
    assert len(found.cycles) == 2
    assert len(found.seasons) == 8
    assert_whole_year(found.seasons)
    assert {s.name.rsplit("-", 1)[-1] for s in found.seasons} == {"1", "2"}


def test_a_small_bump_is_no_season():
    index = growth(DAYS, 200) + growth(DAYS, 30, 15, 0.05, 0)
    assert len(seasons_of(index, DAYS).cycles) == 1
    assert len(seasons_of(index, DAYS, Rules(least_share=0.02, least_amplitude=0.02)).cycles) == 2


def test_evergreen_places_have_quarters_and_a_reason():
    index = np.random.default_rng(0).normal(0.8, 0.02, len(DAYS))
    found = seasons_of(index, DAYS)
    assert [(s.name, s.start, s.end) for s in found.seasons] == [
        ("quarter-1", 1, 90),
        ("quarter-2", 91, 181),
        ("quarter-3", 182, 273),
        ("quarter-4", 274, 365),
    ]
    assert found.reason.startswith("the index changes by 0.0")
    assert not found.cycles


def test_what_was_not_seen_makes_no_seasons():
    index = growth(DAYS, 180)
    dark = np.array([day_of_year(day) < 120 for day in DAYS])
    found = seasons_of(np.where(dark, np.nan, index), DAYS)
    assert "days of the year were not seen" in found.reason
    assert seasons_of(np.full(len(DAYS), np.nan), DAYS).reason.startswith("365 days")
    with pytest.raises(DataError, match="do not fit together"):
        seasons_of(index[1:], DAYS)


@settings(max_examples=60)
@given(
    dates, st.integers(0, 900), st.lists(st.integers(1, 365), min_size=1, max_size=8, unique=True)
)
def test_steps_by_seasons_cover_a_period_once(start, days, firsts):
    firsts = sorted(firsts)
    seasons = [
        Season(f"s{i}", first, (after - 2) % 365 + 1)
        for i, (first, after) in enumerate(zip(firsts, firsts[1:] + firsts[:1]))
    ]
    end = start + timedelta(days=days)
    found = season_periods(start, end, seasons)
    assert_whole(found, start, end)
    starts = set(firsts)
    for step in found[1:]:
        plain = step.start.replace(year=2001)  # never 29 February
        assert plain.timetuple().tm_yday in starts


@pytest.mark.shared
def test_slovenia_is_green_in_summer(shared_data):
    folder = shared_data / "eolearn_testpatch" / "TestEOPatch"
    ndvi = np.load(folder / "data" / "NDVI.npy")[..., 0]
    valid = np.load(folder / "mask" / "IS_VALID.npy")[..., 0].astype(np.bool_)
    stamps = json.loads((folder / "timestamps.json").read_text())
    days = [(datetime.fromisoformat(stamp) - datetime(1970, 1, 1)).days for stamp in stamps]
    shown = valid.mean(axis=(1, 2)) > 0.5
    mean = np.array(
        [
            image[seen].mean() if fine else np.nan
            for image, seen, fine in zip(ndvi, valid, shown, strict=True)
        ]
    )
    found = seasons_of(mean, days)
    assert found.reason == ""
    (cycle,) = found.cycles
    assert 60 < cycle.start < 130  # March and April
    assert 130 < cycle.peak < 245  # May to August
    assert 270 < cycle.end < 350  # October to early December
