"""What a user may write in [dialects], what the errors say, and which row wins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from taximeter.settings.settings import SettingsError, load_settings
from taximeter_collector.dialects import RULE_FILES, load_rules, read_rules
from taximeter_collector.dialects.columns import TABLES

DETECT = '[[dialects.detect]]\ndialect = "acme"\nplace = "scope"\npattern = "acme*"\n'


def load(directory: Path, text: str) -> duckdb.DuckDBPyConnection:
    file = directory / "taximeter.toml"
    file.write_text(text, encoding="utf-8")
    con = duckdb.connect(":memory:")
    load_rules(con, load_settings(file, {}).dialects)
    return con


def test_the_shipped_rows_keep_the_same_rules() -> None:
    for file in RULE_FILES.values():
        cells = TABLES[file.removesuffix(".csv")]
        for line, row in enumerate(read_rules(file), start=2):
            assert list(row) == list(cells), file
            for name, value in row.items():
                cell = cells[name]
                assert value is not None or not cell.required, f"{file}:{line} {name}"
                assert value is None or cell.read(value) == value, f"{file}:{line} {name}"


def test_a_row_of_the_user_stands_before_the_shipped_ones(tmp_path: Path) -> None:
    con = load(tmp_path, DETECT + '[[dialects.errors]]\npattern = "429"\nerror_class = "client"\n')
    first = "select arg_min(dialect, rank), arg_min(source, rank) from detect_rule"
    assert con.sql(first).fetchall() == [("acme", f"{tmp_path}/taximeter.toml:1")]
    found = (
        "select arg_min(error_class, rank), count(*) > 1 from error_rule where '429' glob pattern"
    )
    assert con.sql(found).fetchall() == [("client", True)]
    assert con.sql("select source from detect_rule where rank = 0").fetchall() == [
        ("dialects/detect.csv:2",)
    ]


def test_rows_in_place_and_below_headers_are_the_same(tmp_path: Path) -> None:
    two = '[dialects]\nkinds = [ # {\n  { key = "a{", value = "x", kind = "llm" },\n\n  { key = "b", value = "y", kind = "tool" }]\n'
    rules = "select key, value, kind, dialect from kind_rule where rank < 0 order by rank"
    wanted = [("a{", "x", "llm", "*"), ("b", "y", "tool", "*")]
    con = load(tmp_path, two)
    assert con.sql(rules).fetchall() == wanted
    lines = con.sql("select source from kind_rule where rank < 0 order by rank").fetchall()
    assert [line.rpartition(":")[2] for (line,) in lines] == ["3", "5"]
    apart = "".join(
        f'[[dialects.kinds]]\nkey = "{k}"\nvalue = "{v}"\nkind = "{kind}"\n'
        for k, v, kind, _ in wanted
    )
    assert load(tmp_path, apart).sql(rules).fetchall() == wanted


def test_one_answer_a_key_is_replaced(tmp_path: Path) -> None:
    con = load(
        tmp_path,
        '[dialects]\npreference = [{dialect = "openlit", preference = 1}]\n'
        'signals = [{dialect = "codex", signal = "log", rank = 0}]\n'
        'thrash_levels = [{measure = "consecutive_run", at_least = 12, level = "page"}]\n',
    )
    kept = "select preference from dialect_preference where dialect = 'openlit'"
    assert con.sql(kept).fetchall() == [("1",)]
    ranks = "select dialect, rank from signal_rule order by dialect"
    assert con.sql(ranks).fetchall() == [("codex", 0), ("gemini_cli", 0)]
    runs = "select at_least, level from thrash_level where measure = 'consecutive_run'"
    assert con.sql(runs).fetchall() == [("12", "page")]


FAULTS: dict[str, tuple[str, int, str]] = {
    "table": ('[[dialects.kind]]\nkey = "a"\n', 1,
              "unknown table dialects.kind; did you mean kinds? allowed are detect, kinds,"),
    "column": ('[[dialects.kinds]]\nkey = "a"\nvlaue = "b"\nkind = "llm"\n', 3,
               "unknown column vlaue in dialects.kinds; did you mean value? allowed are dialect,"),
    "kind": ('[[dialects.kinds]]\nkey = "a"\nvalue = "b"\nkind = "lmm"\n', 4,
             "kind = 'lmm' is not allowed; did you mean 'llm'? it must be one of llm, embedding,"),
    "missing": ('[[dialects.kinds]]\nkey = "a"\nkind = "llm"\n', 1, "value is missing; it must be"),
    "mapped": (DETECT + '[[dialects.attributes]]\ndialect = "acme"\ncolumn = "stated_inptu"\nkey = "a"\n', 7,
               "unknown column = 'stated_inptu'; did you mean stated_input? allowed are"),
    "dialect": (DETECT + '[[dialects.kinds]]\ndialect = "acne"\nkey = "a"\nvalue = "b"\nkind = "llm"\n', 6,
                "unknown dialect = 'acne'; a row of dialects.detect makes a new one; did you mean acme?"),
    "pattern": (DETECT.replace("acme*", "acme[*"), 4, "pattern = 'acme[*' is not allowed"),
    "resource": (DETECT.replace('"scope"', '"resource"'), 4, "has key and value"),
    "path": ('[[dialects.attributes]]\ncolumn = "tags"\nkey = "a"\npath = "$.[["\n', 4,
             "path = '$.[[' is not a path inside a JSON"),
    "wildcard": ('[[dialects.attributes]]\ncolumn = "tags"\nkey = "a"\npath = "$.*"\n', 4,
                 "path = '$.*' is not allowed"),
    "mark": ('[[dialects.span_marks]]\ndialect = "*"\nkey = "a"\npattern = "b"\nmark = "side"\n', 2,
             "name the dialect"),
    "together": ('[[dialects.metrics]]\nmetric = "a"\ntype_value = "in"\nattribute = "b"\n', 3,
                 "type_value needs type_key beside it"),
    "list": ('[dialects]\ntools = [{ tool = ["a"], role = "polling" }]\n', 2, "tool = ['a'] is not allowed"),
    "no rows": ('[dialects]\ntools = "a"\n', 1, "dialects.tools is a list of rows"),
    "no table": ("dialects = 3\n", 1, "dialects holds tables"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_line_and_what_is_allowed(tmp_path: Path, fault: str) -> None:
    text, line, says = FAULTS[fault]
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'taximeter.toml'}:{line}: ")
    assert says in message and message.endswith(".") and "\n" not in message


def test_the_collector_does_not_start_with_a_wrong_row(tmp_path: Path) -> None:
    (tmp_path / "taximeter.toml").write_text(FAULTS["kind"][0], encoding="utf-8")
    ended: Any = subprocess.run(
        [sys.executable, "-m", "taximeter_collector", "--data-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and "taximeter.toml:4: dialects.kinds" in ended.stderr
    assert not list(tmp_path.glob("*.duckdb"))
