"""Hosts in credentials: what is called, what is refused, and that a resolver's second answer changes nothing."""

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from trading.brokers import hosts
from trading.brokers.base import BrokerUnavailable
from trading.brokers.hosts import HostRefused, Pinned, check_setting, http_client, is_public, pin, pin_url

PUBLIC = "93.184.216.34"
OWN = ("api.venue.example", "localhost:4002")
BROKER = "venue"


def answers(*addresses: str) -> Callable[[str, int], Sequence[str]]:
    return lambda host, port: addresses


def never(host: str, port: int) -> Sequence[str]:
    raise AssertionError(f"{host} must not be resolved")


@pytest.fixture(autouse=True)
def _production(settings: Settings) -> None:
    settings.APP_ENV = "production"
    settings.QT_BROKER_HOSTS = []


def test_the_venue_s_own_host_is_pinned_to_what_it_resolved_to() -> None:
    pinned = pin("API.Venue.example", 443, broker=BROKER, own=OWN, resolve=answers(PUBLIC, "2606:2800:21f::1"))
    assert pinned == Pinned("api.venue.example", 443, PUBLIC)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("evil.example", 443),
        ("api.venue.example", 22),
        ("api.venue.example.evil.example", 443),
        ("sub.api.venue.example", 443),
        ("api.venue.example.", 443),
        ("169.254.169.254", 443),
        (PUBLIC, 443),
        ("localhost", 6379),
    ],
)
def test_a_host_that_is_not_listed_is_refused_without_being_resolved(host: str, port: int) -> None:
    with pytest.raises(HostRefused, match=r"QT_BROKER_HOSTS|not the name") as caught:
        pin(host, port, broker=BROKER, own=OWN, field="gateway", resolve=never)
    assert hosts.refused_field(caught.value) == "gateway"
    assert caught.value.code == "host_refused"


NOT_NAMES = [
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "a.0x1",
    "",
    ".",
    "a..b",
    "-a.example",
    "a b.example",
    "a.example/path",
    "user@a.example",
    "a.example:80",
    "a.example#",
    "a.example\r\nHost: b",
    "a.example\x00",
    "\uff41.example",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "bücher.example",
    "[::1]",
    "x" * 254,
    "١٢٧.0.0.1",
]


@pytest.mark.parametrize("host", NOT_NAMES)
def test_what_is_not_a_plain_name_or_address_is_refused(host: str, settings: Settings) -> None:
    settings.QT_BROKER_HOSTS = [host, "127.0.0.1:443"]  # an operator cannot list it either
    with pytest.raises(HostRefused):
        pin(host, 443, broker=BROKER, own=OWN, resolve=never)


@pytest.mark.parametrize("port", [0, -1, 65_536, 10**30])
def test_a_port_past_its_bounds_is_refused(port: int) -> None:
    with pytest.raises(HostRefused):
        pin("api.venue.example", port, broker=BROKER, own=OWN, resolve=never)


INTERNAL = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "198.18.0.1",
    "203.0.113.5",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:93.184.216.34",
    "::127.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::5db8:d822",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:5db8:d822::1",
    "2001:0:53aa:64c::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:2800::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "2001:db8::1",
    "fec0::1",
    "192.88.99.1",
    "2001:20::1",
    "3fff::1",
    "4000::1",
    "not an address",
]


@pytest.mark.parametrize("address", INTERNAL)
def test_a_listed_name_that_leads_inside_is_refused(address: str) -> None:
    for found in ((address,), (PUBLIC, address), (address, PUBLIC)):
        with pytest.raises(HostRefused, match="not public") as caught:
            pin("api.venue.example", 443, broker=BROKER, own=OWN, resolve=answers(*found))
        assert address not in str(caught.value), "the answer must not map the network for who asks"


