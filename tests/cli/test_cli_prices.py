"""`taximeter prices show`: what the calls will be priced with, from the same catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taximeter import cli
from taximeter.pricing import load_catalog


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TAXIMETER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_shown_prices_are_the_catalogues(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prices", "show", "claude-sonnet-4-5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    catalog = load_catalog()
    found = catalog.resolve(None, "claude-sonnet-4-5")
    assert found is not None
    picos = [pico for band in catalog.bands(found) for pico in band.prices if pico is not None]
    standard = [row for row in shown["prices"] if row["tier"] == "standard"]
    assert [row["pico_usd_per_unit"] for row in standard] == picos
    assert {"standard", "batch"} <= {row["tier"] for row in shown["prices"]}
    assert all(row["source"] for row in shown["prices"])


def test_a_table_names_unit_condition_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prices", "show", "gemini-2.5-pro"]) == 0
    out = capsys.readouterr().out
    assert "1M tokens" in out and "prompt over 200,000" in out and "genai-prices" in out


def test_a_dated_price_says_since_when(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prices", "show", "gpt-5.6-sol", "--tier", "standard", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["prices"]
    assert {row["valid_from"] for row in shown} == {None, "2026-08-21"}


def test_an_unknown_model_suggests_a_known_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prices", "show", "claude-sonet-4-5"]) == 1
    assert "did you mean" in capsys.readouterr().err


def test_a_broken_price_file_is_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prices.toml").write_text("[[price]]\nnonsense = 1\n")
    monkeypatch.setenv("TAXIMETER_PRICES_FILE", str(tmp_path / "prices.toml"))
    assert cli.main(["prices", "show", "gpt-5"]) == 2
    assert "prices.toml" in capsys.readouterr().err
