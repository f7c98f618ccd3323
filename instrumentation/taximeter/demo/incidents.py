"""What goes wrong in the demo's history, where it lies, and what each moment is like because of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from taximeter.demo.rhythm import Office
from taximeter.demo.world import GPT_DEAR, GPT_MINI, Service

Kind = Literal[
    "cache_broken",
    "runaway_loop",
    "price_switch",
    "provider_outage",
    "retry_storm",
    "runaway_research",
]
STILL_GOING_ON: Final = timedelta(minutes=45)


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that goes wrong, from when to when, and what a person would call it."""

    kind: Kind
    start: datetime
    end: datetime
    title: str

    def is_on(self, at: datetime) -> bool:
        """Return whether the incident is going on at this time."""
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request of one service meets at one moment."""

    version: str
    is_cache_broken: bool = False
    is_looping: bool = False
    is_model_down: bool = False
    is_throttled: bool = False
    reviewer_model: str = GPT_MINI
    traffic: float = 1.0


def place_incidents(office: Office, days: float) -> list[Incident]:
    """Return the incidents of a history that ends now; a short history has them closer together."""
    near = min(1.0, days / 14)

    def place(
        kind: Kind, days_ago: float, hour: int, minute: int, hours: float, title: str
    ) -> Incident:
        if days >= 12:
            start = office.workday(days_ago, hour, minute)
        else:
            start = office.now - timedelta(days=days_ago * near)
        return Incident(kind, start, start + timedelta(hours=hours * max(near, 0.1)), title)

    return [
        place("cache_broken", 9, 10, 20, 25, "support-desk 3.8.1 breaks the prompt cache"),
        place("runaway_loop", 6, 13, 40, 2.5, "code-assistant repeats run_tests for ever"),
        place("price_switch", 5, 9, 30, 54, f"code-reviewer moves to {GPT_DEAR}"),
        place("provider_outage", 2, 14, 5, 1.5, "Anthropic overloaded (529, 503)"),
        place("retry_storm", 1, 10, 45, 2.5, "OpenAI rate limits and the retries they cause"),
        Incident(
            "runaway_research",
            office.now - STILL_GOING_ON * max(near, 0.2),
            office.now + STILL_GOING_ON,
            "deep-research 2.5.0 searches the same thing again and again (going on now)",
        ),
    ]


def conditions_at(service: Service, at: datetime, incidents: Sequence[Incident]) -> Conditions:
    """Return what a request of this service meets at this time."""
    by_kind = {incident.kind: incident for incident in incidents}

    def is_on(kind: Kind) -> bool:
        return kind in by_kind and by_kind[kind].is_on(at)

    conditions = Conditions(
        _version(service, at, by_kind),
        is_model_down=is_on("provider_outage"),
        is_throttled=is_on("retry_storm"),
    )
    if service == "support-desk":
        return replace(conditions, is_cache_broken=is_on("cache_broken"))
    if service == "code-assistant":
        model = GPT_DEAR if is_on("price_switch") else GPT_MINI
        return replace(conditions, is_looping=is_on("runaway_loop"), reviewer_model=model)
    if service == "deep-research" and is_on("runaway_research"):
        return replace(conditions, is_looping=True, traffic=3.0)
    return conditions


def _version(service: Service, at: datetime, by_kind: dict[Kind, Incident]) -> str:
    """Return the version deployed at this time: an incident's deploy, and the fix after it."""
    deploys: dict[Service, tuple[Kind, str, str, str]] = {
        "support-desk": ("cache_broken", "3.8.0", "3.8.1", "3.8.2"),
        "code-assistant": ("price_switch", "1.12.3", "1.13.0", "1.13.1"),
        "deep-research": ("runaway_research", "2.4.2", "2.5.0", "2.5.1"),
        "nightly-digest": ("provider_outage", "0.9.4", "0.9.4", "0.9.4"),
    }
    kind, before, during, after = deploys[service]
    incident = by_kind.get(kind)
    if incident is None or at < incident.start:
        return before
    return during if at < incident.end else after
