"""The registry of metrics: name in, one SQL query over the roll-ups out.

Dashboard and alerts name metrics; neither writes an aggregate. Formulas: docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Source = Literal["usage_minute", "request", "call"]
TIME_COLUMN: dict[Source, str] = {
    "usage_minute": "minute",
    "request": "start_time",
    "call": "start_time",
}
REQUEST_DIMENSIONS = (
    "service_name", "environment", "agent_name", "agent_version", "tenant", "user_id",
)  # fmt: skip
CALL_DIMENSIONS = (*REQUEST_DIMENSIONS, "provider", "model")
TOOL_DIMENSIONS = (*REQUEST_DIMENSIONS, "tool_name")
DIMENSIONS = (*CALL_DIMENSIONS, "tool_name")
SOURCE_DIMENSIONS: dict[Source, tuple[str, ...]] = {
    "usage_minute": DIMENSIONS,
    "request": REQUEST_DIMENSIONS,
    "call": CALL_DIMENSIONS,
}

USD = "1e12"  # pico-USD in one USD


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: ``numerator / denominator`` over the rows of ``source``."""

    name: str
    unit: str
    """``USD``, ``ratio`` (0 to 1), ``seconds``, ``tokens`` or ``1`` (a count)."""
    description: str
    better: Literal["lower", "higher", "neutral"]
    numerator: str
    """A DuckDB aggregate over the columns of ``source``."""
    denominator: str | None = None
    source: Source = "usage_minute"
    dimensions: tuple[str, ...] = REQUEST_DIMENSIONS
    """What it can be grouped and filtered by."""

    @property
    def expression(self) -> str:
        """The SQL of the metric; a ratio over nothing is NULL, never 0."""
        if self.denominator is None:
            return f"({self.numerator})::double"
        return f"(({self.numerator}) / nullif({self.denominator}, 0))::double"

    @property
    def sql(self) -> str:
        """The whole definition, as a statement that runs in ``taximeter query``."""
        return f"select {self.expression} as {self.name} from {_view(self.source)}"


def _view(source: Source) -> str:
    return source if source == "usage_minute" else f"{source}s"


def _quantile(column: str, q: float, scale: str = "") -> str:
    return f"quantile_disc({column}, {q}){scale}"


