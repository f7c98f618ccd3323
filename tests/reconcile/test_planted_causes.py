"""Each planted cause comes back as that part, to the pico-dollar, from a real collector."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.reconcile.conftest import (
    Collector,
    Truth,
    anthropic_cost,
    anthropic_usage,
    as_text,
    openai_cost,
    openai_usage,
)

from taximeter import cli
from taximeter_collector.client import ReadClient

OPUS, HAIKU, GPT = "claude-opus-5-5", "claude-haiku-4-5-20251001", "gpt-5-2025-08-07"
HOUR, DAYS = timedelta(hours=1), timedelta(days=1)
PARTS = ("untracked", "quantity", "price", "timing", "not_split")
WRITERS = {
    "anthropic_usage": anthropic_usage,
    "anthropic_cost": anthropic_cost,
    "openai_usage": openai_usage,
    "openai_cost": openai_cost,
}
PLAIN = [
    Truth(OPUS, 9 * HOUR, (1_000, 50_000, 2_000, 0, 700)),
    Truth(OPUS, 10 * HOUR, (1_200, 60_000, 0, 3_000, 900)),
    Truth(OPUS, DAYS + 9 * HOUR, (400, 0, 0, 0, 100)),
    Truth(GPT, 11 * HOUR, (3_000, 7_000, 0, 0, 500)),
    Truth(GPT, DAYS + 11 * HOUR, (2_000, 1_000, 0, 0, 300)),
    Truth(GPT, 12 * HOUR, (9_000, 0, 0, 0, 50), batch=True),
    Truth(HAIKU, 13 * HOUR, (5_000, 0, 0, 0, 400), batch=True),
]

Report = dict[str, Any]
Reconcile = Callable[..., tuple[int, Report]]


@pytest.fixture
def reconcile(
    collector: Collector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Reconcile:
    """Store calls, write exports, run the command; return its exit code and JSON."""
    monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TAXIMETER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(
        calls: list[Truth], exports: tuple[str, ...] = tuple(WRITERS), *options: str
    ) -> tuple[int, Report]:
        collector.store(calls)
        names = []
        for name in exports:
            names.append(str(tmp_path / f"{name}.json"))
            Path(names[-1]).write_text(as_text(WRITERS[name](calls, 2)))
        capfd.readouterr()
        code = cli.main(["reconcile", *names, "--json", "--url", collector.url, *options])
        out, err = capfd.readouterr()
        assert out, err
        report: Report = json.loads(out)
        for cell in report["cells"]:
            parts = [cell["parts"][part]["pico"] for part in PARTS]
            assert sum(part or 0 for part in parts) == cell["gap_pico"]
        return code, report

    return run


def parts(report: Report) -> dict[tuple[str, str, str], dict[str, int]]:
    """The parts that are not zero, by day of the month, model and tier."""
    found = {}
    for cell in report["cells"]:
        amounts = {part: cell["parts"][part]["pico"] for part in PARTS}
        key = (cell["day"][-2:], cell["model"], cell["tier"])
        if kept := {part: amount for part, amount in amounts.items() if amount}:
            found[key] = kept
    return found


def cost(call: Truth) -> int:
    return sum(call.costs())


def test_the_same_truth_on_both_sides_has_no_gap(reconcile: Reconcile) -> None:
    """Four exports of two providers, standard and batch, to the pico-dollar."""
    code, report = reconcile(PLAIN, tuple(WRITERS), "--tolerance", "0")
    assert (code, parts(report)) == (0, {})
    assert len(report["cells"]) == 6
    assert report["totals"]["provider_cost_pico"] == sum(map(cost, PLAIN))
    assert report["totals"]["our_cost_pico"] == sum(map(cost, PLAIN))
    assert report["ignored"] == []
    assert report["coverage"]["calls"] == len(PLAIN)


def test_calls_that_are_not_stored_are_untracked(reconcile: Reconcile) -> None:
    lost = [
        Truth(OPUS, 15 * HOUR, (800, 9_000, 100, 0, 350), is_stored=False),
        Truth(GPT, 15 * HOUR, (777, 0, 0, 0, 99), is_stored=False),
        Truth(HAIKU, DAYS + HOUR, (600, 0, 0, 0, 60), is_stored=False),
    ]
    code, report = reconcile(PLAIN + lost)
    assert code == 1
    assert parts(report) == {
        ("20", "claude-opus-5-5", "standard"): {"untracked": cost(lost[0])},
        ("20", "gpt-5", "standard"): {"untracked": cost(lost[1])},
        ("21", "claude-haiku-4-5", "standard"): {"untracked": cost(lost[2])},
    }


def test_other_tokens_on_stored_calls_are_quantity(reconcile: Reconcile) -> None:
    """A partial answer, one-hour writes booked as short ones, cached tokens booked as plain."""
    wrong = [
        Truth(OPUS, 15 * HOUR, (800, 0, 0, 4_000, 350), stored_tokens=(800, 0, 4_000, 0, 350)),
        Truth(OPUS, DAYS + 15 * HOUR, (90, 0, 0, 0, 350), stored_tokens=(90, 0, 0, 0, 12)),
        Truth(GPT, 15 * HOUR, (500, 1_500, 0, 0, 80), stored_tokens=(2_000, 0, 0, 0, 80)),
    ]
    code, report = reconcile(PLAIN + wrong)
    assert code == 1
    assert parts(report) == {
        ("20", "claude-opus-5-5", "standard"): {"quantity": 4_000 * 3_000_000},
        ("21", "claude-opus-5-5", "standard"): {"quantity": 338 * 20_000_000},
        ("20", "gpt-5", "standard"): {"quantity": -1_500 * 1_125_000},
    }


def test_a_call_without_usage_is_quantity_where_requests_are_counted(
    reconcile: Reconcile,
) -> None:
    """The stream broke off: no tokens here, tokens on the bill; the span stands behind the part."""
    broken = Truth(GPT, 15 * HOUR, (640, 0, 0, 0, 32), has_usage=False)
    _, report = reconcile([*PLAIN, broken])
    assert parts(report) == {("20", "gpt-5", "standard"): {"quantity": cost(broken)}}
    cell = next(c for c in report["cells"] if c["parts"]["quantity"]["pico"])
    assert cell["parts"]["quantity"]["spans"][0]["span_id"] == f"{len(PLAIN) + 1:016x}"
    assert cell["ours"]["calls_without_sound_usage"] == 1


def test_where_nobody_counts_requests_a_call_without_usage_leaves_it_open(
    reconcile: Reconcile,
) -> None:
    broken = Truth(OPUS, 15 * HOUR, (640, 0, 0, 0, 32), has_usage=False)
    _, report = reconcile([*PLAIN, broken])
    assert parts(report) == {("20", "claude-opus-5-5", "standard"): {"not_split": cost(broken)}}


def test_another_unit_price_is_price(reconcile: Reconcile) -> None:
    dear = [
        Truth(HAIKU, 15 * HOUR, (800_000, 0, 0, 0, 350_000), factor=110),
        Truth(GPT, DAYS + 15 * HOUR, (5_000, 0, 0, 0, 800), factor=80),
    ]
    _, report = reconcile(PLAIN + dear)
    assert parts(report) == {
        ("20", "claude-haiku-4-5", "standard"): {"price": cost(dear[0]) // 10},
        ("21", "gpt-5", "standard"): {"price": -cost(dear[1]) // 5},
    }


def test_a_call_over_midnight_is_timing_and_nets_to_zero(reconcile: Reconcile) -> None:
    late = [
        Truth(m, DAYS - timedelta(seconds=3), (900, 0, 0, 0, 444), by_end=True) for m in (OPUS, GPT)
    ]
    code, report = reconcile(PLAIN + late)
    assert code == 0
    assert parts(report) == {
        (day, model, "standard"): {"timing": sign * cost(call)}
        for day, sign in (("20", -1), ("21", 1))
        for model, call in (("claude-opus-5-5", late[0]), ("gpt-5", late[1]))
    }
    cell = next(c for c in report["cells"] if c["model"] == "claude-opus-5-5")
    assert [one["span_id"] for one in cell["parts"]["timing"]["spans"]] == [
        f"{len(PLAIN) + 1:016x}"
    ]


def test_all_causes_in_one_cell_are_told_apart(reconcile: Reconcile, collector: Collector) -> None:
    """Timing by the two days, untracked by the count of requests, quantity by kind, price by money."""
    causes = [
        Truth(GPT, 15 * HOUR, (777, 300, 0, 0, 99), is_stored=False),
        Truth(GPT, 16 * HOUR, (500, 1_500, 0, 0, 80), stored_tokens=(500, 1_900, 0, 0, 80)),
        Truth(GPT, DAYS - timedelta(seconds=3), (900, 0, 0, 0, 444), by_end=True),
        Truth(GPT, 17 * HOUR, (5_000, 0, 0, 0, 800), factor=120),
    ]
    _, report = reconcile(PLAIN + causes)
    found = parts(report)[("20", "gpt-5", "standard")]
    assert found["timing"] == -cost(causes[2])
    assert found["price"] == cost(causes[3]) // 5
    assert found["untracked"] + found["quantity"] == cost(causes[0]) - 400 * 125_000
    with ReadClient(collector.url) as client:
        for cell in report["cells"]:
            for part in cell["parts"].values():
                if part["sql"]:
                    client.query(part["sql"])


def test_calls_that_only_we_have_count_against_us(reconcile: Reconcile) -> None:
    twice = Truth(GPT, 15 * HOUR, (777, 0, 0, 0, 99), is_exported=False)
    _, report = reconcile([*PLAIN, twice])
    assert parts(report) == {("20", "gpt-5", "standard"): {"untracked": -cost(twice)}}


@pytest.mark.parametrize("kind", ["usage", "cost"])
def test_half_an_export_says_what_it_cannot_split(reconcile: Reconcile, kind: str) -> None:
    lost = Truth(OPUS, 15 * HOUR, (800, 9_000, 100, 0, 350), is_stored=False)
    _, report = reconcile([*PLAIN, lost], (f"anthropic_{kind}",))
    cell = next(c for c in report["cells"] if c["model"] == "claude-opus-5-5")
    assert cell["gap_pico"] == cost(lost)
    if kind == "usage":
        assert cell["parts"]["untracked"]["pico"] == cost(lost)
        assert cell["parts"]["price"]["pico"] is None
        assert "no cost" in cell["parts"]["price"]["why"]
    else:
        assert cell["parts"]["not_split"]["pico"] == cost(lost)
        assert "no tokens" in cell["parts"]["not_split"]["why"]
