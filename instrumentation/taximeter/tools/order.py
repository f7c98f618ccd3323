"""The order of a run's tool calls: repeats in a row and cycles, as the collector counts them. Pure.

The collector's rules are sql/derive/40_tools.sql and 45_thrash.sql: within one turn the same call
again is an attempt or a parallel duplicate, and takes no place in the order; a call that can't be
told from others (no fingerprint, a polling tool) takes a place and equals nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

Key = tuple[str, str]
PERIODS: Final = (2, 3)


@dataclass(slots=True)
class ToolCall:
    """One execution, from its start to its end."""

    key: Key | None
    has_ended: bool = False
    has_failed: bool = False


@dataclass(slots=True)
class ToolOrder:
    """What has been called so far, as far as it still matters."""

    turn: int = 0
    """Model decisions so far; 0 where none is seen, then only what overlaps is parallel."""
    turn_calls: int = 0
    repeats: int = 0
    """Identical calls in a row, the last included."""
    errors: int = 0
    """Failed calls in a row."""
    _recent: list[Key | None] = field(default_factory=lambda: [None, None, None])
    _stretch: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PERIODS, 0))
    _seen: dict[Key, list[ToolCall]] = field(default_factory=dict)
    """The calls of this turn."""

    @property
    def cycles(self) -> int:
        """How often the last two or three calls have come in the same order, the last included."""
        return max((n + period) // period for period, n in self._stretch.items())

    def next_turn(self) -> None:
        """See a model decision."""
        self.turn += 1
        self.turn_calls = 0
        self._seen.clear()

    def begin(self, key: Key | None) -> ToolCall:
        """See a call start.

        >>> order = ToolOrder()
        >>> for name in "ababab":
        ...     order.next_turn()
        ...     call = order.begin((name, ""))
        >>> order.cycles, order.repeats
        (3, 1)
        """
        self.turn_calls += 1
        call = ToolCall(key)
        if not self._is_again(call):
            self._place(key)
        return call

    def end(self, call: ToolCall, failed: bool | None) -> None:
        """See it end; None: it neither failed nor succeeded, it was cancelled or refused."""
        call.has_ended, call.has_failed = True, bool(failed)
        if failed is not None:
            self.errors = self.errors + 1 if failed else 0

    def _is_again(self, call: ToolCall) -> bool:
        if call.key is None:
            return False
        earlier = self._seen.setdefault(call.key, [])
        is_first = not earlier
        is_parallel = any(not other.has_ended for other in earlier)
        is_attempt = not is_first and earlier[-1].has_failed and not is_parallel
        if earlier and not is_parallel:
            earlier.clear()  # only the last one matters from here
        earlier.append(call)
        return not is_first and (is_attempt or is_parallel or self.turn > 0)

    def _place(self, key: Key | None) -> None:
        last = self._recent[-1]
        self.repeats = self.repeats + 1 if key is not None and key == last else 1
        for period in PERIODS:
            continues = key is not None and key == self._recent[-period]
            continues = continues and last is not None and key != last
            self._stretch[period] = self._stretch[period] + 1 if continues else 0
        self._recent = [*self._recent[1:], key]
