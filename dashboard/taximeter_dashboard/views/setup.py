"""Set-up: how to connect, what arrived, what has no price, whether all is well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

from taximeter.settings.ports import collector_url, live_port, url_of
from taximeter.settings.settings import load_settings
from taximeter_collector.client import QueryError
from taximeter_dashboard import blocks, format, frame, queries, session
from taximeter_dashboard.blocks import Fact
from taximeter_dashboard.components import sheet
from taximeter_dashboard.store_notes import store_notes


@frame.guarded
def draw() -> None:
    with st.grid(2, min_column_width=350, gap="small"):
        _connect()
        _health()
    _received()
    _prices()


def _connect() -> None:
    settings = load_settings()
    http = collector_url(settings)
    port = live_port(settings.store.data_dir, "collector", "grpc_port")
    grpc = url_of(
        settings.collector.host,
        port or settings.collector.grpc_port,
        "http" if settings.collector.tls is None else "https",
    )
    with frame.card("Connect an agent", "lines to copy", key="connect"):
        python, other = st.tabs(["Python", "Any OpenTelemetry SDK"], key="connect-tabs")
        with python:
            st.code("pip install -e .  # in a clone of taximeter", language=None, wrap_lines=True)
            st.code(
                "import taximeter\n\n"
                'taximeter.init(service="my-agent")\n\n'
                '@taximeter.agent("my-agent")\n'
                "def answer(question: str) -> str: ...",
                language="python",
            )
            st.code(f"export OTEL_EXPORTER_OTLP_ENDPOINT={http}", language=None, wrap_lines=True)
        with other:
            st.code(
                f"export OTEL_EXPORTER_OTLP_ENDPOINT={http}\n"
                "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
                language=None,
                wrap_lines=True,
            )
            st.code(
                f"export OTEL_EXPORTER_OTLP_ENDPOINT={grpc}\n"
                "export OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
                language=None,
                wrap_lines=True,
            )
        hint = "No agent at hand? The demo fleet sends two weeks of history:"
        sheet([blocks.title("", hint)], key="demo-hint")
        st.code("taximeter demo --days 14", language=None)


def _health() -> None:
    status = session.reader().status()
    is_alerting = session.alerts().rules().is_reachable
    errors = status.get("errors") or []
    lag_s = status.get("lag_s")
    p95 = (status.get("commit_seconds") or {}).get("p95")
    facts: list[Fact] = [
        ("Collector", f"{status.get('version', format.UNKNOWN)} · answers"),
        ("Alerts", "answers" if is_alerting else "does not answer: run `taximeter alerts`",
         "" if is_alerting else "warn"),
        ("Prices", str(status.get("price_version") or format.UNKNOWN)),
        ("Up for", format.duration(_ms(status.get("uptime_s")))),
        ("Roll-ups behind", format.duration(_ms(lag_s)), "warn" if (lag_s or 0) > 10 else ""),
        ("Commit, 95th percentile", format.duration(_ms(p95))),
        ("Waiting requests", format.exact(status.get("queue_depth"))),
        ("Stored", format.size(status.get("store_bytes"))),
        ("Data lies in", str(status.get("data_dir") or format.UNKNOWN)),
    ]  # fmt: skip
    notes = store_notes(status, in_full=True) + [blocks.note(str(error), "bad") for error in errors]
    with frame.card("Health", "needs a look" if notes else "all well", key="health"):
        sheet([*notes, blocks.key_values(facts)], key="health-facts")


def _received() -> None:
    status = session.reader().status()
    now = datetime.now(UTC)
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=24)
    rows = queries.received_by_dialect(session.reader(), since)
    fates = ("received", "stored", "duplicate", "rejected", "refused")
    signals = sorted({s for fate in fates for s in (status.get(fate) or {})})
    with frame.card("Received", "since the collector started, by signal", key="received"):
        table_rows = [
            [signal, *(format.exact((status.get(fate) or {}).get(signal)) for fate in fates)]
            for signal in signals
        ]
        reasons = [
            blocks.note(
                f"{format.exact(r['items'])} {r['signal']} {r['fate']}: {r['reason']}", "warn"
            )
            for r in status.get("reasons") or []
            if r.get("fate") in ("rejected", "refused") and r.get("items")
        ]
        columns = ("Signal", *(f">{fate.capitalize()}" for fate in fates))
        grid = blocks.grid(columns, table_rows, is_list_on_phone=True)
        sheet([grid, *reasons], key="received-table")
    with frame.card(
        "Dialects", "spans of the last 24 hours, by how they were written", key="dialects"
    ):
        cells = [
            [r["service_name"] or format.UNKNOWN, r["dialect"] or "unknown",
             format.exact(r["spans"]), format.ago(now - r["last_received"])]
            for r in rows
        ]  # fmt: skip
        if cells:
            grid = blocks.grid(
                ("Service", "Dialect", ">Spans", ">Last"), cells, is_list_on_phone=True
            )
            sheet([grid], key="dialect-table")
        else:
            sheet([blocks.note("No span arrived in the last 24 hours.")], key="dialect-none")


def _prices() -> None:
    reader = session.reader()
    covered = queries.totals(reader, session.scope(), ["priced_ratio", "cost_usd", "tokens"])
    try:
        unpriced = queries.unpriced_models(reader)
    except QueryError as error:
        unpriced = []
        st.caption(error.message)
    sub = (
        f"{format.percent(covered['priced_ratio'])} of the tokens in this window have a price"
        " · below: what has none, of all that is kept"
    )
    with frame.card("Prices", sub, key="prices"):
        if not unpriced:
            sheet([blocks.note("Every model that was used has a price.", "good")], key="priced")
            return
        cells = [
            [r["model"] or format.UNKNOWN, r["provider"] or format.UNKNOWN,
             format.exact(r["calls"]), format.count(r["tokens"]), r["how_to_price"] or ""]
            for r in unpriced
        ]  # fmt: skip
        columns = ("Model", "Provider", ">Calls", ">Tokens", "What to do")
        sheet([blocks.grid(columns, cells, is_list_on_phone=True)], key="unpriced")


def _ms(seconds: Any) -> float | None:
    return None if seconds is None else float(seconds) * 1000


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
