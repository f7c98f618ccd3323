"""Why spend changed between two periods: what was used and paid in, whole pico-USD by factor out. Pure.

Method, and what it can't tell: docs/metrics.md, "Why spend changed".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from math import factorial
from typing import Any, Final, Literal, get_args

from taximeter_collector.metrics import CALL_DIMENSIONS, Query, Where, request_conditions
from taximeter_collector.sql_files import read_sql

Factor = Literal[
    "requests",
    "calls_per_request",
    "model_mix",
    "prompt_tokens_per_call",
    "output_tokens_per_call",
    "cache_mix",
    "price",
    "other_charges",
]
FACTORS: Final[tuple[Factor, ...]] = get_args(Factor)
FACTOR_NAMES: Final[Mapping[Factor, str]] = {
    "requests": "requests",
    "calls_per_request": "calls per request",
    "model_mix": "model mix",
    "prompt_tokens_per_call": "prompt tokens per call",
    "output_tokens_per_call": "output tokens per call",
    "cache_mix": "cache mix",
    "price": "price",
    "other_charges": "other charges",
}
"""As people read them."""
_KINDS: Final = ("uncached", "cache_read", "cache_write", "output")
_PROMPT: Final = _KINDS[:3]


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What the priced calls of one model used and cost; tokens of calls whose cost has parts."""

    calls: int = 0
    uncached_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost_pico: int = 0
    uncached_pico: int = 0
    cache_read_pico: int = 0
    cache_write_pico: int = 0
    output_pico: int = 0


@dataclass(frozen=True, slots=True)
class PeriodUsage:
    """One period of one group: its requests and its models, the unpriced calls apart."""

    requests: int
    models: Mapping[str, ModelUsage]
    unpriced_calls: int = 0
    unpriced_tokens: int = 0

    @property
    def cost_pico(self) -> int:
        return sum(usage.cost_pico for usage in self.models.values())

    @property
    def calls(self) -> int:
        return sum(usage.calls for usage in self.models.values())


NOTHING: Final = PeriodUsage(0, {})


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A change of spend, cut into factors; the parts add up to the change to the pico-USD."""

    before: PeriodUsage
    after: PeriodUsage
    parts: Mapping[Factor, int]
    counts_calls: bool
    """Without requests in both periods `requests` stands for calls, and nothing is per request."""

    @property
    def change_pico(self) -> int:
        return self.after.cost_pico - self.before.cost_pico

    @property
    def main_factor(self) -> Factor | None:
        """The factor that moved spend most in the direction of the change, None if none did."""
        if not self.change_pico:
            return None
        sign = 1 if self.change_pico > 0 else -1
        largest = max(FACTORS, key=lambda factor: sign * self.parts[factor])
        return largest if sign * self.parts[largest] > 0 else None

    @property
    def models_added(self) -> list[str]:
        return sorted(_used(self.after) - _used(self.before))

    @property
    def models_gone(self) -> list[str]:
        return sorted(_used(self.before) - _used(self.after))


def decompose(before: PeriodUsage, after: PeriodUsage) -> Decomposition:
    """Return what each factor did to spend: the mean of its effect over all orders (Shapley).

    >>> one = ModelUsage(calls=10, output_tokens=100, output_pico=1000, cost_pico=1000)
    >>> two = ModelUsage(calls=20, output_tokens=200, output_pico=2000, cost_pico=2000)
    >>> found = decompose(PeriodUsage(5, {"m": one}), PeriodUsage(10, {"m": two}))
    >>> found.change_pico, found.parts["requests"], found.parts["price"]
    (1000, 1000, 0)
    """
    counts_calls = not (before.requests and after.requests)
    change = after.cost_pico - before.cost_pico
    parts = _whole(_shapley(*_states(before, after, counts_calls)), change)
    return Decomposition(before, after, parts, counts_calls)


def decompose_groups(
    before: Mapping[str | None, PeriodUsage], after: Mapping[str | None, PeriodUsage]
) -> dict[str | None, Decomposition]:
    """Return each group's own decomposition, the largest change first; changes add up to the total."""
    names = {*before, *after}
    found = {name: decompose(before.get(name, NOTHING), after.get(name, NOTHING)) for name in names}
    order = sorted(names, key=lambda n: (-abs(found[n].change_pico), n is None, n or ""))
    return {name: found[name] for name in order}


