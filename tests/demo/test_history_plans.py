"""The demo's history is decided by its seed, covers its days once, and hides the named incidents."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from taximeter.demo.incidents import place_incidents
from taximeter.demo.plans.history import LINES, History, Job
from taximeter.demo.plans.plan import ClaudeContext, GptContext, Plan
from taximeter.demo.rhythm import open_office
from taximeter.demo.stage import Script

NOW = datetime(2026, 11, 24, 11, 30, tzinfo=UTC)
UTC_OFFICE = timedelta(0)


def history(days: float = 14, seed: int = 7, now: datetime = NOW) -> History:
    office = open_office(now, UTC_OFFICE)
    return History(office, place_incidents(office, days), days, seed)


def all_plans(past: History, service: str) -> list[Plan]:
    jobs = [job for job in past.jobs() if job.line.service == service]
    return [plan for job in jobs for plan in past.plans(job)]


def input_tokens(script: Script) -> int:
    own = sum(reply.tokens.prompt for reply in script.replies if reply.tokens)
    return own + sum(input_tokens(branch) for branch in script.branches)


def test_the_same_seed_makes_the_same_history_in_whatever_order_it_is_run() -> None:
    first, second = history(days=2), history(days=2)
    jobs = first.jobs()
    assert jobs == second.jobs()
    backwards = {job: second.plans(job) for job in reversed(jobs)}
    assert all(first.plans(job) == backwards[job] for job in jobs)


def test_another_seed_makes_another_history() -> None:
    assert all_plans(history(1, seed=1), "support-desk") != all_plans(
        history(1, seed=2), "support-desk"
    )


def test_jobs_cover_every_line_once_without_gap_or_overlap() -> None:
    past = history(days=3.5)
    for line in LINES:
        jobs = sorted((job for job in past.jobs() if job.line == line), key=start_of)
        assert jobs[0].start == NOW - timedelta(days=3.5)
        assert jobs[-1].end == NOW
        assert all(a.end == b.start for a, b in pairwise(jobs))
        assert all(job.start <= plan.at < job.end for job in jobs for plan in past.plans(job))


def start_of(job: Job) -> datetime:
    return job.start


def test_the_newest_day_comes_first() -> None:
    ends = [job.end for job in history().jobs() if job.line.service == "support-desk"]
    assert ends == sorted(ends, reverse=True)


@pytest.mark.parametrize("days", [1, 14])
def test_every_named_incident_lies_inside_the_history(days: float) -> None:
    past = history(days)
    beginning = NOW - timedelta(days=days)
    assert {incident.kind for incident in past.incidents} == {
        "cache_broken",
        "runaway_loop",
        "price_switch",
        "provider_outage",
        "retry_storm",
        "runaway_research",
    }
    assert all(beginning <= incident.start < NOW for incident in past.incidents)


def test_old_incidents_happen_in_office_hours_of_workdays() -> None:
    for weekday in range(7):
        past = history(now=NOW + timedelta(days=weekday))
        for incident in past.incidents:
            local = past.office.local(incident.start)
            if incident.kind != "runaway_research":
                assert local.weekday() < 5 and 9 <= local.hour < 17


def test_the_incident_of_the_moment_makes_research_several_times_dearer() -> None:
    plans = all_plans(history(), "deep-research")
    usual = [plan for plan in plans if plan.version == "2.4.2"]
    latest = [plan for plan in plans if plan.version == "2.5.0"]
    assert len(latest) >= 20
    assert all(plan.at > NOW - timedelta(hours=1) for plan in latest)
    mean_usual = sum(input_tokens(plan.script) for plan in usual) / len(usual)
    mean_latest = sum(input_tokens(plan.script) for plan in latest) / len(latest)
    assert mean_latest > 4 * mean_usual


def test_the_support_desk_is_busy_in_office_hours_and_quiet_at_night() -> None:
    past = history()
    plans = [plan for plan in all_plans(past, "support-desk") if NOW - plan.at < timedelta(days=5)]
    by_hour = Counter(f"{past.office.local(plan.at):%d %H}" for plan in plans)
    busy = [by_hour["23 10"], by_hour["23 11"], by_hour["23 14"], by_hour["24 10"]]
    nights = [count for hour, count in by_hour.items() if hour[3:] in ("01", "02", "03")]
    assert sum(busy) / len(busy) >= 14
    assert max(nights, default=0) <= 5


def test_it_is_never_night_when_the_demo_starts() -> None:
    for hour in range(24):
        office = open_office(NOW.replace(hour=hour), UTC_OFFICE)
        assert 10 <= office.local(office.now).hour < 17


def test_a_broken_cache_is_written_at_every_call_and_never_read() -> None:
    context = ClaudeContext(8000, is_warm=True, is_broken=True)
    turns = [context.turn(100, 50) for _ in range(3)]
    assert [turn.cache_read for turn in turns] == [0, 0, 0]
    assert [turn.cache_write_5m for turn in turns] == [8000, 8000, 8000]


def test_a_growing_claude_prompt_reads_what_the_turn_before_wrote() -> None:
    context = ClaudeContext(3000, is_warm=False, is_long_lived=True)
    first, second = context.turn(100, 50), context.turn(200, 60)
    assert (first.cache_write_1h, first.cache_read) == (3000, 0)
    assert second.cache_read == first.prompt - first.uncached_input
    assert second.prompt == first.prompt + first.output + 200


def test_a_gpt_prompt_is_cached_in_steps_of_128_tokens() -> None:
    context = GptContext(2000)
    first, second = context.turn(0, 100), context.turn(300, 100)
    assert first.cache_read == 0
    assert second.cache_read % 128 == 0
    assert first.prompt + first.output + 300 == second.prompt
