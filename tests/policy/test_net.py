from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.hosts import split_host
from runloop.policy import Capabilities
from runloop.policy.net import NetGrants, Target, embedded_ipv4, is_public, parse_target


def caps(*hosts: str, allow_http: bool = False, allow_private: bool = False) -> Capabilities:
    return Capabilities(net=NetGrants.of(map(split_host, hosts), allow_http=allow_http, allow_private=allow_private))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://api.example", Target("https", "api.example", 443)),
        ("HTTPS://API.Example:8443/x?y#z", Target("https", "api.example", 8443)),
        ("https://api.example:1", Target("https", "api.example", 1)),
        ("https://api.example:65535", Target("https", "api.example", 65_535)),
        ("http://api.example./x", Target("http", "api.example", 80)),
        ("https://Bücher.example/", Target("https", "xn--bcher-kva.example", 443)),
        ("https://faß.example/", Target("https", "xn--fa-hia.example", 443)),
        ("https://\uff41\uff50\uff49.example/", Target("https", "api.example", 443)),
        ("https://[2001:DB8::0:1]:444/", Target("https", "2001:db8::1", 444)),
        ("https://127.0.0.1?x", Target("https", "127.0.0.1", 443)),
        ("https://a.example#@evil.example/", Target("https", "a.example", 443)),
        ("https://a.example?@evil.example/", Target("https", "a.example", 443)),
    ],
)
def test_a_url_names_one_host_and_port(url, target):
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://good.example@evil.example/", "it carries a user name or password"),
        ("https://user:pw@good.example/", "it carries a user name or password"),
        ("https://good.example\\@evil.example/", "it contains a space, a control character or a backslash"),
        ("https://good.example /", "it contains a space, a control character or a backslash"),
        ("https://good.example\n/", "it contains a space, a control character or a backslash"),
        ("ftp://good.example/", "the scheme 'ftp' is neither https nor http"),
        ("file:///etc/passwd", "the scheme 'file' is neither https nor http"),
        ("good.example", "it is not of the form scheme://host/path"),
        ("https:/good.example", "it is not of the form scheme://host/path"),
        ("https:///x", "its host is not a valid name"),
        ("https://a..b/", "its host is not a valid name"),
        ("https://a%2eb/", "its host is not a valid name"),
        ("https://-a.example/", "its host is not a valid name"),
        ("https://*.example/", "its host is not a valid name (wildcards are not supported)"),
        (f"https://{'a.' * 130}example/", "its host is not a valid name"),
        ("https://2130706433/", "its host is a number but no IPv4 address in the usual form"),
        ("https://127.1/", "its host is a number but no IPv4 address in the usual form"),
        ("https://0177.0.0.1/", "its host is a number but no IPv4 address in the usual form"),
        ("https://127.0.0.0x1/", "its host is a number but no IPv4 address in the usual form"),
        ("https://a.example:0/", "its port is not a number from 1 to 65535"),
        ("https://a.example:65536/", "its port is not a number from 1 to 65535"),
        ("https://a.example:/", "its port is not a number from 1 to 65535"),
        ("https://a.example:4 43/", "it contains a space, a control character or a backslash"),
        ("https://a.example:٤٤٣/", "its port is not a number from 1 to 65535"),
        ("https://[::1/", "its IPv6 brackets are not closed"),
        ("https://2001:db8::1:8443/", "its IPv6 address stands without brackets"),
        ("https://[::1]443/", "its IPv6 brackets are not closed"),
        ("https://[::g]/", "its host is not a valid IPv6 address"),
        ("https://[fe80::1%25eth0]/", "its IPv6 address has a zone"),
        ("https://a℀b.example/", "its host is not a valid international name"),
        ("https://☃\u200d.example/", "its host is not a valid international name"),
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url, problem):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_target(url)
    assert str(caught.value) == problem


@given(st.text(alphabet="hтps:/@\\[]%.aA1-_#?\uff20ß\u200d。*x\0 ", max_size=30))
def test_any_text_either_names_a_canonical_target_or_is_refused(text):
    try:
        target = parse_target(f"https://{text}")
    except ValueError:
        return
    shown = f"[{target.host}]" if ":" in target.host else target.host
    assert parse_target(f"https://{shown}:{target.port}") == target
    assert target.host == target.host.lower()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://api.example/", None),
        ("https://API.EXAMPLE./", None),
        ("https://api.example:443/", None),
        ("https://api.example:8443/", "host_not_permitted"),
        ("https://any.example:8443/", None),
        ("https://sub.api.example/", "host_not_permitted"),
        ("https://api.example.evil.example/", "host_not_permitted"),
        ("https://evilapi.example/", "host_not_permitted"),
        ("http://any.example/", "http_not_permitted"),
        ("https://xn--bcher-kva.example/", None),
        ("https://x@api.example/", "url_invalid"),
    ],
)
def test_a_host_is_granted_whole_and_a_port_only_itself(url, reason):
    denial = caps("api.example:443", "any.example", "Bücher.example").check_net(url)
    assert (denial and denial.reason) == reason


