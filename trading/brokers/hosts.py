"""Hosts that a tenant names in credentials: looked up in an allow-list, resolved once, and pinned.

Without this a tenant could make the server call the metadata service of its cloud, its own Redis, or a neighbour
(server-side request forgery). Four rules:

1. The host and port are on a list: the venue's own, or ``QT_BROKER_HOSTS`` (``name``, ``name:port``, an address with or
   without a port; without one the port is 443).
2. Every address that the name resolves to is public, or is listed too: as an address, or within a network such as
   ``10.0.0.0/24``. A network lists no host by itself. Loopback also passes where ``APP_ENV`` is ``development``.
3. The name is resolved once. The connection goes to the address that was checked, with the name in SNI, certificate
   check and Host header, so that a second answer of the resolver changes nothing.
4. No redirect is followed, and no proxy of the environment is asked.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from trading.brokers.base import BrokerError, BrokerRefused, BrokerUnavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Sequence[str]]

HOST_REFUSED: Final = "host_refused"
HTTPS: Final = 443
LONGEST_NAME: Final = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV6_UNICAST = ip_network("2000::/3")
_SPECIAL = tuple(
    ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
"""Of IANA's special-purpose registries, what `ipaddress` of Python 3.11 takes for public: protocol assignments, and
what carries an IPv4 address (6to4, Teredo). Those that lie outside 2000::/3, such as NAT64, are no unicast to us."""


class HostRefused(BrokerRefused):
    """A host of the credentials may not be called; the context names the ``field`` that holds it."""

    def __init__(self, message: str, *, broker: str, field: str) -> None:
        super().__init__(message, broker=broker, operation="session", code=HOST_REFUSED, context={"field": field})


def refused_field(error: BrokerError) -> str | None:
    """The field whose host was refused; None for another error. An adapter's own process may have passed it on."""
    return str(error.context.get("field", "host")) if error.code == HOST_REFUSED else None


@dataclass(frozen=True)
class Pinned:
    """A host that passed: connect to ``address`` and ``port``, and call it ``host``."""

    host: str
    port: int
    address: str

    @property
    def authority(self) -> str:
        """``host:port`` as a URL has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def system_resolver(host: str, port: int) -> Sequence[str]:
    """All addresses of ``host``, as the system's resolver orders them; raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def pin(
    host: str,
    port: int,
    *,
    broker: str,
    own: Iterable[str] = (),
    field: str = "host",
    resolve: Resolver = system_resolver,
) -> Pinned:
    """Check ``host`` and ``port`` and resolve them, once; ``own`` are the venue's hosts, in the form of the setting.

    Raises `HostRefused` when they may not be called, `BrokerUnavailable` when the name does not resolve now. Call it
    outside any transaction: it waits for a name server.
    """
    allowed = _AllowList([*own, *settings.QT_BROKER_HOSTS])
    name = _canonical(host)
    if name is None or not 1 <= port <= 65_535:
        raise HostRefused("This is not the name of a host with a port.", broker=broker, field=field)
    if not allowed.lists(name, port):
        raise HostRefused(
            f"{name}:{port} is not among the hosts that this installation calls. Its operator can add it to"
            " QT_BROKER_HOSTS.",
            broker=broker,
            field=field,
        )
    literal = _literal(name)
    try:
        addresses = [name] if literal is not None else list(resolve(name, port))
    except (OSError, UnicodeError):
        addresses = []
    if not addresses:
        raise BrokerUnavailable(f"{name} could not be resolved.", broker=broker, operation="session", code="unresolved")
    if not all(allowed.reaches(text, port) for text in addresses):
        raise HostRefused(
            f"{name} leads to an address that is not public. Its operator can add that to QT_BROKER_HOSTS.",
            broker=broker,
            field=field,
        )
    return Pinned(name, port, addresses[0])


