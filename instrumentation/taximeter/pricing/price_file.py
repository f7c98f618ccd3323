"""Price files in TOML → entries. A wrong file fails with file, line, key and what is allowed.

Format: docs/prices.md.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, NoReturn

from taximeter.pricing.bands import ENDLESS, FIELDS
from taximeter.pricing.matching import PROVIDER_ALIASES
from taximeter.pricing.overrides import Override, PriceFile

TIERS: Final = ("standard", "batch", "flex", "priority", "fast", "ultrafast")
_REGION: Final = re.compile(r"geo:[a-z]{2,}|regional|residency")
_PER: Final = dict.fromkeys(FIELDS, 10**6) | {"web_search": 10**3}
"""Prices in files are USD for so many units."""
_KEY_OF: Final = {"cache_write": "cache_write_short"} | {name: name for name in FIELDS}
_LARGEST_USD: Final = Decimal(1_000_000)
_SCOPE: Final = ("provider", "model", "tier", "region_class", "from", "to", "weekdays", "match",
                 "gt_prompt", "label", "source", "checked")  # fmt: skip
_ENTRIES: Final[dict[str, tuple[str, ...]]] = {
    "price": (*_SCOPE, *_KEY_OF, "discount"),
    "multiplier": (*_SCOPE, "factor"),
    "alias": ("provider", "request_model", "model", "label"),
    "batch": ("match", "batch", "label"),
}


class PriceFileError(ValueError):
    """A price file can't be used; the message names file, line and key."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One [[…]] table with the place it stands at."""

    values: Mapping[str, Any]
    name: str
    line: int
    lines: Mapping[str, int]
    """Of each key."""

    def __contains__(self, key: str) -> bool:
        return key in self.values

    @property
    def where(self) -> str:
        return f"{self.name}:{self.line}"

    def fail(self, key: str, said: str) -> NoReturn:
        raise PriceFileError(f"{self.name}:{self.lines.get(key, self.line)}: {said}")

    def known(self, allowed: Collection[str]) -> None:
        for key in self.values:
            if key not in allowed:
                self.fail(key, f"unknown key {key!r}{_hint(key, allowed)}")

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self.values.get(key, default)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            self.fail(key, f'{key} must be text such as "name", not {value!r}')
        return value

    def decimal(self, key: str) -> Decimal:
        value = self.values[key]
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        if isinstance(value, bool) or not number.is_finite():
            self.fail(key, f'{key} must be a number such as "0.25", not {value!r}')
        return number

    def instant(self, key: str, default: int) -> int:
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, datetime):
            return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
        if isinstance(value, date):
            return int(datetime.combine(value, time(), UTC).timestamp())
        self.fail(key, f"{key} must be a date such as 2026-11-17, not {value!r}")


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
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PriceFileError(f"{name}: not TOML: {error}") from None
    _Entry(document, name, 1, _lines_of_keys(text)).known((*_ENTRIES, "history"))
    found = {kind: _entries(document, kind, name, text) for kind in _ENTRIES}
    return PriceFile(
        cards=tuple(_card(entry) for entry in found["price"]),
        multipliers=tuple(_multiplier(entry) for entry in found["multiplier"]),
        aliases=tuple(_alias(entry) for entry in found["alias"]),
        batch_services=tuple(_batch(entry) for entry in found["batch"]),
        assume_tiers=_assumes_tiers(document, name, text),
    )


def _entries(document: Mapping[str, Any], kind: str, name: str, text: str) -> list[_Entry]:
    tables = document.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        line = _lines_of_keys(text).get(kind, 1)
        raise PriceFileError(f"{name}:{line}: {kind} must be written as [[{kind}]]")
    header = re.compile(rf"^\s*\[\[\s*{kind}\s*\]\]", re.MULTILINE)
    starts = [match.start() for match in header.finditer(text)]
    starts += [len(text)] * (len(tables) - len(starts))  # inline tables have no header
    result = []
    for table, start in zip(tables, starts, strict=False):
        line = text.count("\n", 0, start) + 1
        own = re.split(r"\n(?=\s*\[)", text[start:].lstrip("\n"), maxsplit=1)[0]
        line += len(text[start:]) - len(text[start:].lstrip("\n"))
        entry = _Entry(table, name, line, _lines_of_keys(own, line))
        entry.known(_ENTRIES[kind])
        result.append(entry)
    return result


def _lines_of_keys(text: str, first: int = 1) -> dict[str, int]:
    """Return the line of each key and header; in an entry's own text up to the next header."""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), first):
        match = re.match(r"\s*(\[*)\s*([\w-]+)", line)
        if match is not None:
            lines.setdefault(match[2], number)
    return lines


