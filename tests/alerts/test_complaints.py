"""What people complain of in other alerting tools, by the complaint's name. Each must not happen."""

from __future__ import annotations

from tests.alerts.plain import PastWindow, reference_of
from tests.alerts.timeline import RULES, Timeline

from taximeter_alerts.judge.detect import Reference, Sample, judge
from taximeter_alerts.rules.defaults import default_rules

COST_A = ("cost", "a")


def test_alert_on_each_request(timeline: Timeline) -> None:
    timeline.run(120, (COST_A,))
    assert timeline.told == [(2, "firing")]


def test_fires_once_then_never(timeline: Timeline) -> None:
    timeline.run(5, (COST_A,))
    timeline.run(2 * 1440, step=30)
    timeline.run(5, (COST_A,))
    timeline.run(2 * 1440, step=30)
    assert [kind for _, kind in timeline.told] == ["firing", "resolved"] * 2
    assert len(timeline.rows("incident")) == 2


def test_false_resolved_on_missing_data(timeline: Timeline) -> None:
    timeline.run(5, (COST_A,))
    timeline.run(300, absent=("a",), step=5)
    assert (timeline.status(), timeline.told) == ("firing", [(2, "firing")])
    timeline.run(90, absent=("a",), step=5)
    assert [kind for _, kind in timeline.told] == ["firing", "resolved"]
    assert "No traffic after" in timeline.inbox().notices[-1].sentence


def test_no_data_respects_for(timeline: Timeline) -> None:
    timeline.restart(RULES.replace("above $1}", "above $1, no_data: alert, for: 30m}"))
    timeline.run(1)
    timeline.run(1, (COST_A,))
    timeline.run(5)
    timeline.run(25, absent=("a",))
    assert (timeline.status(), timeline.told) == ("pending", [])
    timeline.run(10, absent=("a",))
    assert [kind for _, kind in timeline.told] == ["firing"]


def test_no_data_ok_is_over_when_data_ends(timeline: Timeline) -> None:
    timeline.restart(RULES.replace("above $1}", "above $1, no_data: ok}"))
    timeline.run(5, (COST_A,))
    timeline.run(20, absent=("a",))
    assert [kind for _, kind in timeline.told] == ["firing", "resolved"]


def test_new_group_without_history() -> None:
    cost = default_rules()[0]
    verdict = judge(cost, {3_600: Sample(9.0, 500, requests=500)}, Reference())
    assert verdict.outcome == "learning"


def test_zero_over_zero() -> None:
    cost, errors, *_ = default_rules()
    quiet = {300: Sample(None, 0.0), 3_600: Sample(None, 0.0)}
    assert judge(cost, quiet, Reference()).outcome == "no_data"
    usual = [PastWindow(day, 0.0, 0.0, 500) for day in range(14)]
    nothing = {w: Sample(0.0, 50.0) for w in (300, 900, 3_600, 21_600)}
    assert judge(errors, nothing, reference_of({3_600: usual})).outcome == "clear"


def test_repeat_after_retention(timeline: Timeline) -> None:
    timeline.run(5, (COST_A,))
    timeline.run(40 * 1440, (COST_A,), step=360)
    # The sent notice itself is long gone; that it was told is not.
    timeline.run(5, (COST_A, ("cost", "b")))
    assert [kind for _, kind in timeline.told] == ["firing", "firing"]
    assert timeline.outbox.counts() == {"sent": 1}


def test_resolved_lost_on_restart(timeline: Timeline) -> None:
    timeline.run(5, (COST_A,))
    timeline.restart()
    timeline.run(10)
    timeline.restart()
    timeline.inbox().is_down = True
    timeline.run(10)
    timeline.restart()
    timeline.inbox().is_down = False
    timeline.run(2)
    assert [kind for _, kind in timeline.told] == ["firing", "resolved"]


def test_pending_is_lost_on_restart(timeline: Timeline) -> None:
    timeline.restart(RULES.replace("above $1}", "above $1, for: 10m}"))
    timeline.run(8, (COST_A,))
    timeline.restart()
    timeline.run(5, (COST_A,))
    assert timeline.told == [(12, "firing")]
