"""What `when` and `critical` of a rule say: a text such as `spike 3x` in, a Condition out."""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import Final

import yaml

from taximeter_alerts.amounts import parse_amount, parse_duration
from taximeter_alerts.rules.book import DEAREST, DROPS, RATES, SPIKES, WINDOWS_S, Condition
from taximeter_alerts.rules.budget_grammar import HOW
from taximeter_alerts.rules.yaml_nodes import Nodes
from taximeter_collector.metrics import METRICS

_WRITTEN: Final = {
    "spike": "spike or spike 3x",
    "drop": "drop or drop 50%",
    "above": "above $2 or above 5%",
    "below": "below 60%",
    "silent": "silent or silent 1h",
    "burning": "burning 99%",
    "budget": HOW,
}
"""How each kind is written."""


def kind_meant(text: str) -> str | None:
    """Return the kind of a condition that its first word most likely means.

    >>> kind_meant("spikes 2x"), kind_meant("budget: 50 per dya"), kind_meant("rises a lot")
    ('spike', 'budget', None)
    """
    first = text.split()[0].lower() if text.split() else ""
    close = difflib.get_close_matches(first, _WRITTEN, n=1, cutoff=0.7)
    return close[0] if close else None


def read_condition(nodes: Nodes, node: yaml.Node, watch: str | None) -> Condition | None:
    """Return when a rule breaches; None if that, or what it watches, cannot be read."""
    if not isinstance(node, yaml.ScalarNode):
        nodes.text(node)
        return None
    text = nodes.text(node)
    words, meant = text.split(), kind_meant(text)
    can_stand_alone = meant in ("spike", "drop", "silent")
    if (
        meant is None
        or words[0] != meant
        or len(words) not in ((1, 2) if can_stand_alone else (2,))
    ):
        ways = _WRITTEN[meant] if meant else ", ".join(_WRITTEN.values())
        nodes.fault(node, f"cannot read {text!r}; write {ways}")
        return None
    if watch is None:
        return None
    match meant:
        case "spike":
            return _spike(nodes, node, words, watch)
        case "drop":
            return _drop(nodes, node, words, watch)
        case "silent":
            return _silent(nodes, node, words, watch)
        case "burning":
            return _burning(nodes, node, words, watch)
    limit = nodes.value(node, lambda _: parse_amount(words[1], METRICS[watch].unit), 0.0)
    return Condition("above" if meant == "above" else "below", limit, text)


def _spike(nodes: Nodes, node: yaml.Node, words: list[str], watch: str) -> Condition | None:
    if watch not in (*SPIKES, DEAREST):
        nodes.fault(node, f"a spike of {watch!r} is not supported; write above or below")
        return None
    if len(words) == 1:
        ratio = 1.5 if watch.startswith("loop") else 3.0 if watch == DEAREST else 2.0
        return Condition("spike", ratio, "spike")
    try:
        ratio = float(parse_amount(words[1].removesuffix("x"), "1"))
    except ValueError:
        ratio = 0.0
    if ratio <= 1 or not words[1].endswith("x"):
        nodes.fault(node, f"cannot read {' '.join(words)!r}; write spike 2x (more than 1x)")
        return None
    return Condition("spike", ratio, " ".join(words))


def _drop(nodes: Nodes, node: yaml.Node, words: list[str], watch: str) -> Condition | None:
    if watch not in DROPS:
        nodes.fault(node, f"a drop of {watch!r} is not supported; write below, or silent")
        return None
    gone = 0.5
    if len(words) == 2:
        gone = nodes.value(node, lambda _: parse_amount(words[1], "ratio"), 0.5)
    if not 0 < gone < 1:
        nodes.fault(node, f"cannot read {' '.join(words)!r}; write drop 50%")
    return Condition("drop", gone, " ".join(words))


def _burning(nodes: Nodes, node: yaml.Node, words: list[str], watch: str) -> Condition | None:
    if watch not in RATES:
        nodes.fault(
            node, f"'burning' needs one of: {', '.join(RATES)}; of money it is a budget's level"
        )
        return None
    kept = nodes.value(node, lambda _: parse_amount(words[1], "ratio"), 0.99)
    if not 0.5 <= kept < 1:
        said = f"cannot read {' '.join(words)!r}; write burning 99%, the share that may not fail"
        nodes.fault(node, said)
    return Condition("burning", kept, " ".join(words))


def _silent(nodes: Nodes, node: yaml.Node, words: list[str], watch: str) -> Condition | None:
    if watch != "requests":
        nodes.fault(node, "'silent' needs watch: requests")
        return None
    if len(words) == 1:
        return Condition("silent", 0.0, "silent")
    day = timedelta(days=1)
    seconds = nodes.value(node, lambda _: parse_duration(words[1]), day).total_seconds()
    if int(seconds) not in WINDOWS_S:
        nodes.fault(node, "silent must last one of: 5m, 15m, 1h, 6h, 24h")
    return Condition("silent", seconds, " ".join(words))
