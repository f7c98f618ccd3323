"""What was said in one request: each message once, although every call repeats those before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from taximeter_dashboard.queries.core import Reads, Row
from taximeter_dashboard.queries.trace import Received
from taximeter_dashboard.trace import CONTENT_KEYS

READ_BYTES: Final = 64_000_000
"""Content that is looked through for what is new; a request that holds more is told to here."""
FRESH_BYTES: Final = 24_000_000
"""Of inputs that do not just go on where the one before ended: taking these apart is what costs."""
NEW_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Said:
    """New messages and tool runs, the spans that could hold some, and whether the bounds left any out."""

    rows: list[Row]
    spans: list[Row]
    is_cut: bool


def _first_of(way: str) -> str:
    names = ", ".join(f"nullif(attributes['{name}'], '')" for name in CONTENT_KEYS[way])
    return f"coalesce({names})"


def _messages(column: str) -> str:
    return f"""case when not json_valid({column}) then [{column}]
        when json_type({column}) = 'ARRAY' then json_extract({column}, '$[*]')::varchar[]
        when json_type({column}, '$.messages') = 'ARRAY'
            then json_extract({column}, '$.messages[*]')::varchar[]
        else [{column}] end"""


_HELD: Final = f"""with span as (
    select span_id, parent_span_id, kind, name, status = 'error' as is_error, start_time, end_time, attributes,
        coalesce(content_bytes, 0) as content_bytes, content_deleted,
        sum(coalesce(content_bytes, 0)) over (order by start_time, span_id) as read_bytes
    from spans where trace_id = $id and received_at between $since and $until
        and list_contains($kinds, kind)
    qualify row_number() over (partition by span_id order by received_at) = 1
), held as (
    select span_id, parent_span_id, kind, name, is_error, start_time, end_time, content_bytes, content_deleted,
        read_bytes <= $read_bytes as is_read,
        case when is_read then {_first_of("input")} end as input,
        case when is_read then {_first_of("output")} end as output,
        case when is_read then nullif(attributes['gen_ai.system_instructions'], '') end as system,
        coalesce(attributes['gen_ai.tool.name'], name) as tool_name,
        attributes['gen_ai.tool.call.id'] as call_id
    from span
)"""
_SPANS: Final = f"""{_HELD}
select kind, content_bytes, content_deleted, is_read,
    coalesce(input, output, system) is not null as has_content
from held order by start_time, span_id limit 20000"""
_GOES_ON: Final = """{before} like '[%]' and starts_with(input, left({before}, -1))
    and ltrim(substr(input, length({before})))[1] in (',', ']')"""
_TURNS: Final = f"""{_HELD}, asked as (
    select span_id, start_time, end_time, input,
        lag(input) over (order by start_time, span_id) as before,
        lag(input) over (partition by parent_span_id order by start_time, span_id) as beside
    from held where kind <> 'tool' and input is not null
), fresh as (
    select span_id, start_time, end_time,
        case when {_GOES_ON.format(before="before")} then length(before)
            when {_GOES_ON.format(before="beside")} then length(beside) else 0 end as known,
        case when input = before then '[]' when known > 0 then '[' || ltrim(substr(asked.input, known), ', ') else asked.input end as rest,
        sum(strlen(rest)) over (order by start_time, span_id) as fresh_bytes
    from asked
), told as (
    select span_id, start_time, end_time, 'input' as way,
        unnest(messages) as text, known + generate_subscripts(messages, 1) as place
    from (select *, {_messages("rest")} as messages from fresh where fresh_bytes <= $fresh_bytes)
), new as (
    select span_id, start_time, end_time, way, place, text, null as given, null as name,
        null as call_id, false as is_error
    from told
    qualify place > coalesce(max(place) over (partition by hash(text) order by start_time, span_id, place
        rows between unbounded preceding and 1 preceding), 0)
    union all by name
    select span_id, start_time, end_time, 'output' as way, 0 as place, output as text, false as is_error
    from held where kind <> 'tool' and output is not null
    union all by name
    select span_id, start_time, end_time, 'system' as way, 0 as place, system as text, false as is_error
    from held where kind <> 'tool' and system is not null
    qualify row_number() over (partition by hash(system) order by start_time, span_id) = 1
    union all by name
    select span_id, start_time, end_time, 'tool' as way, 0 as place, output as text, input as given,
        tool_name as name, call_id, is_error
    from held where kind = 'tool' and coalesce(input, output) is not null
)
select *, coalesce(strlen(text), 0) + coalesce(strlen(given), 0) as bytes,
    sum(bytes) over (order by start_time, span_id, way, place) as new_bytes,
    sum(bytes) over () as all_bytes,
    (select max(fresh_bytes) > $fresh_bytes from fresh) as is_short
from new qualify new_bytes <= $new_bytes
order by start_time, span_id, way, place limit 20000"""


def said_in(reader: Reads, request_id: str, window: Received) -> Said:
    """Return what a request's model calls and tools, received in ``window``, were told and said.

    Where they kept nothing, what its agents were told and said.
    """
    said = _said(reader, request_id, window, ["llm", "tool"])
    if said.rows or any(span["content_deleted"] for span in said.spans):
        return said
    return replace(said, rows=_said(reader, request_id, window, ["agent"]).rows)


def _said(reader: Reads, request_id: str, window: Received, kinds: list[str]) -> Said:
    since, until = window
    asked = {"id": request_id, "since": since, "until": until, "kinds": kinds,
             "read_bytes": READ_BYTES}  # fmt: skip
    spans = reader.rows(_SPANS, asked)
    rows = reader.rows(_TURNS, asked | {"new_bytes": NEW_BYTES, "fresh_bytes": FRESH_BYTES})
    is_cut = any(not span["is_read"] for span in spans) or any(
        row["is_short"] or row["all_bytes"] > NEW_BYTES for row in rows[:1]
    )
    return Said(rows, spans, is_cut)
