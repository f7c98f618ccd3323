"""The rule files of this release as rows; an empty cell is None."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import Final

Row = dict[str, str | None]

RULE_FILES: Final = {
    "detect_rule": "detect.csv",
    "kind_rule": "kinds.csv",
    "attribute_mapping": "attributes.csv",
    "exclusive_rule": "exclusive.csv",
    "absent_is_zero": "absent_is_zero.csv",
    "two_lifetimes": "two_lifetimes.csv",
    "distrusted": "distrusted.csv",
    "error_rule": "errors.csv",
    "message_rule": "messages.csv",
    "dialect_preference": "preference.csv",
    "finish_rule": "finish_reasons.csv",
    "termination_rule": "terminations.csv",
    "span_mark": "span_marks.csv",
    "tool_rule": "tools.csv",
    "input_key": "input_keys.csv",
    "content_key": "content_keys.csv",
    "output_limit": "output_limits.csv",
    "thrash_level": "thrash_levels.csv",
    "event_rule": "events.csv",
    "signal_rule": "signals.csv",
    "metric_rule": "metrics.csv",
    "nested_rule": "nested.csv",
}
"""Table in the database → file."""


def read_rules(file: str) -> list[Row]:
    """Return the rows of one rule file; an empty cell is None."""
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    return [
        {name: value or None for name, value in row.items()}
        for row in csv.DictReader(text.splitlines())
    ]


@cache
def mapped_columns() -> tuple[str, ...]:
    """Return the columns that `attributes.csv` fills, in the file's order."""
    return tuple(dict.fromkeys(str(row["column"]) for row in read_rules("attributes.csv")))


@cache
def known_dialects() -> tuple[str, ...]:
    """Return the dialects that `detect.csv` names."""
    return tuple(dict.fromkeys(str(row["dialect"]) for row in read_rules("detect.csv")))
