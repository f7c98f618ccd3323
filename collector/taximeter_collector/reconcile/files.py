"""Export files → `Export`: finds out what each is, reads it row by row, drops nothing silently.

JSON: one page, a list of pages, or a page a line. CSV: with commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from taximeter_collector.reconcile import anthropic, openai
from taximeter_collector.reconcile.amounts import to_count, to_time
from taximeter_collector.reconcile.rows import Export, ExportError, ExportRow, Ignored, Value

DAY: Final = timedelta(days=1)
_MAX_BYTES: Final = 512 << 20
_FORMS: Final = (
    "It is none of: a page of Anthropic's usage or cost API, the CSV of its Console,"
    " a page of OpenAI's usage or costs API, or the CSV of its usage page."
)
_OUTER: Final = frozenset({"starting_at", "ending_at", "start_time", "end_time", "results"})


def read_exports(paths: Sequence[Path]) -> Export:
    """Read all files as one export. Raises ExportError naming file and line."""
    export = Export(files=len(paths))
    seen: dict[tuple[str, ...], tuple[str, ExportRow]] = {}
    for number, path in enumerate(paths):
        text, written = _text(path)
        stripped = text.lstrip()
        if not stripped:
            raise ExportError(f"{path} is empty.")
        reader = _pages if stripped[0] in "{[" else _lines
        for source, provider, kind, values in reader(path.name, text, export):
            _read(export, seen, f"{number}:{source}", provider, kind, values, written)
    return export


def _text(path: Path) -> tuple[str, datetime]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ExportError(f"{path} is larger than 512 MiB: export fewer days at once.")
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return path.read_bytes().decode("utf-8-sig"), written
    except UnicodeDecodeError:
        raise ExportError(f"{path} is no UTF-8 text: export it again as CSV or JSON.") from None
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}.") from None


Group = tuple[str, ModuleType, str, list[Value]]
"""A page or a file, its provider, `usage` or `cost`, its results."""


def _pages(name: str, text: str, export: Export) -> Iterator[Group]:
    for number, page in enumerate(_documents(name, text)):
        source = f"{name} page {number + 1}" if number else name
        data = page.get("data") if isinstance(page, dict) else None
        if isinstance(page, dict) and isinstance(page.get("error"), dict):
            raise ExportError(f"{source} is an error answer of the API: fetch it again.")
        if not isinstance(data, list):
            raise ExportError(f"{source} has no list named data. {_FORMS}")
        values = list(_results(export, source, data))
        found = _what([value for value in values if value.fields])
        if found is None and any(value.fields for value in values):
            raise ExportError(f"{source}: its results are not known. {_FORMS}")
        if found is None:
            export.notes.append(f"{source} has no results: which API it is from can't be told.")
            continue
        if page.get("has_more") is True:
            export.notes.append(
                f"{source} says has_more: days after its last bucket need the next page."
            )
        yield source, *found, values


def _documents(name: str, text: str) -> list[Any]:
    try:
        found = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as whole:
        found = []
        for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
            try:
                found.append(json.loads(line, parse_float=Decimal))
            except (ValueError, RecursionError):
                at = getattr(whole, "lineno", number)
                reason = getattr(whole, "msg", "nested too deeply")
                raise ExportError(f"{name}:{at}: this is no JSON ({reason}).") from None
    return found if isinstance(found, list) else [found]


def _results(export: Export, source: str, data: Sequence[Any]) -> Iterator[Value]:
    """Yield each result, and a value without fields for a bucket without one."""
    for at, bucket in enumerate(data):
        where = f"{source}: data[{at}]"
        try:
            start, end = _bucket_times(bucket)
        except ExportError as error:
            export.ignored.append(Ignored(where, str(error)))
            continue
        results = bucket.get("results", [_own_fields(bucket)])
        if not isinstance(results, list):
            export.ignored.append(Ignored(where, "results is no list"))
            continue
        yield Value({}, where, start, end)
        for index, result in enumerate(results):
            inside = f"{where}.results[{index}]" if "results" in bucket else where
            if isinstance(result, dict):
                yield Value(_flat(result), inside, start, end)
            else:
                export.ignored.append(Ignored(inside, "the result is no object"))


def _bucket_times(bucket: Any) -> tuple[datetime, datetime]:
    if not isinstance(bucket, dict):
        raise ExportError("the bucket is no object")
    start_name = "starting_at" if "starting_at" in bucket else "start_time"
    end_name = "ending_at" if "ending_at" in bucket else "end_time"
    if start_name not in bucket or end_name not in bucket:
        raise ExportError("the bucket has no start or no end")
    return _ordered(to_time(bucket[start_name], start_name), to_time(bucket[end_name], end_name))


def _ordered(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    if not start < end:
        raise ExportError("the bucket ends before it starts")
    if (end - timedelta.resolution).date() != start.date():
        raise ExportError("the bucket is more than one UTC day: ask for a bucket_width of 1d")
    return start, end


def _own_fields(bucket: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one result of a row of the analytics API: its group and its numbers."""
    fields = {name: value for name, value in bucket.items() if name not in _OUTER}
    for part in ("group", "usage", "cost"):
        if isinstance(fields.get(part), dict):
            fields.update(fields.pop(part))
    return fields


