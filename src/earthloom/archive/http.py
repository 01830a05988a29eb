"""Asking servers politely: a rate limit, and patience where an answer fails."""

import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pystac
import requests
from pystac.stac_io import DefaultStacIO
from pystac_client.stac_api_io import StacApiIO

from earthloom.errors import ArchiveError, choices

Headers = Callable[[str], Mapping[str, str]]
"""Headers to send with a request to an address."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that another try may better."""
_LONGEST_WAIT_S = 60.0
_FIRST_WAIT_S = 0.5
_WORDS = 120
"""Most letters of a server's own words in a message."""


@dataclass(frozen=True)
class Manners:
    """How a server is asked."""

    requests_per_second: float = 10.0
    retries: int = 5
    """Further tries after the first."""
    timeout_s: float = 30.0
    """For a connection, and between two pieces of an answer."""


def _no_headers(address: str) -> Mapping[str, str]:
    return {}


class Http:
    """Requests with a rate limit, and exponential backoff with full jitter after a passing failure
    (M. Brooker, Exponential Backoff And Jitter, 2015). Threads may share one."""

    def __init__(
        self,
        manners: Manners,
        headers: Headers = _no_headers,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.manners = manners
        self._headers = headers
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._session = requests.Session()
        self._lock = threading.Lock()
        self._next = float("-inf")

    def __reduce__(self) -> tuple[type["Http"], tuple[Manners, Headers]]:
        """Connections stay where they are; another process opens its own."""
        return Http, (self.manners, self._headers)

    def text(
        self,
        address: str,
        method: str = "GET",
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """The answer of an address; a GET sends `body` as its query, all else sends it as JSON.

        ArchiveError after the last try: the server is down, refuses, or answers with an error.
        """
        for attempt in range(self.manners.retries + 1):
            last = attempt == self.manners.retries
            self._wait_for_turn()
            try:
                answer = self._send(address, method, body, headers or {})
            except (requests.ConnectionError, requests.Timeout) as error:
                if last:
                    raise ArchiveError(_silent(address, error, attempt + 1)) from error
                self._sleep(self._backoff(attempt))
                continue
            except requests.RequestException as error:
                raise ArchiveError(f"{plain(address)} cannot be asked: {error}") from error
            if answer.status_code not in _PASSING or last:
                break
            self._sleep(self._asked_wait(answer, attempt))
        if answer.status_code >= 300:
            raise ArchiveError(_refused(address, answer, attempt + 1))
        return answer.content.decode("utf-8", errors="replace")

    def json(self, address: str) -> dict[str, Any]:
        """The answer of an address as a JSON object."""
        return parse_object(self.text(address), address)

    def _send(
        self,
        address: str,
        method: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> requests.Response:
        sent = {"Accept": "application/geo+json, application/json", **headers}
        sent |= self._headers(address)
        query, content = (body, None) if method == "GET" else (None, body)
        return self._session.request(
            method,
            address,
            params=query,
            json=content,
            headers=sent,
            timeout=self.manners.timeout_s,
        )

    def _wait_for_turn(self) -> None:
        """Keeps requests apart, whichever thread makes them."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + 1 / self.manners.requests_per_second
        if turn > now:
            self._sleep(turn - now)

    def _backoff(self, attempt: int) -> float:
        """Seconds; anywhere up to a limit that doubles, so that clients do not return at once."""
        longest: float = min(_FIRST_WAIT_S * 2.0**attempt, _LONGEST_WAIT_S)
        return self._jitter() * longest

    def _asked_wait(self, answer: requests.Response, attempt: int) -> float:
        """What the server asks for in Retry-After, as far as a person would wait, or our own."""
        asked = retry_after(answer.headers.get("Retry-After", ""), datetime.now(UTC))
        backoff = self._backoff(attempt)
        return backoff if asked is None else min(asked, _LONGEST_WAIT_S) + backoff


def retry_after(text: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, given as such or as a date (RFC 9110, 10.2.3);
    None where it says neither."""
    if text.strip().isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


def parse_object(text: str, address: str) -> dict[str, Any]:
    """A JSON object; ArchiveError if the text is anything else."""
    try:
        content = json.loads(text)
    except ValueError:
        raise ArchiveError(
            f"{plain(address)} does not answer in JSON; it begins with: {_short(text)!r}"
        ) from None
    if not isinstance(content, dict):
        raise ArchiveError(f"{plain(address)} answers in JSON, but not with an object")
    return content


def plain(address: str) -> str:
    """An address without its query, which may hold a secret."""
    return address.partition("?")[0]


def without_queries(text: str) -> str:
    """A message whose addresses have lost their queries, which may hold a secret."""
    return re.sub(r"""(https?://[^\s'"?]+)\?[^\s'"]*""", r"\1", text)


class PatientIO(StacApiIO):
    """STAC objects by their address, through `Http`; files are read as files."""

    def __init__(self, http: Http) -> None:
        super().__init__(max_retries=None)
        self.http = http

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        return self.http.text(href, (method or "GET").upper(), parameters, headers)

    def read_json(self, source: pystac.link.HREF, *args: Any, **kwargs: Any) -> dict[str, Any]:
        address = source.href if isinstance(source, pystac.Link) else str(source)
        text = self.read_text(source, *args, **kwargs)
        if is_address(address):
            return parse_object(text, address)
        content: dict[str, Any] = self.json_loads(text)
        return content

    def get_pages(
        self,
        url: str,
        method: str | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """All pages of a listing. A page may be empty and yet have a next one; ArchiveError for a
        page that is none, and for one that leads back to a page that was there."""
        page = self.read_json(url, method=method, parameters=parameters)
        been: set[str] = set()
        while True:
            _check_page(page, url)
            if page.get("features") or page.get("collections"):
                yield page  # the client takes an empty page for the last
            following = next((each for each in page["links"] if each.get("rel") == "next"), None)
            if following is None:
                return
            key = json.dumps(following, sort_keys=True)
            if key in been or "href" not in following:
                raise ArchiveError(f"{plain(url)} gives pages without end: one leads to itself")
            been.add(key)
            page = self.read_json(pystac.Link.from_dict(following), parameters=parameters)


def _check_page(page: dict[str, Any], url: str) -> None:
    listed = page.get("features", page.get("collections"))
    whole = isinstance(listed, list) and all(isinstance(each, dict) for each in listed)
    links = page.setdefault("links", [])
    if not whole or not (isinstance(links, list) and all(isinstance(e, dict) for e in links)):
        raise ArchiveError(
            f"{plain(url)} answers with a page that is none: it lacks a list of 'features' or "
            f"'collections'; it has: {choices(sorted(page))}"
        )


class PatientFiles(DefaultStacIO):
    """The files of a static catalog, through `Http` where they lie at an address."""

    def __init__(self, http: Http) -> None:
        super().__init__()
        self.http = http

    def read_text_from_href(self, href: str) -> str:
        return self.http.text(href) if is_address(href) else super().read_text_from_href(href)


def is_address(text: str) -> bool:
    """Whether something is an http(s) address rather than a path."""
    return text.startswith(("http://", "https://"))


def _silent(address: str, error: Exception, tries: int) -> str:
    why = "no answer in time" if isinstance(error, requests.Timeout) else _cause(error)
    return (
        f"{plain(address)} does not answer after {_tries(tries)}: {why}; "
        "is the address right, and the network up?"
    )


def _cause(error: BaseException) -> str:
    """The words of the innermost reason, where libraries wrap one in another."""
    while error.args and isinstance(getattr(error.args[0], "reason", None), BaseException):
        error = error.args[0].reason
    return _short(str(error).rpartition(": ")[2])


def _refused(address: str, answer: requests.Response, tries: int) -> str:
    code = answer.status_code
    said = f"HTTP {code} {answer.reason}".rstrip()
    where = plain(address)
    if code in (401, 403):
        return (
            f"{where} refuses us: {said}; "
            "give the key or token that it wants by archive.sign in the project file"
        )
    after = f" after {_tries(tries)}" if tries > 1 else ""
    words = _short(answer.content[: 4 * _WORDS].decode("utf-8", errors="replace"))
    return f"{where} answers with {said}{after}" + (f": {words}" if words else "")


def _tries(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WORDS else line[:_WORDS] + "..."
