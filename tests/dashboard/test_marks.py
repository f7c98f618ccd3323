"""What happened, on charts over time: deploys from the data, incidents from the alerts service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from taximeter_dashboard import charts, queries
from taximeter_dashboard.alerting import Alert, as_alert
from taximeter_dashboard.marks import (
    Mark,
    annotation_marks,
    deploy_marks,
    incident_marks,
    mark_items,
    summary,
    with_marks,
)
from taximeter_dashboard.scope import Scope, scope_of

from .test_queries import NOW, Database, database, scope

__all__ = ["database", "scope"]  # fixtures

MINUTE = timedelta(minutes=1)
TIMES = [NOW + i * MINUTE for i in range(-60, 0)]


def url(page: str, **own: Any) -> str:
    return f"/{page}?{own}"


def add(database: Database, age: timedelta, **values: str) -> None:
    """Add a minute with traffic."""
    row = {"minute": NOW - age, **values}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    database.connection.execute(
        f"insert into rollup.usage_minute ({names}) values ({marks})", list(row.values())
    )


def found(database: Database, scope: Scope) -> list[tuple[str, str, str]]:
    rows = queries.deploys(database, scope)
    return [(row["agent_name"], row["before"], row["agent_version"]) for row in rows]


def test_a_deploy_is_the_first_minute_of_a_later_version(database: Database, scope: Scope) -> None:
    for version, age in (("1", 5_000), ("1", 20), ("2", 30), ("2", 10)):
        add(database, age * MINUTE, agent_name="a", agent_version=version)
    # Requests know a version by their service; the very first version is no deploy.
    for version, age in (("7", 900), ("8", 5)):
        add(database, age * MINUTE, service_name="s", agent_version=version)
    add(database, 15 * MINUTE, agent_name="new", agent_version="1")
    add(database, 15 * MINUTE, agent_name="a")
    assert found(database, scope) == [("a", "1", "2"), ("s", "7", "8")]
    row = queries.deploys(database, scope)[0]
    assert row["first_seen"] == NOW - 30 * MINUTE


def test_deploys_follow_the_agent_but_not_the_version_that_is_filtered(database: Database) -> None:
    for agent in ("a", "b"):
        for version, age in (("1", 500), ("2", 30)):
            add(database, age * MINUTE, agent_name=agent, agent_version=version)
    only = scope_of(NOW, "1h", filters={"agent": ["b"], "version": ["2"]})
    assert found(database, only) == [("b", "1", "2")]


def incident(started: timedelta, ended: timedelta | None, **labels: str) -> Alert:
    return as_alert({
        "rule": "error-rate", "severity": "critical", "sentence": "Too many.", "labels": labels,
        "opened_at": (NOW - started).isoformat(),
        "resolved_at": None if ended is None else (NOW - ended).isoformat(),
    })  # fmt: skip


def test_an_incident_is_marked_where_it_touches_the_window_and_its_filters() -> None:
    only = scope_of(NOW, "1h", filters={"agent": ["a"]})
    over, before = incident(90 * MINUTE, 30 * MINUTE, agent_name="a"), 2 * timedelta(hours=1)
    others = [
        incident(before, 90 * MINUTE, agent_name="a"),
        incident(20 * MINUTE, None, agent_name="b"),
    ]
    running = incident(10 * MINUTE, None, model="m")
    first, second = incident_marks([over, *others, running], only, NOW, UTC, url)
    assert (first.at, first.until) == (only.start, NOW - 30 * MINUTE)
    assert first.label == "Error rate · a" and first.text.endswith("for 1h 00m: Too many.")
    assert (second.until, second.text) == (NOW, "firing since 24 Nov 11:32: Too many.")


def drawn(marks: list[Mark]) -> dict[str, Any]:
    line = charts.Line("a", [1.0] * len(TIMES), "#000")
    spec = charts.lines(TIMES, [line], y_format="{value}", tip="%.0f", target=50)
    marked = with_marks(spec, marks, TIMES)
    json.dumps(marked, allow_nan=False)
    assert len(spec["series"]) == 1, "the chart itself stays as it is"
    extra: dict[str, Any] = marked["series"][1] if marks else {}
    return extra


def tips(marks: list[Mark]) -> dict[str, list[list[str | None]]]:
    spec = charts.stacked(TIMES, {"a": [1.0] * len(TIMES)})
    marked = with_marks(spec, marks, TIMES)
    assert marked["legend"]["data"] == ["a"], "what is only told has no entry there"
    return {series["name"]: series["data"] for series in marked["series"][2:]}


def test_a_mark_is_told_in_the_tooltip_of_its_bucket_which_would_cover_its_label() -> None:
    at = TIMES[31] - timedelta(seconds=20)
    row = {"agent_name": "a", "agent_version": "2", "before": "1", "first_seen": at}
    marks = deploy_marks([row], UTC, url)
    (line,) = drawn(marks)["markLine"]["data"]
    assert line["label"]["formatter"] == line["emphasis"]["label"]["formatter"] == "2"
    assert tips(marks) == {"Deploy": [[TIMES[31].isoformat(), None, "a 2"]]}


def test_a_span_is_told_in_each_bucket_it_touches_and_marks_that_share_a_line_at_the_line() -> None:
    middle = TIMES[40] + timedelta(seconds=20)
    span = Mark(middle, "Error rate", "x", until=TIMES[42], kind="incident")
    near = [Mark(TIMES[i], f"{i}", "", kind="annotation") for i in (10, 11)]
    told = tips([span, *near])
    assert [at for at, *_ in told["Incident"]] == [TIMES[i].isoformat() for i in (40, 41)]
    assert [at for at, *_ in told["Annotation"]] == [TIMES[10].isoformat()] * 2


def test_deploys_that_are_close_share_a_line_and_templates_stay_text() -> None:
    names = ((0, "a", "{2}"), (40, "b", "3"), (42, "c", "4"))
    marks = [Mark(TIMES[i], f"{name} {v}", "x", version=v) for i, name, v in names]
    first, second = drawn(marks)["markLine"]["data"]
    assert first["label"]["formatter"] == "(2)"
    assert second["label"]["formatter"] == "2 deploys"
    assert second["name"].splitlines() == ["b 3, x", "c 4, x"]
    assert (first["label"]["align"], second["label"]["align"]) == ("left", "right")


def test_agents_that_got_a_version_together_are_told_as_one() -> None:
    marks = [Mark(TIMES[40 + i], f"{name} 2.5", "x", version="2.5") for i, name in enumerate("ab")]
    (line,) = drawn(marks)["markLine"]["data"]
    assert line["label"]["formatter"] == "2.5"


def test_a_long_version_is_cut() -> None:
    (line,) = drawn([Mark(TIMES[9], "a", "x", version="2.5.0+build.20261124")])["markLine"]["data"]
    assert line["label"]["formatter"] == "2.5.0+build.20261…"


def test_marks_stay_inside_the_plot() -> None:
    late, early = NOW + MINUTE, NOW - timedelta(days=1)
    span = drawn([Mark(early, "i", "", until=late)])["markArea"]["data"][0]
    assert [end["xAxis"] for end in span] == [TIMES[0].isoformat(), TIMES[-1].isoformat()]
    (line,) = drawn([Mark(late, "d", "")])["markLine"]["data"]
    assert line["xAxis"] == TIMES[-1].isoformat()
    assert drawn([]) == {}


def annotated(age: timedelta, text: str = "flushed", **more: Any) -> dict[str, Any]:
    return {"id": "1", "at": (NOW - age).isoformat(), "text": text, **more}


def test_an_annotation_says_when_whom_and_who_and_concerns_its_agent(scope: Scope) -> None:
    more = {"agent_name": "a", "service_name": "s", "author": "ann"}
    rows = [
        annotated(10 * MINUTE, **more),
        annotated(90 * MINUTE, until=(NOW - 30 * MINUTE).isoformat()),
    ]
    moment, span = annotation_marks(rows, scope, UTC, url)
    assert (moment.label, moment.text) == ("flushed", "24 Nov 11:32, a, s, by ann")
    assert (moment.until, moment.id) == (None, "1")
    assert (span.at, span.until) == (scope.start, NOW - 30 * MINUTE)
    assert (span.text, span.href) == ("24 Nov 10:12 to 24 Nov 11:12", "")
    assert "agents" in moment.href
    others = scope_of(NOW, "1h", filters={"agent": ["b"]})
    assert [mark.until for mark in annotation_marks(rows, others, UTC, url)] == [span.until]


def test_an_annotation_looks_like_itself_and_its_label_stays_beside_a_deploys() -> None:
    deploys = [Mark(TIMES[i], "a 2", "", version=str(i)) for i in (10, 33)]
    written = Mark(TIMES[33], "flushed", "by ann", kind="annotation")
    span = Mark(TIMES[40], "load test", "", TIMES[50], "annotation")
    extra = drawn([*deploys, written, span])
    lines = {line["label"]["formatter"]: line for line in extra["markLine"]["data"]}
    assert {text: line["label"]["show"] for text, line in lines.items()} == {
        "10": True,
        "": False,
        "flushed": True,
    }
    own, other = lines["flushed"], lines["10"]
    assert (own["symbol"], other["symbol"]) == ("triangle", "none")
    assert (own["lineStyle"]["type"], other["lineStyle"]["type"]) == ("solid", "dashed")
    ((area, _),) = extra["markArea"]["data"]
    assert area["itemStyle"]["color"] == own["lineStyle"]["color"] != other["lineStyle"]["color"]
    assert summary([*deploys, written, span]) == "2 deploys, 2 annotations"


def test_hostile_annotations_are_cut_and_no_template(scope: Scope) -> None:
    text = "{b}<img src=x onerror=alert(1)>" + "x" * 300
    (mark,) = annotation_marks([annotated(10 * MINUTE, text)], scope, UTC, url)
    assert mark.label == text[:199] + "…"
    (line,) = drawn([mark])["markLine"]["data"]
    assert line["label"]["formatter"] == "(b)<img src=x one…"


def test_a_label_ends_before_the_next_one() -> None:
    marks = [Mark(TIMES[i], "x" * 30, "", kind="annotation") for i in (2, 12, 26, 40, 56)]
    lines = drawn(marks)["markLine"]["data"]
    assert [len(line["label"]["formatter"]) for line in lines] == [8, 11, 6, 6, 13]
    short = [Mark(TIMES[26], "1.2", "", version="1.2"), marks[3]]
    lines = drawn(short)["markLine"]["data"]
    assert [line["label"]["formatter"] for line in lines] == ["1.2", "xxxxxx…"]


def test_annotations_that_are_close_share_a_line() -> None:
    marks = [Mark(TIMES[40 + i], name, "", kind="annotation") for i, name in enumerate("ab")]
    (line,) = drawn(marks)["markLine"]["data"]
    assert line["label"]["formatter"] == "2 annotations"


def test_the_list_leads_on_with_the_newest_first() -> None:
    marks = [Mark(datetime(2026, 11, day, tzinfo=UTC), f"d{day}", "", href="/x") for day in (1, 2)]
    assert [item["title"] for item in mark_items(marks)] == ["d2", "d1"]


def test_a_time_line_has_its_first_row_on_top_and_marks_on_their_feet() -> None:
    """ECharts draws the first category at the bottom; an inverse axis would turn the marks over."""
    spans = [charts.Span(row, TIMES[0], TIMES[9], "#000", "i") for row in ("first", "second")]
    marked = with_marks(
        charts.time_line(spans, TIMES[0], TIMES[-1]),
        [Mark(TIMES[9], "flushed", "", kind="annotation")],
        (TIMES[0], TIMES[-1]),
    )
    assert marked["yAxis"]["data"] == ["second", "first"]
    assert "inverse" not in marked["yAxis"]
    ((line,),) = [s["markLine"]["data"] for s in marked["series"] if "markLine" in s]
    assert line["emphasis"]["label"]["formatter"] == "{b}", "pointed at, it says more"
    assert line["xAxis"] == TIMES[9].isoformat()
