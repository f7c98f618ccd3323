"""alerts.yaml in, a RuleBook out; every fault with file, line, column and a suggestion.

YAML's traps are closed: scalars are read as the text that stands there, so `no`, `1:30` or a date
mean nothing special, and a key given twice is a fault.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from taximeter.secret import Secret
from taximeter_alerts.amounts import parse_amount, parse_count, parse_duration
from taximeter_alerts.rules import (
    RATES,
    SPIKES,
    WINDOWS_S,
    Condition,
    MailServer,
    Receiver,
    Rule,
    RuleBook,
    default_rules,
)
from taximeter_collector.metrics import METRICS

T = TypeVar("T")

_TOP_KEYS: Final = (
    "version", "every", "settle", "dashboard_url", "defaults", "email", "notify", "rules",
)  # fmt: skip
_RULE_KEYS: Final = (
    "name", "watch", "by", "where", "when", "over", "for", "keep_firing_for", "at_least",
    "severity", "sensitivity", "notify",
)  # fmt: skip
_NOT_YET: Final = ("drop", "silent", "budget", "burning")
_WHEN: Final = "spike, spike 3x, above 5%, above $2, below 60%"
_MOST_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where; lines and columns count from 1."""

    line: int
    column: int
    message: str


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
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise RulesError(str(file), [Fault(1, 1, "the file is larger than 1 MB")])
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise RulesError(str(file), [Fault(1, 1, f"cannot be read: {reason}")]) from error
    return parse_rules(text, str(file), environ)


def parse_rules(text: str, file: str, environ: Mapping[str, str]) -> RuleBook:
    """Return what this text says. Raises RulesError with all faults found."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise RulesError(file, [Fault(line, column, f"not valid YAML: {error.problem}")]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise RulesError(file, [Fault(1, 1, f"not valid YAML: {error}")]) from error
    reader = _Reader(environ)
    book = reader.read(root)
    if reader.faults:
        raise RulesError(file, reader.faults)
    return book


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown word.

    >>> did_you_mean("agent", ["agent_name", "model"])
    "; did you mean 'agent_name'?"
    """
    names = list(known)
    # A dimension's first word is often all that people write: agent, user, tool.
    words = {name.split("_")[0]: name for name in reversed(names)} | {n: n for n in names}
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {words[close[0]]!r}?" if close else f"; use one of: {', '.join(names)}"


