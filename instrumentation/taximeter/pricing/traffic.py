"""Rules of a price file about traffic: which is batch, how long it caches, whose cost counts.

A rule holds for a call when each of its `match` keys meets the call; the last such rule decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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

CACHE_TTLS: Final = ("5m", "30m", "1h", "12h")
"""How long a cache write lives: the first two at the price of short writes, the others of long ones."""


@dataclass(frozen=True, slots=True)
class TrafficRule:
    """One [[batch]], [[cache_ttl]] or [[reported]] entry."""

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

    def holds(self, call: Mapping[str, str | Sequence[str] | None]) -> bool:
        """Return whether the rule speaks of a call with these values; of several, any will do.

        >>> rule = TrafficRule("batch", "true", {"service_name": ("night*",)}, "prices.toml:1")
        >>> rule.holds({"service_name": "nightly-evals"}), rule.holds({})
        (True, False)
        """
        return all(
            any(
                fnmatchcase(value.lower(), pattern)
                for value in _values(call.get(key))
                for pattern in self.patterns(key) or ()
            )
            for key in self.match
        )


def decide(
    rules: Iterable[TrafficRule], kind: str, call: Mapping[str, str | Sequence[str] | None]
) -> str | None:
    """Return the value of the last rule of ``kind`` that holds; None where none does."""
    held = [rule.value for rule in rules if rule.kind == kind and rule.holds(call)]
    return held[-1] if held else None


def _values(said: str | Sequence[str] | None) -> Sequence[str]:
    return (said,) if isinstance(said, str) else said or ()


def _homes(names: Iterable[str]) -> set[str]:
    return {PROVIDER_ALIASES[name] for name in names if name in PROVIDER_ALIASES} | set(names)