@given(st.ip_addresses())
def test_public_is_at_most_what_the_registry_calls_global(address: IPv4Address | IPv6Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not any(
            [address.is_private, address.is_loopback, address.is_link_local, address.is_multicast, address.is_reserved]
        )
    if isinstance(address, IPv4Address):
        assert not is_public(ip_address(f"::ffff:{address}"))


def test_loopback_passes_in_development_and_where_the_operator_lists_it(settings: Settings) -> None:
    local = answers("127.0.0.1")
    with pytest.raises(HostRefused):
        pin("localhost", 4002, broker=BROKER, own=OWN, resolve=local)
    settings.QT_BROKER_HOSTS = ["127.0.0.1:4001"]
    with pytest.raises(HostRefused):
        pin("localhost", 4002, broker=BROKER, own=OWN, resolve=local)
    settings.QT_BROKER_HOSTS = ["127.0.0.1:4002"]
    assert pin("localhost", 4002, broker=BROKER, own=OWN, resolve=local).address == "127.0.0.1"
    assert pin("127.0.0.1", 4002, broker=BROKER, own=OWN, resolve=never).address == "127.0.0.1"
    settings.QT_BROKER_HOSTS = []
    settings.APP_ENV = "development"
    assert pin("localhost", 4002, broker=BROKER, own=OWN, resolve=answers("::1", "127.0.0.1")).address == "::1"
    with pytest.raises(HostRefused):
        pin("localhost", 6379, broker=BROKER, own=OWN, resolve=never)
    with pytest.raises(HostRefused):
        pin("localhost", 4002, broker=BROKER, own=OWN, resolve=answers("10.0.0.1"))


def test_a_network_lists_no_host_but_lets_listed_names_into_it(settings: Settings) -> None:
    settings.QT_BROKER_HOSTS = ["ib-gateway:4002", "172.18.0.0/16"]
    assert pin("ib-gateway", 4002, broker=BROKER, resolve=answers("172.18.0.5")).address == "172.18.0.5"
    for host, port, found in (
        ("172.18.0.5", 4002, never),
        ("redis", 6379, never),
        ("ib-gateway", 6379, never),
        ("ib-gateway", 4002, answers("172.19.0.5")),
        ("ib-gateway", 4002, answers("::ffff:172.18.0.5")),
    ):
        with pytest.raises(HostRefused):
            pin(host, port, broker=BROKER, resolve=found)


def test_an_ipv6_entry_with_and_without_a_port(settings: Settings) -> None:
    settings.QT_BROKER_HOSTS = ["[2001:db8::5]:4002", "2001:DB8:0::6"]
    assert pin("2001:db8:0:0::5", 4002, broker=BROKER, resolve=never) == Pinned("2001:db8::5", 4002, "2001:db8::5")
    assert pin("2001:db8::6", 443, broker=BROKER, resolve=never).authority == "[2001:db8::6]:443"
    with pytest.raises(HostRefused):
        pin("2001:db8::6", 4002, broker=BROKER, resolve=never)


def test_a_name_that_does_not_resolve_may_be_tried_again() -> None:
    def fails(host: str, port: int) -> Sequence[str]:
        raise OSError("no answer")

    for resolve in (fails, answers()):
        with pytest.raises(BrokerUnavailable) as caught:
            pin("api.venue.example", 443, broker=BROKER, own=OWN, resolve=resolve)
        assert caught.value.code == "unresolved"


def test_the_system_s_resolver_is_asked_by_default(settings: Settings) -> None:
    settings.APP_ENV = "development"
    assert ip_address(pin("localhost", 4002, broker=BROKER, own=OWN).address).is_loopback


@pytest.mark.parametrize(
    "url",
    [
        "http://api.venue.example",
        "http://api.venue.example:443",
        "ftp://api.venue.example",
        "file:///etc/passwd",
        "//api.venue.example",
        "api.venue.example",
        "https://",
        "https://user@api.venue.example",
        "https://user:pw@api.venue.example",
        "https://api.venue.example#@evil.example",
        "https://api.venue.example\\@evil.example",
        "https://evil.example/?https://api.venue.example",
        "https://api.venue.example:99999",
        "https://api.venue.example:x",
        "https://[::1",
        "gopher://api.venue.example:443/_",
    ],
)
def test_a_url_must_be_https_to_a_listed_host(url: str) -> None:
    with pytest.raises(HostRefused):
        pin_url(url, broker=BROKER, own=OWN, resolve=answers(PUBLIC))


def test_a_url_s_host_and_port_are_pinned(settings: Settings) -> None:
    found = pin_url("https://API.venue.example/v1/x?y", broker=BROKER, own=OWN, resolve=answers(PUBLIC))
    assert found == Pinned("api.venue.example", 443, PUBLIC)
    settings.APP_ENV = "development"
    own = ("127.0.0.1:8080",)
    assert pin_url("http://127.0.0.1:8080/x", broker=BROKER, own=own).port == 8080


@pytest.mark.parametrize("entry", ["a.example:port", "10.0.0.1/8", "a.example:0", "a.example:70000", "0x7f.1", "a:b:c"])
def test_an_entry_that_cannot_be_read_is_named_and_lists_nothing(entry: str, settings: Settings) -> None:
    assert len(check_setting([entry, "good.example"])) == 1
    settings.QT_BROKER_HOSTS = [entry, "good.example"]
    assert pin("good.example", 443, broker=BROKER, resolve=answers(PUBLIC)).host == "good.example"
    with pytest.raises(HostRefused):
        pin(entry.partition(":")[0], 443, broker=BROKER, resolve=answers(PUBLIC))


@pytest.fixture
def server() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A server on loopback that notes the Host and path of each request, and redirects ``/away``."""
    seen: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.headers["Host"], self.path))
            self.send_response(302 if self.path == "/away" else 200)
            if self.path == "/away":
                self.send_header("Location", "http://169.254.169.254/latest")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1], seen
        running.shutdown()


TIMEOUT = httpx.Timeout(5)


def test_rebinding_changes_nothing(server: tuple[int, list[tuple[str, str]]], settings: Settings) -> None:
    """The resolver answers with the server first and with the metadata service ever after."""
    port, seen = server
    settings.QT_BROKER_HOSTS = [f"rebinding.example:{port}", f"127.0.0.1:{port}"]
    asked: list[str] = []

    def rebinds(host: str, at: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    url = f"http://rebinding.example:{port}"
    pinned = pin_url(url, broker=BROKER, resolve=rebinds)
    with http_client(pinned, timeout=TIMEOUT, base_url=url) as http:
        for path in ("/one", "/two"):
            assert http.get(path, headers={"Connection": "close"}).text == "ok"
    assert asked == ["rebinding.example"]
    assert seen == [(f"rebinding.example:{port}", "/one"), (f"rebinding.example:{port}", "/two")]
    with pytest.raises(HostRefused):
        pin_url(url, broker=BROKER, resolve=rebinds)


def test_no_redirect_is_followed_and_no_other_host_is_reached(
    server: tuple[int, list[tuple[str, str]]], settings: Settings
) -> None:
    port, seen = server
    pinned = Pinned("venue.example", port, "127.0.0.1")
    with http_client(pinned, timeout=TIMEOUT) as http:
        assert http.get(f"http://venue.example:{port}/away").status_code == 302
        with pytest.raises(httpx.UnsupportedProtocol):
            http.get(f"http://venue.example:{port}/away", follow_redirects=True)
        for url in (f"http://127.0.0.1:{port}/", f"http://venue.example:{port + 1}/", "http://venue.example/"):
            with pytest.raises(httpx.UnsupportedProtocol, match="alone"):
                http.get(url)
    assert [path for _, path in seen] == ["/away", "/away"]


def test_no_proxy_of_the_environment_is_asked(
    server: tuple[int, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _ = server
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with http_client(Pinned("venue.example", port, "127.0.0.1"), timeout=TIMEOUT) as http:
        assert http.get(f"http://venue.example:{port}/").status_code == 200


def test_tls_is_offered_and_checked_under_the_name(tls_server: tuple[int, ssl.SSLContext, list[str | None]]) -> None:
    port, trusting, offered = tls_server
    with http_client(Pinned("venue.example", port, "127.0.0.1"), timeout=TIMEOUT, verify=trusting) as http:
        assert http.get(f"https://venue.example:{port}/").text == "ok"
    assert offered == ["venue.example"]
    with (
        http_client(Pinned("other.example", port, "127.0.0.1"), timeout=TIMEOUT, verify=trusting) as http,
        pytest.raises(httpx.ConnectError, match="certificate"),
    ):
        http.get(f"https://other.example:{port}/")


def test_the_resolver_gives_each_address_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", (address, 443)) for address in (PUBLIC, PUBLIC, "93.184.216.35")]
    monkeypatch.setattr(hosts.socket, "getaddrinfo", lambda *args, **kwargs: found)
    assert hosts.system_resolver("api.venue.example", 443) == [PUBLIC, "93.184.216.35"]
