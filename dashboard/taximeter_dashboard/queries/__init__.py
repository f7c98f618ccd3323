"""Metric names and a scope in, series and rows out; a module a page. No aggregate of a metric is written here."""

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
from taximeter_dashboard.queries.overview import by_agent, failures_by_cause
from taximeter_dashboard.queries.request_list import (
    SORTS,
    STATUSES,
    RequestFilter,
    filter_options,
    request_page,
)
from taximeter_dashboard.queries.setup import has_any_request, received_by_dialect, unpriced_models
from taximeter_dashboard.queries.trace import call_detail, request, span_detail, spans_of

__all__ = [
    "OTHERS",
    "SORTS",
    "SPEND_DIMENSIONS",
    "STATUSES",
    "Matrix",
    "Reads",
    "RequestFilter",
    "Row",
    "Series",
    "Values",
    "by_agent",
    "call_detail",
    "change_of_spend",
    "failures_by_cause",
    "filter_options",
    "has_any_request",
    "month_end",
    "over_time",
    "over_time_by",
    "pivoted",
    "received_by_dialect",
    "request",
    "request_filter",
    "request_page",
    "span_detail",
    "spans_of",
    "spend_by",
    "spend_matrix",
    "totals",
    "unpriced_in",
    "unpriced_models",
]
