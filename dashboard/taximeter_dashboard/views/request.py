"""One request: what happened when, what each step cost, and the proof of every number."""

from __future__ import annotations

from typing import Final

import streamlit as st

from taximeter_collector.explain import NotExplainable
from taximeter_dashboard import blocks, format, frame, queries, request_panels, session, trace
from taximeter_dashboard.components import sheet, waterfall
from taximeter_dashboard.proofs import proof_blocks
from taximeter_dashboard.scope import FILTERS

KINDS: Final = {"llm": "model call"}
CODE_HEIGHT: Final = 270
WHO: Final = (("User", "user_id", "user"), ("Session", "session_id", "session"),
              ("Tenant", "tenant", "tenant"))  # fmt: skip
VIEWS: Final = ("Waterfall", "Conversation", "Cost over time")
TABS: Final = ("Proof", "Input", "Output", "Attributes")


def draw() -> None:
    request_id = st.query_params.get("id", "")
    found = queries.request(session.reader(), request_id) if request_id else None
    window = queries.received(found)
    spans = queries.spans_of(session.reader(), request_id, window) if request_id else []
    if found is None and not spans:
        text = "This request is not in the store: it has not arrived yet, or its time is over."
        with st.container(border=True, key="card-missing"):
            back = ("Requests", session.url("requests"))
            sheet([blocks.heading("Request not found", back=back, id=request_id),
                   blocks.note(text)], key="missing")  # fmt: skip
        return
    sheet([_heading(found, request_id), *_facts(found, spans)], key="request-head")
    if spans:
        _body(request_id, spans, window)
    else:
        gone = "Its spans are no longer kept (store.retention_days); these numbers were derived from them."
        sheet([blocks.note(gone)], key="spans-gone")


def _heading(found: queries.Row | None, request_id: str) -> blocks.Block:
    back = ("Requests", session.url("requests"))
    if found is None:
        return blocks.heading("Request", back=back, id=request_id)
    badges = []
    if found["is_error"]:
        cause = found["error_type"] or found["error_class"] or "error"
        badges.append(blocks.badge(cause, "bad"))
    if found["termination_reason"] not in (None, "completed", "unknown", "error"):
        badges.append(blocks.badge(format.words(found["termination_reason"]), "warn"))
    coverage = format.coverage(found["priced_ratio"])
    if coverage:
        badges.append(blocks.badge(coverage, "warn"))
    if not found["is_complete"]:
        badges.append(blocks.badge("still running", "warn"))
    return blocks.heading(found["name"] or "Request", back=back, badges=badges, id=request_id)


def _facts(found: queries.Row | None, spans: list[queries.Row]) -> list[blocks.Block]:
    if found is None:
        return [blocks.note("Its numbers are not derived yet; they follow in a moment.")]
    tools = format.exact(found["tool_calls"])
    if found["tool_errors"]:
        tools += f" · {format.exact(found['tool_errors'])} failed"
    known = [found[name] for name in ("uncached_input_tokens", "cache_read_tokens",
             "cache_write_tokens") if found[name] is not None]  # fmt: skip
    tokens_in = sum(known) if known else None
    facts: list[blocks.Fact] = [
        _agent(found),
        ("Started", format.moment(found["start_time"], session.zone())),
        ("Duration", format.duration(found["duration_ms"])),
        ("Cost", format.usd(found["cost_usd"])),
        ("Model calls", format.exact(found["model_calls"])),
        ("Loop length", format.exact(found["loop_length"])),
        ("Tool calls", tools),
        ("Tokens", f"{format.count(tokens_in)} → {format.count(found['output_tokens'])}"),
        ("Cache hit", format.percent(found["cache_hit_ratio"])),
        ("Ended", format.words(found["termination_reason"])),
    ]
    if found["thrash_cost_usd"]:
        facts.append(("Spent on repeats", format.usd(found["thrash_cost_usd"]), "warn"))
    facts += [
        (label, found[column], "", _all_of(**{parameter: found[column]}))
        for label, column, parameter in WHO
        if found[column]
    ]
    facts.append(("Spans", format.exact(len(spans))))
    return [blocks.facts(facts)]


def _agent(found: queries.Row) -> blocks.Fact:
    name = found["agent_name"]
    if not name:
        return ("Agent", found["service_name"] or format.UNKNOWN)
    return ("Agent", name, "", session.url("agents", agent=[name]))


def _all_of(**narrowed: str) -> str:
    """Return the requests of this user, session or tenant in the longest window."""
    nothing = dict.fromkeys((*FILTERS, "start", "end"))
    return session.url("requests", **{**nothing, **narrowed, "range": "30d"})


