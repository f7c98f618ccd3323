"""The life of an alert: a state and a verdict in, the next state out. Pure; time is `at`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from taximeter_alerts.judge.detect import Verdict
from taximeter_alerts.rules.book import Rule

Status = Literal["inactive", "pending", "firing", "resolved", "learning", "no_data", "error"]
Transition = Literal["fired", "resolved"]

STILL: Final = ("inactive", "learning", "no_data")
"""Statuses of an alert that nothing is known of but this."""
EVALUATIONS_IN_A_ROW: Final = 3
RATE_EVALUATIONS_IN_A_ROW: Final = 2
HOLD_WITHOUT_DATA: Final = timedelta(hours=6)
REOPEN_WITHIN: Final = timedelta(hours=24)
LONGEST_KEEP_FIRING: Final = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class AlertState:
    """Where one rule stands for one group."""

    status: Status = "inactive"
    since: datetime | None = None
    evaluated_at: datetime | None = None
    breached_at: datetime | None = None
    """The last breach: what `keep_firing_for` counts from."""
    data_at: datetime | None = None
    """The last evaluation that saw data."""
    streak: int = 0
    seen: str = ""
    """What the last breach saw; the same again is no new evidence."""
    times: int = 0
    """How often it fired within a day: each time it is kept firing twice as long."""
    resolved_at: datetime | None = None

    @property
    def is_firing(self) -> bool:
        return self.status == "firing"


@dataclass(frozen=True, slots=True)
class Step:
    state: AlertState
    transition: Transition | None = None
    reason: str = ""
    began: datetime | None = None
    """Of what fired: its first breach."""


def step(state: AlertState, rule: Rule, verdict: Verdict, at: datetime) -> Step:
    """Return what becomes of the alert at `at`; an older `at` changes nothing."""
    if state.evaluated_at is not None and at <= state.evaluated_at:
        return Step(state)
    state = replace(state, evaluated_at=at)
    verdict = _without_old_news(state, rule, _without_data(rule, verdict), at)
    if verdict.outcome == "breach":
        return _breach(replace(state, data_at=at), rule, verdict, at)
    if state.is_firing:
        return _still_firing(state, rule, verdict, at)
    if verdict.outcome == "clear":
        state = replace(state, data_at=at)
        recently = state.resolved_at is not None and at - state.resolved_at < REOPEN_WITHIN
        return Step(_become(state, "resolved" if recently else "inactive", at))
    # Neither learning nor silence is evidence: what was pending stays so, for a while.
    if state.status == "pending" and at - (state.breached_at or at) < HOLD_WITHOUT_DATA:
        return Step(state)
    return Step(_become(state, verdict.outcome, at))


def is_at_rest(state: AlertState) -> bool:
    """Return whether nothing is remembered of the alert: the same outcome again changes nothing."""
    return state.status in STILL and state.resolved_at is None


def rewind(state: AlertState, at: datetime) -> AlertState:
    """Return the state after the clock was set back to `at`: nothing has happened later than now."""

    def no_later(when: datetime | None) -> datetime | None:
        return None if when is None else min(when, at)

    return replace(
        state,
        since=no_later(state.since),
        evaluated_at=no_later(state.evaluated_at),
        breached_at=no_later(state.breached_at),
        data_at=no_later(state.data_at),
        resolved_at=no_later(state.resolved_at),
    )


def keep_firing(rule: Rule, times: int) -> timedelta:
    """Return how long an alert is kept after its last breach; longer each time it comes back.

    >>> from taximeter_alerts.rules.defaults import default_rules
    >>> [keep_firing(default_rules()[0], n).total_seconds() / 60 for n in (1, 2, 3, 9)]
    [15.0, 30.0, 60.0, 360.0]
    """
    longest = max(LONGEST_KEEP_FIRING, rule.keep_firing_for)
    doubled = rule.keep_firing_for * int(2 ** min(max(times - 1, 0), 10))
    return min(doubled, longest)


def _without_data(rule: Rule, verdict: Verdict) -> Verdict:
    """Return what the absence of data means to this rule: nothing, unless it says so."""
    if verdict.outcome != "no_data" or rule.no_data == "keep":
        return verdict
    return replace(verdict, outcome="breach" if rule.no_data == "alert" else "clear")


def _without_old_news(state: AlertState, rule: Rule, verdict: Verdict, at: datetime) -> Verdict:
    """Return what a window says of the time since the alert was resolved.

    One that reaches back further still holds what was told: learned rules don't fire again on it.
    """
    if state.is_firing or state.resolved_at is None or verdict.window_s is None:
        return verdict
    is_old = at - timedelta(seconds=verdict.window_s) < state.resolved_at
    if verdict.outcome != "breach" or not is_old or not rule.has_sensitivity:
        return verdict
    return replace(verdict, outcome="clear")


def _breach(state: AlertState, rule: Rule, verdict: Verdict, at: datetime) -> Step:
    seen = f"{verdict.window_s}/{verdict.count:g}/{verdict.value!r}"
    is_new = verdict.is_fresh or seen != state.seen
    if state.is_firing:
        return Step(replace(state, breached_at=at, seen=seen))
    streak = state.streak + is_new if state.status == "pending" else 1
    pending = _become(state, "pending", at)
    pending = replace(pending, breached_at=at, streak=streak, seen=seen)
    if not _is_held_long_enough(pending, rule, verdict, at):
        return Step(pending)
    is_again = state.resolved_at is not None and at - state.resolved_at < REOPEN_WITHIN
    times = state.times + 1 if is_again else 1
    fired = replace(_become(pending, "firing", at), breached_at=at, seen=seen, times=times)
    return Step(fired, "fired", "again" if is_again else "first", pending.since)


def _is_held_long_enough(pending: AlertState, rule: Rule, verdict: Verdict, at: datetime) -> bool:
    if rule.hold_for is not None:
        return pending.since is not None and at - pending.since >= rule.hold_for
    if not rule.has_sensitivity or verdict.count == 0:
        return True
    wanted = RATE_EVALUATIONS_IN_A_ROW if rule.is_rate else EVALUATIONS_IN_A_ROW
    return pending.streak >= wanted


def _still_firing(state: AlertState, rule: Rule, verdict: Verdict, at: datetime) -> Step:
    if verdict.outcome == "clear":
        state = replace(state, data_at=at)
        if at - (state.breached_at or at) >= keep_firing(rule, state.times):
            return _resolve(
                state, at, "within the budget again" if rule.budget else "back to usual"
            )
    elif at - (state.data_at or state.breached_at or at) >= HOLD_WITHOUT_DATA:
        return _resolve(state, at, "no traffic")
    return Step(state)


def _resolve(state: AlertState, at: datetime, reason: str) -> Step:
    return Step(replace(_become(state, "resolved", at), resolved_at=at), "resolved", reason)


def _become(state: AlertState, status: Status, at: datetime) -> AlertState:
    if state.status == status:
        return state
    return replace(state, status=status, since=at, streak=0, seen="")
