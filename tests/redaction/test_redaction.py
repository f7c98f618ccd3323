"""[redaction]: what is masked or thrown away before it is stored (T2), and that no number changes by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Sum
from tests.patience import PATIENCE_S
from tests.telemetry import BEGINNING_NS, Span, body, chat, follow, put

from taximeter.settings.settings import RedactionSettings, SettingsError, load_settings
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.ingest.redaction import Redactor
from taximeter_collector.store.store import Store

SECRETS = {
    "openai": "sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA",
    "anthropic": "sk-ant-api03-abcdefghijklmnopqrstuvwxyz012345",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "slack": "xoxb-123456789012-abcdefghijkl",
    "google": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "bearer": "Bearer abcdef0123456789abcdef",
    "password": "password=correct-horse-battery",
    "json password": '{"api_key": "correct-horse-battery"}',
    "url": "postgres://admin:hunter2hunter2@db/x",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
}
NOT_SECRET = ["Chrome/120.0.0.0 Safari/537.36", "version 1.2.3.4", "pkg-1.2.3.4 pkg==1.2.3.4 v1.2.3.4", "1.2.3.4.5",
              "999.1.2.3", "sk-learn-for-classification-and-regression", "sk-internationalization-of-texts",
              "4111 1111 1111 1112", "order 4000123412341235", "AB12 CDEF GHIJ KLMN", "1795000000000000000", "gpt-5-mini-2026-01-01", "a risk-free sketch of tokens", "passwords are bad",
              "0af7651916cd43dd8448eb211c80319c", "https://example.org/a?b=c"]  # fmt: skip
PERSONAL = ["anna.rossi@example.org", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "078-05-1120",
            "+39 02 1234 5678", "192.168.10.20", "378282246310005", "10.0.0.1", "ES91 2100 0418 4502 0005 1332"]  # fmt: skip


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path)) as store:
        yield store


def clean(store: Store, text: str, **rules: Any) -> str:
    with store.cursor() as cursor:
        sql = Redactor(RedactionSettings(**rules), cursor).clean("$1::varchar")
        return str(cursor.execute(f"select {sql}", [text]).fetchall()[0][0])


def test_built_in_secrets_are_found(opened: Store) -> None:
    for name, secret in SECRETS.items():
        found = clean(opened, f"before {secret} after", built_in=("secrets",))
        core = secret.split("=")[-1].split("\n")[-2 if "\n" in secret else -1]
        assert core not in found or name == "json password", (name, found)
        assert "correct-horse" not in found and "hunter2" not in found and "MIIE" not in found
        assert found.startswith("before ") and found.endswith(" after"), (name, found)


def test_what_is_no_secret_stays(opened: Store) -> None:
    for text in NOT_SECRET:
        assert clean(opened, text, built_in=("secrets", "pii")) == text


def test_personal_data_is_found(opened: Store) -> None:
    for text in PERSONAL:
        found = clean(opened, f"call {text}, please", built_in=("pii",))
        assert text not in found and found.startswith("call ["), found


@pytest.mark.parametrize(("text", "masked"), [
    ("postgres://admin:hunter2hunter2@db:5432/x?y=1", "postgres://admin:[password]@db:5432/x?y=1"),
    ("redis://:hunter2hunter2@cache/0", "redis://:[password]@cache/0"),
    ('{"api_key": "correct-horse", "n": 1}', '{"api_key": "[password]", "n": 1}'),
    ("password=correct-horse&user=anna", "password=[password]&user=anna"),
    ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [token]"),
    ("10.0.0.1 10.0.0.12 at http://192.168.1.1:80/", "[address] [address] at http://[address]:80/"),
    ("from 10.0.0.1, Chrome/120.0.0.0", "from [address], Chrome/120.0.0.0"),
])  # fmt: skip
def test_what_stands_around_a_match_stays(opened: Store, text: str, masked: str) -> None:
    assert clean(opened, text, built_in=("secrets", "pii")) == masked


def test_a_bad_pattern_is_one_sentence(opened: Store) -> None:
    with opened.cursor() as cursor, pytest.raises(SettingsError, match="no regular expression"):
        Redactor(RedactionSettings(patterns=("(",)), cursor)
    with pytest.raises(SettingsError, match=r"redaction.built_in.*a list of secrets, pii"):
        load_settings(environ={"TAXIMETER_REDACTION_BUILT_IN": "everything"})


def hostile(trace: int) -> bytes:
    """Return a call whose every text holds the secret of another kind."""
    kinds = list(SECRETS.values())
    request = ExportTraceServiceRequest.FromString(
        body([chat(trace, trace, tokens=77, response_id="r1")])
    )
    resource = request.resource_spans[0]
    put(resource.resource.attributes, {"process.command_line": f"agent --key {kinds[0]}"})
    span = resource.scope_spans[0].spans[0]
    put(span.attributes, {"gen_ai.input.messages": f"use {kinds[1]} and {kinds[2]}", "debug.dump": kinds[3],
                          "list": [kinds[4], "x"], "plain": "kept"})  # fmt: skip
    event = span.events.add(name="exception", time_unix_nano=BEGINNING_NS)
    put(event.attributes, {"exception.message": kinds[6], "exception.type": "Timeout"})
    span.status.message = kinds[7]
    span.name = f"chat {kinds[8]}"
    return request.SerializeToString()


def hostile_log() -> bytes:
    request = ExportLogsServiceRequest()
    record = (
        request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=BEGINNING_NS)
    )
    record.body.string_value = f"failed with {SECRETS['aws']}"
    put(record.attributes, {"env": SECRETS["jwt"]})
    return request.SerializeToString()


def hostile_metric() -> bytes:
    """Return a metric whose points have texts that are no UTF-8, beside a secret."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="broken")
    for number in (1, 2):
        point = metric.sum.data_points.add(time_unix_nano=BEGINNING_NS, as_int=number)
        put(point.attributes, {"text": "AAAA", "env": SECRETS["jwt"]})
    return request.SerializeToString().replace(b"AAAA", b"\xff\xfeok")


