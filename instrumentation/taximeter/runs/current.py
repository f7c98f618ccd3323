"""The requests and agent runs under way in this context, and what binds a call made in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from taximeter.runs.levels import Level
from taximeter.runs.limits import NO_LIMITS, LimitReached, LowConfidenceDetected, Used


@dataclass(slots=True, eq=False)
class Session(Level):
    """All requests of one session in this process."""

    KIND: ClassVar[str] = "session"


@dataclass(slots=True, eq=False)
class Request(Level):
    """One request, as ``with taximeter.request() as request`` gives it."""

    KIND: ClassVar[str] = "request"
    attributes: dict[str, Any] = field(default_factory=dict)
    """Stamped on every span of the request."""
    model_calls: int = 0
    loop_length: int = 0
    """Model decisions of the longest agent run; without an agent, of the request."""
    own_decisions: int = 0
    """Model decisions of no agent."""
    reached_limit: LimitReached | None = None
    """What ended the request, where a limit did."""
    result: Any = None
    """What ``on_limit`` gave for it."""
    session: Session | None = None
    levels: tuple[Level, ...] = ()
    """What binds a call made here, innermost first."""
    first_agent: Mapping[str, str] = field(default_factory=dict)
    """What the first agent says of itself: calls outside any agent are stored as its own."""

    def __post_init__(self) -> None:
        Level.__post_init__(self)
        self.levels = (self,)

    def begin(self, session: Session | None, above: tuple[Level, ...]) -> None:
        """Bind it by its session too, and by what it runs under."""
        self.session = session
        bound = (session,) if session is not None else ()
        self.levels = (self, *bound, *(level for level in above if level is not session))


@dataclass(slots=True, eq=False)
class AgentRun(Level):
    """One invocation of an agent."""

    parent: AgentRun | None = None
    request: Request | None = None
    confidence: float | None = None
    levels: tuple[Level, ...] = ()
    """What binds a call made here, innermost first."""
    said: Mapping[str, str] = field(default_factory=dict)
    """Name and version of the agent, as its spans say them."""

    def __post_init__(self) -> None:
        Level.__post_init__(self)
        above: AgentRun | Request | None = self.parent or self.request
        self.levels = (self, *(above.levels if above is not None else ()))
        outermost = next((lv for lv in reversed(self.levels) if isinstance(lv, Request)), None)
        if outermost is not None and not outermost.first_agent:
            outermost.first_agent = self.said


current_request: Final[ContextVar[Request | None]] = ContextVar("taximeter_request", default=None)
current_agent: Final[ContextVar[AgentRun | None]] = ContextVar("taximeter_agent", default=None)


def current_levels() -> tuple[Level, ...]:
    """Return what binds a call made now, innermost first."""
    innermost = current_agent.get() or current_request.get()
    return innermost.levels if innermost is not None else ()


def are_limited(levels: Sequence[Level]) -> bool:
    """Return whether any of them sets a limit."""
    for level in levels:  # noqa: SIM110 - half the time of any(), at every call
        if level.limits is not NO_LIMITS:
            return True
    return False


def seconds_left() -> float | None:
    """Return the seconds before the nearest deadline of the run, those above it, request and session.

    0.0 where it is over, None where there is none.
    """
    levels = current_levels()
    if not are_limited(levels):
        return None
    left = [
        level.started + level.limits.deadline_s - level.clock()
        for level in levels
        if level.limits.deadline_s is not None
    ]
    return max(0.0, min(left)) if left else None


def ending(kind: type[LimitReached], why: str) -> LimitReached:
    """Return the exception that ends the current run for a reason without a number; raise it."""
    levels = current_levels()
    if not levels:
        return kind("", None, Used(0, 0, 0, 0.0, 0, 0.0), why=why)
    level = levels[0]
    reached = kind(level.name, None, level.used(), level.partial, level=level.KIND, why=why)
    reached.run = level
    return reached


def note_confidence(value: float) -> None:
    """Record how sure the current run is; raise LowConfidenceDetected where that is too little."""
    run = current_agent.get()
    if run is not None:
        run.confidence = value
    for level in binding_levels():
        least = level.limits.min_confidence
        if least is not None and value < least:
            raise level.reached(LowConfidenceDetected, "min_confidence", f"said {value:g}")


def binding_levels() -> list[Level]:
    """Return whose limits on the order of calls hold here: the run's own, the request's, the session's.

    Such a limit of a request holds for each run in it; that of an agent not for its sub-agents.
    """
    levels = current_levels()
    return [level for at, level in enumerate(levels) if counts_here(levels, at)]


def counts_here(levels: Sequence[Level], at: int) -> bool:
    """Return whether a call counts as one of that level's: an agent's are its own, not its sub-agents'."""
    return at == 0 or not isinstance(levels[at], AgentRun)