def pin_url(
    url: str, *, broker: str, own: Iterable[str] = (), field: str = "base_url", resolve: Resolver = system_resolver
) -> Pinned:
    """`pin` for the host of ``url``, which must be ``https`` (or ``http`` to loopback) and hold no login."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else HTTPS)
    except ValueError:
        raise HostRefused("This is not a URL.", broker=broker, field=field) from None
    if parts.scheme not in ("https", "http") or parts.username is not None or parts.fragment or "\\" in url:
        raise HostRefused("This must be an https URL without a user.", broker=broker, field=field)
    pinned = pin(host, port, broker=broker, own=own, field=field, resolve=resolve)
    if parts.scheme == "http" and not ip_address(pinned.address).is_loopback:
        raise HostRefused("This must be an https URL: http would show the credentials.", broker=broker, field=field)
    return pinned


def http_client(
    pinned: Pinned, *, timeout: httpx.Timeout, verify: ssl.SSLContext | bool = True, **options: Any
) -> httpx.Client:
    """An httpx client that reaches ``pinned`` alone, whatever its name resolves to by now. ``options`` go to httpx."""
    return httpx.Client(
        transport=PinnedTransport(pinned, verify=verify),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        **options,
    )


class PinnedTransport(httpx.BaseTransport):
    """Connects to the pinned address; the request keeps its Host header, and TLS checks the name."""

    def __init__(self, pinned: Pinned, *, verify: ssl.SSLContext | bool = True) -> None:
        self._pinned = pinned
        self._inner = httpx.HTTPTransport(verify=verify, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``; raises `httpx.UnsupportedProtocol` for any other host or port."""
        url = request.url
        port = url.port or (80 if url.scheme == "http" else HTTPS)
        if (url.host.lower(), port) != (self._pinned.host, self._pinned.port):
            raise httpx.UnsupportedProtocol(f"This session reaches {self._pinned.authority} alone.", request=request)
        sent = httpx.Request(
            request.method,
            url.copy_with(host=self._pinned.address),
            headers=request.headers,  # with the Host that httpx took from the URL
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": self._pinned.host},
        )
        return self._inner.handle_request(sent)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class _AllowList:
    """Entries of the setting, read. What cannot be read lists nothing; `check_setting` names it."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._hosts: set[tuple[str, int]] = set()
        self._networks: list[Network] = []
        self.problems: list[str] = []
        for entry in entries:
            text = entry.strip().lower()
            try:
                if "/" in text:
                    self._networks.append(ip_network(text))
                elif text:
                    self._hosts.add(_host_and_port(text))
            except ValueError as error:
                self.problems.append(f"{entry!r}: {error}")

    def lists(self, name: str, port: int) -> bool:
        """Whether the host itself is listed."""
        return (name, port) in self._hosts

    def reaches(self, address: str, port: int) -> bool:
        """Whether a listed host may resolve to ``address``."""
        literal = _literal(address)
        if literal is None:
            return False
        if (str(literal), port) in self._hosts or any(literal in network for network in self._networks):
            return True
        return is_public(literal) or (settings.APP_ENV == "development" and literal.is_loopback)


def is_public(address: Address) -> bool:
    """Whether ``address`` is one host's on the Internet, and does not carry another address in disguise."""
    if isinstance(address, IPv6Address) and (address not in _IPV6_UNICAST or address.scope_id is not None):
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def check_setting(entries: Iterable[str]) -> list[str]:
    """What is wrong with entries of ``QT_BROKER_HOSTS``, one sentence for each that cannot be read."""
    return _AllowList(entries).problems


def _host_and_port(text: str) -> tuple[str, int]:
    """An entry's host and port; a bare IPv6 address has its colons to itself, one with a port is in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, str(HTTPS)
    name = _canonical(host.removeprefix("[").removesuffix("]"))
    if name is None or not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
        raise ValueError("not a host, host:port, address or network")
    return name, int(port)


def _canonical(host: str) -> str | None:
    """``host`` in lower case, an address in its one spelling; None for what is neither.

    A name whose last label is a number is what resolvers take for an address in decimal, octal or hexadecimal.
    """
    literal = _literal(host)
    if literal is not None:
        return str(literal)
    name = host.lower()
    labels = name.split(".")
    if len(name) > LONGEST_NAME or _NUMBER.fullmatch(labels[-1]):
        return None
    return name if name.isascii() and all(_LABEL.fullmatch(label) for label in labels) else None


def _literal(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
