"""Receivers, the mail server, silences, digests and networks of alerts.yaml: nodes in, values out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, time
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from taximeter_alerts.amounts import parse_count, parse_moment, parse_time
from taximeter_alerts.rules.book import Channel, Digest, MailServer, Receiver, Silence
from taximeter_alerts.rules.yaml_nodes import Nodes
from taximeter_collector.metrics import DIMENSIONS

_CHANNELS: Final = ("slack", "email", "webhook", "pagerduty", "teams", "apprise")
_SILENCE: Final = "{match: {agent_name: batch}, until: 2026-12-27T06:00Z}"
_FOR_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_SINCE_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_receivers(nodes: Nodes, node: yaml.Node | None) -> list[Receiver]:
    receivers: list[Receiver] = []
    for name, value in (nodes.mapping(node, None) if node is not None else {}).items():
        example = "{slack: env:SLACK_WEBHOOK_URL}"
        before = len(nodes.faults)
        keys = nodes.mapping(value, _CHANNELS, f"receiver {name}: ", "channel", example)
        if len(keys) != 1 and len(nodes.faults) == before:
            nodes.fault(value, f"write exactly one of: {', '.join(_CHANNELS)}")
        found = [_receiver(nodes, name, channel, target) for channel, target in keys.items()]
        # A receiver with a fault is one all the same: who names it is not at fault.
        receivers += found[:1] or [Receiver(name, "webhook")]
        nodes.context = ""
    return receivers


def _receiver(nodes: Nodes, name: str, channel: str, target: yaml.Node) -> Receiver:
    is_detailed = isinstance(target, yaml.MappingNode)
    match channel:
        case "email":
            return Receiver(name, "email", to=_addresses(nodes, target))
        case "slack" if is_detailed:
            keys = nodes.mapping(target, ("token", "channel"))
            nodes.missing(target, keys, "token", "channel")
            to = nodes.text(keys["channel"]) if "channel" in keys else ""
            if "channel" in keys and not re.fullmatch(r"[CGD][A-Z0-9]{2,}", to):
                nodes.fault(keys["channel"], "write the channel's id (C0123ABCD), not its name")
            token = nodes.secret(keys["token"]) if "token" in keys else None
            return Receiver(name, "slack_bot", token, (to,))
        case "webhook" if is_detailed:
            keys = nodes.mapping(target, ("url", "secret"))
            nodes.missing(target, keys, "url")
            url = nodes.secret(keys["url"]) if "url" in keys else None
            key = nodes.secret(keys["secret"]) if "secret" in keys else None
            return Receiver(name, "webhook", url, signing_key=key)
    known: dict[str, Channel] = {
        "slack": "slack", "webhook": "webhook", "pagerduty": "pagerduty",
        "teams": "teams", "apprise": "apprise",
    }  # fmt: skip
    return Receiver(name, known[channel], nodes.secret(target))


def _addresses(nodes: Nodes, node: yaml.Node) -> tuple[str, ...]:
    items = nodes.one_or_more(node)
    if not items and isinstance(node, yaml.SequenceNode):
        nodes.fault(node, "name at least one address")
    return tuple(nodes.value(item, _address, "") for item in items)


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise ValueError(f"not an email address: {text!r} (write me@example.org)")
    return text


def _port(text: str) -> int:
    port = parse_count(text)
    if not 0 < port < 65_536:
        raise ValueError(f"not a port: {text!r} (write 587)")
    return port


def read_mail(nodes: Nodes, node: yaml.Node | None) -> MailServer:
    if node is None:
        return MailServer()
    allowed = ("host", "port", "from", "tls", "username", "password")
    keys = nodes.mapping(node, allowed, "email: ")
    mail = MailServer(
        host=nodes.text(keys["host"]) if "host" in keys else "127.0.0.1",
        port=nodes.value(keys.get("port"), _port, 25),
        sender=nodes.text(keys["from"]) if "from" in keys else MailServer().sender,
        tls=nodes.choice(keys.get("tls"), ("none", "starttls", "tls"), "none"),
        username=nodes.secret(keys["username"]) if "username" in keys else None,
        password=nodes.secret(keys["password"]) if "password" in keys else None,
    )
    nodes.context = ""
    return mail


def read_silences(
    nodes: Nodes, node: yaml.Node | None, rules: Collection[str]
) -> tuple[Silence, ...]:
    """Return the silences; `rules` are those that one may name."""
    silences = []
    for item in nodes.sequence(node):
        allowed = ("match", "from", "until", "author", "comment")
        keys = nodes.mapping(item, allowed, "silence: ", example=_SILENCE)
        nodes.missing(item, keys, "match", "until")
        match = nodes.mapping(keys.get("match"), ("rule", *DIMENSIONS), noun="label")
        if "rule" in match:
            nodes.known(match["rule"], rules, "rule")
        if "match" in keys and not keys["match"].value:
            nodes.fault(keys["match"], "say what it silences, as {agent_name: batch}")
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
        before = len(nodes.faults)
        allowed = ("every", "at", "zone", "notify")
        keys = nodes.mapping(item, allowed, "digest: ", example="{every: day}")
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
        is_good = len(nodes.faults) == before
        if is_good and any(digest.id == other.id for other in digests):
            nodes.fault(item, "there is such a digest already")
        digests += [digest] if is_good else []
        nodes.context = ""
    return tuple(digests)


def _told(nodes: Nodes, node: yaml.Node, receivers: Sequence[Receiver]) -> tuple[str, ...]:
    names = [receiver.name for receiver in receivers]
    items = nodes.one_or_more(node)
    found = [nodes.known(item, names, "receiver") for item in items]
    if not items and isinstance(node, yaml.SequenceNode):
        nodes.fault(node, "name at least one receiver")
    for receiver in receivers:
        if receiver.name in found and receiver.channel == "pagerduty":
            nodes.fault(
                node, f"{receiver.name} pages somebody; a digest is for reading: name another one"
            )
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
    found = [nodes.value(item, _network, None) for item in nodes.one_or_more(node)]
    return tuple(network for network in found if network is not None)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"not a network: {text!r} (write 10.1.0.0/16 or 127.0.0.1)") from None
