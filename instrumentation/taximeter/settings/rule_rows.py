"""The [dialects] section of taximeter.toml in, its rows with their lines out.

What a row may say is the collector's to know and to check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SECTION: Final = "dialects"


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One row that a user adds to a table of dialect rules."""

    table: str
    values: Mapping[str, Any]
    file: str
    line: int
    lines: Mapping[str, int]
    """Of each key, where it has a line of its own."""

    def where(self, key: str = "") -> str:
        """Return file and line of a key, of the row without one."""
        return f"{self.file}:{self.lines.get(key, self.line)}"


def read_rule_rows(section: Any, file: str, text: str) -> tuple[RuleRow, ...]:
    """Return the rows in the order of the file.

    Raises TypeError where the section is no table, ValueError where a part is no list of tables.
    """
    if not isinstance(section, dict):
        raise TypeError(f"{SECTION} holds tables: write [[{SECTION}.detect]]")
    rows: list[RuleRow] = []
    for table, entries in section.items():
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(
                f"{SECTION}.{table} is a list of rows: write [[{SECTION}.{table}]] above each"
            )
        places = _places(text, table, len(entries))
        rows += [
            RuleRow(table, entry, file, line, lines)
            for entry, (line, lines) in zip(entries, places, strict=True)
        ]
    return tuple(rows)


def _places(text: str, table: str, count: int) -> list[tuple[int, dict[str, int]]]:
    """Return line and lines of keys for each row: below a header, else a {…} in a list."""
    plain = _without_strings(text).splitlines()
    header = re.compile(rf"\s*\[\[\s*{SECTION}\s*\.\s*[\"']?{re.escape(table)}[\"']?\s*\]\]")
    found = [
        (number, _keys_below(plain, number))
        for number, line in enumerate(text.splitlines(), start=1)
        if header.match(line)
    ]
    found = found or [(number, {}) for number in _braces(plain, table)]
    return (found + [(1, {})] * count)[:count]


def _keys_below(lines: list[str], header: int) -> dict[str, int]:
    keys: dict[str, int] = {}
    for number, line in enumerate(lines[header:], start=header + 1):
        if line.lstrip().startswith("["):
            break
        if assigned := re.match(r"\s*([\w-]+)\s*=", line):
            keys[assigned[1]] = number
    return keys


def _braces(lines: list[str], table: str) -> list[int]:
    """Return the line of each row of a list that is written in place."""
    assigned = re.compile(rf"\s*({SECTION}\s*\.\s*)?{re.escape(table)}\s*=")
    first = next((at for at, line in enumerate(lines) if assigned.match(line)), len(lines))
    return [
        number
        for number, line in enumerate(lines[first:], start=first + 1)
        for _ in range(line.count("{"))
    ]


def _without_strings(text: str) -> str:
    """Blank strings and comments, so that a brace in them counts for none.

    >>> _without_strings('a = "{" # {')
    'a =  '
    """
    return re.sub(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', "", text)
