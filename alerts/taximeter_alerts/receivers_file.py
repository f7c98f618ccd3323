"""Receivers, the mail server, silences, digests and networks of alerts.yaml: nodes in, values out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from taximeter_alerts.amounts import parse_count, parse_moment, parse_time
from taximeter_alerts.rules import Channel, Digest, MailServer, Receiver, Silence
from taximeter_alerts.yaml_nodes import Nodes

_CHANNELS: Final = ("slack", "email", "webhook", "pagerduty", "teams", "apprise")
_FOR_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_SINCE_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_receivers(nodes: Nodes, node: yaml.Node | None) -> list[Receiver]:
    receivers: list[Receiver] = []
    for name, value in (nodes.mapping(node, None) if node is not None else {}).items():
        keys = nodes.mapping(value, _CHANNELS, f"receiver {name}: ")
        if isinstance(value, yaml.MappingNode) and len(keys) != 1:
            nodes.fault(value, f"write exactly one of: {', '.join(_CHANNELS)}")
        for channel, target in keys.items():
            receivers.append(_receiver(nodes, name, channel, target))
        nodes.context = ""
    return receivers


def _receiver(nodes: Nodes, name: str, channel: str, target: yaml.Node) -> Receiver:
    is_detailed = isinstance(target, yaml.MappingNode)
    match channel:
        case "email":
            return Receiver(name, "email", to=_addresses(nodes, target))
        case "slack" if is_detailed:
            keys = _all_of(nodes, target, ("token", "channel"), name)
            to = nodes.text(keys["channel"]) if "channel" in keys else ""
            if "channel" in keys and not re.fullmatch(r"[CGD][A-Z0-9]{2,}", to):
                nodes.fault(keys["channel"], "write the channel's id (C0123ABCD), not its name")
            token = nodes.secret(keys["token"]) if "token" in keys else None
            return Receiver(name, "slack_bot", token, (to,))
        case "webhook" if is_detailed:
            keys = nodes.mapping(target, ("url", "secret"), nodes.context)
            if "url" not in keys:
                nodes.fault(target, "key 'url' is missing")
            url = nodes.secret(keys["url"]) if "url" in keys else None
            key = nodes.secret(keys["secret"]) if "secret" in keys else None
            return Receiver(name, "webhook", url, signing_key=key)
    known: dict[str, Channel] = {
        "slack": "slack", "webhook": "webhook", "pagerduty": "pagerduty",
        "teams": "teams", "apprise": "apprise",
    }  # fmt: skip
    return Receiver(name, known[channel], nodes.secret(target))


def _all_of(
    nodes: Nodes, node: yaml.Node, wanted: tuple[str, ...], name: str
) -> dict[str, yaml.Node]:
    keys = nodes.mapping(node, wanted, f"receiver {name}: ")
    for key in wanted:
        if key not in keys:
            nodes.fault(node, f"key {key!r} is missing")
    return keys


def _addresses(nodes: Nodes, node: yaml.Node) -> tuple[str, ...]:
    addresses = nodes.texts(node)
    for address in addresses:
        if "@" not in address or any(c in address for c in "\r\n"):
            nodes.fault(node, f"not an email address: {address!r}")
    return addresses


def read_mail(nodes: Nodes, node: yaml.Node | None) -> MailServer:
    if node is None:
        return MailServer()
    allowed = ("host", "port", "from", "tls", "username", "password")
    keys = nodes.mapping(node, allowed, "email: ")
    mail = MailServer(
        host=nodes.text(keys["host"]) if "host" in keys else "127.0.0.1",
        port=nodes.value(keys.get("port"), parse_count, 25),
        sender=nodes.text(keys["from"]) if "from" in keys else MailServer().sender,
        tls=nodes.choice(keys.get("tls"), ("none", "starttls", "tls"), "none"),
        username=nodes.secret(keys["username"]) if "username" in keys else None,
        password=nodes.secret(keys["password"]) if "password" in keys else None,
    )
    nodes.context = ""
    return mail


def read_silences(
    nodes: Nodes, node: yaml.Node | None, labels: tuple[str, ...]
) -> tuple[Silence, ...]:
    """Return the silences; `labels` are what a matcher may name."""
    silences = []
    for item in nodes.sequence(node):
        allowed = ("match", "from", "until", "author", "comment")
        keys = nodes.mapping(item, allowed, "silence: ")
        for key in ("match", "until"):
            if key not in keys and isinstance(item, yaml.MappingNode):
                nodes.fault(item, f"key {key!r} is missing")
        match = nodes.mapping(keys.get("match"), labels, "silence: ", "label")
        silences.append(
            Silence(
                tuple(sorted((name, nodes.text(value)) for name, value in match.items())),
                nodes.value(keys.get("from"), parse_moment, _SINCE_EVER),
                nodes.value(keys.get("until"), parse_moment, _FOR_EVER),
                nodes.text(keys["author"]) if "author" in keys else "",
                nodes.text(keys["comment"]) if "comment" in keys else "",
            )
        )
        nodes.context = ""
    return tuple(silences)


def read_digests(
    nodes: Nodes, node: yaml.Node | None, receivers: Sequence[Receiver]
) -> tuple[Digest, ...]:
    digests: list[Digest] = []
    for item in nodes.sequence(node):
        keys = nodes.mapping(item, ("every", "at", "zone", "notify"), "digest: ")
        if "every" not in keys and isinstance(item, yaml.MappingNode):
            nodes.fault(item, "key 'every' is missing: day or week")
        notify = None
        if "notify" in keys:
            notify = _told(nodes, keys["notify"], receivers)
        digest = Digest(
            nodes.choice(keys.get("every"), ("day", "week"), "day"),
            nodes.value(keys.get("at"), parse_time, time(8)),
            read_zone(nodes, keys.get("zone")),
            notify,
        )
        if any(digest.id == other.id for other in digests):
            nodes.fault(item, "there is such a digest already")
        digests.append(digest)
        nodes.context = ""
    return tuple(digests)


def _told(nodes: Nodes, node: yaml.Node, receivers: Sequence[Receiver]) -> tuple[str, ...]:
    names = [receiver.name for receiver in receivers]
    items = [node] if isinstance(node, yaml.ScalarNode) else nodes.sequence(node)
    found = [nodes.known(item, names, "receiver") for item in items]
    for receiver in receivers:
        if receiver.name in found and receiver.channel == "pagerduty":
            nodes.fault(node, f"{receiver.name} pages somebody; a digest is for reading")
    return tuple(dict.fromkeys(name for name in found if name is not None))


def read_zone(nodes: Nodes, node: yaml.Node | None) -> str:
    """Return the name of a time zone, UTC without one."""
    if node is None:
        return "UTC"
    name = nodes.text(node)
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, OSError, ValueError):
        nodes.fault(node, f"unknown time zone {name!r}; write one as Europe/Berlin")
        return "UTC"


def read_networks(nodes: Nodes, node: yaml.Node | None) -> tuple[Network, ...]:
    if node is None:
        return ()
    items = [node] if isinstance(node, yaml.ScalarNode) else nodes.sequence(node)
    found = [nodes.value(item, _network, None) for item in items]
    return tuple(network for network in found if network is not None)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"not a network: {text!r} (write 10.1.0.0/16 or 127.0.0.1)") from None