@st.fragment(key="trace-fragment")
def _body(request_id: str, spans: list[queries.Row], window: queries.Received) -> None:
    shown = st.segmented_control(
        "View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    if shown == "Conversation":
        frame.guarded(lambda: request_panels.conversation_card(request_id, window))()
    elif shown == "Cost over time":
        request_panels.cost_card(spans)
    else:
        _waterfall(request_id, spans, window)


def _waterfall(request_id: str, spans: list[queries.Row], window: queries.Received) -> None:
    left, right = st.columns([0.68, 0.32], gap="small")
    ids = {span["span_id"]: span for span in spans}
    asked = st.query_params.get("span")
    first = asked if asked in ids else _interesting(spans)
    with left:
        chosen = waterfall(
            trace.waterfall_columns(spans), key=f"waterfall-{request_id}-{asked}",
            version=f"{request_id}:{len(spans)}", selected=first,
        )  # fmt: skip
    selected = ids.get(chosen or "") or ids[first]
    with right, st.container(border=True, key="card-span", gap="xsmall"):
        frame.guarded(lambda: _panel(request_id, selected, window))()


def _interesting(spans: list[queries.Row]) -> str:
    """Return the span to start with: the first failed one, else the root."""
    failed = next((s["span_id"] for s in spans if s["status"] == "error"), None)
    return str(failed or spans[0]["span_id"])


def _panel(request_id: str, span: queries.Row, window: queries.Received) -> None:
    reader, span_id = session.reader(), span["span_id"]
    call = queries.call_detail(reader, request_id, span_id, span["start_time"])
    detail = queries.span_detail(reader, request_id, span_id, window) or {}
    badges = [blocks.badge(KINDS.get(span["kind"], span["kind"] or "span"))]
    if span["status"] == "error":
        badges.append(blocks.badge(span["error_type"] or "error", "bad"))
    sheet([blocks.title(span["name"] or format.UNKNOWN, badges=badges),
           blocks.key_values(_span_facts(span, detail, call))], key="span-facts")  # fmt: skip
    attributes = trace.as_pairs(detail.get("attributes"))
    # The same tabs for every span: the one that is open stays open while walking the tree.
    for name, tab in zip(TABS, st.tabs(TABS, key="span-tabs"), strict=True):
        with tab:
            if name == "Proof":
                _proof(request_id, span["span_id"])
            elif not session.may_see_content():
                text = "What agents were told and said is not shown to you (dashboard.content)."
                sheet([blocks.note(text)], key=f"no-{name}")
            elif name == "Attributes":
                _attributes(attributes, detail)
            else:
                _content(attributes, name.lower(), detail)


def _span_facts(
    span: queries.Row, detail: queries.Row, call: queries.Row | None
) -> list[blocks.Fact]:
    facts: list[blocks.Fact] = [
        ("Duration", format.duration(span["duration_ms"])),
        ("Started", format.moment(span["start_time"], session.zone())),
    ]
    if call:
        cached = call["cache_read_tokens"]
        share = cached / call["prompt_tokens"] if cached and call["prompt_tokens"] else None
        facts += [
            ("Cost", format.usd(call["cost_usd"])),
            ("Input tokens", format.count(call["prompt_tokens"])),
            ("from cache", format.count(cached) + (f" · {format.percent(share)}" if share else "")),
            ("Output tokens", format.count(call["output_tokens"])),
            ("First token after", format.duration(call["ttft_ms"])),
            ("Finish reason", call["finish_reason"] or format.UNKNOWN),
        ]
    if (span["consecutive_repeat"] or 0) > 1:
        facts.append(("Same call in a row", f"{span['consecutive_repeat']}×", "warn"))
    if detail.get("status_message"):
        facts.append(("Error", detail["status_message"], "bad"))
    return facts


def _proof(request_id: str, span_id: str) -> None:
    def address(trace_id: str, other: str) -> str:
        return session.url("request", id=trace_id, span=other)

    try:
        proof = session.proof(request_id, span_id)
    except NotExplainable as error:
        sheet([blocks.note(str(error))], key="no-proof")
        return
    sheet(proof_blocks(proof, address), key="proof")


def _content(attributes: dict[str, str], way: str, detail: queries.Row) -> None:
    text = trace.content_of(attributes, way)
    if text:
        st.code(text, language=None, wrap_lines=True, height=CODE_HEIGHT)
        return
    if detail.get("content_deleted"):
        hint = f"What was said here ({detail['content_bytes']:,} bytes) is deleted: content is kept for store.content_retention_days."
    else:
        hint = f"No {way} was sent. Content is off unless TAXIMETER_CAPTURE_CONTENT=1."
    sheet([blocks.note(hint)], key=f"no-{way}")


def _attributes(attributes: dict[str, str], detail: queries.Row) -> None:
    resource = trace.as_pairs(detail.get("resource_attributes"))
    lines = [f"{name}: {value}" for name, value in sorted(attributes.items())]
    lines += ["", "# resource", *(f"{name}: {value}" for name, value in sorted(resource.items()))]
    for event in detail.get("events") or []:
        lines += ["", f"# event {event['name']}"]
        lines += [f"{k}: {v}" for k, v in trace.as_pairs(event["attributes"]).items()]
    st.code("\n".join(lines), language=None, wrap_lines=True, height=CODE_HEIGHT)


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
