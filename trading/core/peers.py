"""Where a request comes from: the peer itself, or whom a proxy of ours names."""

import ipaddress
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

FORWARDED = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")
MOST_HOPS = 20


def is_forwarded(request: HttpRequest) -> bool:
    """Whether somebody claims to speak for another."""
    names = (name.lower() for name in request.headers)
    return any(name in FORWARDED or name.startswith("x-forwarded") for name in names)


def is_loopback(request: HttpRequest) -> bool:
    """Whether the peer is this machine itself, and no proxy speaks for another."""
    peer = _parse(request.META.get("REMOTE_ADDR", ""))
    return peer is not None and peer.is_loopback and not is_forwarded(request)


def address_of(request: HttpRequest) -> str:
    """The address that limits count for: of an IPv6 one its /64, which is what one customer gets.

    ``X-Forwarded-For`` is believed only as far as proxies of ``TRUSTED_PROXIES`` wrote it: from its end, each entry is
    what the proxy behind it saw, and the first that is no proxy of ours is the caller. What is before is the caller's
    own invention. A peer without an address (a Unix socket) is ``local``.
    """
    peer = _parse(request.META.get("REMOTE_ADDR", ""))
    if peer is None:
        return "local"
    trusted = _networks(tuple(settings.TRUSTED_PROXIES))
    hops = request.headers.get("X-Forwarded-For", "").split(",")[-MOST_HOPS:]
    while hops and _is_in(peer, trusted):
        before = _parse(hops.pop().strip())
        if before is None:
            break
        peer = before
    return _counted(peer)


def _counted(address: Address) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in texts if text.strip())
