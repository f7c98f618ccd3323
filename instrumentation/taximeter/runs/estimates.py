"""What a model call may use: its request in, bounds of tokens and money out.

A prompt is counted by the UTF-8 bytes of its texts: one token in two bytes at the most, one in
twelve at the least; a picture or file that is sent along by `MEDIA_TOKENS`. docs/guards.md says how
good that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from taximeter.guard import guarded
from taximeter.runs.call_cost import (
    Terms,
    dearest,
    price_book,
    region_of,
    states_cost,
    unit_prices,
)
from taximeter.runs.current import current_levels
from taximeter.runs.levels import Amount, Ask

FEWEST_BYTES: Final = 2
"""Of one token, in the upper bound …"""
MOST_BYTES: Final = 12
"""… and in the lower one."""
MEDIA_TOKENS: Final = 5_000
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_MEDIA: Final = frozenset({"data", "url", "image_url", "file_data"})
_MEDIA_BYTES: Final = 1_024
_REFERENCES: Final = ("previous_response_id", "conversation", "prompt")
_BUDGETS: Final = ("cost_usd", "tokens", "input_tokens", "output_tokens")


@dataclass(slots=True)
class _Seen:
    """What a walk through a request's body has found."""

    bytes: int = 0
    media: int = 0
    prompt_price: str = "input"
    """The dearest price that the prompt can have."""

    def writes_cache(self, control: Any) -> None:
        """See a cache breakpoint."""
        is_long = isinstance(control, Mapping) and control.get("ttl") == "1h"
        if self.prompt_price != "cache_write_long":
            self.prompt_price = "cache_write_long" if is_long else "cache_write_short"


@guarded(default=None)
def ask_of(body: Any, terms: Terms, *, has_answer: bool = True) -> Ask | None:
    """Return what the call may use; None where no limit asks for it."""
    asked = [
        level.limits
        for level in current_levels()
        if any(getattr(level.limits, name) is not None for name in _BUDGETS)
    ]
    if not asked or not isinstance(body, Mapping):
        return None
    output = _output_limit(body) if has_answer else 0
    return _ask(body, terms, output, any(limits.cost_usd is not None for limits in asked))


def _ask(body: Mapping[str, Any], terms: Terms, output: int | None, in_money: bool) -> Ask:
    seen = _Seen()
    _walk(body, seen)
    least = seen.bytes // MOST_BYTES
    most = -(-seen.bytes // FEWEST_BYTES) + seen.media * MEDIA_TOKENS
    if any(body.get(name) for name in _REFERENCES):
        most += max((level.longest_call for level in current_levels()), default=0)
    if not in_money:
        return Ask(Amount(least), Amount(most), output)
    return _priced(body, terms, seen, least, most, output)


def _priced(
    body: Mapping[str, Any], terms: Terms, seen: _Seen, least: int, most: int, output: int | None
) -> Ask:
    """Return the ask in money too: by the price book, else by the provider's dearest price."""
    is_fast, geo = body.get("speed") == "fast", body.get("inference_geo")
    terms = terms._replace(tier="fast" if is_fast else terms.tier, region=region_of(geo))
    prices = unit_prices(terms, most) or {}
    plain, answer = prices.get("input"), prices.get("output")
    if plain is None or (answer is None and output != 0):
        dear = dearest(terms.provider, terms.model)
        problem = "" if states_cost(terms) else _problem(terms)
        prompt = Amount(most, 0, most * dear.input_pico)
        return Ask(Amount(least), prompt, output, dear.output_pico, problem)
    written = prices.get(seen.prompt_price) or plain
    cached = (unit_prices(terms, least) or prices).get("cache_read") or 0
    return Ask(
        Amount(least, 0, least * cached), Amount(most, 0, most * written), output, answer or 0
    )


def _problem(terms: Terms) -> str:
    if wrong := price_book().wrong:
        return f"no model has a price while your price file is wrong: {wrong}"
    return (
        f"model {terms.model!r} of {terms.provider!r} has no price; give it one in your price file "
        "or say Limits(unpriced='bound')"
    )


def _output_limit(body: Mapping[str, Any]) -> int | None:
    """Return the most tokens of all answers that the request allows."""
    limits = [body.get(name) for name in _LIMITS]
    limit = next((n for n in limits if isinstance(n, int) and n > 0), None)
    choices = body.get("n")
    return limit * (choices if isinstance(choices, int) else 1) if limit is not None else None


def _walk(value: Any, seen: _Seen) -> None:
    """Add up the texts of a request's body, and the pictures and files in it."""
    if isinstance(value, str):
        seen.bytes += len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key == "cache_control":
                seen.writes_cache(item)
            elif key in _MEDIA and isinstance(item, str) and len(item) > _MEDIA_BYTES:
                seen.media += 1
            else:
                seen.bytes += len(key)
                _walk(item, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            _walk(item, seen)
    elif value is not None:
        seen.bytes += 8
        if callable(dump := getattr(value, "model_dump", None)):
            _walk(dump(mode="json"), seen)
