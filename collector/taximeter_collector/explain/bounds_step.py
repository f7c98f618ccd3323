"""What a call of unknown output cost at least and at most, with the arithmetic. Pure.

The rules are those of ``sql/derive/30_price.sql``: what is known at its price, what is open at the
lowest and at the highest price that it can have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taximeter_collector.explain.evidence import Evidence
from taximeter_collector.explain.proof import Check, Column, Step, Table, Value, shown, usd, worst

_WRITES: Final = ("cache_write_short", "cache_write_long")
_OUTPUTS: Final = ("output", "audio_output", "image_output")
_OTHERS: Final = {
    "audio_input": "audio_input_tokens", "audio_cache_read": "audio_cache_read_tokens",
    "audio_output": "audio_output_tokens", "image_input": "image_input_tokens",
    "image_output": "image_output_tokens", "web_search": "web_searches",
}  # fmt: skip
Prices = Mapping[str, int | None]
_Shown = tuple[str, int | None, int | None]
"""Name, tokens, pico-USD a token."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the call's tokens, each count at the price that it has at least and at most."""

    name: str
    least: int | None
    most: int | None
    low: int | None
    high: int | None

    def least_pico(self) -> int | None:
        return _times(self.least, self.low)

    def most_pico(self) -> int | None:
        return _times(self.most, self.high)


def bounds_step(evidence: Evidence, prices: Prices) -> Step | None:
    """Return the step; None where the cost is known, or nothing of it is. ``prices``: pico-USD."""
    call = evidence.call or {}
    low, high = call["cost_lower_bound_pico"], call["cost_upper_bound_pico"]
    if low is None and high is None:
        return None
    prompt = _prompt(call, prices)
    parts = [*(prompt or ()), _output(call, prices)]
    least = [part.least_pico() for part in prompt or ()]
    ours_low = (0 if None in least else sum(filter(None, least))) + (parts[-1].least_pico() or 0)
    tables = [_table("At least", [(p.name, p.least, p.low) for p in parts], low)]
    checks = [_same("The lower parts add up to the stored lower bound", ours_low, low)]
    if high is not None:
        most = [part.most_pico() for part in parts]
        ours_high = sum(cost or 0 for cost in most) if prompt and None not in most else None
        tables.append(_table("At most", [(p.name, p.most, p.high) for p in parts], high))
        checks.append(_same("The upper parts add up to the stored upper bound", ours_high, high))
    return Step(
        "bounds", "Bounds", _says(call, low, high), worst(["note", *(c.verdict for c in checks)]),
        tables=tables, checks=checks,
    )  # fmt: skip


def _prompt(call: Mapping[str, Any], prices: Prices) -> list[_Part] | None:
    open_prompt = call["unclassified_input_tokens"]
    if open_prompt is None:
        return None
    parts = [_at(name, call[f"{leaf}_tokens"], prices[name])
             for name, leaf in (("input", "uncached_input"), ("cache_read", "cache_read"))]  # fmt: skip
    parts.append(
        _Part("prompt, cached share unknown", open_prompt, open_prompt,
              _lowest(prices, ("input", "cache_read")), _highest(prices, ("input", *_WRITES)))
    )  # fmt: skip
    if call["cache_write_tokens"] and call["cache_write_short_tokens"] is None:
        written = call["cache_write_tokens"]
        parts.append(
            _Part("cache_write, lifetime unknown", written, written,
                  _lowest(prices, _WRITES), _highest(prices, _WRITES))
        )  # fmt: skip
    else:
        parts += [_at(name, call[f"{name}_tokens"], prices[name]) for name in _WRITES]
    return parts + [_at(name, call[column], prices[name]) for name, column in _OTHERS.items()]


def _output(call: Mapping[str, Any], prices: Prices) -> _Part:
    return _Part(
        "output", call["output_tokens_lower_bound"] or 0, call["output_tokens_upper_bound"],
        prices["output"], None if prices["output"] is None else _highest(prices, _OUTPUTS),
    )  # fmt: skip


def _says(call: Mapping[str, Any], low: int | None, high: int | None) -> str:
    came, allowed = call["output_tokens_lower_bound"], call["output_tokens_upper_bound"]
    known = "the prompt" if call["unclassified_input_tokens"] is not None else ""
    output = f"{came:,} output tokens that had come" if came else ""
    least = f"{' and the '.join(filter(None, (known, output))) or 'what is known'}"
    says = f"It cost at least {shown(low, 'pico_usd')}, for {least}"
    if high is not None:
        return (
            f"{says}, and at most {usd(high)}, with all {allowed:,} output tokens it was allowed."
        )
    reason = "the request set no limit of output" if allowed is None else "the prompt is unknown"
    return f"{says}; how much at most is unknown: {reason}."


def _table(title: str, parts: Sequence[_Shown], total: int | None) -> Table:
    rows: list[Sequence[Value]] = [
        [name, tokens, shown(price, "pico_usd_per_token"), _times(tokens, price)]
        for name, tokens, price in parts
        if tokens
    ]
    rows.append(["total", None, None, total])
    columns = (Column("Part"), Column("Tokens", "count"), Column("Per million"),
               Column(title, "pico_usd"))  # fmt: skip
    return Table(columns, rows)


def _at(name: str, tokens: int | None, price: int | None) -> _Part:
    return _Part(name, tokens or 0, tokens or 0, price, price)


def _times(tokens: int | None, price: int | None) -> int | None:
    if tokens == 0:
        return 0
    return None if tokens is None or price is None else int(tokens) * price


def _lowest(prices: Prices, kinds: Sequence[str]) -> int | None:
    return min((p for kind in kinds if (p := prices[kind]) is not None), default=None)


def _highest(prices: Prices, kinds: Sequence[str]) -> int | None:
    return max((p for kind in kinds if (p := prices[kind]) is not None), default=None)


def _same(claim: str, ours: int | None, stored: int | None) -> Check:
    if ours == stored:
        return Check(claim, "ok", shown(ours, "pico_usd"))
    return Check(claim, "failed", f"{shown(ours, 'pico_usd')}, stored {shown(stored, 'pico_usd')}")
