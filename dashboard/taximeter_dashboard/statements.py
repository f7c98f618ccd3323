"""Statements for Explore: examples that run, and a column put into what is written. Pure."""

from __future__ import annotations

import re
from typing import Final

EXAMPLES: Final[dict[str, str]] = {
    "Spend by model and day": """select date_trunc('day', minute) as day, model, sum(cost_pico) / 1e12 as usd
from usage_minute
where minute >= now() - interval 14 days and model is not null
group by all
order by day, usd desc""",
    "Dearest requests": """select start_time, agent_name, name, cost_usd, loop_length, termination_reason, request_id
from requests
where start_time >= now() - interval 7 days
order by cost_usd desc nulls last
limit 50""",
    "Loop lengths": """select loop_length, count(*) as requests
from requests
where start_time >= now() - interval 7 days and loop_length is not null
group by all
order by loop_length""",
    "Failures by hour": """select time_bucket(interval 1 hour, start_time) as hour, error_class, count(*) as failed
from requests
where start_time >= now() - interval 2 days and is_error
group by all
order by hour""",
    "Slowest tools": """select tool_name, count(*) as executions, quantile_disc(duration_ms, 0.95) as p95_ms,
    count(*) filter (is_error) / count(*) as error_rate
from tool_calls
where start_time >= now() - interval 7 days
group by all
order by p95_ms desc
limit 20""",
}


def with_column(sql: str, view: str, column: str) -> str:
    r"""Return the statement with the column first in its list, or a new one of the view.

    >>> with_column("", "calls", "model")
    'select model\nfrom calls\nlimit 100'
    >>> with_column("select * from calls", "calls", "model")
    'select model from calls'
    >>> with_column("select distinct b from calls", "calls", "a")
    'select distinct a, b from calls'
    """
    head = re.match(r"\s*select(\s+distinct)?\s+", sql, re.IGNORECASE)
    if head is None or not re.search(rf"\b{re.escape(view)}\b", sql):
        return f"select {column}\nfrom {view}\nlimit 100"
    rest = sql[head.end() :]
    if all_columns := re.match(r"\*\s*(?=from\b)", rest, re.IGNORECASE):
        return f"{head[0]}{column} {rest[all_columns.end() :]}"
    return f"{head[0]}{column}, {rest}"


def pointed_at(sql: str, position: tuple[int, int]) -> str:
    r"""Return the line of the statement with a mark below the column.

    >>> pointed_at("select 1\nfrom nowhere", (2, 6))
    'from nowhere\n     ^'
    """
    lines = sql.splitlines()
    line, column = position
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    start = max(column - 61, 0)
    return f"{text[start : start + 120]}\n{' ' * (column - 1 - start)}^"