_ALL = (
    Metric("cost_usd", "USD", "Spend on model calls, list price; unpriced calls left out.", "lower",
           f"sum(cost_pico) / {USD}", dimensions=CALL_DIMENSIONS),
    Metric("cost_per_request_usd", "USD", "Spend of a request with all its sub-agents.", "lower",
           f"sum(request_cost_pico) / {USD}", "sum(requests - unpriced_requests)"),
    Metric("request_cost_max_usd", "USD", "Spend of the window's dearest request.", "lower",
           f"max(cost_pico) / {USD}", source="request"),
    Metric("cost_per_success_usd", "USD", "All spend over the requests that did not fail.", "lower",
           f"sum(request_cost_pico) / {USD}", "sum(requests - failed_requests)"),
    Metric("requests", "1", "Requests started.", "neutral", "sum(requests)"),
    Metric("loop_length_mean", "1", "Mean model decisions of a request's longest agent run.", "lower",
           "sum(loop_length_sum)", "sum(loop_length_requests)"),
    *(Metric(f"loop_length_p{p}", "1", f"{p}th percentile of model decisions in a request's longest run.",
             "lower", _quantile("loop_length", p / 100), source="request") for p in (50, 95, 99)),
    Metric("loop_length_max", "1", "Longest loop of the window.", "lower", "max(loop_length_max)"),
    Metric("error_rate", "ratio", "Requests whose root failed; recovered errors do not count.", "lower",
           "sum(failed_requests)", "sum(requests)"),
    Metric("failed_requests", "1", "Requests whose root failed.", "lower", "sum(failed_requests)"),
    Metric("recovered_rate", "ratio", "Requests with a failed call or tool that ended well, over those with one.", "higher",
           "sum(recovered_requests)", "sum(requests_with_child_errors)"),
    Metric("cancelled_rate", "ratio", "Requests that were cancelled.", "lower",
           "sum(cancelled_requests)", "sum(requests)"),
    Metric("truncated_rate", "ratio", "Requests whose answer met the length limit.", "lower",
           "sum(truncated_requests)", "sum(requests)"),
    Metric("refused_rate", "ratio", "Requests that the model or its filter refused.", "lower",
           "sum(refused_requests)", "sum(requests)"),
    Metric("tool_error_rate", "ratio", "Failed tool executions over tool executions.", "lower",
           "sum(failed_tool_calls)", "sum(tool_calls)", dimensions=TOOL_DIMENSIONS),
    Metric("call_error_rate", "ratio", "Failed attempts over attempts: the provider's health.", "lower",
           "sum(failed_calls + unseen_attempts)", "sum(calls + unseen_attempts)", dimensions=CALL_DIMENSIONS),
    Metric("logical_call_error_rate", "ratio", "Calls whose last attempt failed over calls.", "lower",
           "sum(failed_logical_calls)", "sum(logical_calls)", dimensions=CALL_DIMENSIONS),
    Metric("throttled_rate", "ratio", "Attempts answered with 429 or overload over attempts seen.", "lower",
           "sum(throttled_calls)", "sum(calls)", dimensions=CALL_DIMENSIONS),
    Metric("retry_rate", "ratio", "Attempts beyond the first over logical calls.", "lower",
           "sum(retried_calls)", "sum(logical_calls)", dimensions=CALL_DIMENSIONS),
    Metric("cache_hit_ratio", "ratio", "Cached share of prompt tokens, where caching is reported.", "higher",
           "sum(hit_read_tokens)", "sum(hit_denominator_tokens)", dimensions=CALL_DIMENSIONS),
    Metric("cache_write_share", "ratio", "Prompt tokens written to the cache, where caching is reported.", "neutral",
           "sum(hit_write_tokens)", "sum(hit_denominator_tokens)", dimensions=CALL_DIMENSIONS),
    Metric("cache_reuse", "1", "Times that a token written to the cache was read.", "higher",
           "sum(hit_read_tokens)", "sum(hit_write_tokens)", dimensions=CALL_DIMENSIONS),
    Metric("cache_saved_ratio", "ratio", "Net saving over what the same tokens cost without a cache.", "higher",
           "sum(cache_saved_pico)", "sum(saved_base_pico) + sum(cache_saved_pico)", dimensions=CALL_DIMENSIONS),
    Metric("cache_saved_usd", "USD", "Saved by cache reads, net of the write premium.", "higher",
           f"sum(cache_saved_pico) / {USD}", dimensions=CALL_DIMENSIONS),
    *(Metric(f"latency_p{p}_seconds", "seconds", f"{p}th percentile of request duration.", "lower",
             _quantile("duration_ms", p / 100, " / 1000"), source="request") for p in (50, 95)),
    Metric("ttft_p95_seconds", "seconds", "95th percentile of time to first token.", "lower",
           _quantile("ttft_ms", 0.95, " / 1000"), source="call", dimensions=CALL_DIMENSIONS),
    Metric("output_tokens_per_second", "tokens", "Output tokens over the time after the first one.", "higher",
           "sum(timed_output_tokens) * 1000", "sum(generating_ms)", dimensions=CALL_DIMENSIONS),
    Metric("cost_per_1k_output_usd", "USD", "Spend over a thousand output tokens.", "lower",
           f"sum(output_base_pico) / {USD} * 1000", "sum(priced_output_tokens)", dimensions=CALL_DIMENSIONS),
    Metric("price_drift", "ratio", "Distance of reported from computed cost, over computed, where both are known.", "neutral",
           f"abs(sum(reported_usd) - sum(reported_base_pico) / {USD})", f"sum(reported_base_pico) / {USD}",
           dimensions=CALL_DIMENSIONS),
    Metric("tokens_per_iteration", "tokens", "Tokens of a model decision.", "lower",
           "sum(decision_tokens)", "sum(decisions)", dimensions=CALL_DIMENSIONS),
    Metric("tool_calls_per_iteration", "1", "Tool executions over model decisions.", "neutral",
           "sum(tool_calls)", "sum(decisions)"),
    Metric("tool_repeat_ratio", "ratio", "Tool executions that only repeated an earlier one.", "lower",
           "sum(repeated_tool_calls)", "sum(tool_calls)", dimensions=TOOL_DIMENSIONS),
    Metric("tokens", "tokens", "Tokens of all kinds, cached included.", "neutral",
           "sum(tokens)", dimensions=CALL_DIMENSIONS),
    Metric("tokens_per_request", "tokens", "Tokens of all kinds over requests.", "lower",
           "sum(tokens)", "sum(requests)"),
    Metric("thrash_cost_usd", "USD", "Spend on calls that only repeated a tool call.", "lower",
           f"sum(thrash_cost_pico) / {USD}"),
    Metric("price_drift_ratio", "ratio", "Stated costs against costs of the tokens, where both are known.", "lower",
           f"sum(abs(cost_reported_usd * {USD} - cost_computed_pico)) filter (is_billed)",
           "sum(cost_computed_pico) filter (is_billed and cost_reported_usd is not null)",
           source="call", dimensions=CALL_DIMENSIONS),
    Metric("priced_ratio", "ratio", "Share of tokens that have a price: the coverage of every total.",
           "higher", "sum(priced_tokens)", "sum(tokens)", dimensions=CALL_DIMENSIONS),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


@dataclass(frozen=True, slots=True)
class Query:
    """A statement with its bound parameters, ready for the read API."""

    sql: str
    params: dict[str, Any]


Where = Mapping[str, Sequence[str | None]]
"""Dimension -> values, one of which a row must have."""


def matching(where: Where, dimensions: Sequence[str] = DIMENSIONS) -> Query:
    """Return the condition on rows with these dimensions that ``where`` (dimension → values) means.

    ``true`` for no filter; the value None means rows whose dimension is not known. Rows that lack
    one of its dimensions match nothing.

    >>> matching({"agent_name": ["a"], "tenant": [None]})
    Query(sql='list_contains($w_agent_name, agent_name) and tenant is null', params={'w_agent_name': ['a']})
    """
    conditions = [
        _is_one_of(name, values) if name in dimensions else "false"
        for name, values in where.items()
    ]
    params = {
        f"w_{name}": known
        for name, values in where.items()
        if name in dimensions and (known := _known(values)) is not None
    }
    return Query(" and ".join(conditions) or "true", params)


def _is_one_of(name: str, values: Sequence[str | None]) -> str:
    known = f"list_contains($w_{name}, {name})"
    if None not in values:
        return known
    return f"{name} is null" if _known(values) is None else f"({known} or {name} is null)"


def _known(values: Sequence[str | None]) -> list[str] | None:
    """Return the values to bind, None where there are only unknown ones."""
    return None if {*values} == {None} else [value for value in values if value is not None]


def request_conditions(where: Where) -> Query:
    """Return `matching` for requests and what belongs to one.

    Raises ValueError for a filter that is no request dimension.
    """
    for name in where:
        if name not in REQUEST_DIMENSIONS:
            raise ValueError(
                f"cannot filter by {name!r}; use one of {', '.join(REQUEST_DIMENSIONS)}"
            )
    return matching(where, REQUEST_DIMENSIONS)


def metric_query(
    names: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    bucket_s: int | None = None,
    by: Sequence[str] = (),
    where: Where | None = None,
    order_by: str | None = None,
    descending: bool = True,
    limit: int | None = None,
    parts: bool = False,
    share: tuple[int, int] | None = None,
) -> Query:
    """Return the query of ``names`` over ``[start, end)``.

    Result: ``bucket`` (TIMESTAMPTZ, with ``bucket_s``), the ``by`` columns, one DOUBLE a metric
    (NULL = undefined), and always ``sample_requests`` and ``priced_ratio``. With ``parts`` also
    ``<metric>__num`` and ``<metric>__den`` (a count's denominator is NULL), which add up over
    buckets where the source is ``usage_minute``. With ``share`` (k, n) only the groups that the hash of
    their ``by`` columns puts in the k-th of n parts (from 0), so that a large answer can be read in parts.
    Raises ValueError for a metric, dimension or order that is not in the registry.
    """
    where = where or {}
    metrics = [_metric(name) for name in names]
    for dimension in (*by, *where):
        if dimension not in DIMENSIONS:
            raise ValueError(f"unknown dimension {dimension!r}; use one of {', '.join(DIMENSIONS)}")
    keys = ["bucket", *by] if bucket_s else list(by)
    params: dict[str, Any] = {"start": start, "end": end, **matching(where).params}
    if bucket_s:
        params["bucket_s"] = bucket_s
    wanted: dict[str, str] = {}  # output column -> aggregate that folds the sources together
    selects: list[str] = []
    for source in TIME_COLUMN:
        columns = _columns(source, metrics, parts)
        if columns:
            selects.append(_select(source, columns, by, where, bucket_s, share))
            wanted |= dict.fromkeys(columns, "max")
    if share and by:
        params |= {"share": share[0], "shares": share[1]}
    tail = _order(order_by, descending, keys, wanted)
    tail += f" limit {int(limit)}" if limit is not None else ""
    if len(selects) == 1:
        return Query(f"{selects[0]}{tail}", params)
    head = "".join(f"{key}, " for key in keys)
    body = ", ".join(f"max({column}) as {column}" for column in wanted)
    grouping = f" group by {', '.join(keys)}" if keys else ""
    union = " union all by name ".join(f"({select})" for select in selects)
    return Query(f"select {head}{body} from ({union}){grouping}{tail}", params)


def _metric(name: str) -> Metric:
    try:
        return METRICS[name]
    except KeyError:
        raise ValueError(f"unknown metric {name!r}; use one of {', '.join(METRICS)}") from None


def _columns(source: Source, metrics: Sequence[Metric], parts: bool) -> dict[str, str]:
    """Return output column -> SQL of what ``source`` contributes."""
    columns: dict[str, str] = {}
    for metric in metrics:
        if metric.source != source:
            continue
        columns[metric.name] = metric.expression
        if parts:
            columns[f"{metric.name}__num"] = f"({metric.numerator})::double"
            columns[f"{metric.name}__den"] = f"({metric.denominator or 'null'})::double"
    if source == "usage_minute":
        columns["sample_requests"] = "sum(requests)::double"
        columns["priced_ratio"] = METRICS["priced_ratio"].expression
    return columns


def _select(
    source: Source,
    columns: Mapping[str, str],
    by: Sequence[str],
    where: Where,
    bucket_s: int | None,
    share: tuple[int, int] | None,
) -> str:
    time = TIME_COLUMN[source]
    known = SOURCE_DIMENSIONS[source]
    keys = [f"time_bucket(to_seconds($bucket_s), {time}) as bucket"] if bucket_s else []
    keys += [name if name in known else f"null::varchar as {name}" for name in by]
    rows = f"{time} >= $start and {time} < $end and {matching(where, known).sql}"
    if share and by:
        group = ", ".join(name if name in known else "null::varchar" for name in by)
        rows += f" and hash({group}) % $shares::ubigint = $share::ubigint"
    body = ", ".join([*keys, *(f"{sql} as {column}" for column, sql in columns.items())])
    grouping = " group by all" if keys else ""
    return f"select {body} from {_view(source)} where {rows}{grouping}"


def _order(
    order_by: str | None, descending: bool, keys: Sequence[str], columns: Mapping[str, str]
) -> str:
    if order_by is None:
        return f" order by {', '.join(keys)}" if keys else ""
    if order_by not in (*keys, *columns):
        raise ValueError(f"cannot order by {order_by!r}; use one of {', '.join((*keys, *columns))}")
    return f" order by {order_by} {'desc' if descending else 'asc'} nulls last"