@dataclass(slots=True)
class _Reader:
    """Walks the nodes; notes a fault and goes on, so that one run finds them all."""

    environ: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list)
    context: str = ""

    def read(self, root: yaml.Node | None) -> RuleBook:
        keys = self.mapping(root, _TOP_KEYS) if root is not None else {}
        if root is not None and "version" not in keys:
            self.fault(root, "the first line must say: version: 1")
        if "version" in keys and self.text(keys["version"]) != "1":
            self.fault(keys["version"], "this program reads version 1 of the format")
        receivers = self.receivers(keys.get("notify"))
        mail = self.mail(keys.get("email"))
        rules = self.rules(keys.get("rules"), {receiver.name for receiver in receivers})
        if self.choice(keys.get("defaults"), ("true", "false"), "true") == "true":
            own = {rule.name for rule in rules}
            rules = [*rules, *(rule for rule in default_rules() if rule.name not in own)]
        every = self.value(keys.get("every"), parse_duration, timedelta(seconds=15))
        if not timedelta(seconds=5) <= every <= timedelta(minutes=5):
            self.fault(keys["every"], "every must lie between 5s and 5m")
        settle = self.value(keys.get("settle"), parse_duration, timedelta(seconds=60))
        url = self.text(keys["dashboard_url"]) if "dashboard_url" in keys else None
        return RuleBook(tuple(rules), tuple(receivers), mail, every, settle, url)

    def rules(self, node: yaml.Node | None, receivers: set[str]) -> list[Rule]:
        rules: list[Rule] = []
        for item in self.sequence(node):
            keys = self.mapping(item, _RULE_KEYS, self.rule_name(item))
            rule = self.rule(item, keys, receivers)
            if rule is not None and any(rule.name == other.name for other in rules):
                self.fault(keys["name"], f"there are two rules named {rule.name!r}")
            elif rule is not None:
                rules.append(rule)
            self.context = ""
        return rules

    def rule_name(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if getattr(key, "value", None) == "name" and isinstance(value, yaml.ScalarNode):
                    return f"rule {value.value}: "
        return "rule without a name: "

    def rule(self, node: yaml.Node, keys: dict[str, yaml.Node], receivers: set[str]) -> Rule | None:
        for key in ("name", "watch", "when"):
            if key not in keys and isinstance(node, yaml.MappingNode):
                self.fault(node, f"key {key!r} is missing")
        if not {"name", "watch", "when"} <= keys.keys():
            return None
        watch = self.known(keys["watch"], METRICS, "metric")
        if watch is None:
            # Everything else can still be checked, so that one run finds all faults.
            self.dimensions(keys.get("by"), None)
            self.value(keys.get("for"), parse_duration, None)
            return None
        rule = Rule(
            name=self.text(keys["name"]),
            watch=watch,
            condition=self.condition(keys["when"], watch),
            by=self.dimensions(keys.get("by"), watch),
            where=self.where(keys.get("where"), watch),
            over_s=self.over(keys.get("over")),
            hold_for=self.value(keys.get("for"), parse_duration, None),
            keep_firing_for=self.value(
                keys.get("keep_firing_for"), parse_duration, timedelta(minutes=15)
            ),
            severity=self.choice(keys.get("severity"), ("info", "warning", "critical"), "warning"),
            sensitivity=self.choice(keys.get("sensitivity"), ("low", "normal", "high"), "normal"),
            notify=self.notify(keys.get("notify"), receivers),
        )
        if "over" in keys and rule.condition.kind == "spike":
            self.fault(keys["over"], "a spike picks its own window; leave 'over' out")
        if "sensitivity" in keys and rule.condition.kind != "spike":
            self.fault(keys["sensitivity"], "only a spike has a sensitivity")
        return self.at_least(keys.get("at_least"), rule)

    def condition(self, node: yaml.Node, watch: str) -> Condition:
        text = self.text(node)
        words = text.split()
        unit = METRICS[watch].unit
        nothing = Condition("above", float("inf"), text)
        if words[:1] == ["spike"] and len(words) <= 2:
            return self.spike(node, words, watch) or nothing
        if len(words) == 2 and words[0] in ("above", "below"):
            limit = self.value(node, lambda _: parse_amount(words[1], unit), 0.0)
            return Condition("above" if words[0] == "above" else "below", limit, text)
        if words and words[0] in _NOT_YET:
            self.fault(node, f"{words[0]!r} is not supported yet; use one of: {_WHEN}")
        else:
            self.fault(node, f"cannot read {text!r}; use one of: {_WHEN}")
        return nothing

    def spike(self, node: yaml.Node, words: list[str], watch: str) -> Condition | None:
        if watch not in SPIKES:
            self.fault(node, f"a spike of {watch!r} is not supported; use above or below")
            return None
        if len(words) == 1:
            return Condition("spike", 1.5 if watch.startswith("loop") else 2.0, "spike")
        times = words[1].removesuffix("x")
        try:
            ratio = float(parse_amount(times, "1"))
        except ValueError:
            ratio = 0.0
        if ratio <= 1 or not words[1].endswith("x"):
            self.fault(node, f"cannot read {' '.join(words)!r}; write spike 2x (more than 1x)")
            return None
        return Condition("spike", ratio, " ".join(words))

    def dimensions(self, node: yaml.Node | None, watch: str | None) -> tuple[str, ...]:
        allowed = METRICS[watch].dimensions if watch else METRICS["cost_usd"].dimensions
        items = [node] if isinstance(node, yaml.ScalarNode) else self.sequence(node)
        found = [self.known(item, allowed, "dimension") for item in items]
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def where(self, node: yaml.Node | None, watch: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if node is None:
            return ()
        keys = self.mapping(node, METRICS[watch].dimensions, self.context, "dimension")
        return tuple((name, self.texts(value)) for name, value in sorted(keys.items()))

    def over(self, node: yaml.Node | None) -> int:
        seconds = int(self.value(node, parse_duration, timedelta(minutes=15)).total_seconds())
        if seconds not in WINDOWS_S and node is not None:
            self.fault(node, "over must be one of: 5m, 15m, 1h, 6h, 24h")
        return seconds

    def notify(self, node: yaml.Node | None, receivers: set[str]) -> tuple[str, ...] | None:
        if node is None:
            return None
        items = [node] if isinstance(node, yaml.ScalarNode) else self.sequence(node)
        found = [self.known(item, sorted(receivers), "receiver") for item in items]
        return tuple(name for name in found if name is not None)

    def at_least(self, node: yaml.Node | None, rule: Rule) -> Rule:
        if node is None:
            return rule
        keys = self.mapping(node, ("requests", "errors", "impact"), self.context)
        if "requests" in keys:
            rule = replace(rule, min_requests=self.value(keys["requests"], parse_count, 1))
        if "errors" in keys:
            if rule.watch not in RATES:
                self.fault(keys["errors"], f"'errors' needs one of: {', '.join(RATES)}")
            rule = replace(rule, min_errors=self.value(keys["errors"], parse_count, 1))
        if "impact" in keys:
            if rule.condition.kind != "spike" or rule.is_rate:
                self.fault(keys["impact"], "'impact' needs a spike of a cost, loop or latency")
            impact = self.value(keys["impact"], lambda text: parse_amount(text, "USD"), 0.0)
            rule = replace(rule, min_impact_usd=impact)
        return rule

    def receivers(self, node: yaml.Node | None) -> list[Receiver]:
        receivers: list[Receiver] = []
        for name, value in (self.mapping(node, None) if node is not None else {}).items():
            keys = self.mapping(value, ("slack", "email"), f"receiver {name}: ")
            if isinstance(value, yaml.MappingNode) and len(keys) != 1:
                self.fault(value, "write exactly one of: slack, email")
            elif "slack" in keys:
                receivers.append(Receiver(name, slack=self.secret(keys["slack"])))
            elif "email" in keys:
                addresses = self.texts(keys["email"])
                for address in addresses:
                    if "@" not in address or any(c in address for c in "\r\n"):
                        self.fault(keys["email"], f"not an email address: {address!r}")
                receivers.append(Receiver(name, email=addresses))
            self.context = ""
        return receivers

    def mail(self, node: yaml.Node | None) -> MailServer:
        if node is None:
            return MailServer()
        allowed = ("host", "port", "from", "tls", "username", "password")
        keys = self.mapping(node, allowed, "email: ")
        mail = MailServer(
            host=self.text(keys["host"]) if "host" in keys else "127.0.0.1",
            port=self.value(keys.get("port"), parse_count, 25),
            sender=self.text(keys["from"]) if "from" in keys else MailServer().sender,
            tls=self.choice(keys.get("tls"), ("none", "starttls", "tls"), "none"),
            username=self.secret(keys["username"]) if "username" in keys else None,
            password=self.secret(keys["password"]) if "password" in keys else None,
        )
        self.context = ""
        return mail

    def secret(self, node: yaml.Node) -> Secret:
        """Return what env:NAME or file:/path refers to; a secret never stands in the file."""
        kind, _, name = self.text(node).partition(":")
        found = ""
        if kind == "env" and name:
            found = self.environ.get(name, "")
            if not found:
                self.fault(node, f"environment variable {name} is not set")
        elif kind == "file" and name:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found = Path(name).expanduser().read_text(encoding="utf-8").strip()
            if not found:
                self.fault(node, f"file {name} cannot be read or is empty")
        else:
            self.fault(node, "a secret is written as env:NAME or file:/path, never in the file")
        return Secret(found)

    def mapping(
        self,
        node: yaml.Node | None,
        allowed: Iterable[str] | None,
        context: str = "",
        noun: str = "key",
    ) -> dict[str, yaml.Node]:
        self.context = context
        if not isinstance(node, yaml.MappingNode):
            if node is not None:
                self.fault(node, "keys with values are expected here")
            return {}
        known = list(allowed) if allowed is not None else None
        keys: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text(key)
            if name in keys:
                self.fault(key, f"key {name!r} is given twice")
            elif known is not None and name not in known:
                self.fault(key, f"unknown {noun} {name!r}{did_you_mean(name, known)}")
            else:
                keys[name] = value
        return keys

    def sequence(self, node: yaml.Node | None) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fault(node, "a list is expected here")
            return []
        return list(node.value)

    def texts(self, node: yaml.Node) -> tuple[str, ...]:
        items = [node] if isinstance(node, yaml.ScalarNode) else self.sequence(node)
        return tuple(self.text(item) for item in items)

    def text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.fault(node, "a single value is expected here")
            return ""
        return str(node.value).strip()

    def known(self, node: yaml.Node, names: Iterable[str], noun: str) -> str | None:
        text = self.text(node)
        if text in names:
            return text
        self.fault(node, f"unknown {noun} {text!r}{did_you_mean(text, names)}")
        return None

    def choice(self, node: yaml.Node | None, allowed: tuple[str, ...], default: str) -> Any:
        if node is None:
            return default
        text = self.text(node)
        if text not in allowed:
            self.fault(node, f"{text!r} is not allowed; use one of: {', '.join(allowed)}")
            return default
        return text

    def value(self, node: yaml.Node | None, parse: Callable[[str], T], default: T) -> T:
        if node is None:
            return default
        try:
            return parse(self.text(node))
        except ValueError as error:
            self.fault(node, str(error))
            return default

    def fault(self, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        self.faults.append(Fault(mark.line + 1, mark.column + 1, f"{self.context}{message}"))
