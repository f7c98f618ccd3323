"""What leaves the process: masked, hashed, cut; facts as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace

import taximeter
from taximeter.content import cut
from taximeter.guard import faults
from taximeter.privacy import PrivateSender, hashed, privacy_from_environment
from taximeter.testing import SpanList

KEY = "a secret of 16 or more"


@pytest.fixture
def shim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start the shim with rules; give the exported spans."""
    monkeypatch.setattr(faults, "reraise", True)
    monkeypatch.setenv("TAXIMETER_CAPTURE_CONTENT", "1")

    def start(privacy: taximeter.Privacy | None = None) -> SpanList:
        taximeter.shutdown()
        exported = SpanList()
        taximeter.init(service="tests", span_exporter=exported, privacy=privacy)
        return exported

    yield start
    taximeter.shutdown()


def run_a_tool(text: str) -> None:
    @taximeter.tool
    def note(text: str) -> str:
        return text

    with taximeter.request(user="ann@example.com", session="s-1"):
        note(text)


def attributes(spans: SpanList, name: str = "execute_tool note") -> dict[str, Any]:
    (span,) = spans.named(name)
    return dict(span.attributes or {})


def test_patterns_mask_contents_and_leave_facts(shim: Any) -> None:
    spans = shim(taximeter.Privacy(sets=["secrets", "pii"], patterns=["ACME-[0-9]+"]))
    run_a_tool("mail bob@example.com, password=hunter22, ACME-17")
    said = attributes(spans)
    assert said["gen_ai.tool.call.result"] == "mail [email], password=[password], [redacted]"
    assert "bob" not in said["gen_ai.tool.call.arguments"]
    assert said["user.id"] == "ann@example.com"
    assert (said["gen_ai.tool.name"], said["session.id"]) == ("note", "s-1")
    assert len(said["taximeter.tool.arguments_hash"]) == 64


def test_events_lists_and_status_are_masked_too(shim: Any) -> None:
    spans = shim(taximeter.Privacy(sets=["pii"]))
    with trace.get_tracer("app").start_as_current_span("work") as span:
        span.set_attribute("mails", ["bob@example.com", "none"])
        span.add_event("mailed", {"to": "bob@example.com"})
        span.set_status(trace.Status(trace.StatusCode.ERROR, "no bob@example.com"))
    (found,) = spans.named("work")
    assert (found.attributes or {})["mails"] == ("[email]", "none")
    assert (found.events[0].attributes or {})["to"] == "[email]"
    assert found.status.description == "no [email]"


def test_a_function_decides_last(shim: Any) -> None:
    def redact(key: str, text: str) -> str | None:
        return None if key.endswith(".arguments") else text.upper()

    spans = shim(taximeter.Privacy(sets=["pii"], redact=redact))
    run_a_tool("mail bob@example.com")
    said = attributes(spans)
    assert said["gen_ai.tool.call.result"] == "MAIL [EMAIL]"
    assert "gen_ai.tool.call.arguments" not in said


def test_a_function_that_fails_lets_facts_leave_and_no_text(
    shim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)

    def redact(key: str, text: str) -> str:
        raise RuntimeError

    spans = shim(taximeter.Privacy(redact=redact, user_key=KEY))
    before = faults.by_place["Privacy.redact"]
    run_a_tool("secret")
    said = attributes(spans)
    assert faults.by_place["Privacy.redact"] > before
    assert not any("secret" in str(value) for value in said.values())
    assert said["gen_ai.tool.name"] == "note"
    assert said["user.id"] == hashed("ann@example.com", KEY.encode())


def test_user_ids_are_hashed_with_a_key(shim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXIMETER_USER_KEY", KEY)
    spans = shim()
    run_a_tool("x")
    told = attributes(spans)["user.id"]
    assert (
        told == hashed("ann@example.com", KEY.encode()) == attributes(spans, "request")["user.id"]
    )
    assert told != hashed("ann@example.com", b"another key of 16 bytes")
    assert "ann" not in told


def test_long_texts_are_cut_and_say_so(shim: Any) -> None:
    spans = shim(taximeter.Privacy(max_characters=200))
    run_a_tool("x" * 1_000)
    result = attributes(spans)["gen_ai.tool.call.result"]
    assert len(result) <= 200
    assert result.endswith("x… [cut, 168 of 1,000 characters]")


@pytest.mark.parametrize("limit", [1, 30, 31, 32, 33, 99, 100, 133, 1_000, 1_031])
def test_a_cut_text_never_exceeds_its_limit(limit: int) -> None:
    assert len(cut("x" * 40_000, limit)) <= limit
    assert cut("x" * limit, limit) == "x" * limit


def test_without_rules_nothing_changes(shim: Any) -> None:
    spans = shim()
    run_a_tool("mail bob@example.com")
    assert attributes(spans)["gen_ai.tool.call.result"] == "mail bob@example.com"
    assert privacy_from_environment({}) is None


@pytest.mark.parametrize(
    "environ",
    [{"TAXIMETER_REDACT": "secret"}, {"TAXIMETER_USER_KEY": "short"}, {"TAXIMETER_MAX_CHARACTERS": "many"},
     {"TAXIMETER_MAX_CHARACTERS": "0"}],
    ids=str,
)  # fmt: skip
def test_wrong_settings_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        privacy_from_environment(environ)


def test_wrong_settings_send_nothing(shim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be masked must not leave because of a typing error."""
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setenv("TAXIMETER_REDACT", "secret")
    spans = shim()
    run_a_tool("x")
    assert spans.spans == []


def test_what_goes_to_a_collector_is_masked_too(shim: Any) -> None:
    from taximeter.export.queue import Sent

    plain = shim()
    run_a_tool("mail bob@example.com")

    class Sink:
        def __init__(self) -> None:
            self.sent: list[Any] = []

        def send(self, spans: Any) -> Sent:
            self.sent += spans
            return Sent.TAKEN

        is_unanswered = False

        def anew(self, timeout_s: float | None = None) -> Sink:
            return self

        def shutdown(self) -> None: ...

    sink = Sink()
    assert PrivateSender(sink, taximeter.Privacy(sets=["pii"])).send(plain.spans) is Sent.TAKEN
    assert sink.sent[0].attributes["gen_ai.tool.call.result"] == "mail [email]"
    assert sink.sent[0].context == plain.spans[0].context


def test_the_key_is_not_printed() -> None:
    assert KEY not in repr(taximeter.Privacy(user_key=KEY))
