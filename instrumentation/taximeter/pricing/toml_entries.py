"""TOML text → its [[…]] tables, each with the line of every key, so that an error can say where."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn


class PriceFileError(ValueError):
    """A price file can't be used; the message names file, line and key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One table with the place it stands at."""

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
                self.fail(key, f"unknown key {key!r}{hint(key, allowed)}")

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self.values.get(key, default)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            self.fail(key, f'{key} must be text such as "name", not {value!r}')
        return value

    def choice(self, key: str, allowed: Collection[str]) -> str | None:
        value = self.text(key)
        if value is not None and value not in allowed:
            self.fail(key, f"unknown {key} {value!r}{hint(value, allowed)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self.fail(key, f"{key} is true or false, not {value!r}")
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

    def count(self, key: str, default: int) -> int:
        value = self.values.get(key, default)
        if type(value) is not int or (value < 0 and key in self):
            self.fail(key, f"{key} must be a number of tokens, not {value!r}")
        return value

    def instant(self, key: str, default: int) -> int:
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, datetime):
            return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
        if isinstance(value, date):
            return int(datetime.combine(value, time(), UTC).timestamp())
        self.fail(key, f"{key} must be a date such as 2026-11-17, not {value!r}")

    def match(self, allowed: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return the patterns of every ``match.…`` key; one or a list of them."""
        match = self.values.get("match", {})
        if not isinstance(match, Mapping):
            self.fail("match", f'match must be written as match.{next(iter(allowed))} = "…"')
        found = {}
        for name, value in match.items():
            if name not in allowed:
                names = [f"match.{key}" for key in allowed]
                self.fail("match", f"unknown key 'match.{name}'{hint(f'match.{name}', names)}")
            patterns = value if isinstance(value, list) else [value]
            if not patterns or not all(isinstance(p, str) and p.strip() for p in patterns):
                self.fail("match", f"match.{name} must be text or a list of it, not {value!r}")
            found[name] = tuple(pattern.strip().lower() for pattern in patterns)
        return found


def read_document(text: str, name: str) -> Mapping[str, Any]:
    """Return a TOML text's tables. Raises PriceFileError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PriceFileError(f"{name}: not TOML: {error}") from None


def head_entry(document: Mapping[str, Any], name: str, text: str) -> Entry:
    """Return the keys above every table."""
    return Entry(document, name, 1, _lines_of_keys(text))


def table_entry(document: Mapping[str, Any], key: str, name: str, text: str) -> Entry:
    """Return the table ``[key]``, empty where there is none. Raises PriceFileError."""
    table, lines = document.get(key, {}), _lines_of_keys(text)
    if not isinstance(table, Mapping):
        raise PriceFileError(f"{name}:{lines.get(key, 1)}: {key} must be written as [{key}]")
    return Entry(table, name, lines.get(key, 1), lines)


def list_entries(
    document: Mapping[str, Any], kind: str, name: str, text: str, allowed: Collection[str]
) -> list[Entry]:
    """Return the tables ``[[kind]]`` in the order of the file. Raises PriceFileError."""
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
        entry = Entry(table, name, line, _lines_of_keys(own, line, with_headers=False))
        entry.known(allowed)
        result.append(entry)
    return result


def hint(key: str, allowed: Collection[str]) -> str:
    """Return what the user may have meant, else everything that is allowed."""
    near = difflib.get_close_matches(key, allowed, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; use {', '.join(allowed)}"


def _lines_of_keys(text: str, first: int = 1, *, with_headers: bool = True) -> dict[str, int]:
    """Return the line of each key, and of each header where asked."""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), first):
        match = re.match(r"\s*(\[*)\s*([\w-]+)", line)
        if match is not None and (with_headers or not match[1]):
            lines.setdefault(match[2], number)
    return lines
