"""Price files in TOML: entries that replace, scale or name prices inside a box.

Format: docs/prices.md. A wrong file fails with file, entry and key.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from taximeter.pricing.bands import ENDLESS, FIELDS, Band

_PER: Final = dict.fromkeys(FIELDS, 10**6) | {"web_search": 10**3}
"""Prices in files are USD for so many units."""
_KEY_OF: Final = {"cache_write": "cache_write_short"} | {name: name for name in FIELDS}
_SCOPE: Final = ("provider", "model", "tier", "region_class", "from", "to", "weekdays", "match",
                 "gt_prompt", "label", "source", "checked")  # fmt: skip
_ENTRIES: Final[dict[str, tuple[str, ...]]] = {
    "price": (*_SCOPE, *_KEY_OF, "discount"),
    "multiplier": (*_SCOPE, "factor"),
    "alias": ("provider", "request_model", "model", "label"),
    "batch": ("match", "batch"),
}


class PriceFileError(ValueError):
    """A price file can't be used; the message names file, entry and key."""


@dataclass(frozen=True, slots=True)
class Override:
    """One [[price]] or [[multiplier]] entry."""

    prices: Mapping[str, int]
    """pico-USD per unit by field; empty where only a factor is given."""
    factor: Decimal = Decimal(1)
    provider: str = "*"
    model: str = "*"
    tier: str | None = None
    """None: a card holds for ``standard``, a factor for every tier."""
    region_class: str | None = None
    server_address: str | None = None
    valid_from: int = -ENDLESS
    valid_to: int = ENDLESS
    dow_mask: int = 127
    gt_prompt: int = -1
    source: str = ""

    def fits(self, provider: str, names: tuple[str, ...], server_address: str | None) -> bool:
        """Return whether the entry speaks of one of the model's ``names`` at ``provider``."""
        if self.server_address is not None and self.server_address != server_address:
            return False
        return fnmatchcase(provider, self.provider) and any(
            fnmatchcase(name, self.model) for name in names
        )

    def apply(self, bands: list[Band]) -> list[Band]:
        """Return ``bands`` with this entry's values inside its box, split at its edges."""
        result: list[Band] = []
        for band in bands:
            inside, outside = _cut(band, self)
            result += outside
            if inside is not None:
                result.append(self._change(inside))
        return result

    def _change(self, band: Band) -> Band:
        prices = [
            self.prices.get(name, None if price is None else _scaled(price, self.factor))
            for name, price in zip(FIELDS, band.prices, strict=True)
        ]
        return replace(band, prices=tuple(prices), source=self.source, quality="exact")


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What one file says."""

    cards: tuple[Override, ...] = ()
    multipliers: tuple[Override, ...] = ()
    aliases: tuple[tuple[str, str, str], ...] = ()
    """(provider, request model, model)."""
    batch_services: tuple[str, ...] = ()
    assume_tiers: bool = True


def _scaled(price: int, factor: Decimal) -> int:
    return int((price * factor).to_integral_value())


def _cut(band: Band, box: Override) -> tuple[Band | None, list[Band]]:
    """Return the part of ``band`` inside ``box``, and the parts outside."""
    outside: list[Band] = []
    start, end = max(band.valid_from, box.valid_from), min(band.valid_to, box.valid_to)
    if start >= end:
        return None, [band]
    if band.valid_from < start:
        outside.append(replace(band, valid_to=start))
    if end < band.valid_to:
        outside.append(replace(band, valid_from=end))
    band = replace(band, valid_from=start, valid_to=end)
    mask = band.dow_mask & box.dow_mask
    if mask == 0:
        return None, [*outside, band]
    if mask != band.dow_mask:
        outside.append(replace(band, dow_mask=band.dow_mask & ~box.dow_mask))
    band = replace(band, dow_mask=mask)
    above = max(band.gt_prompt, box.gt_prompt)
    if above >= band.le_prompt:
        return None, [*outside, band]
    if above > band.gt_prompt:
        outside.append(replace(band, le_prompt=above))
    return replace(band, gt_prompt=above), outside


def read_price_file(path: Path, name: str | None = None) -> PriceFile:
    """Return what the file says. Raises PriceFileError."""
    name = name or str(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PriceFileError(f"{name}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise PriceFileError(f"{name}: not TOML: {error}") from None
    return parse_prices(document, name)


def parse_prices(document: Mapping[str, Any], name: str) -> PriceFile:
    """Return a parsed TOML document's meaning. Raises PriceFileError."""
    _known(document, (*_ENTRIES, "history"), name)
    entries = {kind: _entries(document, kind, name) for kind in _ENTRIES}
    history = document.get("history", {})
    _known(history, ("assume_tiers_before_verification",), f"{name}: [history]")
    return PriceFile(
        cards=tuple(_card(entry, where) for where, entry in entries["price"]),
        multipliers=tuple(_multiplier(entry, where) for where, entry in entries["multiplier"]),
        aliases=tuple(_alias(entry, where) for where, entry in entries["alias"]),
        batch_services=tuple(
            str(entry["match"]["service_name"])
            for _, entry in entries["batch"]
            if entry.get("batch") is True and "service_name" in entry.get("match", {})
        ),
        assume_tiers=history.get("assume_tiers_before_verification", True) is True,
    )


