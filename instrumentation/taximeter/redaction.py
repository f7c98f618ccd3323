"""Secrets and personal data in a text, found by the shipped patterns or the user's. Pure.

The patterns (redaction_patterns.csv) are the collector's too, which runs them in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

SETS: Final = ("secrets", "pii")
_ADDRESS: Final = re.compile(r"((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\.|$)){4}(?<!\.)")


@dataclass(frozen=True, slots=True)
class ShippedRow:
    """One line of redaction_patterns.csv."""

    label: str
    expression: str
    """For RE2 and for Python; bounded, so that no text takes a time that grows with its square."""
    mask: str
    """What stands in its place; ``\\1`` is its first group."""
    check: str | None
    """The name of what a match must be besides: `CHECKS`, and a macro of the collector."""


def shipped_rows(sets: Iterable[str]) -> list[ShippedRow]:
    """Return the shipped patterns of the sets ``secrets``, ``pii``. Raises ValueError for others."""
    wanted = set(sets)
    if unknown := wanted - set(SETS):
        raise ValueError(f"redaction: {min(unknown)!r} is none of {', '.join(SETS)}")
    return [row for name, row in _table() if name in wanted]


@cache
def _table() -> tuple[tuple[str, ShippedRow], ...]:
    import csv
    from importlib import resources

    text = resources.files("taximeter").joinpath("redaction_patterns.csv").read_text("utf-8")
    return tuple(
        (
            row["set"],
            ShippedRow(
                row["label"],
                row["pattern"],
                row["replacement"] or f"[{row['label']}]",
                row["check"] or None,
            ),
        )
        for row in csv.DictReader(text.splitlines())
    )


class Redactor:
    """Masks what the patterns of some sets, and expressions of one's own, meet in a text."""

    def __init__(self, sets: Iterable[str] = SETS, expressions: Sequence[str] = ()) -> None:
        """Compile the patterns. Raises ValueError for a set or an expression that is none."""
        # re.ASCII: as RE2 reads them.
        self._patterns = [
            (re.compile(row.expression, re.ASCII), row.label, row.mask, CHECKS.get(row.check or ""))
            for row in shipped_rows(sets)
        ]
        for expression in expressions:
            try:
                compiled = re.compile(expression)
            except re.error as error:
                raise ValueError(
                    f"redaction: {expression!r} is no regular expression ({error})"
                ) from None
            self._patterns.append((compiled, "redacted", "[redacted]", None))

    def clean(self, text: str) -> str:
        """Return the text with a mask in place of every match.

        >>> Redactor().clean("write to ann@example.com, password=hunter22")
        'write to [email], password=[password]'
        """
        for pattern, _, mask, check in self._patterns:
            text = pattern.sub(_masker(mask, check), text)
        return text

    def found(self, text: str) -> list[str]:
        """Return the labels of what a text holds, each once.

        >>> Redactor(["pii"]).found("4111 1111 1111 1111, not 4111 1111 1111 1112")
        ['card number']
        """
        labels = [
            label
            for pattern, label, _, check in self._patterns
            if any(check is None or check(match.group()) for match in pattern.finditer(text))
        ]
        return list(dict.fromkeys(labels))


def _masker(mask: str, check: Callable[[str], bool] | None) -> Callable[[re.Match[str]], str]:
    def masked(match: re.Match[str]) -> str:
        if check is not None and not check(match.group()):
            return match.group()
        return match.expand(mask)

    return masked


def has_digit(found: str) -> bool:
    """Return whether there is a digit: a key has one, a word with hyphens has none."""
    return any(sign in "0123456789" for sign in found)


def is_card_number(found: str) -> bool:
    """Return whether the check digit of a card number is right (ISO/IEC 7812, Luhn)."""
    total = 0
    for place, sign in enumerate(reversed([sign for sign in found if sign.isdigit()])):
        digit = int(sign) * (1 + place % 2)
        total += digit // 10 + digit % 10
    return total % 10 == 0


def is_bank_account(found: str) -> bool:
    """Return whether an IBAN's check digits are right (ISO 13616); its last group may be a word."""

    def is_right(text: str) -> bool:
        text = text.replace(" ", "")
        return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1

    return is_right(found) or is_right(re.sub(r" [A-Z0-9]{1,4}$", "", found))


def is_ip_address(found: str) -> bool:
    """Return whether these are four numbers up to 255, with nothing of a version around them."""
    return _ADDRESS.fullmatch(found) is not None


CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "has_digit": has_digit,
    "is_card_number": is_card_number,
    "is_bank_account": is_bank_account,
    "is_ip_address": is_ip_address,
}