def usage_query(
    before_start: datetime,
    start: datetime,
    end: datetime,
    *,
    group_by: str | None = None,
    where: Where | None = None,
    before_end: datetime | None = None,
) -> Query:
    """Return the query of what ``[before_start, start)`` and ``[start, end)`` used, for `periods`.

    With ``before_end`` the first of them ends there, and what lies between is in neither. Raises
    ValueError for a dimension that calls or, as a filter, requests don't have.
    """
    if group_by is not None and group_by not in CALL_DIMENSIONS:
        raise ValueError(
            f"calls have no {group_by!r}; group by one of {', '.join(CALL_DIMENSIONS)}"
        )
    rows = request_conditions(where or {})
    params = {
        "before_start": before_start, "before_end": before_end or start, "start": start, "end": end,
        "group_by": group_by,
    }  # fmt: skip
    return Query(read_sql("decompose/usage").replace("{where}", rows.sql), params | rows.params)


def periods(
    rows: Iterable[Mapping[str, Any]],
) -> tuple[dict[str | None, PeriodUsage], dict[str | None, PeriodUsage]]:
    """Return the groups before and after, from the rows of `usage_query`."""
    kept = [field.name for field in fields(ModelUsage)]
    models: dict[tuple[bool, str | None], dict[str, ModelUsage]] = {}
    sums: dict[tuple[bool, str | None], list[int]] = {}
    for row in rows:
        key = (bool(row["is_after"]), row["group_name"])
        counted = sums.setdefault(key, [0, 0, 0])
        for i, name in enumerate(("requests", "unpriced_calls", "unpriced_tokens")):
            counted[i] += int(row[name] or 0)
        if row["model"] is not None:
            models.setdefault(key, {})[row["model"]] = ModelUsage(
                **{name: int(row[name]) for name in kept}
            )
    before: dict[str | None, PeriodUsage] = {}
    after: dict[str | None, PeriodUsage] = {}
    for (is_after, group), (requests, calls, tokens) in sums.items():
        found = models.get((is_after, group), {})
        (after if is_after else before)[group] = PeriodUsage(requests, found, calls, tokens)
    return before, after


def added_up(groups: Iterable[PeriodUsage]) -> PeriodUsage:
    """Return the period of all groups together."""
    all_groups = list(groups)
    models: dict[str, ModelUsage] = {}
    for group in all_groups:
        for name, usage in group.models.items():
            known = models.get(name, ModelUsage())
            models[name] = ModelUsage(
                **{f.name: getattr(known, f.name) + getattr(usage, f.name) for f in fields(usage)}
            )
    return PeriodUsage(
        sum(group.requests for group in all_groups),
        models,
        sum(group.unpriced_calls for group in all_groups),
        sum(group.unpriced_tokens for group in all_groups),
    )


def _used(period: PeriodUsage) -> set[str]:
    return {name for name, usage in period.models.items() if usage.calls}


@dataclass(frozen=True, slots=True)
class _State:
    """One period as the factors of a product; per model, in the order of both periods' models.

    cost = requests · calls/request · Σ share · (prompt · Σ kind share · price + output · price + other)
    """

    requests: float
    calls_per_request: float
    model_mix: Sequence[float | None]
    prompt_tokens_per_call: Sequence[float | None]
    output_tokens_per_call: Sequence[float | None]
    cache_mix: Sequence[Sequence[float] | None]
    price: Sequence[Sequence[float | None]]
    other_charges: Sequence[float | None]


