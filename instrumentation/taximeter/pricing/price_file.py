"""Price files in TOML → entries. A wrong file fails with file, line, key and what is allowed.

Format: docs/prices.md.
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from taximeter.pricing.bands import DAY_S, ENDLESS, FIELDS
from taximeter.pricing.matching import PROVIDER_ALIASES
from taximeter.pricing.overrides import Alias, Override, PriceFile
from taximeter.pricing.toml_entries import (
    Entry,
    PriceFileError,
    head_entry,
    list_entries,
    read_document,
    table_entry,
)
from taximeter.pricing.traffic import CACHE_TTLS, REPORTED_USES, TRAFFIC_KEYS, TrafficRule

TIERS: Final = ("standard", "batch", "flex", "priority", "fast", "ultrafast", "offpeak",
                "scale", "provisioned_throughput", "reserved")  # fmt: skip
_REGION: Final = re.compile(r"geo:[a-z]{2,}|regional|residency")
_CLOCK: Final = re.compile(r"(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)")
_PER: Final = dict.fromkeys(FIELDS, 10**6) | {"web_search": 10**3}
"""Prices in files are USD for so many units."""
_KEY_OF: Final = {
    "cache_write": "cache_write_short",
    # As the semantics conventions and provider SDKs order the words.
    "cache_read_audio": "audio_cache_read",
    "input_audio": "audio_input",
    "output_audio": "audio_output",
    "input_image": "image_input",
    "output_image": "image_output",
} | {name: name for name in FIELDS}
_LARGEST_USD: Final = 1_000_000
_SCOPE: Final = ("provider", "model", "tier", "region_class", "from", "to", "weekdays",
                 "time_of_day", "match", "gt_prompt", "le_prompt",
                 "label", "source", "checked")  # fmt: skip
_ENTRIES: Final[dict[str, tuple[str, ...]]] = {
    "price": (*_SCOPE, *_KEY_OF, "discount"),
    "multiplier": (*_SCOPE, "factor"),
    "alias": ("provider", "request_model", "model", "match", "label"),
    "batch": ("match", "batch", "label"),
    "cache_ttl": ("match", "ttl", "label"),
    "reported": ("match", "use", "label", "source", "checked"),
}
_FALLBACK: Final = "allow_reported_fallback"
_ASSUME: Final = "assume_tiers_before_verification"


def read_price_file(path: Path) -> PriceFile:
    """Return what the file says. Raises PriceFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PriceFileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PriceFileError(f"{path}: not UTF-8: save it as UTF-8 text") from None
    return parse_prices(text, str(path))


def parse_prices(text: str, name: str) -> PriceFile:
    """Return a TOML text's meaning. Raises PriceFileError."""
    document = read_document(text, name)
    head = head_entry(document, name, text)
    head.known((*_ENTRIES, _FALLBACK, "history"))
    found = {
        kind: list_entries(document, kind, name, text, allowed)
        for kind, allowed in _ENTRIES.items()
    }
    history = table_entry(document, "history", name, text)
    history.known((_ASSUME,))
    rules = [rule for kind, read in _TRAFFIC.items() for rule in map(read, found[kind])]
    fallback = None
    if head.flag(_FALLBACK, False):
        fallback = TrafficRule("reported", "fallback", {}, f"{name}:{head.lines[_FALLBACK]}")
    return PriceFile(
        cards=tuple(card for entry in found["price"] for card in _cards(entry)),
        multipliers=tuple(rule for entry in found["multiplier"] for rule in _multipliers(entry)),
        aliases=tuple(_alias(entry) for entry in found["alias"]),
        traffic=tuple(rules),
        assume_tiers=history.flag(_ASSUME, True),
        fallback=fallback,
    )


def _scopes(entry: Entry) -> list[dict[str, Any]]:
    """Return what the entry speaks of, once for each of its times of day."""
    provider, tier = entry.text("provider", "*") or "*", entry.choice("tier", TIERS)
    region = entry.text("region_class")
    if region is not None and not _REGION.fullmatch(region):
        entry.fail("region_class", f"region_class is geo:us, regional or residency, not {region!r}")
    start, end = entry.instant("from", -ENDLESS), entry.instant("to", ENDLESS)
    if start >= end:
        entry.fail("to", "to must be after from; it is the first day that is out")
    above, up_to = entry.count("gt_prompt", -1), entry.count("le_prompt", ENDLESS)
    if above >= up_to:
        entry.fail("le_prompt", "le_prompt must be above gt_prompt; it is the longest that is in")
    servers = entry.match(("server_address",)).get("server_address", ())
    labels = (entry.text("label"), entry.text("source"))
    scope = {
        "provider": PROVIDER_ALIASES.get(provider.lower(), provider.lower()),
        "model": (entry.text("model", "*") or "*").lower(),
        "tier": tier,
        "region_class": region,
        "servers": servers,
        "valid_from": start,
        "valid_to": end,
        "dow_mask": _weekdays(entry),
        "gt_prompt": above,
        "le_prompt": up_to,
        "source": " ".join((entry.where, *(label for label in labels if label))),
    }
    return [scope | {"tod_from": since, "tod_to": until} for since, until in _clock(entry)]


