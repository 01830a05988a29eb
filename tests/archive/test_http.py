"""Patience and manners towards servers."""

from datetime import UTC, datetime
from itertools import pairwise

import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.archive.http import Http, Manners, PatientFiles, retry_after
from earthloom.errors import ArchiveError

NOW = datetime(2024, 1, 1, tzinfo=UTC)


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def __call__(self):
        return self.now


def asking(clock, **manners):
    return Http(
        Manners(**{"requests_per_second": 1e6, **manners}),
        sleep=clock.sleep,
        clock=clock,
        jitter=lambda: 1.0,
    )


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(status, scripted, answer):
    scripted.answers = [answer(status), answer(status), answer(200, {"a": 1})]
    clock = Clock()
    assert asking(clock).json(scripted.url) == {"a": 1}
    assert clock.slept == [0.5, 1.0]


def test_waits_double_up_to_a_limit(scripted, answer):
    scripted.answers = [answer(503)]
    clock = Clock()
    with pytest.raises(ArchiveError, match="HTTP 503 Service Unavailable after 10 tries"):
        asking(clock, retries=9).json(scripted.url)
    assert clock.slept == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert len(scripted.seen) == 10


def test_the_server_may_say_how_long(scripted, answer):
    scripted.answers = [answer(429, headers={"Retry-After": "7"}), answer(200)]
    clock = Clock()
    asking(clock).json(scripted.url)
    assert clock.slept == [7.5]


def test_the_server_cannot_make_us_wait_for_a_day(scripted, answer):
    scripted.answers = [answer(429, headers={"Retry-After": "86400"}), answer(200)]
    clock = Clock()
    asking(clock).json(scripted.url)
    assert clock.slept == [60.5]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("Mon, 01 Jan 2024 00:01:30 GMT", 90),
        ("Sun, 31 Dec 2023 00:00:00 GMT", 0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(text, seconds):
    assert retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "answers with HTTP 400 Bad Request: no such band"),
        (401, "refuses us: HTTP 401 Unauthorized; give the key .* archive.sign"),
        (403, "refuses us: HTTP 403"),
        (404, "answers with HTTP 404 Not Found"),
    ],
)
def test_a_lasting_failure_is_not_tried_again(status, words, scripted, answer):
    scripted.answers = [answer(status, b"no such band")]
    with pytest.raises(ArchiveError, match=words):
        asking(Clock()).text(scripted.url)
    assert len(scripted.seen) == 1


def test_server_that_is_down(closed_port):
    clock = Clock()
    words = r"does not answer after 3 tries: .*Connection refused; is the address right"
    with pytest.raises(ArchiveError, match=words):
        asking(clock, retries=2).text(f"http://127.0.0.1:{closed_port}/?token=secret")
    assert len(clock.slept) == 2


def test_messages_do_not_hold_the_query(closed_port, scripted, answer):
    scripted.answers = [answer(404)]
    for url in (f"http://127.0.0.1:{closed_port}", scripted.url):
        with pytest.raises(ArchiveError) as caught:
            asking(Clock(), retries=0).text(f"{url}/x?token=secret")
        assert "secret" not in str(caught.value)


def test_server_that_never_answers(silent_port):
    with pytest.raises(ArchiveError, match="after 2 tries: no answer in time"):
        asking(Clock(), retries=1, timeout_s=0.05).text(f"http://127.0.0.1:{silent_port}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"<html>Welcome</html>",
            "does not answer in JSON; it begins with: '<html>Welcome</html>'",
        ),
        (b"[1]", "answers in JSON, but not with an object"),
        (b"", "does not answer in JSON"),
    ],
)
def test_answers_that_are_no_object(content, words, scripted, answer):
    scripted.answers = [answer(200, content)]
    with pytest.raises(ArchiveError, match=words):
        asking(Clock()).json(scripted.url)


def test_requests_are_kept_apart(scripted, answer):
    scripted.answers = [answer(200)]
    clock = Clock()
    http = asking(clock, requests_per_second=4)
    for _ in range(5):
        http.json(scripted.url)
    assert clock.now == pytest.approx(1.0)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=20), st.floats(0.5, 20))
def test_no_turn_comes_before_its_time(pauses, rate):
    """Whenever requests are asked for, two are never nearer than the rate allows."""
    clock = Clock()
    http = asking(clock, requests_per_second=rate)
    turns = []
    for pause in pauses:
        clock.now += pause
        http._wait_for_turn()
        turns.append(clock.now)
    gaps = [b - a for a, b in pairwise(turns)]
    assert all(gap >= 1 / rate - 1e-9 for gap in gaps)


def test_static_catalog_at_an_address(file_server, tiny_archive):
    """The whole catalog is read by its addresses, and its files have theirs."""
    address = file_server.address("catalog.json")
    catalog = pystac.read_file(address, stac_io=PatientFiles(asking(Clock())))
    there = {item.id: item for item in catalog.get_items(recursive=True)}
    here = pystac.read_file(str(tiny_archive / "catalog.json"))
    assert set(there) == {item.id for item in here.get_items(recursive=True)}
    for item in there.values():
        for asset in item.assets.values():
            assert asset.get_absolute_href().startswith(file_server.url)