def _states(
    before: PeriodUsage, after: PeriodUsage, counts_calls: bool
) -> tuple[Mapping[Factor, Any], Mapping[Factor, Any]]:
    names = sorted({*before.models, *after.models})
    old, new = (_state(period, names, counts_calls) for period in (before, after))
    pairs: list[tuple[dict[Factor, Any], _State, _State]] = [({}, old, new), ({}, new, old)]
    for filled, own, other in pairs:
        filled["requests"], filled["calls_per_request"] = own.requests, own.calls_per_request
        for factor in FACTORS[2:]:
            filled[factor] = _filled(getattr(own, factor), getattr(other, factor))
    return pairs[0][0], pairs[1][0]


def _filled(own: Any, other: Any) -> Any:
    """Return own values; what is unknown because nothing was used did not change: the other's."""
    if own is None or other is None:
        return own if own is not None else other if other is not None else 0.0
    if isinstance(own, (list, tuple)):
        return [_filled(a, b) for a, b in zip(own, other, strict=True)]
    return own


def _state(period: PeriodUsage, names: Sequence[str], counts_calls: bool) -> _State:
    calls = period.calls
    models = [period.models.get(name, ModelUsage()) for name in names]
    prompts = [sum(_tokens(usage, kind) for kind in _PROMPT) for usage in models]
    parts = [sum(_pico(u, kind) for kind in _KINDS if _tokens(u, kind)) for u in models]
    return _State(
        requests=calls if counts_calls else period.requests,
        calls_per_request=1.0 if counts_calls else calls / period.requests,
        model_mix=[usage.calls / calls if calls else None for usage in models],
        prompt_tokens_per_call=[_over(n, u.calls) for n, u in zip(prompts, models, strict=True)],
        output_tokens_per_call=[_over(u.output_tokens, u.calls) for u in models],
        cache_mix=[
            [_tokens(usage, kind) / number for kind in _PROMPT] if number else None
            for usage, number in zip(models, prompts, strict=True)
        ],
        price=[[_over(_pico(u, kind), _tokens(u, kind)) for kind in _KINDS] for u in models],
        other_charges=[
            _over(usage.cost_pico - sum_of_parts, usage.calls)
            for usage, sum_of_parts in zip(models, parts, strict=True)
        ],
    )


def _tokens(usage: ModelUsage, kind: str) -> int:
    return int(getattr(usage, f"{kind}_tokens"))


def _pico(usage: ModelUsage, kind: str) -> int:
    return int(getattr(usage, f"{kind}_pico"))


def _over(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def _cost(state: Mapping[Factor, Any]) -> float:
    total = 0.0
    for i, share in enumerate(state["model_mix"]):
        if not share:
            continue
        mix, price = state["cache_mix"][i] or (0.0, 0.0, 0.0), state["price"][i]
        prompt = sum(part * each for part, each in zip(mix, price[:3], strict=True))
        total += share * (
            state["prompt_tokens_per_call"][i] * prompt
            + state["output_tokens_per_call"][i] * price[3]
            + state["other_charges"][i]
        )
    return float(state["requests"] * state["calls_per_request"] * total)


def _shapley(old: Mapping[Factor, Any], new: Mapping[Factor, Any]) -> dict[Factor, float]:
    """Return the mean effect of turning each factor from old to new, over all orders to turn them."""
    number = len(FACTORS)
    costs = [
        _cost({f: (new if chosen >> i & 1 else old)[f] for i, f in enumerate(FACTORS)})
        for chosen in range(2**number)
    ]
    weight = [factorial(n) * factorial(number - n - 1) / factorial(number) for n in range(number)]
    return {
        factor: sum(
            weight[chosen.bit_count()] * (costs[chosen | 1 << i] - costs[chosen])
            for chosen in _without(i, number)
        )
        for i, factor in enumerate(FACTORS)
    }


def _without(i: int, number: int) -> Iterator[int]:
    return (chosen for chosen in range(2**number) if not chosen >> i & 1)


def _whole(parts: Mapping[Factor, float], change: int) -> dict[Factor, int]:
    """Return the parts rounded to whole pico-USD; the largest takes what rounding left over."""
    whole = {factor: round(part) for factor, part in parts.items()}
    largest = max(FACTORS, key=lambda factor: abs(whole[factor]))
    whole[largest] += change - sum(whole.values())
    return whole