def _hint(key: str, allowed: Collection[str]) -> str:
    near = difflib.get_close_matches(key, allowed, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; use {', '.join(allowed)}"


def _scope(entry: _Entry) -> dict[str, Any]:
    provider, tier = entry.text("provider", "*") or "*", entry.text("tier")
    region = entry.text("region_class")
    if tier is not None and tier not in TIERS:
        entry.fail("tier", f"unknown tier {tier!r}{_hint(tier, TIERS)}")
    if region is not None and not _REGION.fullmatch(region):
        entry.fail("region_class", f"region_class is geo:us, regional or residency, not {region!r}")
    start, end = entry.instant("from", -ENDLESS), entry.instant("to", ENDLESS)
    if start >= end:
        entry.fail("to", "to must be after from; it is the first day that is out")
    labels = (entry.text("label"), entry.text("source"))
    return {
        "provider": PROVIDER_ALIASES.get(provider.lower(), provider.lower()),
        "model": (entry.text("model", "*") or "*").lower(),
        "tier": tier,
        "region_class": region,
        "server_address": _match(entry, "server_address"),
        "valid_from": start,
        "valid_to": end,
        "dow_mask": _weekdays(entry),
        "gt_prompt": _prompt_length(entry),
        "source": " ".join((entry.where, *(label for label in labels if label))),
    }


def _match(entry: _Entry, key: str) -> str | None:
    match = entry.values.get("match", {})
    if not isinstance(match, Mapping):
        entry.fail("match", f'match must be written as match.{key} = "…"')
    for name in match:
        if name != key:
            entry.fail("match", f"unknown key 'match.{name}'; use match.{key}")
    value = match.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        entry.fail("match", f"match.{key} must be text, not {value!r}")
    return value


def _weekdays(entry: _Entry) -> int:
    days = entry.values.get("weekdays", [1, 2, 3, 4, 5, 6, 7])
    ok = isinstance(days, list) and days and all(type(d) is int and 1 <= d <= 7 for d in days)
    if not ok:
        entry.fail("weekdays", f"weekdays are numbers from 1 (Monday) to 7, not {days!r}")
    return sum(1 << (day - 1) for day in set(days))


def _prompt_length(entry: _Entry) -> int:
    value = entry.values.get("gt_prompt", -1)
    if type(value) is not int or (value < 0 and "gt_prompt" in entry):
        entry.fail("gt_prompt", f"gt_prompt must be a number of tokens, not {value!r}")
    return value


def _card(entry: _Entry) -> Override:
    scope = _scope(entry)
    prices = {_KEY_OF[key]: _pico(entry, key) for key in _KEY_OF if key in entry}
    if not prices and "discount" not in entry:
        entry.fail("", f"give a price ({', '.join(_KEY_OF)}) or a discount")
    if prices and not any(key in entry for key in ("provider", "model", "match")):
        entry.fail("", "a price needs a provider, a model or match.server_address")
    discount = entry.decimal("discount") if "discount" in entry else Decimal(0)
    if not 0 <= discount < 1:
        entry.fail("discount", f"discount must be from 0 to below 1, not {discount}")
    return Override(prices=prices, factor=1 - discount, **scope)


def _multiplier(entry: _Entry) -> Override:
    if "factor" not in entry:
        entry.fail("", "factor is missing")
    factor = entry.decimal("factor")
    if not 0 <= factor <= 1000:
        entry.fail("factor", f"factor must be from 0 to 1000, not {factor}")
    return Override(prices={}, factor=factor, **_scope(entry))


def _alias(entry: _Entry) -> tuple[str, str, str]:
    provider = (entry.text("provider", "*") or "*").lower()
    named = []
    for key in ("request_model", "model"):
        if (value := entry.text(key)) is None:
            entry.fail("", f"{key} is missing")
        named.append(value)
    return PROVIDER_ALIASES.get(provider, provider), named[0], named[1]


def _batch(entry: _Entry) -> str:
    service = _match(entry, "service_name")
    if service is None or entry.values.get("batch") is not True:
        entry.fail("batch", 'give match.service_name = "…" and batch = true')
    return service


def _assumes_tiers(document: Mapping[str, Any], name: str, text: str) -> bool:
    history = document.get("history", {})
    line = _lines_of_keys(text).get("history", 1)
    if not isinstance(history, Mapping):
        raise PriceFileError(f"{name}:{line}: history must be written as [history]")
    key = "assume_tiers_before_verification"
    entry = _Entry(history, name, line, _lines_of_keys(text))
    entry.known((key,))
    value = history.get(key, True)
    if not isinstance(value, bool):
        entry.fail(key, f"{key} is true or false, not {value!r}")
    return value


def _pico(entry: _Entry, key: str) -> int:
    usd = entry.decimal(key)
    pico = usd * 10**12 / _PER[_KEY_OF[key]]
    if usd < 0 or pico != pico.to_integral_value():
        said = f"must be at least 0 with at most 6 decimals, not {entry.values[key]!r}"
        entry.fail(key, f"{key} {said}")
    if usd > _LARGEST_USD:
        entry.fail(key, f"{key} is in USD per million tokens; {usd} is beyond any price")
    return int(pico)