def _weekdays(entry: Entry) -> int:
    days = entry.values.get("weekdays", [1, 2, 3, 4, 5, 6, 7])
    ok = isinstance(days, list) and days and all(type(d) is int and 1 <= d <= 7 for d in days)
    if not ok:
        entry.fail("weekdays", f"weekdays are numbers from 1 (Monday) to 7, not {days!r}")
    return sum(1 << (day - 1) for day in set(days))


def _clock(entry: Entry) -> list[tuple[int, int]]:
    """Return the times of day as [from, to) in seconds; one that passes midnight as two."""
    stated = entry.values.get("time_of_day", ["00:00-24:00"])
    windows: list[tuple[int, int]] = []
    for text in stated if isinstance(stated, list) else [stated]:
        match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
        hours = [int(part) for part in match.groups()] if match else [99] * 4
        since, until = hours[0] * 3600 + hours[1] * 60, hours[2] * 3600 + hours[3] * 60
        if max(hours[1], hours[3]) > 59 or since >= DAY_S or until > DAY_S or since == until:
            said = f'time_of_day is UTC such as "01:00-04:00" or a list of that, not {text!r}'
            entry.fail("time_of_day", said)
        crosses = since > until
        parts = [(since, DAY_S), (0, until)] if crosses else [(since, until)]
        windows += [part for part in parts if part[0] < part[1]]
    windows.sort()
    if not windows:
        entry.fail("time_of_day", 'time_of_day needs a time such as "01:00-04:00"')
    if any(one[1] > other[0] for one, other in pairwise(windows)):
        entry.fail("time_of_day", "the times of time_of_day overlap")
    return windows


def _cards(entry: Entry) -> list[Override]:
    scopes = _scopes(entry)
    prices: dict[str, int] = {}
    for key, field in _KEY_OF.items():
        if key in entry:
            if field in prices:
                entry.fail(key, f"{key} is given twice, also under its other name")
            prices[field] = _pico(entry, key)
    if not prices and "discount" not in entry:
        entry.fail("", f"give a price ({', '.join(FIELDS)}) or a discount")
    if prices and not any(key in entry for key in ("provider", "model", "match")):
        entry.fail("", "a price needs a provider, a model or match.server_address")
    discount = entry.decimal("discount") if "discount" in entry else Decimal(0)
    if not 0 <= discount < 1:
        entry.fail("discount", f"discount must be from 0 to below 1, not {discount}")
    return [Override(prices=prices, factor=1 - discount, **scope) for scope in scopes]


def _multipliers(entry: Entry) -> list[Override]:
    if "factor" not in entry:
        entry.fail("", "factor is missing")
    factor = entry.decimal("factor")
    if not 0 <= factor <= 1000:
        entry.fail("factor", f"factor must be from 0 to 1000, not {factor}")
    return [Override(prices={}, factor=factor, **scope) for scope in _scopes(entry)]


def _alias(entry: Entry) -> Alias:
    provider = (entry.text("provider", "*") or "*").lower()
    for key in ("request_model", "model"):
        if entry.text(key) is None:
            entry.fail("", f"{key} is missing")
    return Alias(
        provider=PROVIDER_ALIASES.get(provider, provider),
        request_model=entry.values["request_model"].strip().lower(),
        model=entry.values["model"].strip(),
        servers=entry.match(("server_address",)).get("server_address", ()),
    )


def _batch(entry: Entry) -> TrafficRule:
    match = entry.match(TRAFFIC_KEYS)
    if not match or "batch" not in entry:
        entry.fail("batch", 'give match.service_name = "…" (or another match) and batch = true')
    value = "true" if entry.flag("batch", True) else "false"
    return TrafficRule("batch", value, match, entry.where)


def _cache_ttl(entry: Entry) -> TrafficRule:
    match, ttl = entry.match(TRAFFIC_KEYS), entry.choice("ttl", CACHE_TTLS)
    if not match or ttl is None:
        said = f'give match.service_name = "…" (or another match) and ttl, one of {", ".join(CACHE_TTLS)}'
        entry.fail("ttl", said)
    return TrafficRule("cache_ttl", ttl, match, entry.where)


def _reported(entry: Entry) -> TrafficRule:
    use = entry.choice("use", REPORTED_USES)
    if use is None:
        entry.fail("use", f"use is missing; use {', '.join(REPORTED_USES)}")
    return TrafficRule("reported", use, entry.match(TRAFFIC_KEYS), entry.where)


_TRAFFIC: Final = {"batch": _batch, "cache_ttl": _cache_ttl, "reported": _reported}


def _pico(entry: Entry, key: str) -> int:
    usd = entry.decimal(key)
    pico = usd * 10**12 / _PER[_KEY_OF[key]]
    if usd < 0 or pico != pico.to_integral_value():
        said = f"must be at least 0 with at most 6 decimals, not {entry.values[key]!r}"
        entry.fail(key, f"{key} {said}")
    if usd > _LARGEST_USD:
        entry.fail(key, f"{key} is in USD per million tokens; {usd} is beyond any price")
    return int(pico)


__all__ = ["TIERS", "PriceFileError", "parse_prices", "read_price_file"]
