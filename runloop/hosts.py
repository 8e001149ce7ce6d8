"""Hosts as policies, capabilities and settings name them: ``host`` or ``host:port``, in the one form in which they are compared."""

from __future__ import annotations

from runloop.patterns import lazy

_LABEL = lazy(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_HEXADECIMAL = lazy(r"0x[0-9a-f]*")
_PORT = lazy(r"[0-9]{1,5}")


def split_host(text: str) -> tuple[str, int | None]:
    """``Host[:port]`` → (canonical host, port or None); IPv6 in brackets when a port follows."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("its IPv6 brackets are not closed")
        return _ipv6(host), _port(rest)
    if text.count(":") > 1:
        return _ipv6(text), None
    host, colon, port = text.partition(":")
    return canonical_host(host), _port(colon + port)


def canonical_host(host: str) -> str:
    """Write a DNS name or IPv4 address in the one form that is compared; ValueError if it has none."""
    if not host.isascii():
        host = _idna(host)
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("its host is not a valid name (wildcards are not supported)" if "*" in host else "its host is not a valid name")
    if labels[-1].isdigit() or _HEXADECIMAL.fullmatch(labels[-1]):
        import ipaddress

        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("its host is a number but no IPv4 address in the usual form") from None
    return host


def _idna(host: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise ValueError("its host is not a valid international name") from None


def _ipv6(text: str) -> str:
    import ipaddress

    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("its host is not a valid IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError("its IPv6 address has a zone")
    return address.compressed


def _port(text: str) -> int | None:
    """``":443"`` → 443, ``""`` → None."""
    if not text:
        return None
    if not _PORT.fullmatch(text[1:]) or not 1 <= int(text[1:]) <= 65535:
        raise ValueError("its port is not a number from 1 to 65535")
    return int(text[1:])


def host_text(host: str, port: int | None) -> str:
    """What :func:`split_host` takes apart, in its one form: ``host``, ``host:443``, ``[2001:db8::1]``, ``[2001:db8::1]:443``."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"
