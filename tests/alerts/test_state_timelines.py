"""The state machine on scripted timelines: who is told what, in which minute."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.alerts.timeline import RULES, START, Timeline

COST_A, COST_B = ("cost", "a"), ("cost", "b")
ERRORS_A, ERRORS_B = ("errors", "a"), ("errors", "b")


def with_rules(timeline: Timeline, more: str, rules: str = RULES) -> Timeline:
    timeline.restart(rules + more)
    return timeline


def test_one_notice_after_the_group_wait_and_one_when_it_is_over(timeline: Timeline) -> None:
    timeline.run(10, (COST_A,))
    assert timeline.told == [(2, "firing")]
    timeline.run(20)
    assert timeline.told == [(2, "firing"), (25, "resolved")]


def test_what_is_over_before_the_group_wait_is_never_told(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path, RULES.replace("version: 1", "version: 1\ngroup_wait: 30m"))
    timeline.run(2, (COST_A,))
    timeline.run(40)
    assert timeline.told == []
    timeline.close()


def test_alerts_of_one_agent_are_one_notice_led_by_the_worst(timeline: Timeline) -> None:
    timeline.run(5, (COST_A, ERRORS_A, COST_B))
    assert timeline.told == [(2, "firing"), (2, "firing")]
    first, second = sorted(timeline.inbox().notices, key=lambda notice: notice.title)
    assert (first.title, second.title) == (
        "cost per request, b",
        "error rate and cost per request, a",
    )
    assert (second.severity, second.also) == ("critical", ("a: cost breach.",))
    timeline.run(20)
    assert [kind for _, kind in timeline.told].count("resolved") == 2


def test_a_later_alert_joins_the_thread_and_one_resolved_ends_it(timeline: Timeline) -> None:
    timeline.run(8, (ERRORS_A,))
    timeline.run(5, (ERRORS_A, COST_A))
    timeline.run(30, (COST_A,))
    timeline.run(30)
    assert timeline.told == [(2, "firing"), (9, "joined"), (58, "resolved")]
    assert len(timeline.rows("incident")) == 1
    assert len({notice.incident for notice in timeline.inbox().notices}) == 1


def test_alerts_that_join_together_are_told_together(timeline: Timeline) -> None:
    timeline.run(3, (ERRORS_A,))
    timeline.run(10, (ERRORS_A, COST_A))
    assert timeline.told == [(2, "firing"), (7, "joined")]


def test_it_is_told_at_once_when_an_incident_becomes_critical(timeline: Timeline) -> None:
    timeline.run(3, (COST_A,))
    timeline.run(2, (COST_A,), critical=True)
    timeline.run(5, (COST_A,))
    assert timeline.told == [(2, "firing"), (4, "worse")]
    assert timeline.inbox().notices[-1].severity == "critical"


def test_the_same_incident_opens_again_within_a_day_and_is_kept_longer(timeline: Timeline) -> None:
    timeline.run(5, (COST_A,))
    timeline.run(60)
    timeline.run(5, (COST_A,))
    timeline.run(60)
    kinds = [kind for _, kind in timeline.told]
    assert kinds == ["firing", "resolved", "firing_again", "resolved"]
    ends = [minute for minute, kind in timeline.told if kind == "resolved"]
    # Kept for 15 minutes the first time, for 30 the second.
    assert ends == [5 + 15, 70 + 30]
    assert [row["times"] for row in timeline.rows("incident")] == [2]
    again, over = timeline.inbox().notices[2:]
    assert again.started == over.started == "2026-11-20 15:06 UTC"
    assert over.sentence.startswith("Back to usual after 34 min.")


def test_a_learned_rule_fires_again_only_on_what_came_after_it_was_resolved(
    tmp_path: Path,
) -> None:
    """The window of a breach here is 15 minutes; one that reaches back still holds what was told."""
    timeline = Timeline(tmp_path, RULES.replace("above $1", "spike 2x"))
    timeline.run(5, (COST_A,))
    timeline.run(15)
    timeline.run(14, (COST_A,))
    assert [kind for _, kind in timeline.told] == ["firing", "resolved"]
    assert timeline.status() == "resolved"
    timeline.run(10, (COST_A,))
    assert [kind for _, kind in timeline.told] == ["firing", "resolved", "firing_again"]
    timeline.close()


def test_an_alert_that_flaps_within_an_hour_is_one_thread(timeline: Timeline) -> None:
    for _ in range(12):
        timeline.run(1, (COST_A,))
        timeline.run(4)
    assert timeline.told == [(2, "firing")]


def test_a_critical_alert_repeats_until_somebody_acknowledges_it(timeline: Timeline) -> None:
    timeline.run(500, (ERRORS_A,), step=5)
    repeats = [kind for _, kind in timeline.told]
    assert repeats == ["firing", "still_firing", "still_firing"]
    timeline.log.execute("update incident set acked_at = '2026', acked_by = 'me'")
    timeline.run(500, (ERRORS_A,), step=5)
    assert len(timeline.told) == 3


def test_a_warning_does_not_repeat_unless_its_rule_says_so(timeline: Timeline) -> None:
    timeline.run(600, (COST_A,), step=5)
    assert [kind for _, kind in timeline.told] == ["firing"]
    timeline.restart(RULES.replace("above $1}", "above $1, repeat_interval: 1h}"))
    timeline.run(60, (COST_A,), step=5)
    assert [kind for _, kind in timeline.told] == ["firing", "still_firing"]


def test_a_snoozed_incident_is_told_again_when_the_snooze_is_over(timeline: Timeline) -> None:
    timeline.run(3, (COST_A,))
    timeline.log.execute("update incident set snoozed_until = '2026-11-20T14:30:00.000000Z'")
    timeline.run(26, (COST_A,), critical=True)
    assert timeline.told == [(2, "firing")]
    timeline.run(11, (COST_A,))
    assert timeline.told[1:] == [(30, "worse")]


def test_a_snooze_ends_with_one_reminder(timeline: Timeline) -> None:
    timeline.run(3, (COST_A,))
    timeline.log.execute("update incident set snoozed_until = '2026-11-20T14:30:00.000000Z'")
    timeline.run(40, (COST_A,))
    assert timeline.told == [(2, "firing"), (30, "still_firing")]


def test_a_silence_in_the_file_holds_from_until(timeline: Timeline) -> None:
    more = (
        "silences:\n  - {match: {agent_name: a, rule: cost}, from: 2026-11-20T16:00+02:00,"
        " until: 2026-11-20T16:20+02:00, author: ann, comment: migration}\n"
    )
    with_rules(timeline, more)
    timeline.run(10, (COST_A, COST_B))
    assert timeline.told == [(2, "firing")]
    assert timeline.inbox().notices[0].labels == {"agent_name": "b"}
    timeline.run(15, (COST_A, COST_B))
    assert timeline.told[1:] == [(20, "firing")]
    timeline.restart(RULES)
    assert timeline.log.rows("select ended_at is null as open from silence") == [{"open": 0}]


OUTAGE = """\
  - {name: outage, watch: call_error_rate, by: [provider, model], when: above 20%,
     at_least: {agents: 3}, severity: critical}
  - {name: quiet, watch: requests, by: agent_name, when: silent 1h}
