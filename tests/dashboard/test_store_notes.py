"""A refusal and alarms about the files are said on every page, in full on Set-up."""

from __future__ import annotations

from typing import Any

import pytest

from taximeter_dashboard.store_notes import store_notes

ALARMS = [{"message": "a.duckdb is gone"}, {"message": "b.duckdb is damaged"}]


@pytest.mark.parametrize(
    ("store", "in_full", "said"),
    [
        ({}, True, []),
        ({"message": "", "alarms": []}, False, []),
        ({"message": "The disk is full."}, False, [("The disk is full.", "bad")]),
        ({"alarms": ALARMS[:1]}, False, [("1 alarm waits about the data files: see Set-up, or `taximeter status`.", "warn")]),
        ({"alarms": ALARMS}, False, [("2 alarms wait about the data files: see Set-up, or `taximeter status`.", "warn")]),
        ({"message": "No.", "alarms": ALARMS}, True,
         [("No.", "bad"), ("a.duckdb is gone", "warn"), ("b.duckdb is damaged", "warn")]),
    ],
)  # fmt: skip
def test_what_is_said(store: dict[str, Any], in_full: bool, said: list[tuple[str, str]]) -> None:
    notes = store_notes({"store": store} if store else {}, in_full=in_full)
    assert [(note["text"], note["tone"]) for note in notes] == said
