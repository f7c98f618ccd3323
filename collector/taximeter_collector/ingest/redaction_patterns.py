"""Patterns in, SQL out that masks what they meet in a text: the shipped ones and the user's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from taximeter.redaction import shipped_rows
from taximeter.settings.settings import RedactionSettings, SettingsError


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of the shim's redaction_patterns.csv, or one of the user's expressions."""

    expression: str
    replacement: str
    check: str | None = None
    """A macro that says of a match whether it is one (sql/macros/redaction_checks.sql)."""

    def clean(self, text: str) -> str:
        """Return SQL for ``text`` (SQL) without what this pattern meets."""
        expression, mask = quoted(self.expression), quoted(self.replacement)
        if self.check is None:
            return f"regexp_replace({text}, {expression}, {mask}, 'g')"
        # The longest first: one match can be the beginning of another.
        found = (
            f"list_reverse_sort(list_filter(list_distinct(regexp_extract_all(said, {expression})),"
            f" lambda found: {self.check}(found)))"
        )
        masked = f"list_reduce(list_prepend(said, {found}), lambda text, found: replace(text, found, {mask}))"
        return f"list_transform([{text}], lambda said: {masked})[1]"


def built_in(wanted: Iterable[str]) -> list[Pattern]:
    """Return the shipped patterns of the sets ``wanted``."""
    return [Pattern(row.expression, row.mask, row.check) for row in shipped_rows(wanted)]


def own(con: duckdb.DuckDBPyConnection, settings: RedactionSettings) -> list[Pattern]:
    """Return the user's patterns. Raises SettingsError for one that RE2 can't read."""
    for expression in settings.patterns:
        try:
            con.execute("select regexp_replace('x', $1, '', 'g')", [expression]).fetchall()
        except duckdb.Error as error:
            raise SettingsError(
                f"redaction.patterns: {expression!r} is no regular expression of RE2 ({error})."
            ) from None
    return [Pattern(expression, "[redacted]") for expression in settings.patterns]


def clean(text: str, patterns: Sequence[Pattern]) -> str:
    """Return SQL for ``text`` (SQL) without what the patterns meet."""
    if not patterns:
        return text
    cleaned = text
    for pattern in patterns:
        cleaned = pattern.clean(cleaned)
    # Most texts meet none: that takes one pass over them.
    return f"case when {meets(text, patterns)} then {cleaned} else {text} end"


def meets(text: str, patterns: Sequence[Pattern]) -> str:
    """Return SQL for "one of the patterns fits a part of ``text`` (SQL)", their checks apart."""
    any_of = "|".join(f"(?:{pattern.expression})" for pattern in patterns)
    return f"regexp_matches({text}, {quoted(any_of)})"


def fits(key: str, names: Sequence[str]) -> str:
    """Return SQL for "the key is one of these names", * standing for any part of one."""
    patterns = ["".join(".*" if c == "*" else _literal(c) for c in name) for name in names]
    return f"regexp_full_match({key}, {quoted('|'.join(patterns))})"


def quoted(text: str) -> str:
    """Return ``text`` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _literal(character: str) -> str:
    return character if character.isalnum() or character == "_" else f"\\{character}"