"""


def test_an_outage_mutes_the_errors_of_its_agents_and_nothing_else(timeline: Timeline) -> None:
    with_rules(timeline, OUTAGE)
    firing = (("outage", "openai/gpt-5"), ERRORS_A, ERRORS_B, COST_A, ("errors", "z"))
    timeline.run(5, firing, agents=("a", "b", "c"))
    titles = sorted(notice.title for notice in timeline.inbox().notices)
    assert titles == [
        "cost per request, a",
        "error rate, z",
        "model call error rate, openai / gpt-5",
    ]


def test_when_the_outage_is_over_what_still_fires_is_told(timeline: Timeline) -> None:
    with_rules(timeline, OUTAGE)
    timeline.run(5, (("outage", "openai/gpt-5"), ERRORS_A), agents=("a", "b", "c"))
    timeline.run(20, (ERRORS_A,))
    assert sorted(timeline.told) == [(2, "firing"), (20, "firing"), (20, "resolved")]


def test_an_agent_that_went_quiet_mutes_its_other_alerts(timeline: Timeline) -> None:
    with_rules(timeline, OUTAGE)
    timeline.run(5, (("quiet", "a"), ERRORS_A, COST_A, COST_B))
    titles = sorted(notice.title for notice in timeline.inbox().notices)
    assert titles == ["cost per request, b", "requests, a"]


def test_what_was_critical_is_so_again_only_if_it_is(timeline: Timeline) -> None:
    timeline.run(5, (COST_A,), critical=True)
    timeline.run(30)
    timeline.run(5, (COST_A,))
    assert [(n.kind, n.severity) for n in timeline.inbox().notices] == [
        ("firing", "critical"),
        ("resolved", "critical"),
        ("firing_again", "warning"),
    ]
    assert [row["severity"] for row in timeline.rows("incident")] == ["warning"]


def test_group_by_gathers_as_it_says(timeline: Timeline) -> None:
    timeline.restart(RULES.replace("above $1}", "above $1, group_by: rule}"))
    timeline.run(5, (COST_A, COST_B, ERRORS_A))
    titles = sorted(notice.title for notice in timeline.inbox().notices)
    assert titles == ["cost per request and 1 more, a", "error rate, a"]


def test_many_new_incidents_end_in_one_summary_and_critical_ones_are_told(
    timeline: Timeline,
) -> None:
    names = [f"a{i:02}" for i in range(40)]
    timeline.run(3, (*(("cost", name) for name in names), ("errors", "x")))
    kinds = [kind for _, kind in timeline.told]
    assert kinds.count("summary") == 1 and kinds.count("firing") in (20, 21)
    summary = next(n for n in timeline.inbox().notices if n.kind == "summary")
    assert summary.title.endswith("more alerts fire") and "more." in summary.sentence
    assert "error rate, x" in [n.title for n in timeline.inbox().notices]
    timeline.run(90, tuple(("cost", name) for name in names))
    assert [kind for _, kind in timeline.told].count("firing") in (20, 21)


def test_a_minute_in_which_everything_is_critical_is_a_screen_of_notices(
    timeline: Timeline,
) -> None:
    """It was a notice for each of them, and another for each when it was over."""
    names = [f"a{i:02}" for i in range(60)]
    failing = tuple(("errors", name) for name in names)
    timeline.run(4, failing)
    kinds = [kind for _, kind in timeline.told]
    assert (kinds.count("firing"), kinds.count("summary")) == (20, 1)
    summary = next(n for n in timeline.inbox().notices if n.kind == "summary")
    assert (summary.title, summary.severity) == ("40 more alerts fire, 40 critical", "critical")
    timeline.run(20, (*failing, *(("cost", name) for name in names)))
    kinds = [kind for _, kind in timeline.told]
    assert (kinds.count("joined"), kinds.count("summary"), len(kinds)) == (20, 1, 41)
    timeline.run(5 * 60, failing)
    assert [kind for _, kind in timeline.told].count("still_firing") == 20
    timeline.run(30, failing[:30])
    assert summary.incident not in [n.incident for n in timeline.inbox().notices[41:]]
    timeline.run(30)
    over = [n for n in timeline.inbox().notices if n.kind == "resolved"]
    assert len(over) == 21 and over[-1].incident == summary.incident


def test_what_began_and_ended_while_nobody_looked_is_history_only(timeline: Timeline) -> None:
    timeline.run(3)
    timeline.run(30, (COST_A,), is_told=False)
    timeline.run(30, is_told=False)
    timeline.run(1)
    assert timeline.told == []
    assert [row["reason"] for row in timeline.rows("incident")] == ["back to usual"]


def test_what_still_fires_after_a_pause_is_told_once(timeline: Timeline) -> None:
    timeline.run(30, (COST_A,), is_told=False)
    timeline.run(3, (COST_A,))
    assert timeline.told == [(31, "firing")]
    timeline.run(30, is_told=False)
    timeline.run(1)
    assert timeline.told == [(31, "firing"), (64, "resolved")]


def test_a_clock_that_was_ahead_makes_nobody_blind(timeline: Timeline) -> None:
    timeline.run(5, (COST_A,))
    timeline.now += timedelta(hours=6)
    timeline.run(1, (COST_A,))
    timeline.now = START + timedelta(minutes=6)
    timeline.board.rewind(timeline.now)
    timeline.run(30)
    assert [kind for _, kind in timeline.told] == ["firing", "resolved"]
    assert timeline.status() == "resolved"


def test_what_fired_while_the_clock_was_ahead_is_told_when_it_is_right(timeline: Timeline) -> None:
    timeline.now += timedelta(hours=6)
    timeline.run(1, (COST_A,))
    timeline.now = START + timedelta(minutes=6)
    timeline.board.rewind(timeline.now)
    timeline.run(5, (COST_A,))
    assert timeline.told == [(7, "firing")]


def test_a_notice_made_while_the_clock_was_ahead_is_sent_when_it_is_right(
    timeline: Timeline,
) -> None:
    timeline.inbox().is_down = True
    timeline.now += timedelta(hours=6)
    timeline.run(3, (COST_A,))
    timeline.inbox().is_down = False
    timeline.now = START + timedelta(minutes=5)
    timeline.deliver()
    assert timeline.told == [(5, "firing")]


def test_one_group_never_has_two_open_incidents_and_replay_tells_the_same(tmp_path: Path) -> None:
    script = [(i * 7919 % 11 < 4, i * 104729 % 13 < 3, i * 31 % 17 == 0) for i in range(200)]

    def play(name: str) -> list[tuple[int, str]]:
        timeline = Timeline(tmp_path / name)
        for is_dear, is_failing, is_restarted in script:
            firing = ((COST_A,) if is_dear else ()) + ((ERRORS_A,) if is_failing else ())
            timeline.run(6, firing, step=3)
            if is_restarted and name == "restarted":
                timeline.restart()
            (row,) = timeline.log.rows(
                "select count(*) as n from incident where resolved_at is null"
            )
            assert row["n"] <= 1
        told = timeline.told
        timeline.close()
        return told

    once = play("once")
    assert once == play("restarted")
    opened, closed = 0, 0
    for _, kind in once:
        opened += kind in ("firing", "firing_again")
        closed += kind == "resolved"
        assert 0 <= opened - closed <= 1


def test_a_rule_that_is_gone_leaves_no_open_incident_and_no_notice(timeline: Timeline) -> None:
    timeline.run(5, (ERRORS_A,))
    timeline.restart(RULES.replace("name: errors", "name: others"))
    assert [row["reason"] for row in timeline.rows("incident")] == ["its rule is gone"]
    timeline.deliver()
    assert timeline.told == [(2, "firing")]


def test_what_joins_does_not_overtake_a_first_notice_that_waits(timeline: Timeline) -> None:
    timeline.inbox().is_down = True
    timeline.run(4, (ERRORS_A,))
    timeline.inbox().is_down = False
    waiting = "update outbox set next_at = '2026-11-20T14:30:00.000000Z' where status = 'queued'"
    timeline.log.execute(waiting)
    timeline.run(20, (ERRORS_A, COST_A))
    assert timeline.told == []
    timeline.run(10, (ERRORS_A, COST_A))
    assert timeline.told == [(30, "firing"), (30, "joined")]