def test_an_entry_with_a_port_is_not_reached_on_the_default_port_of_another_scheme():
    assert caps("api.example:443", allow_http=True).check_net("http://api.example/").reason == "host_not_permitted"
    assert caps("api.example:80", allow_http=True).check_net("http://api.example/") is None


@pytest.mark.parametrize("url", ["https://[2001:db8::1]:8443/", "https://other.example/"])
def test_what_the_hint_of_a_refused_host_says_to_add_grants_it(url):
    hint = caps("api.example").check_net(url).hint

    assert caps(hint.split('"')[1]).check_net(url) is None


def test_without_hosts_nothing_is_fetched():
    assert Capabilities().check_net("https://api.example/").reason == "no_hosts"


def test_a_refused_url_does_not_repeat_the_password_it_carried():
    denial = caps("api.example").check_net("https://ada:s3cret@api.example/x")
    assert "s3cret" not in str(denial.to_dict())
    assert denial.target == "https://…@api.example/x"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "100.127.255.255", "192.0.0.8",
        "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fec0::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1",
        "64:ff9b::808:808", "64:ff9b:1::1", "::7f00:1", "::8.8.8.8", "3fff::1", "200::1", "5f00::1", "4000::1",
        "2002:a00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "100::1", "no address", "",
    ],
)  # fmt: skip
def test_an_address_that_is_not_on_the_public_internet_is_not_dialled(address):
    assert is_public(address) is False
    assert caps("api.example").check_address("api.example", address) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "100.63.255.255", "100.128.0.1"])
def test_a_public_address_is_dialled(address):
    assert caps("api.example").check_address("api.example", address) is None


def test_a_private_address_is_dialled_when_the_policy_names_it_or_says_so():
    assert caps("api.example").check_address("api.example", "10.0.0.5").reason == "address_private"
    assert caps("10.0.0.5:8080").check_address("10.0.0.5", "10.0.0.5") is None
    assert caps("[::1]:8080").check_address("::1", "::1") is None
    assert caps("api.example", allow_private=True).check_address("api.example", "10.0.0.5") is None
    assert caps("api.example").check_address("api.example", "nonsense:").reason == "address_invalid"


def test_naming_one_private_address_does_not_open_a_name_that_resolves_to_it_elsewhere():
    assert caps("10.0.0.5", "api.example").check_address("api.example", "10.0.0.6").reason == "address_private"


def test_naming_one_private_address_does_not_open_a_name_that_resolves_to_it():
    assert caps("10.0.0.5:8080", "api.example").check_address("api.example", "10.0.0.5").reason == "address_private"
    assert caps("api.example").check_address("10.0.0.5", "10.0.0.5").reason == "address_private", "nor does a name its address"


@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_address_becomes_public_by_being_written_inside_an_ipv6_address(number):
    v4 = ipaddress.IPv4Address(number)
    assert is_public(f"::ffff:{v4}") is False
    assert is_public(str(ipaddress.IPv6Address((0x64FF9B << 96) | number))) is False
    assert is_public(str(ipaddress.IPv6Address(number))) is False
    assert is_public(str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))) is False


@pytest.mark.parametrize(
    ("address", "inner"),
    [
        ("::ffff:169.254.1.2", "169.254.1.2"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("2002:a9fe:a9fe::", "169.254.169.254"),
        ("::169.254.169.254", "169.254.169.254"),
        ("2606:4700::1111", "None"),
    ],
)
def test_the_ipv4_address_inside_an_ipv6_address_is_found(address, inner):
    assert str(embedded_ipv4(ipaddress.IPv6Address(address))) == inner


@pytest.mark.parametrize(
    ("mine", "theirs", "both"),
    [
        (["h"], ["h:443"], {("h", 443)}),
        (["h:443"], ["h"], {("h", 443)}),
        (["h:443"], ["h:80"], set()),
        (["h"], ["g"], set()),
        (["h"], ["h", "h:443"], {("h", None)}),
    ],
)
def test_the_intersection_of_hosts_narrows_the_port(mine, theirs, both):
    assert caps(*mine).intersect(caps(*theirs)).net.hosts == both
