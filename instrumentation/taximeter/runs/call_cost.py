"""A finished call in the host's process in, its cost out: the collector's rules on what a span says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from opentelemetry.trace import Span

from taximeter import lifecycle, semconv
from taximeter.guard import guarded, logger
from taximeter.pricing import FIELDS, Catalog, PriceFileError, Resolution, load_catalog
from taximeter.pricing.catalog import Dearest
from taximeter.usage import Usage

_KEYS: Final = {
    "agent_name": semconv.AGENT_NAME,
    "tenant": semconv.TENANT,
    "user_id": semconv.USER_ID,
    "server_address": semconv.SERVER_ADDRESS,
    "tag": semconv.TAGS,
}
_ANTHROPIC_SDK: Final = "com.anthropic.sdk."
_STATED: Final = ("always", "fallback")
_NO_REGION: Final = ("global", "not_available")
"""What Anthropic says where a call was not pinned to a region."""
_WRONG_FILE: Final = (
    "Your price file is wrong, so this program prices no model call until it starts again with a"
    " right one: cost_usd stays 0, and Limits(cost_usd=…) counts each call by the dearest shipped"
    " price of its provider, or ends the run where unpriced='refuse'. What is wrong: %s"
)


class Terms(NamedTuple):
    """What the SDK's hook knows of a call."""

    provider: str
    model: str | None
    tier: str | None = None
    batch: bool = False
    region: str | None = None
    server_address: str | None = None


@guarded(default=None)
def cost_pico(
    span: Span, usage: Usage, raw: Mapping[str, Any], terms: Terms, agent: str | None = None
) -> int | None:
    """Return pico-USD; None, counted as unpriced, where no price is known.

    ``agent``: whose call it is, for a span that does not say it.
    [[batch]] and [[reported]] of the price files decide as they do in the collector; the only
    stated cost that is known here is one inside the usage object (OpenRouter's ``cost``).
    """
    prices = price_book().prices
    if prices is None:
        return None
    is_batch = _decide(prices, "batch", span, terms, agent)
    terms = terms if is_batch is None else terms._replace(batch=is_batch == "true")
    entry, stated = _entry(prices, terms), raw.get("cost")
    cost = prices.total_pico(usage, entry, _now_s()) if entry else None
    if isinstance(stated, int | float) and 0 < stated <= 1e6:
        use = _decide(prices, "reported", span, terms, agent)
        if use == "always" or (use == "fallback" and cost is None):
            return round(stated * 10**12)
    return cost


def _decide(
    prices: Catalog, kind: str, span: Span | None, terms: Terms, agent: str | None = None
) -> str | None:
    """Return what the price files' rules of a kind say of a call; None where none holds."""
    return prices.decide(kind, call_values(span, terms, agent)) if prices.rules[kind] else None


def _now_s() -> int:
    return lifecycle.now_ns() // 10**9


@guarded(default=None)
def unit_prices(terms: Terms, prompt_tokens: int) -> dict[str, int | None] | None:
    """Return pico-USD per unit by `FIELDS` as of now, for so long a prompt; None without a price."""
    prices = price_book().prices
    entry = _entry(prices, terms) if prices else None
    for band in prices.bands(entry) if prices and entry else ():
        if band.holds_at(_now_s(), prompt_tokens):
            return dict(zip(FIELDS, band.prices, strict=True))
    return None


def _entry(prices: Catalog, terms: Terms) -> Resolution | None:
    return prices.resolve(
        terms.provider,
        terms.model,
        tier=terms.tier or "standard",
        batch=terms.batch,
        region_class=terms.region,
        server_address=terms.server_address,
    )


def stored_model(terms: Terms, answered: str | None) -> tuple[str | None, str | None]:
    """Return provider and model as the store will name them, for a call that ``answered`` answers.

    As in sql/derive/30_price.sql: the one that has a price, the answer's first.
    """
    prices = price_book().prices
    names = [_plain_name(name) for name in (answered, terms.model) if name]
    if prices is None or not names:
        return terms.provider, next(iter(names), None)
    for name in names:
        if entry := _entry(prices, terms._replace(model=name)):
            return entry.provider.partition(">")[0], name
    return prices.provider_of(terms.provider, names[0]) or terms.provider, names[0]


def _plain_name(model: str) -> str:
    """Return a model's name without the mark of a long context, as it is stored."""
    return model.removesuffix("[1m]")


def bound_pico(usage: Usage, terms: Terms) -> int:
    """Return what a call without a price may have cost: by the provider's dearest price."""
    dear = dearest(terms.provider, terms.model)
    prompt, answer = usage.prompt_tokens or 0, usage.answer_tokens or 0
    return prompt * dear.input_pico + answer * dear.output_pico


@lru_cache(maxsize=256)
def dearest(provider: str, model: str | None) -> Dearest:
    """Return the highest prices of the provider's list; of all lists where it has none.

    Of the shipped lists where the user's price file is wrong: a budget must hold all the same.
    """
    return (price_book().prices or load_catalog()).dearest(provider, model)


@guarded(default=False)
def states_cost(terms: Terms) -> bool:
    """Return whether the provider's usage object will say what the call has cost, and that counts."""
    prices = price_book().prices
    return prices is not None and _decide(prices, "reported", None, terms) in _STATED


def region_of(geo: Any) -> str | None:
    """Return the region class of Anthropic's ``inference_geo``; None where it pins nothing."""
    is_pinned = isinstance(geo, str) and geo and geo not in _NO_REGION
    return f"geo:{geo}" if is_pinned else None


def call_values(
    span: Span | None, terms: Terms, agent: str | None
) -> dict[str, str | tuple[str, ...] | None]:
    """Return what the ``match`` keys of a rule are held against."""
    said: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    resource = getattr(getattr(span, "resource", None), "attributes", None) or {}
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None) or semconv.SCOPE
    service = _text(resource.get("service.name"))
    values: dict[str, str | tuple[str, ...] | None] = {
        name: _texts(said.get(key)) for name, key in _KEYS.items()
    }
    return values | {
        "service_name": service,
        "environment": _text(
            resource.get("deployment.environment.name", resource.get("deployment.environment"))
        ),
        "agent_name": values["agent_name"] or agent or service,
        "server_address": terms.server_address or values["server_address"],
        "provider": terms.provider,
        "model": tuple(filter(None, (terms.model, _text(said.get(semconv.REQUEST_MODEL))))),
        "dialect": "anthropic_sdk" if scope.startswith(_ANTHROPIC_SDK) else "taximeter",
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> str | tuple[str, ...] | None:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else _text(value)


class PriceBook(NamedTuple):
    """The price list of this process."""

    prices: Catalog | None
    """None while the user's file is wrong: by the shipped list alone a cost would be wrong."""
    wrong: str = ""
    """What is wrong with the file."""


@lru_cache(maxsize=1)
def price_book() -> PriceBook:
    """Read the price list at the first call: it costs a program nothing that makes none."""
    file = os.environ.get("TAXIMETER_PRICES_FILE")
    try:
        return PriceBook(load_catalog(Path(file) if file else None))
    except PriceFileError as error:
        _say_wrong(str(error))
        return PriceBook(None, str(error))


_said: Final[set[str]] = set()


def _say_wrong(error: str) -> None:
    """Say it once: threads that make their first calls together each read the file."""
    if error not in _said:
        _said.add(error)
        logger.warning(_WRONG_FILE, error)
