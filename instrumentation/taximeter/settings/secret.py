"""A text that must not be printed: it shows as *** in every message, log line and repr."""

from __future__ import annotations

import hmac
import os
from pathlib import Path


class Secret:
    """Holds a token; only `reveal` gives it back.

    >>> f"{Secret('hunter2')} {Secret('hunter2')!r}"
    '*** ***'
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._valid()[0]

    def matches(self, candidate: str) -> bool:
        """Compare in constant time, so that the answer's delay tells nothing."""
        given = candidate.encode("utf-8", "replace")
        # All are compared, whichever fits.
        found = [hmac.compare_digest(text.encode(), given) for text in self._valid()]
        return any(found)

    def _valid(self) -> list[str]:
        """Return the tokens that are valid now, the one to send first."""
        return [self._text]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.matches(other.reveal())

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is never serialised")


class SecretFile(Secret):
    """The tokens of a file, one a line, read again when the file changes: so tokens rotate.

    Empty lines and those that begin with # are passed over. The first line is sent, every line is
    accepted. While the file can't be read or has no token in it, those read last stay valid.
    """

    __slots__ = ("_file", "_stamp", "_texts")

    def __init__(self, file: Path) -> None:
        """Read the file. Raises OSError, UnicodeDecodeError, or ValueError if it has no token."""
        self._file = file
        self._stamp = _stamp(file)
        self._texts = _lines(file)
        super().__init__(self._texts[0])

    def _valid(self) -> list[str]:
        try:
            stamp = _stamp(self._file)
            if stamp != self._stamp:
                self._texts = _lines(self._file)
                self._stamp = stamp
        except (OSError, ValueError):  # a UnicodeDecodeError is a ValueError
            pass
        return self._texts


def _stamp(file: Path) -> tuple[int, int, int]:
    found = os.stat(file)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _lines(file: Path) -> list[str]:
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise ValueError("no token")
    return tokens
