"""Sessions and users: what each asked, spent and met. Sessions are no dimension of the roll-up, so requests are added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from taximeter_dashboard.queries.core import Reads, Row, Series, request_filter
from taximeter_dashboard.scope import Scope

Who = Literal["session", "user"]
COLUMNS: Final[dict[Who, str]] = {"session": "session_id", "user": "user_id"}
PEOPLE_SORTS: Final = {
    "seen": "last_seen",
    "requests": "requests",
    "cost": "cost_usd",
    "each": "cost_per_request_usd",
    "errors": "error_rate",
}
_SUMS: Final = """count(*) as requests, sum(cost_pico) / 1e12 as cost_usd,
    count(*) filter (cost_pico is null) as unpriced_requests"""


@dataclass(frozen=True, slots=True)
class PeopleFilter:
    """What the list is narrowed to and how it is ordered."""

    text: str = ""
    sort: str = "cost"
    is_descending: bool = True


def people_page(
    reader: Reads, scope: Scope, who: Who, wanted: PeopleFilter, page: int, size: int
) -> tuple[int, list[Row]]:
    """Return how many sessions or users match and one page of them (the first is 1).

    A row: `name`, `requests`, `cost_usd`, `unpriced_requests`, `cost_per_request_usd`, `error_rate`,
    `last_seen`, `agents`, and `others`: the users of a session, the sessions of a user.
    """
    column, other = COLUMNS[who], COLUMNS["user" if who == "session" else "session"]
    condition, params = request_filter(scope)
    condition += f" and {column} is not null"
    if wanted.text:
        condition += f" and contains(lower({column}), $text)"
        params["text"] = wanted.text.lower()
    found = reader.rows(
        f"select count(distinct {column}) as n from requests where {condition}", params
    )
    order = PEOPLE_SORTS.get(wanted.sort, PEOPLE_SORTS["cost"])
    way = "desc" if wanted.is_descending else "asc"
    rows = reader.rows(
        f"select {column} as name, {_SUMS},"
        " sum(cost_pico) / 1e12 / nullif(count(cost_pico), 0) as cost_per_request_usd,"
        " count(*) filter (is_error) / count(*) as error_rate, max(start_time) as last_seen,"
        " list_sort(list(distinct agent_name) filter (agent_name is not null)) as agents,"
        f" list_sort(list(distinct {other}) filter ({other} is not null)) as others"
        f" from requests where {condition} group by {column}"
        f" order by {order} {way} nulls last, name limit {int(size)}"
        f" offset {max(int(page) - 1, 0) * int(size)}",
        params,
    )
    return int(found[0]["n"]), rows


def people_totals(reader: Reads, scope: Scope, who: Who) -> Row:
    """Return how many there are, and what one asks and spends; `unnamed_ratio` of requests name none."""
    condition, params = request_filter(scope)
    (row,) = reader.rows(f"select {_totals(who)} from requests where {condition}", params)
    return row


def people_over_time(reader: Reads, scope: Scope, who: Who) -> Series:
    """Return the same by bucket: one who is there in two buckets counts in both."""
    condition, params = request_filter(scope)
    rows = reader.rows(
        f"select time_bucket(to_seconds($bucket_s), start_time) as bucket, {_totals(who)}"
        f" from requests where {condition} group by bucket",
        {**params, "bucket_s": scope.bucket_s},
    )
    by_time = {row["bucket"]: row for row in rows}
    times = scope.buckets
    names = ("people", "cost_each_usd", "requests_each", "unnamed_ratio")
    return Series(times, {n: [by_time.get(t, {}).get(n) for t in times] for n in names})


def _totals(who: Who) -> str:
    column = COLUMNS[who]
    named = f"filter ({column} is not null)"
    return (
        f"count(distinct {column}) as people, count(*)::double as sample_requests,"
        f" (sum(cost_pico) {named} / 1e12 / nullif(people, 0))::double as cost_each_usd,"
        f" (count({column}) / nullif(people, 0))::double as requests_each,"
        f" 1 - count({column}) / nullif(count(*), 0) as unnamed_ratio"
    )
