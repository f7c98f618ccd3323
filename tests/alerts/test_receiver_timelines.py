"""Receivers on scripted timelines: who hears of what, also when one fails, comes or goes."""

from __future__ import annotations

from tests.alerts.timeline import RULES, Timeline

COST_A, ERRORS_A = ("cost", "a"), ("errors", "a")
TWO = RULES.replace(
    "ops: {email: ops@example.org}",
    "ops: {email: ops@example.org}, own: {email: own@example.org}",
)
EACH_ITS_OWN = TWO.replace("above $1}", "above $1, notify: own}").replace(
    "severity: critical}", "severity: critical, notify: ops}"
)


def watch_itself(
    timeline: Timeline, minutes: int, firing: tuple[tuple[str, str], ...], step: int = 1
) -> None:
    """Let minutes pass in which alerting looks after itself too."""
    for _ in range(0, minutes, step):
        timeline.run(step, firing, step=step)
        timeline.board.check_itself(None, None, timeline.now)


def test_receivers_hear_of_their_own_rules_only(timeline: Timeline) -> None:
    timeline.restart(EACH_ITS_OWN)
    timeline.run(5, (COST_A, ERRORS_A))
    timeline.run(20, (ERRORS_A,))
    assert [n.title for n in timeline.inbox("ops").notices] == ["error rate, a"]
    assert [n.kind for n in timeline.inbox("own").notices] == ["firing", "resolved"]


def test_a_receiver_that_a_rule_tells_no_more_hears_its_end_and_no_repeats(
    timeline: Timeline,
) -> None:
    timeline.restart(TWO)
    timeline.run(5, (ERRORS_A,))
    timeline.restart(TWO.replace("severity: critical}", "severity: critical, notify: own}"))
    timeline.run(300, (ERRORS_A,), step=5)
    timeline.run(20)
    assert [n.kind for n in timeline.inbox("ops").notices] == ["firing", "resolved"]
    assert [n.kind for n in timeline.inbox("own").notices] == [
        "firing",
        "still_firing",
        "resolved",
    ]


def test_a_receiver_whose_only_rule_is_gone_stops_nobody(timeline: Timeline) -> None:
    timeline.restart(EACH_ITS_OWN)
    timeline.run(5, (COST_A, ERRORS_A))
    timeline.restart(EACH_ITS_OWN.replace("name: cost", "name: other"))
    timeline._seen.pop(COST_A)
    timeline.run(5, (ERRORS_A,))
    timeline.run(20)
    assert [n.kind for n in timeline.inbox("ops").notices] == ["firing", "resolved"]
    assert [n.kind for n in timeline.inbox("own").notices] == ["firing"]


def test_a_receiver_added_later_hears_of_what_still_fires(timeline: Timeline) -> None:
    timeline.restart(RULES.replace("notify: {ops: {email: ops@example.org}}\n", ""))
    timeline.run(5, (COST_A,))
    timeline.restart(RULES)
    timeline.run(1, (COST_A,))
    assert timeline.told == [(6, "firing")]


def test_a_receiver_that_fails_for_a_quarter_of_an_hour_is_told_to_the_others(
    timeline: Timeline,
) -> None:
    timeline.restart(TWO)
    timeline.inbox("own").is_down = True
    watch_itself(timeline, 20, (COST_A,))
    timeline.deliver()
    told = [notice.title for notice in timeline.inbox("ops").notices]
    assert told == ["cost per request, a", "notices are not delivered, own"]
    assert "the receiver is down" in timeline.inbox("ops").notices[-1].sentence
    timeline.inbox("own").is_down = False
    watch_itself(timeline, 20, (COST_A,))
    timeline.deliver()
    assert timeline.inbox("ops").notices[-1].kind == "resolved"


def test_a_receiver_that_failed_and_is_taken_out_ends_the_alert_about_it(
    timeline: Timeline,
) -> None:
    timeline.restart(TWO)
    timeline.inbox("own").is_down = True
    watch_itself(timeline, 20, (COST_A,))
    timeline.restart(RULES)
    watch_itself(timeline, 150, (COST_A,), step=5)
    timeline.deliver()
    told = [(n.kind, n.rule) for n in timeline.inbox("ops").notices]
    assert told[1:] == [("firing", "receiver-failing"), ("resolved", "receiver-failing")]


def test_quiet_agents_do_not_hide_that_a_receiver_fails(timeline: Timeline) -> None:
    timeline.restart(TWO + "  - {name: all, watch: requests, when: silent 1h}\n")
    timeline.inbox("own").is_down = True
    watch_itself(timeline, 20, (("all", ""),))
    timeline.deliver()
    assert "receiver-failing" in [notice.rule for notice in timeline.inbox("ops").notices]
