"""Rules of a price file about traffic: which of it is batch, whose cost counts.

A rule holds for a call when each of its `match` keys meets the call; the last such rule decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from taximeter.pricing.matching import PROVIDER_ALIASES

TRAFFIC_KEYS: Final = (
    "service_name",
    "environment",
    "agent_name",
    "tenant",
    "user_id",
    "tag",
    "provider",
    "model",
    "server_address",
    "dialect",
)
"""What a rule may match on: columns of `calls`; ``tag`` is any of its tags, ``model`` either name."""
REPORTED_USES: Final = ("always", "fallback", "never")
"""A cost that the emitter states: wins, stands in where no price is known, is only kept beside."""


@dataclass(frozen=True, slots=True)
class TrafficRule:
    """One [[batch]] or [[reported]] entry."""

    kind: str
    value: str
    match: Mapping[str, tuple[str, ...]]
    """Lower-case patterns by key; any of a key's patterns will do."""
    source: str

    def patterns(self, key: str) -> tuple[str, ...] | None:
        """Return what the call's ``key`` must meet; None where the rule does not ask."""
        stated = self.match.get(key)
        if stated is None or key != "provider":
            return stated
        also = (name for name, home in PROVIDER_ALIASES.items() if home in _homes(stated))
        return (*stated, *_homes(stated), *also)

    def holds(self, call: Mapping[str, str | None]) -> bool:
        """Return whether the rule speaks of a call with these values.

        >>> rule = TrafficRule("batch", "true", {"service_name": ("night*",)}, "prices.toml:1")
        >>> rule.holds({"service_name": "nightly-evals"}), rule.holds({})
        (True, False)
        """
        return all(
            any(fnmatchcase((call.get(key) or "").lower(), p) for p in self.patterns(key) or ())
            for key in self.match
        )


def decide(rules: Iterable[TrafficRule], kind: str, call: Mapping[str, str | None]) -> str | None:
    """Return the value of the last rule of ``kind`` that holds; None where none does."""
    held = [rule.value for rule in rules if rule.kind == kind and rule.holds(call)]
    return held[-1] if held else None


def _homes(names: Iterable[str]) -> set[str]:
    return {PROVIDER_ALIASES[name] for name in names if name in PROVIDER_ALIASES} | set(names)
