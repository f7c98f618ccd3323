"""One cell's gap → its causes, exactly. Pure.

    gap = provider − ours = timing + untracked + quantity + price + not split

Tokens that differ are valued at our unit price, so what is left of the money is price. All sums
are integers (pico-USD); the parts add up to the gap whatever the unit prices are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from taximeter_collector.reconcile.rows import OUTPUT, PROMPT

_NEXT_OF: Final = {
    "input": "cache_read",
    "cache_read": "input",
    "cache_write_short": "cache_write_long",
    "cache_write_long": "cache_write_short",
    "audio_input": "audio_cache_read",
    "audio_cache_read": "audio_input",
    "audio_output": "output",
    "image_output": "output",
}
"""The kind under which a count most often stands by mistake."""
PARTS: Final = ("untracked", "quantity", "price", "timing", "not_split")


@dataclass(frozen=True, slots=True)
class Side:
    """What one side counted in a cell."""

    tokens: Mapping[str, int] | None = None
    """By kind of unit; None = not told."""
    requests: int | None = None
    cost_pico: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """The causes of one cell's gap; every amount is pico-USD."""

    gap: int
    untracked: int = 0
    quantity: int = 0
    price: int | None = 0
    """None where the export tells no cost."""
    timing: int = 0
    not_split: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Part → why it is that part; `not_split` → what the export lacks."""
    tokens: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Part → tokens by kind."""


def split_gap(
    theirs: Side,
    ours: Side,
    moved: Side,
    unit_prices: Mapping[str, int],
    doubtful_calls: int = 0,
) -> Gap:
    """Return the gap of a cell and its parts.

    ``moved`` is what timing adds to ours (negative: takes away). ``doubtful_calls`` of ours have no
    usage or one that contradicts itself.

    >>> theirs = Side({"input": 1500, "output": 300}, 3, 2_000)
    >>> ours = Side({"input": 1000, "output": 200}, 2, 1_400)
    >>> gap = split_gap(theirs, ours, Side({}, 0, 0), {"input": 1, "output": 2})
    >>> gap.gap, gap.untracked, gap.price
    (600, 700, -100)
    """
    timing = moved.cost_pico or 0
    our_cost = (ours.cost_pico or 0) + timing
    our_calls = (ours.requests or 0) + (moved.requests or 0)
    if theirs.tokens is None:
        return _by_cost(theirs, our_cost, our_calls, timing)
    held = _added(ours.tokens or {}, moved.tokens or {})
    lack = {
        name: theirs.tokens.get(name, 0) - held.get(name, 0)
        for name in theirs.tokens.keys() | held.keys()
    }
    lack = {name: count for name, count in sorted(lack.items()) if count}
    missing = None if theirs.requests is None else theirs.requests - our_calls
    shares, reasons = _shares(theirs.tokens, held, our_calls, lack, missing, doubtful_calls)
    return _valued(theirs, our_cost, timing, lack, shares, reasons, unit_prices)


def _by_cost(theirs: Side, our_cost: int, our_calls: int, timing: int) -> Gap:
    rest = (theirs.cost_pico or 0) - our_cost
    gap = rest + timing
    if our_calls == 0 and rest:
        return Gap(gap, untracked=rest, timing=timing, reasons={"untracked": "no call is stored"})
    reason = "the export tells no tokens: untracked, quantity and price can't be told apart"
    return Gap(gap, timing=timing, not_split=rest, reasons={"not_split": reason} if rest else {})


def _valued(
    theirs: Side,
    our_cost: int,
    timing: int,
    lack: Mapping[str, int],
    shares: Mapping[str, Mapping[str, int]],
    reasons: dict[str, str],
    unit_prices: Mapping[str, int],
) -> Gap:
    without_price = [name for name in lack if name not in unit_prices]
    if theirs.cost_pico is None:
        rest = None
        gap = timing + sum(unit_prices.get(name, 0) * count for name, count in lack.items())
        reasons["price"] = "the export tells no cost: the gap is at our prices"
        if without_price:
            reasons["not_split"] = (
                f"{', '.join(without_price)} has no price of ours: not in the gap"
            )
    else:
        rest = theirs.cost_pico - our_cost
        gap = timing + rest
    if without_price and rest is not None:
        if shares.keys() == {"untracked"}:
            return Gap(gap, rest, timing=timing, reasons=reasons, tokens=shares)
        reasons["not_split"] = f"{', '.join(without_price)} has no unit price to value it at"
        return Gap(gap, timing=timing, not_split=rest, price=0, reasons=reasons, tokens=shares)
    worth = {
        part: sum(unit_prices.get(name, 0) * count for name, count in tokens.items())
        for part, tokens in shares.items()
    }
    price = None if rest is None else rest - sum(worth.values())
    return Gap(gap, price=price, timing=timing, reasons=reasons, tokens=shares, **worth)


