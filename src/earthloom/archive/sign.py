"""Keys to files that an archive does not give to everyone.

A signed address is made when a file is opened and goes no further: scenes, manifests and messages
hold the plain one.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import Protocol
from urllib.parse import urlsplit

from earthloom.archive.http import Http, Manners
from earthloom.archive.scene import parse_time
from earthloom.errors import ArchiveError, ProjectError, choices
from earthloom.project import HeaderSign, NoSign, PlanetaryComputerSign, PluginSign, Sign

PLUGINS = "earthloom.signers"
"""Entry points of this group are called without arguments and give a `Signer`."""

_EARLY = timedelta(minutes=5)
"""A token is renewed this long before its end, so that it outlives the reads it was made for."""


class Signer(Protocol):
    """Makes addresses that a server lets us read."""

    def signed(self, href: str) -> str:
        """The address to open; hrefs that need no key come back as they are."""
        ...

    def headers(self, href: str) -> Mapping[str, str]:
        """HTTP headers to send with a request for an address."""
        ...


@dataclass(frozen=True)
class Unsigned:
    """For archives that are open to everyone."""

    def signed(self, href: str) -> str:
        return href

    def headers(self, href: str) -> Mapping[str, str]:
        return {}


@dataclass
class FakeSigner:
    """For tests: appends a fixed query, and remembers what it signed."""

    query: str = "key=secret"
    asked: list[str] = field(default_factory=list)

    def signed(self, href: str) -> str:
        self.asked.append(href)
        return f"{href}?{self.query}"

    def headers(self, href: str) -> Mapping[str, str]:
        return {}


@dataclass(frozen=True)
class HeaderSigner:
    """Sends a secret from an environment variable as a header, to some hosts alone."""

    name: str
    prefix: str
    variable: str
    hosts: frozenset[str]
    """Names of hosts, small letters, without ports."""

    def signed(self, href: str) -> str:
        return href

    def headers(self, href: str) -> Mapping[str, str]:
        if host_of(href) not in self.hosts:
            return {}
        secret = os.environ.get(self.variable, "").strip()
        if not secret:
            raise ArchiveError(
                f"the environment variable {self.variable}, which archive.sign names, is not set"
            )
        if not secret.isprintable():
            raise ArchiveError(f"the environment variable {self.variable} holds more than a line")
        return {self.name: f"{self.prefix}{secret}"}


class PlanetaryComputerSigner:
    """Appends shared-access tokens of Azure blob storage, fetched for each container and kept
    until shortly before they end. Threads may share one."""

    def __init__(
        self,
        token_url: str,
        http: Http,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._token_url = token_url.rstrip("/")
        self._http = http
        self._now = now
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str], tuple[str, datetime]] = {}

    def __reduce__(self) -> tuple[type["PlanetaryComputerSigner"], tuple[str, Http]]:
        """Another process fetches tokens of its own."""
        return PlanetaryComputerSigner, (self._token_url, self._http)

    def signed(self, href: str) -> str:
        container = blob_container(href)
        return href if container is None else f"{href.partition('?')[0]}?{self._token(container)}"

    def headers(self, href: str) -> Mapping[str, str]:
        return {}

    def _token(self, container: tuple[str, str]) -> str:
        with self._lock:
            held = self._tokens.get(container)
            if held is None or self._now() >= held[1] - _EARLY:
                held = self._fetch("/".join((self._token_url, *container)))
                self._tokens[container] = held
            return held[0]

    def _fetch(self, address: str) -> tuple[str, datetime]:
        answer = self._http.json(address)
        try:
            return str(answer["token"]), parse_time(answer["msft:expiry"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArchiveError(f"{address} does not answer with a token and its end") from error


_BLOBS = ".blob.core.windows.net"
_OPEN_ACCOUNTS = frozenset({"ai4edatasetspublicassets"})
"""Accounts that need no token, and refuse one."""


def blob_container(href: str) -> tuple[str, str] | None:
    """Account and container of a file in Azure blob storage; None where no token is wanted."""
    host = host_of(href)
    container = urlsplit(href).path.lstrip("/").partition("/")[0]
    account = host.removesuffix(_BLOBS)
    if account == host or account in _OPEN_ACCOUNTS or not container:
        return None
    return account, container


def host_of(address: str) -> str:
    """The host's name in small letters, without its port; empty for a path."""
    return (urlsplit(address).hostname or "").lower()


def open_signer(settings: Sign, archive: str, manners: Manners) -> Signer:
    """The signer that a project names; `archive` is the archive's own address."""
    if isinstance(settings, NoSign):
        return Unsigned()
    if isinstance(settings, HeaderSign):
        hosts = settings.hosts or (host_of(archive),)
        return HeaderSigner(
            settings.name,
            settings.prefix,
            settings.variable,
            frozenset(host.lower() for host in hosts),
        )
    if isinstance(settings, PlanetaryComputerSign):
        return PlanetaryComputerSigner(settings.token_url, Http(manners))
    assert isinstance(settings, PluginSign)
    return _plugin(settings.name)


def _plugin(name: str) -> Signer:
    known = {point.name: point for point in entry_points(group=PLUGINS)}
    if name not in known:
        raise ProjectError(
            f"archive.sign: no installed package has a signer '{name}' "
            f"(entry points '{PLUGINS}'); there are: {choices(sorted(known))}"
        )
    signer: Signer = known[name].load()()
    return signer
