"""What the providers' files are read into, and the sentence for each file that is no export."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taximeter import cli
from taximeter_collector.reconcile.days import covered_days
from taximeter_collector.reconcile.files import read_exports
from taximeter_collector.reconcile.rows import Export, ExportError

USAGE_HEAD = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,"
    "usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
    "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,"
    "web_search_count,inference_geo,speed"
)
COST_HEAD = (
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,"
    "list_price_usd,cost_type,inference_geo,speed,api_key_id,api_key_status"
)
OPENAI_COST_HEAD = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,"
    "quantity_unit,line_item,user_id,api_key_id,project_id,organization_id,project_name,"
    "organization_name,user_email,api_source"
)
BUCKET = {"starting_at": "2026-11-20T00:00:00Z", "ending_at": "2026-11-21T00:00:00Z"}
RESULT: dict[str, Any] = {
    "uncached_input_tokens": 10,
    "cache_read_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    "output_tokens": 5,
    "server_tool_use": {"web_search_requests": 2},
    "model": "claude-opus-5-5",
    "service_tier": "batch",
}


def page(*results: dict[str, Any], **bucket: Any) -> str:
    return json.dumps({"data": [{**BUCKET, "results": list(results), **bucket}], "has_more": False})


def read(tmp_path: Path, *texts: str) -> Export:
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"export-{number}")
        paths[-1].write_text(text, encoding="utf-8")
    return read_exports(paths)


def test_the_usage_api_of_anthropic(tmp_path: Path) -> None:
    [row] = read(tmp_path, page(RESULT)).rows
    assert (row.provider, row.kind, row.model, row.tier) == (
        "anthropic", "usage", "claude-opus-5-5", "batch")  # fmt: skip
    assert row.tokens == {
        "input": 10, "cache_read": 20, "cache_write_short": 3, "cache_write_long": 4,
        "output": 5, "web_search": 2,
    }  # fmt: skip


def test_the_newer_analytics_api_of_anthropic(tmp_path: Path) -> None:
    group = {"model": "claude-opus-5-5", "service_tier": "standard"}
    usage = {name: value for name, value in RESULT.items() if name not in group}
    texts = [
        json.dumps({"data": [{**BUCKET, "group": group, **part}], "has_more": False})
        for part in (
            {"usage": {**usage, "requests": 7, "total_tokens": 42}},
            {"cost": {"amount": "123.45", "list_amount": "130", "currency": "USD"}},
        )
    ]
    usage_row, cost_row = read(tmp_path, *texts).rows
    assert (usage_row.requests, usage_row.tokens["cache_write_long"]) == (7, 4)
    assert (cost_row.cost_pico, cost_row.model) == (1_234_500_000_000, "claude-opus-5-5")


def test_the_csv_exports_of_the_console(tmp_path: Path) -> None:
    usage = f"{USAGE_HEAD}\n2026-11-20,claude-haiku-4-5,k,Default,standard,≤ 200k,9,8,7,6,5,1,,\n"
    cost = (
        f"\ufeff{COST_HEAD}\r\n2026-11-20,Claude Haiku 4.5,Default,k,message,≤ 200k,"
        "input_no_cache,0.05,0.05,token,,,,\r\n"
    )
    export = read(tmp_path, usage, cost)
    usage_row, cost_row = export.rows
    assert dict(usage_row.tokens) == {
        "input": 9, "cache_write_short": 8, "cache_write_long": 7, "cache_read": 6,
        "output": 5, "web_search": 1,
    }  # fmt: skip
    assert (cost_row.cost_pico, cost_row.cost_class) == (50_000_000_000, "input")
    assert cost_row.rounding_pico == 5_000_000_000
    assert (usage_row.tier, cost_row.tier) == ("standard", "standard")
    assert export.notes == []


def test_the_csv_exports_of_openai(tmp_path: Path) -> None:
    """Tabs or commas, counts as decimals, days without usage as empty rows."""
    usage = (
        "start_time\tend_time\tnum_model_requests\tmodel\tbatch\tservice_tier\tinput_tokens"
        "\toutput_tokens\tinput_cached_tokens\tinput_audio_tokens\n"
        "1795132800\t1795219200\t10.0\tgpt-5-2025-08-07\tTRUE\tdefault\t59200.0\t106.0\t5760.0\t0\n"
        "1795219200\t1795305600\t\t\t\t\t\t\t\t\n"
    )
    cost = (
        f"{OPENAI_COST_HEAD}\n"
        "1795132800,1795219200,,,0.003835980000000000000000000000,usd,1000,tokens,"
        '"flex | gpt-5-2025-08-07, cached input",,,,,,,,\n'
        "1795132800,1795219200,,,1.5,usd,,,web search tool calls,,,,,,,,\n"
        "1795132800,1795219200,,,0.7,usd,,,assistants api | file search,,,,,,,,\n"
    )
    export = read(tmp_path, usage, cost)
    used, cached, search, other = export.rows
    assert (used.tokens["input"], used.tokens["cache_read"], used.requests) == (53_440, 5_760, 10)
    assert used.tier == "batch"
    assert (cached.tier, cached.cost_class, cached.cost_pico) == (
        "flex", "cache_read", 3_835_980_000)  # fmt: skip
    assert (search.item, other.item) == ("web search", "assistants api | file search")
    assert len(covered_days(export, None, None)) == 2


def test_audio_images_and_cache_writes_of_openai_are_disjoint(tmp_path: Path) -> None:
    result = {
        "object": "organization.usage.completions.result", "num_model_requests": 1,
        "input_tokens": 1_000, "output_tokens": 90, "input_cached_tokens": 300,
        "input_cached_audio_tokens": 100, "input_audio_tokens": 50, "input_image_tokens": 40,
        "input_cache_write_tokens": 60, "input_cache_write_12h_tokens": 20,
        "output_audio_tokens": 30,
    }  # fmt: skip
    bucket = {"object": "bucket", "start_time": 1795132800, "end_time": 1795219200}
    text = json.dumps({"object": "page", "data": [{**bucket, "results": [result]}]})
    [row] = read(tmp_path, text).rows
    found = {name: count for name, count in row.tokens.items() if count}
    assert found == {
        "input": 550, "cache_read": 200, "audio_cache_read": 100, "audio_input": 50,
        "image_input": 40, "cache_write_short": 40, "cache_write_long": 20, "output": 60,
        "audio_output": 30,
    }  # fmt: skip
    assert sum(c for n, c in found.items() if not n.endswith("output")) == 1_000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("[1, 2", "export-0:1: this is no JSON"),
        ('{"error": {"type": "authentication_error"}}', "error answer"),
        ('{"hello": 1}', "no list named data"),
        ('{"data": [{"starting_at": "2026-11-20", "ending_at": "2026-11-21", "results": [{"a": 1}]}]}',
         "results are not known"),
        ("date,spend\n2026-11-20,4\n", "export-0:1: these columns are not known"),
        ("usage_date_utc,usage_date_utc,cost_usd\n", "stands there twice"),
        (f'{COST_HEAD}\n2026-11-20,"x\n', "this is no CSV"),
        ("\x00\x01", "not known"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_export_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({**RESULT, "output_tokens": -5}, "a count is a whole number"),
        ({**RESULT, "output_tokens": 1.5}, "a count is a whole number"),
        ({**RESULT, "output_tokens": "many"}, "no number"),
        ({**RESULT, "output_tokens": True}, "no number"),
        ({"amount": "5", "currency": "EUR", "uncached_input_tokens": None}, None),
        ("text", "the result is no object"),
        ({**RESULT, "cache_creation_1d_tokens": 7}, "holds 7 that no known kind of token takes"),
    ],
)
def test_a_row_that_cannot_be_read_is_listed_with_its_place(
    tmp_path: Path, result: Any, reason: str | None
) -> None:
    export = read(tmp_path, page(RESULT, result))
    if reason is None:
        assert len(export.rows) == 2
        return
    [ignored] = export.ignored
    assert reason in ignored.reason
    assert ignored.where.startswith("export-0")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2026-11-20,claude,,,,,output,5,,token,,,,", None),
        ("2026-11-20,claude,,,,,output,five,,token,,,,", "cost_usd is 'five'"),
        ("20.11.2026,claude,,,,,output,5,,token,,,,", "no date"),
        ("2026-11-20,claude,,,,,output,NaN,,token,,,,", "no number"),
        ("2026-11-20,claude,5", "3 cells where the header has 14"),
    ],
)
def test_a_csv_row_is_named_by_its_line(tmp_path: Path, line: str, reason: str | None) -> None:
    good = "2026-11-20,Claude Opus 5.5,,,,,output,1,,token,,,,"
    export = read(tmp_path, f"{COST_HEAD}\n{good}\n{line}\n")
    if reason is None:
        assert export.ignored == []
    else:
        assert [one.where for one in export.ignored] == ["export-0:3"]
        assert reason in export.ignored[0].reason


@pytest.mark.parametrize(
    ("bucket", "reason"),
    [
        ({"ending_at": "2026-11-27T00:00:00Z"}, "more than one UTC day"),
        ({"ending_at": "2026-11-20T00:00:00Z"}, "ends before it starts"),
        ({"starting_at": "0001-01-01T00:00:00+14:00"}, "no date or time"),
        ({"starting_at": None}, "no date or time"),
        ({"results": "none"}, "results is no list"),
    ],
)
def test_a_bucket_without_a_day_is_listed(
    tmp_path: Path, bucket: dict[str, Any], reason: str
) -> None:
    text = json.loads(page(RESULT))
    text["data"].append({**BUCKET, "results": [RESULT], **bucket})
    export = read(tmp_path, json.dumps(text))
    assert reason in export.ignored[0].reason
    assert export.ignored[0].where == "export-0: data[1]"


def test_another_currency_is_not_added_up(tmp_path: Path) -> None:
    cost = {"amount": "5", "currency": "EUR", "model": "claude-opus-5-5"}
    export = read(tmp_path, page(cost, {**cost, "currency": "USD"}))
    assert [row.cost_pico for row in export.rows] == [50_000_000_000]
    assert "EUR" in export.ignored[0].reason


def test_a_row_told_by_two_files_counts_once(tmp_path: Path) -> None:
    export = read(tmp_path, page(RESULT), page(RESULT))
    assert len(export.rows) == 1
    assert "told by" in export.ignored[0].reason


def test_two_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="other numbers"):
        read(tmp_path, page(RESULT), page({**RESULT, "output_tokens": 6}))


def test_an_unknown_column_is_named_and_pages_to_come_are_missed(tmp_path: Path) -> None:
    text = json.loads(page({**RESULT, "mood": "fine"})) | {"has_more": True}
    notes = " ".join(read(tmp_path, json.dumps(text)).notes)
    assert "column mood is not known" in notes and "has_more" in notes


def test_images_and_sessions_are_listed_not_compared(tmp_path: Path) -> None:
    result = {"object": "organization.usage.images.result", "images": 4, "num_model_requests": 2}
    bucket = {"start_time": 1795132800, "end_time": 1795219200, "results": [result]}
    export = read(tmp_path, json.dumps({"data": [bucket]}))
    assert export.rows == [] and "counts no tokens" in export.ignored[0].reason


def test_a_day_that_was_not_over_counts_up_to_when_the_file_was_written(tmp_path: Path) -> None:
    path = tmp_path / "today.json"
    path.write_text(page(RESULT))
    written = datetime(2026, 11, 20, 13, 30, tzinfo=UTC)
    os.utime(path, (written.timestamp(), written.timestamp()))
    [day] = covered_days(read_exports([path]), None, None)
    assert day.parts[0][1] == written and not day.is_whole


def test_pages_by_line_and_in_a_list_are_read(tmp_path: Path) -> None:
    other = json.loads(page(RESULT))
    other["data"][0] |= {"starting_at": "2026-11-21", "ending_at": "2026-11-22"}
    for text in (f"{page(RESULT)}\n{json.dumps(other)}\n", f"[{page(RESULT)},{json.dumps(other)}]"):
        assert [row.start.day for row in read(tmp_path, text).rows] == [20, 21]


@pytest.mark.parametrize(
    "options",
    [["--tolerance", "much"], ["--days", "0"], ["--from", "yesterday"], ["--latency", "-1"]],
)
def test_wrong_usage_is_exit_code_2(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["reconcile", "x.json", *options])
    assert stopped.value.code == 2 and "is no" in capsys.readouterr().err.replace(
        "neither", "is no"
    )


def test_a_missing_file_is_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
    assert cli.main(["reconcile", "nowhere.csv"]) == 2
    assert capfd.readouterr().err == (
        "taximeter reconcile: nowhere.csv cannot be read: No such file or directory.\n"
    )
