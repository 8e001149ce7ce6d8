"""Network targets an agent was granted: what a URL really names, and whether an address may be dialled."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Self

from runloop.dataclass import dataclass
from runloop.hosts import host_text, split_host

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PORTS = {"https": 443, "http": 80}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(?:[/?#].*)?", re.DOTALL)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")

#: Networks that ``ipaddress`` calls global on some versions, or that carry an IPv4 address inside (RFC 6598, 9637).
_NEVER_PUBLIC = tuple(
    ipaddress.ip_network(text) for text in ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4", "3fff::/20")
)
_IPV4_AT_THE_END = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))  # RFC 6052, 8215, 4291
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out to networks (RFC 4291 2.4); the rest is special or not in use."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: scheme, canonical host (lower case, IDNA, no trailing dot, IPv6 without brackets), effective port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """The entry of ``net`` that names it."""
        return host_text(self.host, self.port)


def parse_target(url: str) -> Target:
    """Return what ``url`` names; ValueError for anything two parsers could read differently (userinfo, backslash, odd numbers)."""
    if _FORBIDDEN.search(url):
        raise ValueError("it contains a space, a control character or a backslash")
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("it is not of the form scheme://host/path")
    scheme, authority = found[1].lower(), found[2]
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"the scheme {scheme!r} is neither https nor http")
    if "@" in authority:
        raise ValueError("it carries a user name or password")
    if authority.count(":") > 1 and not authority.startswith("["):  # its last number would be a port to other readers
        raise ValueError("its IPv6 address stands without brackets")
    host, port = split_host(authority)
    return Target(scheme, host, DEFAULT_PORTS[scheme] if port is None else port)


def is_public(address: str) -> bool:
    """Whether a resolved address is on the public Internet; private, shared, reserved and embedding ranges are not."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _IPV6_UNICAST or embedded_ipv4(ip) is not None):
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NEVER_PUBLIC)


def embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which a gateway or the system would send what is meant for ``ip`` (mapped, 6to4, Teredo, NAT64, compatible)."""
    found = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
    if found is None and any(ip in network for network in _IPV4_AT_THE_END):
        return ipaddress.IPv4Address(ip.packed[-4:])
    return found


@dataclass(frozen=True, slots=True)
class NetGrants:
    """Hosts, each with one port or (None) any; plain http and private addresses only when said."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    allow_http: bool = False
    allow_private: bool = False

    @classmethod
    def of(cls, hosts: Iterable[tuple[str, int | None]], *, allow_http: bool = False, allow_private: bool = False) -> Self:
        """In normal form: a host with any port swallows its entries with one."""
        given = set(hosts)
        return cls(frozenset((host, port) for host, port in given if port is None or (host, None) not in given), allow_http, allow_private)

    def allows_host(self, host: str, port: int) -> bool:
        """Whether a canonical host may be reached on ``port``."""
        return (host, None) in self.hosts or (host, port) in self.hosts

    def intersect(self, other: NetGrants) -> NetGrants:
        """Return what both allow; a host without a port takes the other's ports."""
        both = (
            (host, theirs if mine is None else mine)
            for host, mine in self.hosts
            for other_host, theirs in other.hosts
            if host == other_host and (mine is None or theirs is None or mine == theirs)
        )
        return NetGrants.of(both, allow_http=self.allow_http and other.allow_http, allow_private=self.allow_private and other.allow_private)
