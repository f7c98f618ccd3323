"""A model call's place in the budgets: held from before the call until its use is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from taximeter.runs.current import AgentRun, Request, counts_here, current_agent, current_request
from taximeter.runs.levels import Amount, Ask, Level


class Reservation:
    """What one call holds of each level that binds it.

    Raises LimitReached where a level does not allow the call; then nothing is held.
    """

    def __init__(self, levels: Sequence[Level], ask: Ask | None, *, is_decision: bool) -> None:
        self._held: list[tuple[Level, Amount]] = []
        self._unsettled: list[tuple[Level, Amount]] = []
        self._is_settled = self._is_released = False
        for at, level in enumerate(levels):
            try:
                held = level.admit_model_call(
                    ask, is_decision=is_decision and counts_here(levels, at)
                )
            except BaseException:
                self.release()
                for before in range(at):
                    levels[before].take_back_model_call(
                        is_decision=is_decision and counts_here(levels, before)
                    )
                raise
            if ask is not None:
                self._held.append((level, held))

    def settled(self) -> None:
        """Note that the use of the call is known and counted; maybe long after its answer."""
        self._is_settled = True
        unsettled, self._unsettled = self._unsettled, []
        for level, held in unsettled:
            level.take_back_unsettled(held)

    def release(self, *, has_answered: bool = False) -> None:
        """Give back what is held; once. An answer that told no usage has used it all."""
        if self._is_released:
            return
        self._is_released = True
        if has_answered and not self._is_settled:
            self._unsettled = self._held
            for level, held in self._held:
                level.note_unsettled(held)
        for level, held in self._held:
            level.release(held)


class Owners(NamedTuple):
    """Whose a model call is, kept from its start: a stream may end in another context."""

    run: AgentRun | None
    request: Request | None
    reservation: Reservation | None = None

    @classmethod
    def current(cls, reservation: Reservation | None = None) -> Owners:
        """Return whose a call is that starts now."""
        return cls(current_agent.get(), current_request.get(), reservation)

    def levels(self) -> tuple[Level, ...]:
        """Return what the call counts for, innermost first."""
        innermost = self.run or self.request
        return innermost.levels if innermost is not None else ()

    def has_cost_limit(self) -> bool:
        """Return whether what it costs matters to a limit."""
        return any(level.limits.cost_usd is not None for level in self.levels())