def _entries(document: Mapping[str, Any], kind: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    found = document.get(kind, [])
    if not isinstance(found, list):
        raise PriceFileError(f"{name}: {kind} must be written as [[{kind}]]")
    result = []
    for number, entry in enumerate(found, 1):
        where = f"{name}: [[{kind}]] number {number}"
        _known(entry, _ENTRIES[kind], where)
        result.append((where, entry))
    return result


def _known(entry: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; use {', '.join(allowed)}"
            raise PriceFileError(f"{where}: unknown key {key!r}{hint}")


def _scope(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    match = entry.get("match", {})
    weekdays = entry.get("weekdays")
    mask = 127 if weekdays is None else sum(1 << (_weekday(day, where) - 1) for day in weekdays)
    return {
        "provider": str(entry.get("provider", "*")),
        "model": str(entry.get("model", "*")).lower(),
        "tier": entry.get("tier"),
        "region_class": entry.get("region_class"),
        "server_address": match.get("server_address"),
        "valid_from": _instant(entry.get("from"), -ENDLESS, where),
        "valid_to": _instant(entry.get("to"), ENDLESS, where),
        "dow_mask": mask,
        "gt_prompt": int(entry.get("gt_prompt", -1)),
        "source": " ".join(
            str(part) for part in (where, entry.get("label"), entry.get("source")) if part
        ),
    }


def _card(entry: Mapping[str, Any], where: str) -> Override:
    prices = {
        _KEY_OF[key]: _pico(entry[key], _PER[_KEY_OF[key]], f"{where}: {key}")
        for key in _KEY_OF
        if key in entry
    }
    discount = _decimal(entry.get("discount", "0"), f"{where}: discount")
    if not prices and "discount" not in entry:
        raise PriceFileError(f"{where}: give a price ({', '.join(_KEY_OF)}) or a discount")
    if not 0 <= discount < 1:
        raise PriceFileError(f"{where}: discount must be from 0 to below 1, not {discount}")
    return Override(prices=prices, factor=1 - discount, **_scope(entry, where))


def _multiplier(entry: Mapping[str, Any], where: str) -> Override:
    if "factor" not in entry:
        raise PriceFileError(f"{where}: factor is missing")
    factor = _decimal(entry["factor"], f"{where}: factor")
    return Override(prices={}, factor=factor, **_scope(entry, where))


def _alias(entry: Mapping[str, Any], where: str) -> tuple[str, str, str]:
    for key in ("request_model", "model"):
        if key not in entry:
            raise PriceFileError(f"{where}: {key} is missing")
    return str(entry.get("provider", "*")), str(entry["request_model"]), str(entry["model"])


def _decimal(value: Any, where: str) -> Decimal:
    try:
        if isinstance(value, bool):
            raise InvalidOperation
        return Decimal(str(value))
    except InvalidOperation:
        raise PriceFileError(f'{where} must be a number such as "0.25", not {value!r}') from None


def _pico(value: Any, per: int, where: str) -> int:
    pico = _decimal(value, where) * 10**12 / per
    if pico < 0 or pico != pico.to_integral_value():
        raise PriceFileError(f"{where} must be at least 0 with at most 6 decimals, not {value!r}")
    return int(pico)


def _weekday(day: Any, where: str) -> int:
    if isinstance(day, int) and 1 <= day <= 7:
        return day
    raise PriceFileError(f"{where}: weekdays are numbers from 1 (Monday) to 7, not {day!r}")


def _instant(value: Any, default: int, where: str) -> int:
    if value is None:
        return default
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, date):
        return int(datetime.combine(value, time(), UTC).timestamp())
    raise PriceFileError(f"{where}: from and to are dates such as 2026-11-17, not {value!r}")