def stored(store: Store, rules: RedactionSettings, *bodies: tuple[Any, bytes]) -> Mapping[Any, int]:
    with closing(Ingest(store, redaction=rules)) as ingest:
        for signal, data in bodies:
            ingest.submit(signal, data).result(PATIENCE_S)
        counts = ingest.counters.snapshot()
    follow(store)
    return counts


def facts(store: Store) -> list[tuple[Any, ...]]:
    with store.read() as cursor:
        return cursor.execute(
            "select model, prompt_tokens, output_tokens, cost_pico, response_id, error_class from calls"
        ).fetchall()


def test_no_canary_is_left_in_any_byte_of_the_data(tmp_path: Path) -> None:
    """T2: after a checkpoint neither files nor logs hold a secret; the facts are those without rules."""
    rules = RedactionSettings(built_in=("secrets",))
    with closing(Store(tmp_path / "plain")) as store:
        stored(store, RedactionSettings(), ("traces", hostile(1)))
        expected = facts(store)
    with closing(Store(tmp_path / "masked")) as store:
        counts = stored(store, rules, ("traces", hostile(1)), ("logs", hostile_log()))
        assert facts(store) == expected and expected[0][1] == 77
        with store.read() as cursor:
            attributes = cursor.execute("select attributes from spans").fetchall()[0][0]
            assert attributes["plain"] == "kept"
            assert attributes["gen_ai.input.messages"] == "use [api key] and [api key]"
    assert counts["traces", "redacted", "pattern"] >= 7
    assert counts["logs", "redacted", "pattern"] == 2
    for file in (tmp_path / "masked").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for secret in SECRETS.values():
                assert secret.encode() not in content, (file, secret)


def test_points_with_broken_utf8_are_masked_and_kept(opened: Store) -> None:
    stored(opened, RedactionSettings(built_in=("secrets",)), ("metrics", hostile_metric()))
    with opened.read() as cursor:
        (data,) = cursor.execute("select data from metric").fetchall()[0]
    points = Sum.FromString(data).data_points
    assert [point.as_int for point in points] == [1, 2]
    texts = {pair.key: pair.value.string_value for pair in points[0].attributes}
    assert texts["text"] == "\ufffd\ufffdok" and SECRETS["jwt"] not in texts["env"]


def test_denied_keys_are_gone_with_their_facts_and_counted(opened: Store) -> None:
    rules = RedactionSettings(deny_keys=("gen_ai.input.*", "user.id", "process.*"))
    spans = [
        Span(1, 1, attributes=(("user.id", "anna"), ("gen_ai.input.messages", "hi"), ("x", "y")))
    ]
    counts = stored(opened, rules, ("traces", body(spans)), ("traces", hostile(2)))
    with opened.read() as cursor:
        rows = cursor.execute(
            "select user_id, attributes, resource_attributes from spans"
        ).fetchall()
    for user, attributes, resource in rows:
        assert user is None
        assert not {"user.id", "gen_ai.input.messages"} & set(attributes)
        assert "process.command_line" not in resource
    assert counts["traces", "redacted", "denied key"] == 4


def test_allowed_keys_keep_the_facts(opened: Store) -> None:
    counts = stored(opened, RedactionSettings(allow_keys=("plain",)), ("traces", hostile(1)))
    with opened.read() as cursor:
        kept = set(cursor.execute("select map_keys(attributes) from spans").fetchall()[0][0])
        of_resource = cursor.execute("select resource_attributes from spans").fetchall()[0][0]
    assert dict(of_resource) == {"service.name": "desk"}
    assert "plain" in kept and "gen_ai.request.model" in kept
    assert not {"debug.dump", "list", "gen_ai.input.messages"} & kept
    assert facts(opened)[0][:3] == ("claude-sonnet-4-5", 77, 10)
    assert counts["traces", "redacted", "denied key"] == 4


def test_own_patterns_are_masked(opened: Store) -> None:
    rules = RedactionSettings(patterns=(r"CUST-\d+", "it's"))
    spans = [Span(1, 1, attributes=(("note", "CUST-17 said it's fine"),), name="ask CUST-18")]
    stored(opened, rules, ("traces", body(spans)))
    with opened.read() as cursor:
        rows = cursor.execute("select name, attributes['note'] from spans").fetchall()
    assert rows == [("ask [redacted]", "[redacted] said [redacted] fine")]


def test_a_pattern_that_fits_a_model_changes_no_fact(opened: Store) -> None:
    """The rules are for content: a pattern like `.*` leaves what is counted and priced alone."""
    stored(opened, RedactionSettings(patterns=(r"[\s\S]+",)), ("traces", hostile(1)))
    assert facts(opened)[0][:3] == ("claude-sonnet-4-5", 77, 10)
    assert isinstance(facts(opened)[0][3], int)


def test_rules_stand_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "taximeter.toml"
    file.write_text(
        '[redaction]\nbuilt_in = ["secrets", "pii"]\npatterns = ["a,b"]\ndeny_keys = ["x.*"]\n'
    )
    assert load_settings(file, {}).redaction == RedactionSettings(
        ("secrets", "pii"), ("a,b",), ("x.*",)
    )
