"""Which entry of the price list a call falls under, and the names by which price files speak of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from taximeter.pricing import matching


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which price list entry a call falls under."""

    provider: str
    model: str
    """The id in the price list, or the name of an override's card."""
    context: str
    """``standard``, ``batch``, ``flex`` …; with ``|geo:us`` where a region is surcharged."""
    match_quality: str
    """``exact``, ``prefix`` (the list matched a longer name) or ``override``."""
    server_address: str | None = None
    """Where a price file speaks of this server."""
    spelled: str = ""
    """The emitter's name for the model, where a price file speaks of that and not of the list's."""
    key: str = field(init=False, compare=False, repr=False)
    """One text per set of bands."""

    def __post_init__(self) -> None:
        parts = (self.provider, self.model, self.context, self.server_address or "", self.spelled)
        object.__setattr__(self, "key", "|".join(parts))


def names_of(model_id: str, model: str, provider: str) -> tuple[str, ...]:
    """Return every name under which a price file may speak of the model."""
    spelled = tuple(matching.spellings(model, provider))
    return (
        model_id.lower(),
        *spelled,
        *map(matching.core_name, spelled),
        *map(matching.without_vendor, spelled),
    )
