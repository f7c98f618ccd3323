"""Annotations: what people and deploy scripts send, what is kept, and who may send it."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.alerts.served import served
from tests.alerts.timeline import Timeline

from taximeter.settings.secret import Secret

DOCUMENT = Path(__file__).parents[2] / "docs" / "alerts.md"
JSON = {"Content-Type": "application/json"}
NOW = "2026-11-20T14:00:00.000000Z"


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path)
    yield timeline
    timeline.close()


@pytest.fixture
def api(timeline: Timeline) -> Iterator[httpx.Client]:
    with served(timeline) as url, httpx.Client(base_url=f"{url}/api/") as client:
        yield client


def texts(api: httpx.Client, **window: str) -> list[str]:
    rows = api.get("annotations", params=window).json()["annotations"]
    return [row["text"] for row in rows]


def test_an_annotation_is_of_now_and_of_everybody_unless_it_says_more(api: httpx.Client) -> None:
    made = api.post("annotations", json={"text": " cache \n flushed "}).json()
    assert re.fullmatch("[0-9a-f]{16}", made.pop("id"))
    assert made == {
        "at": NOW, "until": None, "text": "cache flushed", "agent_name": None,
        "service_name": None, "author": "", "created_at": NOW,
    }  # fmt: skip
    more = {
        "text": "load test", "at": "2026-11-20T10:00+01:00", "until": "2026-11-20T10:00Z",
        "agent_name": "support", "service_name": "web", "author": "ann",
    }  # fmt: skip
    kept = api.post("annotations", json=more).json()
    assert (kept["at"][:16], kept["until"][:16]) == ("2026-11-20T09:00", "2026-11-20T10:00")
    assert [kept[name] for name in ("agent_name", "service_name", "author")] == [
        "support",
        "web",
        "ann",
    ]
    assert texts(api) == ["cache flushed", "load test"]


def test_a_window_gets_those_that_touch_it(api: httpx.Client) -> None:
    for hour, until in ((9, None), (10, 12), (11, None), (13, None)):
        body = {"text": str(hour), "at": f"2026-11-20T{hour:02}:00Z"}
        api.post("annotations", json=body | ({"until": f"2026-11-20T{until}:00Z"} if until else {}))
    assert texts(api, start="2026-11-20T11:30Z", end="2026-11-20T13:00Z") == ["10"]
    assert texts(api, start="2026-11-20T11:00Z") == ["13", "11", "10"]
    assert texts(api, end="2026-11-20T11:00Z") == ["10", "9"]
    assert api.get("annotations", params={"start": "soon"}).status_code == 400


def test_a_deleted_annotation_is_gone(api: httpx.Client) -> None:
    id = api.post("annotations", json={"text": "wrong"}).json()["id"]
    assert api.delete(f"annotations/{id}").status_code == 200
    assert api.delete(f"annotations/{id}").status_code == 404
    assert texts(api) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "text must be 1 to 200 characters"),
        ({"text": " \n"}, "text must be 1 to 200 characters"),
        ({"text": "x" * 201}, "text must be 1 to 200 characters"),
        ({"text": {"a": 1}}, "text must be 1 to 200 characters"),
        ({"text": "x", "at": "soon"}, "at: not a time"),
        ({"text": "x", "at": "9999-12-31"}, "at: not a time"),
        ({"text": "x", "until": "2026-11-20T14:00Z"}, "until must be later than at"),
        ({"text": "\ud800"}, "not JSON"),
    ],
)
def test_an_annotation_that_makes_no_sense_is_refused(
    api: httpx.Client, body: dict[str, Any], said: str
) -> None:
    answer = api.post("annotations", content=json.dumps(body), headers=JSON)
    assert (answer.status_code, said in answer.text) == (400, True)
    assert texts(api) == []


def test_only_json_of_a_fitting_size_is_taken(api: httpx.Client) -> None:
    assert api.post("annotations", data={"text": "x"}).status_code == 415
    assert api.post("annotations", json={"text": "x", "more": "y" * 65_536}).status_code == 413
    assert api.post("annotations", content="[" * 50_000, headers=JSON).status_code == 400
    assert texts(api) == []


def test_without_the_token_nobody_reads_or_writes_them(timeline: Timeline) -> None:
    with served(timeline, token=Secret("t")) as url:
        path = f"{url}/api/annotations"
        right = {"Authorization": "Bearer t"}
        id = httpx.post(path, json={"text": "x"}, headers=right).json()["id"]
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert httpx.get(path, headers=headers).status_code == 401
            assert httpx.post(path, json={"text": "y"}, headers=headers).status_code == 401
            assert httpx.delete(f"{path}/{id}", headers=headers).status_code == 401
        (row,) = httpx.get(path, headers=right).json()["annotations"]
    assert row["text"] == "x"


def test_a_restart_keeps_them(timeline: Timeline) -> None:
    hostile = "<img src=x onerror=alert(1)>'; drop table annotation; --"
    with served(timeline) as url:
        httpx.post(f"{url}/api/annotations", json={"text": hostile})
    timeline.restart()
    with served(timeline) as url:
        (row,) = httpx.get(f"{url}/api/annotations").json()["annotations"]
    assert row["text"] == hostile


def test_a_file_from_before_there_were_any_takes_them(timeline: Timeline) -> None:
    timeline.close()
    with sqlite3.connect(timeline.data_dir / "alerts.sqlite") as file:
        file.execute("drop table annotation")
    file.close()
    timeline.restart()
    with served(timeline) as url:
        assert httpx.post(f"{url}/api/annotations", json={"text": "x"}).status_code == 200


def test_the_documented_requests_are_taken(api: httpx.Client) -> None:
    commands = re.findall(r"```\n(curl .*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(commands) == 2
    for command in commands:
        words = shlex.split(command.replace("support", "a"))
        given = dict(itertools.pairwise(words))
        name, _, value = given["-H"].partition(": ")
        (url,) = (word for word in words if word.startswith("http"))
        path = urlsplit(url).path.removeprefix("/api/")
        answer = api.request(given["-X"], path, content=given["-d"], headers={name: value})
        assert answer.status_code == 200, answer.text
    assert len(texts(api)) == 1
