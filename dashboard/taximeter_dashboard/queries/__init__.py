"""Metric names and a scope in, series and rows out; a module a page. No aggregate of a metric is written here."""

from taximeter_dashboard.queries.agents import (
    Version,
    endings_by_agent,
    endings_over_time,
    kept_iterations,
    loop_lengths,
    run_lengths,
    thrash,
    versions,
)
from taximeter_dashboard.queries.cache import (
    added,
    advice_of,
    cache_by_agent_and_model,
    hit_ratio_by_agent,
    prefix_fates,
)
from taximeter_dashboard.queries.conversation import Said, said_in
from taximeter_dashboard.queries.core import (
    OTHERS,
    Reads,
    Row,
    Series,
    Values,
    over_time,
    over_time_by,
    pivoted,
    request_filter,
    totals,
)
from taximeter_dashboard.queries.costs import (
    SPEND_DIMENSIONS,
    Matrix,
    change_of_spend,
    month_end,
    spend_by,
    spend_matrix,
    unpriced_in,
)
from taximeter_dashboard.queries.deploys import deploys
from taximeter_dashboard.queries.failures import (
    Among,
    What,
    failures,
    spent_on_failed,
)
from taximeter_dashboard.queries.live import newest_spans
from taximeter_dashboard.queries.overview import by_agent, failures_by_cause
from taximeter_dashboard.queries.people import (
    PEOPLE_SORTS,
    PeopleFilter,
    Who,
    people_over_time,
    people_page,
    people_totals,
)
from taximeter_dashboard.queries.request_list import (
    SORTS,
    STATUSES,
    RequestFilter,
    filter_options,
    request_page,
)
from taximeter_dashboard.queries.schema import VIEWS, metric_definitions, view_columns
from taximeter_dashboard.queries.setup import has_any_request, received_by_dialect, unpriced_models
from taximeter_dashboard.queries.tools import tools
from taximeter_dashboard.queries.trace import (
    Received,
    call_detail,
    received,
    request,
    span_detail,
    spans_of,
)

__all__ = [
    "OTHERS",
    "PEOPLE_SORTS",
    "SORTS",
    "SPEND_DIMENSIONS",
    "STATUSES",
    "VIEWS",
    "Among",
    "Matrix",
    "PeopleFilter",
    "Reads",
    "Received",
    "RequestFilter",
    "Row",
    "Said",
    "Series",
    "Values",
    "Version",
    "What",
    "Who",
    "added",
    "advice_of",
    "by_agent",
    "cache_by_agent_and_model",
    "call_detail",
    "change_of_spend",
    "deploys",
    "endings_by_agent",
    "endings_over_time",
    "failures",
    "failures_by_cause",
    "filter_options",
    "has_any_request",
    "hit_ratio_by_agent",
    "kept_iterations",
    "loop_lengths",
    "metric_definitions",
    "month_end",
    "newest_spans",
    "over_time",
    "over_time_by",
    "people_over_time",
    "people_page",
    "people_totals",
    "pivoted",
    "prefix_fates",
    "received",
    "received_by_dialect",
    "request",
    "request_filter",
    "request_page",
    "run_lengths",
    "said_in",
    "span_detail",
    "spans_of",
    "spend_by",
    "spend_matrix",
    "spent_on_failed",
    "thrash",
    "tools",
    "totals",
    "unpriced_in",
    "unpriced_models",
    "versions",
    "view_columns",
]