def _shares(
    theirs: Mapping[str, int],
    held: Mapping[str, int],
    our_calls: int,
    lack: Mapping[str, int],
    missing: int | None,
    doubtful_calls: int,
) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return the tokens that differ by part, and the reason of each part."""
    if not lack:
        return {}, {}
    if our_calls == 0 and not any(held.values()):
        return {"untracked": dict(lack)}, {"untracked": "no call is stored"}
    if not any(theirs.values()) and not _counts_requests(missing, our_calls):
        return {"untracked": dict(lack)}, {"untracked": "only we have these calls"}
    if missing == 0:
        return {"quantity": dict(lack)}, {"quantity": "the same number of calls, other tokens"}
    sign = 1 if (missing if missing is not None else sum(lack.values())) > 0 else -1
    shifted, rest = _without_shifts(lack, sign)
    part, reason = _part_of(rest, held, missing, sign, doubtful_calls)
    shares = {"quantity": shifted}
    shares[part] = _added(shares.get(part, {}), rest)
    reasons = {"quantity": "tokens under another kind"} if shifted else {}
    if rest:
        reasons[part] = reason
    return {name: tokens for name, tokens in shares.items() if tokens}, reasons


def _counts_requests(missing: int | None, our_calls: int) -> bool:
    """Return whether the provider counts requests in the cell though no tokens."""
    return missing is not None and missing + our_calls > 0


def _part_of(
    rest: Mapping[str, int],
    held: Mapping[str, int],
    missing: int | None,
    sign: int,
    doubtful_calls: int,
) -> tuple[str, str]:
    """Return which part the tokens are that no shift explains, and why."""
    prompt = any(rest.get(name) for name in PROMPT)
    output = any(rest.get(name) for name in OUTPUT)
    talks = any(held.get(name) for name in OUTPUT)
    if not prompt or (talks and not output):
        return "quantity", "a call has a prompt and an answer: one of the two does not differ"
    if sign > 0 and doubtful_calls:
        return "not_split", (
            f"{doubtful_calls} of our calls have no sound usage, and others may be untracked"
        )
    if missing is None:
        if sign > 0:
            return "untracked", "our calls carry the provider's own counts, so others are missing"
        return "quantity", "we count more than the provider"
    side = "they" if missing > 0 else "only we"
    return "untracked", f"{side} have {abs(missing)} more call{'' if abs(missing) == 1 else 's'}"


def _without_shifts(lack: Mapping[str, int], sign: int) -> tuple[dict[str, int], dict[str, int]]:
    """Split into tokens that only stand under another kind, and the others.

    Calls that one side lacks differ in one direction. What differs in the other has to stand under
    another kind of the same group: its neighbour first, then the one that differs most.

    >>> _without_shifts({"cache_write_long": 400, "cache_write_short": -400, "output": 9}, 1)
    ({'cache_write_short': -400, 'cache_write_long': 400}, {'output': 9})
    """
    shifted: dict[str, int] = {}
    rest: dict[str, int] = dict(lack)
    for group in (PROMPT, OUTPUT):
        for name in group:
            owed = -lack.get(name, 0)
            if owed * sign <= 0:
                continue
            shifted[name], rest[name] = lack[name], 0
            for other in sorted(
                group, key=lambda one: (one != _NEXT_OF.get(name), -abs(rest.get(one, 0)))
            ):
                if rest.get(other, 0) * sign > 0 and owed:
                    taken = min(abs(owed), abs(rest[other])) * sign
                    shifted[other] = shifted.get(other, 0) + taken
                    rest[other], owed = rest[other] - taken, owed - taken
    return shifted, {name: count for name, count in rest.items() if count}


def _added(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in left.keys() | right.keys()}
