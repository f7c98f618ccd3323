"""alerts.yaml in, a RuleBook out; every fault with file, line, column and a suggestion."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import yaml
from yaml.reader import ReaderError

from taximeter_alerts.amounts import parse_duration, say_count
from taximeter_alerts.rules.book import RuleBook, names_of
from taximeter_alerts.rules.defaults import OWN_RULES, default_rules
from taximeter_alerts.rules.receivers_file import (
    read_digests,
    read_mail,
    read_networks,
    read_receivers,
    read_silences,
)
from taximeter_alerts.rules.rule_grammar import read_rules
from taximeter_alerts.rules.yaml_nodes import Fault, Nodes, TooMuch

_TOP_KEYS: Final = (
    "version", "every", "settle", "group_wait", "repeat_interval", "dashboard_url", "defaults",
    "allow_networks", "email", "notify", "silences", "digest", "rules",
)  # fmt: skip
_MOST_BYTES: Final = 256_000
_TOO_LARGE: Final = Fault(1, 1, "the text is larger than 256 KB")


class RulesError(Exception):
    """An alerts.yaml that cannot be used; `str` is what to print, one fault a line."""

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        self.file = file
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line, fault.column)))
        super().__init__("\n".join(f"{file}:{f.line}:{f.column}: {f.message}" for f in self.faults))


def load_rules(file: Path | None, environ: Mapping[str, str] = os.environ) -> RuleBook:
    """Return the rules of a file, the default rules if there is none. Raises RulesError."""
    if file is None:
        return RuleBook(default_rules())
    return parse_rules(read_rules_text(file), str(file), environ)


def read_rules_text(file: Path) -> str:
    """Return the text of a file, with its line ends. Raises RulesError."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise RulesError(str(file), [_TOO_LARGE])
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise RulesError(str(file), [Fault(1, 1, f"cannot be read: {reason}")]) from error


def parse_rules(text: str, file: str, environ: Mapping[str, str]) -> RuleBook:
    """Return what this text says. Raises RulesError with all faults found."""
    if len(text.encode(errors="replace")) > _MOST_BYTES:
        raise RulesError(file, [_TOO_LARGE])
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = f"not valid YAML: {error.problem}{_way_out(error.problem or '')}"
        raise RulesError(file, [Fault(line, column, said)]) from error
    except ReaderError as error:
        before = text[: error.position].split("\n")
        said = f"not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        raise RulesError(file, [Fault(len(before), len(before[-1]) + 1, said)]) from error
    except RecursionError as error:
        raise RulesError(file, [Fault(1, 1, "not valid YAML: it is nested too deeply")]) from error
    nodes = Nodes(environ)
    with contextlib.suppress(TooMuch):
        book = _read(nodes, root)
    if nodes.faults:
        raise RulesError(file, nodes.faults)
    return book


def say_book(book: RuleBook) -> str:
    """Return what a file without faults holds, as `3 own rules, 9 default rules, 1 receiver`."""
    default = sum(rule.is_default for rule in book.rules)
    counts = [
        say_count(len(book.names) - default, "own rule"),
        say_count(default, "default rule"),
        say_count(len(book.receivers), "receiver"),
        *([say_count(len(book.digests), "digest")] if book.digests else ()),
        *([say_count(len(book.silences), "silence")] if book.silences else ()),
    ]
    return f"{', '.join(counts)}, no errors"


def _way_out(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return "; a text with ': ' in it stands in quotes"
    if r"'\t'" in problem:
        return "; indent with spaces, not tabs"
    return ""


def _read(nodes: Nodes, root: yaml.Node | None) -> RuleBook:
    keys = nodes.mapping(root, _TOP_KEYS) if root is not None else {}
    if root is not None and "version" not in keys:
        nodes.fault(root, "the first line must say: version: 1")
    if "version" in keys and nodes.text(keys["version"]) != "1":
        nodes.fault(keys["version"], "this program reads version 1 of the format")
    receivers = read_receivers(nodes, keys.get("notify"))
    if "digest" in keys and not receivers:
        nodes.fault(keys["digest"], "there is nobody to send it to: add a receiver under notify")
    mail = read_mail(nodes, keys.get("email"))
    rules = read_rules(nodes, keys.get("rules"), {receiver.name for receiver in receivers})
    if nodes.choice(keys.get("defaults"), ("true", "false"), "true") == "true":
        own = {rule.written_name for rule in rules}
        rules = [*rules, *(rule for rule in default_rules() if rule.name not in own)]
    return RuleBook(
        rules=tuple(rules),
        receivers=tuple(receivers),
        mail=mail,
        every=_between(nodes, keys, "every", "15s", "5s", "5m"),
        settle=_between(nodes, keys, "settle", "60s", "0s", "1h"),
        dashboard_url=nodes.text(keys["dashboard_url"]) if "dashboard_url" in keys else None,
        group_wait=_between(nodes, keys, "group_wait", "60s", "0s", "1h"),
        repeat_interval=_between(nodes, keys, "repeat_interval", "4h", "5m", "7d"),
        silences=read_silences(nodes, keys.get("silences"), names_of((*rules, *OWN_RULES))),
        digests=read_digests(nodes, keys.get("digest"), receivers),
        allow_networks=read_networks(nodes, keys.get("allow_networks")),
    )


def _between(
    nodes: Nodes, keys: Mapping[str, yaml.Node], key: str, default: str, least: str, most: str
) -> timedelta:
    found = nodes.value(keys.get(key), parse_duration, parse_duration(default))
    if not parse_duration(least) <= found <= parse_duration(most):
        nodes.fault(keys[key], f"must lie between {least} and {most}")
    return found