def _flat(result: Mapping[str, Any]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in result.items():
        if isinstance(value, dict) and name != "actor":
            flat.update({f"{name}.{inner}": item for inner, item in value.items()})
        else:
            flat[name] = (
                json.dumps(value, default=str) if isinstance(value, (dict, list)) else value
            )
    return flat


def _lines(name: str, text: str, export: Export) -> Iterator[Group]:
    head = text.partition("\n")[0]
    delimiter = max(",\t;", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [column.strip() for column in next(reader)]
        if len(set(names)) != len(names):
            raise ExportError(f"{name}:1: a column's name stands there twice.")
        found = _what([Value(dict.fromkeys(names, ""), "", datetime.min, datetime.max)])
        if found is None:
            raise ExportError(f"{name}:1: these columns are not known. {_FORMS}")
        values = list(_rows(name, names, reader, export))
        if "usage_date_utc" in names and values:
            # The Console leaves days without usage out.
            first, last = min(v.start for v in values), max(v.end for v in values)
            values.append(Value({}, name, first, last))
        yield name, *found, values
    except csv.Error as error:
        raise ExportError(f"{name}:{reader.line_num}: this is no CSV ({error}).") from None


def _rows(name: str, names: list[str], reader: Any, export: Export) -> Iterator[Value]:
    for cells in reader:
        where = f"{name}:{reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            reason = f"{len(cells)} cells where the header has {len(names)}"
            export.ignored.append(Ignored(where, reason))
            continue
        fields = {column: cell.strip() for column, cell in zip(names, cells, strict=True)}
        try:
            start, end = _row_times(fields)
        except ExportError as error:
            export.ignored.append(Ignored(where, str(error)))
            continue
        yield Value({}, where, start, end)
        if any(
            cell for column, cell in fields.items() if not column.startswith(("start_", "end_"))
        ):
            yield Value(fields, where, start, end)


def _row_times(fields: Mapping[str, str]) -> tuple[datetime, datetime]:
    if "usage_date_utc" in fields:
        start = to_time(fields["usage_date_utc"], "usage_date_utc")
        return start, start + DAY
    start = to_time(fields.get("start_time") or fields.get("start_time_iso"), "start_time")
    end = to_time(fields.get("end_time") or fields.get("end_time_iso"), "end_time")
    return _ordered(start, end)


def _what(values: Sequence[Value]) -> tuple[ModuleType, str] | None:
    """Return provider and kind by the names of the fields."""
    names = {name for value in values for name in value.fields}
    for provider in (anthropic, openai):
        if provider.is_usage(names):
            return provider, "usage"
        if provider.is_cost(names):
            return provider, "cost"
    # Usage that is counted in other units (images, seconds, sessions) has no tokens to compare.
    return (openai, "other") if "object" in names else None


def _read(
    export: Export,
    seen: dict[tuple[str, ...], tuple[str, ExportRow]],
    source: str,
    provider: ModuleType,
    kind: str,
    values: Sequence[Value],
    written: datetime,
) -> None:
    unknown: dict[str, int] = {}
    for value in values:
        if value.start < written < value.end:
            export.cut[value.end] = max(written, export.cut.get(value.end, written))
        if not value.fields:
            export.cover(provider.PROVIDER, kind, value.start, value.end)
            continue
        if kind == "other":
            reason = f"{value.fields.get('object')} counts no tokens: nothing to compare it with"
            export.ignored.append(Ignored(value.where, reason, is_harmless=True))
            continue
        try:
            row = _row(provider, kind, value)
        except (ExportError, KeyError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            export.ignored.append(Ignored(value.where, reason))
            continue
        for name in value.fields.keys() - provider.READ:
            unknown[name] = unknown.get(name, 0) + _size(value.fields[name])
        _add(export, seen, source, value, row)
    for name, size in sorted(unknown.items()):
        where = source.partition(":")[2]
        if "token" in name and size:
            reason = f"column {name} holds {size:,} that no known kind of token takes"
            export.ignored.append(Ignored(where, reason))
        else:
            export.notes.append(f"{where}: column {name} is not known and not used.")


def _row(provider: ModuleType, kind: str, value: Value) -> ExportRow:
    row: ExportRow = (provider.read_usage if kind == "usage" else provider.read_cost)(value)
    return row


def _add(
    export: Export,
    seen: dict[tuple[str, ...], tuple[str, ExportRow]],
    source: str,
    value: Value,
    row: ExportRow,
) -> None:
    """Take a row once, though two files tell it. Raises ExportError where they contradict."""
    dimensions = anthropic.DIMENSIONS if row.provider == anthropic.PROVIDER else openai.DIMENSIONS
    told = (str(value.fields.get(name) or "") for name in dimensions)
    key = (row.provider, row.kind, row.start.isoformat(), row.end.isoformat(), *told)
    first = seen.setdefault(key, (source, row))
    if first[0] == source:
        export.rows.append(row)
        if row.kind == "usage":
            export.endpoints.add((row.provider, row.endpoint))
        return
    same = (row.tokens, row.requests, row.cost_pico)
    if same != (first[1].tokens, first[1].requests, first[1].cost_pico):
        raise ExportError(
            f"{first[1].where} and {row.where} tell the same day and group with other numbers:"
            " give one of the two files."
        )
    export.ignored.append(Ignored(row.where, f"told by {first[1].where} already", is_harmless=True))


def _size(said: object) -> int:
    try:
        return to_count(said, "")
    except ExportError:
        return 0
