"""The shim and the collector mask the same, by the same patterns."""

from __future__ import annotations

import time

import pytest
from tests.redaction.test_redaction import NOT_SECRET, PERSONAL, SECRETS, clean

from taximeter import redaction
from taximeter_collector.store.store import Store

TEXTS = [
    *SECRETS.values(), *NOT_SECRET, *PERSONAL,
    "postgres://admin:hunter2hunter2@db:5432/x?y=1",
    "1.2.3.4 256.1.1.1 ::1 10.2.3.4:80",
    "Ann <ann@example.com>, anna.maria@sub.example.org; bob@localhost",
    "DE89 3704 0044 0532 0130 00 please, DE89 3704 0044 0532 0130 01",
    "4111-1111-1111-1111 and 4111-1111-1111-1112, call +49 (30) 123 4567",
    "-----BEGIN PRIVATE KEY-----\nunfinished",
    "",
]  # fmt: skip


def test_the_same_texts_are_masked_alike(store: Store) -> None:
    shim = redaction.Redactor()
    for text in TEXTS:
        said = f"before {text} after"
        assert shim.clean(said) == clean(store, said, built_in=redaction.SETS), text


@pytest.mark.parametrize(
    "text",
    ["a." * 16_000, "sk-" * 10_000, "eyJ-" * 8_000, "1.2.3." * 5_000, "password " * 3_500,
     "-----BEGIN A PRIVATE KEY" * 1_300, "://a:" * 6_000, "eyJaaaaaaaaaa.-" * 2_000, "DE12 " * 6_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    """A quadratic pattern takes seconds for these 32 KB, and holds the interpreter."""
    started = time.process_time()
    redaction.Redactor().clean(text)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("wrong", [{"sets": ["secret"]}, {"expressions": ["("]}], ids=str)
def test_unknown_sets_and_broken_expressions_are_refused(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="redaction"):
        redaction.Redactor(**wrong)
