"""The example of docs/reconcile.md: its files and calls give the text that it shows."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from pathlib import Path

import pytest
from tests.reconcile.conftest import Collector, Truth

from taximeter import cli

DOCUMENT = Path(__file__).parents[2] / "docs" / "reconcile.md"


def blocks(language: str) -> list[str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_documented_example_gives_the_documented_text(
    collector: Collector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    calls = []
    for line in csv.DictReader(blocks("csv")[0].splitlines()):
        hours, minutes, seconds = map(int, line["start"].split(":"))
        at = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        tokens = (int(line["input"]), int(line["cached"]), 0, 0, int(line["output"]))
        calls.append(Truth(line["model"], at, tokens, timedelta(seconds=int(line["seconds"]))))
    collector.store(calls)
    for name, text in zip(("usage.json", "costs.json"), blocks("json"), strict=True):
        Path(name).write_text(text)
    assert cli.main(["reconcile", "usage.json", "costs.json", "--url", collector.url]) == 1
    lines = capfd.readouterr().out.splitlines()
    shown = "\n".join(line for line in lines if not line.startswith("    sql "))
    assert shown.rstrip() == blocks("text")[0].rstrip()
