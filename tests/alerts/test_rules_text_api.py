"""The text of alerts.yaml through the API: read, checked, tried, saved; and all that must be refused."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.alerts.served import served
from tests.alerts.test_rules_file import BAD, DEFAULTS
from tests.alerts.timeline import Timeline
from tests.patience import wait_until

from taximeter.settings.secret import Secret
from taximeter.settings.settings import load_settings
from taximeter_alerts.__main__ import main
from taximeter_alerts.api.rules_text import InForce, RulesText
from taximeter_alerts.backtest.backtest_job import BacktestJob
from taximeter_alerts.rules.rules_on_disk import RulesOnDisk

GOOD = "version: 1\nrules:\n  - {name: dear, watch: cost_usd, when: above $5}  # ünïcode 🚕\n"
OTHER = GOOD.replace("$5", "$6")
SECRET = "xoxb-1234567890-abcdefghij"
JSON = {"Content-Type": "application/json"}


class Api:
    """The API over a data dir, and the file that it edits."""

    def __init__(self, timeline: Timeline, url: str, job: BacktestJob) -> None:
        self.file, self.log, self.job = timeline.data_dir / "alerts.yaml", timeline.log, job
        self.client = httpx.Client(base_url=f"{url}/api/")

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("rules/file").json()["file"]
        return found

    def check(self, text: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.post("rules/check", json={"text": text}).json()
        return found

    def save(self, text: str, digest: str, author: str = "ann") -> httpx.Response:
        body = {"text": text, "digest": digest, "author": author}
        return self.client.put("rules/file", json=body)

    def said(self, answer: httpx.Response) -> str:
        return str(answer.json()["error"]["message"])


@pytest.fixture
def timeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Timeline]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAXIMETER_ALERTS_RULES", raising=False)
    timeline = Timeline(tmp_path / "data")
    yield timeline
    timeline.close()


def text_of(timeline: Timeline) -> RulesText:
    disk = RulesOnDisk(load_settings(None, {}, data_dir=timeline.data_dir))
    return RulesText(disk, timeline.log, lambda: timeline.now, lambda: InForce(""))


@pytest.fixture
def api(timeline: Timeline) -> Iterator[Api]:
    script = "import sys, json; print(json.dumps({'argv': sys.argv[1:], 'text': sys.stdin.read()}))"
    job = BacktestJob(lambda days: [sys.executable, "-c", script, str(days)])
    with served(timeline, backtests=job, rules_text=text_of(timeline)) as url:
        api = Api(timeline, url, job)
        yield api
        api.client.close()


def test_without_a_file_the_default_rules_stand_there_as_comments(api: Api) -> None:
    found = api.read()
    assert (found["is_file"], found["digest"], found["why_not_writable"]) == (False, "", None)
    assert found["path"] == str(api.file)
    assert api.check(found["text"])["said"].endswith(
        "0 own rules, 9 default rules, 0 receivers, no errors"
    )
    lines = [line.removeprefix("# ") for line in found["text"].splitlines() if "  - {" in line]
    written = "version: 1\nrules:\n" + "\n".join(lines)
    assert f"{len(DEFAULTS)} own rules, 0 default rules" in api.check(written)["said"]


def test_what_is_saved_stands_in_the_file_with_its_author_and_the_one_before_is_kept(
    api: Api,
) -> None:
    first = api.save(GOOD, "", "ann").json()["file"]
    assert api.file.read_text(encoding="utf-8") == GOOD
    assert api.file.stat().st_mode & 0o777 == 0o644
    assert (first["saved_by"], first["text"]) == ("ann", GOOD)
    api.file.chmod(0o640)
    second = api.save(OTHER, first["digest"], "ben").json()["file"]
    assert (second["saved_by"], second["saved_at"]) == ("ben", "2026-11-20T14:00:00.000000Z")
    assert api.file.read_text(encoding="utf-8") == OTHER
    kept = api.file.with_name("alerts.yaml.bak")
    assert kept.read_text(encoding="utf-8") == GOOD
    assert api.file.stat().st_mode & 0o777 == kept.stat().st_mode & 0o777 == 0o640
    authors = api.log.rows("select author from rules_change order by at, rowid")
    assert [row["author"] for row in authors] == ["ann", "ben"]
    assert {file.name for file in api.file.parent.iterdir() if "yaml" in file.name} == {
        "alerts.yaml",
        "alerts.yaml.bak",
    }


def test_a_file_that_was_changed_by_hand_meanwhile_is_not_overwritten(api: Api) -> None:
    digest = api.save(GOOD, "").json()["file"]["digest"]
    api.file.write_text(OTHER, encoding="utf-8")
    answer = api.save(GOOD + "# mine\n", digest)
    assert (answer.status_code, "has changed since it was read" in api.said(answer)) == (409, True)
    assert api.save(GOOD, "").status_code == 409
    assert api.file.read_text(encoding="utf-8") == OTHER
    found = api.read()
    assert (found["text"], found["saved_by"]) == (OTHER, None)
    assert api.save(GOOD, found["digest"]).status_code == 200


def test_a_link_stays_one(api: Api, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text(GOOD, encoding="utf-8")
    api.file.symlink_to(real)
    assert api.save(OTHER, api.read()["digest"]).status_code == 200
    assert (api.file.is_symlink(), real.read_text(encoding="utf-8")) == (True, OTHER)


def test_all_faults_are_said_as_the_command_says_them(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    found = api.check(BAD)
    api.file.write_text(BAD, encoding="utf-8")
    assert main(["--data-dir", str(api.file.parent), "check"]) == 1
    assert found["said"] == capsys.readouterr().err.strip()
    assert len(found["faults"]) == 13
    assert found["faults"][1] == {
        "line": 6,
        "column": 12,
        "message": "rule cost-spike: watch: unknown metric 'cost_per_requests'; did you mean"
        " 'cost_per_request_usd'?",
    }
    answer = api.save(BAD.replace("oops", "ops"), api.read()["digest"])
    assert (answer.status_code, "has 12 faults, the first at 3:16" in api.said(answer)) == (
        400,
        True,
    )
    assert api.file.read_text(encoding="utf-8") == BAD


def test_a_text_is_tried_before_it_is_saved(api: Api) -> None:
    answer = api.client.post("backtest", json={"days": 7, "text": GOOD})
    digest = answer.json()["backtest"]["digest"]
    wait_until(lambda: api.job.job.status == "done")
    assert api.job.job.result == {"argv": ["7", "-"], "text": GOOD}
    assert api.save(GOOD, "").json()["file"]["digest"] == digest
    faulty = api.client.post("backtest", json={"days": 7, "text": BAD})
    assert (faulty.status_code, "has 13 faults" in faulty.text) == (400, True)
    api.client.post("backtest", json={"days": 7})
    wait_until(lambda: api.job.job.status == "done")
    assert api.job.job.result == {"argv": ["7"], "text": ""}


@pytest.mark.parametrize("how", ["folder", "file", "mode", "owner", "mount"])
def test_where_it_cannot_be_written_that_is_said_in_one_sentence(
    api: Api, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.file.write_text(GOOD, encoding="utf-8")
    if how == "mode":
        api.file.chmod(0o444)
    elif how == "owner":
        monkeypatch.setattr(os, "geteuid", lambda: api.file.stat().st_uid + 1)
    elif how == "mount":
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == api.file)
    else:
        refused = api.file.parent if how == "folder" else api.file
        real = os.access
        # Root, as whom tests may run, may write everywhere but on what is mounted to be read only.
        monkeypatch.setattr(
            os, "access", lambda path, mode: Path(path) != refused and real(path, mode)
        )
    found = api.read()
    assert str(found["why_not_writable"]).count(".") - str(api.file).count(".") <= 1
    answer = api.save(OTHER, found["digest"])
    assert (answer.status_code, api.said(answer)) == (403, found["why_not_writable"])
    assert api.file.read_text(encoding="utf-8") == GOOD
    assert api.log.rows("select * from rules_change") == []


def test_a_disk_that_refuses_leaves_the_old_file_and_no_rest(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.file.write_text(GOOD, encoding="utf-8")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = api.save(OTHER, api.read()["digest"])
    monkeypatch.undo()
    assert (answer.status_code, "No space left on device." in api.said(answer)) == (403, True)
    assert [file.name for file in api.file.parent.glob("*yaml*")] == ["alerts.yaml"]
    assert api.file.read_text(encoding="utf-8") == GOOD


HOSTILE = {
    "bomb": ("a: &a [x,x]\n" + "".join(f"{n}: &{n} [*{m},*{m}]\n" for m, n in zip("abcdefgh", "bcdefghi", strict=True)), "unknown key 'a'"),
    "quadratic": ("version: 1\nrules:\n - &a {name: x, watch: cost_usd, when: above $5, by: [" + "agent_name," * 1500 + "]}\n" + " - *a\n" * 3000, "there is a rule of this name already"),
    "aliases": ("version: 1\nnotify: {o: {email: &a [" + "a@b.c," * 2000 + "]}}\nsilences: [{match: {}, until: 1}]\nrules:\n" + "".join(f" - {{name: r{i}, watch: cost_usd, when: above $5, where: {{agent_name: *a}}}}\n" for i in range(90)), "with its aliases the text has more than 100,000 values"),
    "itself": ("version: 1\nrules: &a [*a]\n", "keys with values are expected"),
    "lists": ("version: 1\nrules: " + "[" * 50_000, "nested too deeply"),
    "mappings": ("version: 1\nrules: " + "{a: " * 20_000, "nested too deeply"),
    "tab": ("version: 1\n\trules: []\n", "indent with spaces, not tabs"),
    "control": ("version: 1\nrules: \x07\n", "the character U+0007 is not allowed"),
    "object": ("version: !!python/object/apply:os.system ['id']\n", "a single value is expected"),
    "many faults": ("version: 1\n" + "".join(f"k{i}: 1\n" for i in range(20_000)), "there are more than 100 faults"),
    "large": ("# " + "x" * 256_000, "the text is larger than 256 KB"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_a_fault_and_is_never_saved(api: Api, name: str) -> None:
    text, said = HOSTILE[name]
    found = api.check(text)
    assert said in found["said"]
    assert 1 <= len(found["faults"]) <= 102
    assert api.save(text, "").status_code == 400
    assert not api.file.exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{}", 400),
        ('{"text": 5, "digest": ""}', 400),
        ('{"text": "version: 1"}', 400),
        ('{"text": "version: 1", "digest": null}', 400),
        ('{"text": "\\ud800", "digest": ""}', 400),
        (json.dumps({"text": "x" * 2_000_000, "digest": ""}), 413),
    ],
)
def test_a_request_that_makes_no_sense_changes_nothing(api: Api, body: str, status: int) -> None:
    assert api.client.put("rules/file", content=body, headers=JSON).status_code == status
    assert api.client.put("rules/file", data={"text": GOOD, "digest": ""}).status_code == 415
    assert not api.file.exists()


def test_a_file_that_is_no_text_is_said_and_left(api: Api) -> None:
    api.file.write_bytes(b"version: 1\n# \xff\n")
    found = api.read()
    assert "it is not UTF-8 text" in found["problem"]
    assert (found["text"], found["why_not_writable"]) == ("", found["problem"])
    answer = api.save(GOOD, found["digest"])
    assert answer.status_code == 409
    assert b"\xff" in api.file.read_bytes()


def test_without_the_token_nobody_reads_checks_or_saves(timeline: Timeline) -> None:
    with served(timeline, token=Secret("t"), rules_text=text_of(timeline)) as url:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            body = {"text": GOOD, "digest": ""}
            assert httpx.get(f"{url}/api/rules/file", headers=headers).status_code == 401
            for way, path in (("PUT", "rules/file"), ("POST", "rules/check"), ("POST", "backtest")):
                answer = httpx.request(way, f"{url}/api/{path}", json=body, headers=headers)
                assert answer.status_code == 401
        right = {"Authorization": "Bearer t"}
        assert httpx.put(f"{url}/api/rules/file", json=body, headers=right).status_code == 200


def test_a_secret_in_the_text_is_refused_and_in_no_log(
    api: Api, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    text = f"version: 1\nnotify: {{ops: {{slack: {SECRET}}}}}\n"
    assert "a secret is written as env:NAME" in api.check(text)["said"]
    assert api.save(text, "").status_code == 400
    assert api.client.post("backtest", json={"text": text}).status_code == 400
    assert not api.file.exists()
    written = capfd.readouterr()
    assert SECRET not in caplog.text + written.out + written.err
