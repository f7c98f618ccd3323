"""Where a tool may connect: listed hosts, and nothing inside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from taximeter.policies import Denied, Hosts
from taximeter.policies.hosts import is_public

ADDRESSES = {
    "api.example.com": ["93.184.215.14"],
    "docs.wiki.org": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    "inside.wiki.org": ["10.0.0.7"],
    "mixed.wiki.org": ["93.184.215.14", "127.0.0.1"],
    "mapped.wiki.org": ["::ffff:169.254.169.254"],
    "nat.wiki.org": ["64:ff9b::7f00:1"],
    "six.wiki.org": ["2002:7f00:1::"],
    "zone.wiki.org": ["fe80::1%eth0"],
    "zero.wiki.org": ["0.0.0.0"],
    "shared.wiki.org": ["100.64.0.1"],
    "multi.wiki.org": ["224.0.0.1"],
    "xn--bcher-kva.wiki.org": ["93.184.215.14"],
}


def resolve(host: str) -> Iterable[str]:
    if host not in ADDRESSES:
        raise OSError(f"unknown host {host}")
    return ADDRESSES[host]


HOSTS = Hosts("api.example.com", "*.wiki.org", resolve=resolve)
HOST_ATTACKS = [
    "https://evil.com",
    "http://api.example.com",
    "ftp://api.example.com",
    "file:///etc/passwd",
    "gopher://api.example.com",
    "javascript:alert(1)",
    "https://api.example.com@evil.com/",
    "https://api.example.com:pw@evil.com/",
    "https://evil.com#@api.example.com",
    "https://evil.com?api.example.com",
    "https://evil.com\\@api.example.com",
    "https://evil.com/\\api.example.com",
    "https://api.example.com.evil.com",
    "https://apiXexample.com",
    "https://wiki.org.evil.com",
    "https://wiki.org",
    "https://evilwiki.org",
    "https://api.example.com:8443/",
    "https://api.example.com:0x1bb",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/",
    "https://inside.wiki.org/",
    "https://mixed.wiki.org/",
    "https://mapped.wiki.org/",
    "https://nat.wiki.org/",
    "https://six.wiki.org/",
    "https://zone.wiki.org/",
    "https://zero.wiki.org/",
    "https://shared.wiki.org/",
    "https://multi.wiki.org/",
    "https://nowhere.wiki.org/",
    "https:///api.example.com",
    "https:api.example.com",
    "https://api.example.com\r\nHost: evil.com",
    " https://api.example.com",
    "https://api.example.com\t.evil.com",
    "https://evil.com\u2215.wiki.org",
    "api.example.com/path",
    "https://",
    "",
    None,
    ["https://api.example.com"],
]


@pytest.mark.parametrize("url", HOST_ATTACKS, ids=repr)
def test_a_host_beyond_the_list_is_refused(url: Any) -> None:
    with pytest.raises(Denied):
        HOSTS.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com",
        "https://API.Example.com./v1?q=a@b#c",
        "https://api.example.com:443/",
        "https://docs.wiki.org/x",
        "https://b\u00fccher.wiki.org/",
        "api.example.com",
    ],
)
def test_a_listed_host_passes(url: str) -> None:
    assert HOSTS.check(url) == url


def test_private_hosts_other_schemes_and_ports_are_for_whoever_says_so() -> None:
    own = Hosts("inside.wiki.org", schemes=["http"], ports=[8080], private=True, resolve=resolve)
    assert own.addresses("http://inside.wiki.org:8080/") == ["10.0.0.7"]
    anywhere = Hosts(
        "*", resolve=lambda host: ["127.0.0.1"] if host == "2130706433" else ["1.1.1.1"]
    )
    assert anywhere.check("https://one.one/")
    with pytest.raises(Denied):
        anywhere.check("https://2130706433/")
    assert not is_public("no address")
