"""What is stored of one span or log record: longer values are cut, and attributes beyond a limit are left out.

Arrow in, Arrow out; where nothing passes a limit the rows leave as they came. Facts are read in what was sent. What
is cut says so: in the value itself, in attribute ``taximeter.cut`` of its item, and in the counters. docs/storage.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from taximeter_collector.ingest.content import count_before, one_chunk, text_maps
from taximeter_collector.ingest.decode import Rows, as_stored, resources_as_stored

ATTRIBUTES: Final = 1024
"""Of an item, and of an event."""
VALUE_BYTES: Final = 256 * 1024
ITEM_BYTES: Final = 4 * 1024 * 1024
"""Keys and values of an item and of its events together."""
RESOURCE_VALUE_BYTES: Final = 16 * 1024
RESOURCE_BYTES: Final = 64 * 1024
"""Less, for a resource is stored with each of its spans."""
FLAG: Final = "taximeter.cut"
_EVENT_BYTES: Final = 16
"""What an event takes without a word: many that say nothing are a burden too."""
_TEXTS: Final = ("stored_name", "stored_status_message", "stored_body", "stored_severity_text")

Count = Callable[[str, int], None]
"""Takes the limit that was passed, and how many values were cut or attributes and events left out."""


@dataclass(slots=True)
class _Notes:
    """What was done to which items."""

    count: Count
    cut: Counter[int] = field(default_factory=Counter)
    left_out: Counter[int] = field(default_factory=Counter)

    def note_cut(self, rows: Iterable[int]) -> None:
        found = Counter(rows)
        self.cut += found
        self.count("value_bytes", found.total())

    def note_left_out(self, limit: str, rows: pa.Array) -> None:
        self.left_out += Counter(rows.to_pylist())
        if len(rows):
            self.count(limit, len(rows))

    def text_of(self, row: int) -> str:
        return f"{self.cut[row]} values cut, {self.left_out[row]} attributes or events left out"


@dataclass(frozen=True, slots=True)
class _Maps:
    """Maps of text, one an owner (an item or an event)."""

    offsets: pa.Array
    keys: pa.Array
    values: pa.Array

    @classmethod
    def of(cls, maps: pa.MapArray) -> _Maps:
        first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
        offsets = pc.cast(pc.subtract(maps.offsets, first), pa.int64())
        return cls(offsets, maps.keys[first:last], maps.items[first:last])

    @property
    def owners(self) -> pa.Array:
        return pc.list_parent_indices(pa.LargeListArray.from_arrays(self.offsets, self.values))

    @property
    def sizes(self) -> pa.Array:
        """Bytes of each key with its value."""
        return pc.add(_lengths(self.keys), _lengths(self.values))

    def totals(self) -> pa.Array:
        """Return the bytes of each owner."""
        before = count_before(self.sizes).take(self.offsets)
        return pc.subtract(before[1:], before[:-1])

    def kept(self, mask: pa.Array) -> _Maps:
        offsets = count_before(pc.cast(mask, pa.int64())).take(self.offsets)
        return _Maps(offsets, self.keys.filter(mask), self.values.filter(mask))

    def as_array(self) -> pa.MapArray:
        return text_maps(self.offsets, self.keys, self.values)


def within_limits(rows: Rows, count: Count) -> Rows:
    """Return ``rows`` with ``stored_`` columns that keep the limits; unchanged if they do already."""
    rows = _limit_resources(rows, count)
    items = as_stored(rows)
    if "stored_attributes" not in items.column_names:  # metrics: their points stay as sent
        return rows
    attributes = _Maps.of(one_chunk(items["stored_attributes"]))
    events = one_chunk(items["stored_events"]) if "stored_events" in items.column_names else None
    if _is_within(items, attributes, events):
        return rows
    notes, columns = _Notes(count), {}
    for name in _TEXTS:
        if name in items.column_names:
            text = one_chunk(items[name])
            columns[name] = _cut_long(text, _numbers(len(text)), notes)
    attributes = _limited(attributes.kept(pc.not_equal(attributes.keys, FLAG)), None, notes)
    inside = pc.less_equal(
        _until(attributes.sizes, attributes.offsets, attributes.owners), ITEM_BYTES
    )
    notes.note_left_out("item_bytes", attributes.owners.filter(pc.invert(inside)))
    attributes = attributes.kept(inside)
    if events is not None:
        left = pc.subtract(ITEM_BYTES, attributes.totals())
        columns["stored_events"] = _limit_events(events, left, notes)
    columns["stored_attributes"] = _flagged(attributes, notes)
    for name, column in columns.items():
        items = items.set_column(items.column_names.index(name), name, column)
    return replace(rows, items=items, is_cut=True)


def cut(text: str, limit: int) -> str:
    """Return the first ``limit`` bytes of a longer text, and how much that is.

    >>> cut("äöü and more", 5)
    'äö… [cut, 4 of 15 bytes]'
    """
    sent = text.encode()
    kept = sent[:limit].decode(errors="ignore")
    return f"{kept}… [cut, {len(kept.encode())} of {len(sent)} bytes]"


def _is_within(items: pa.Table, attributes: _Maps, events: pa.ListArray | None) -> bool:
    totals = attributes.totals()
    maps = [attributes]
    if events is not None and len(flat := pc.list_flatten(events)):
        of_events = _Maps.of(pc.struct_field(flat, "attributes"))
        maps.append(of_events)
        sizes = count_before(_event_sizes(flat, of_events)).take(_starts(events))
        totals = pc.add(totals, pc.subtract(sizes[1:], sizes[:-1]))
    texts = [items[name] for name in _TEXTS if name in items.column_names]
    return (
        _most(totals) <= ITEM_BYTES
        and all(_most(pc.binary_length(text)) <= VALUE_BYTES for text in texts)
        and all(_most(pc.binary_length(each.values)) <= VALUE_BYTES for each in maps)
        and all(_most(pc.subtract(m.offsets[1:], m.offsets[:-1])) <= ATTRIBUTES for m in maps)
    )


def _limited(maps: _Maps, rows: pa.Array | None, notes: _Notes) -> _Maps:
    """Keep so many entries a map, and so many bytes a value; ``rows`` are the items of the owners."""
    owners = maps.owners
    of = owners if rows is None else rows.take(owners)
    ones = pa.repeat(pa.scalar(1, pa.int64()), len(maps.keys))
    inside = pc.less_equal(_until(ones, maps.offsets, owners), ATTRIBUTES)
    notes.note_left_out("attribute_count", of.filter(pc.invert(inside)))
    kept = maps.kept(inside)
    return replace(kept, values=_cut_long(kept.values, of.filter(inside), notes))


def _limit_events(events: pa.ListArray, left: pa.Array, notes: _Notes) -> pa.ListArray:
    rows, flat = pc.list_parent_indices(events), pc.list_flatten(events)
    starts = _starts(events)
    maps = _limited(_Maps.of(pc.struct_field(flat, "attributes")), rows, notes)
    names = _cut_long(pc.struct_field(flat, "name"), rows, notes)
    parts = [pc.struct_field(flat, "time"), names, maps.as_array()]
    limited = pa.StructArray.from_arrays(parts, ["time", "name", "attributes"])
    inside = pc.less_equal(_until(_event_sizes(limited, maps), starts, rows), left.take(rows))
    notes.note_left_out("item_bytes", rows.filter(pc.invert(inside)))
    offsets = count_before(pc.cast(inside, pa.int64())).take(starts)
    return pa.ListArray.from_arrays(pc.cast(offsets, pa.int32()), limited.filter(inside))


def _flagged(maps: _Maps, notes: _Notes) -> pa.MapArray:
    """Add attribute FLAG to the items that something was done to."""
    rows = sorted(notes.cut.keys() | notes.left_out.keys())
    at = pa.array(rows, pa.int64())
    keys = pa.concat_arrays([maps.keys, pa.array([FLAG] * len(rows), pa.string())])
    texts = pa.array([notes.text_of(row) for row in rows], pa.string())
    values = pa.concat_arrays([maps.values, texts])
    owners = pa.concat_arrays([pc.cast(maps.owners, pa.int64()), at])
    order = pc.array_sort_indices(owners)  # stable: a flag comes last of its item
    is_flagged = pc.is_in(_numbers(len(maps.offsets) - 1), at)
    offsets = pc.add(maps.offsets, count_before(pc.cast(is_flagged, pa.int64())))
    return text_maps(offsets, keys.take(order), values.take(order))


def _limit_resources(rows: Rows, count: Count) -> Rows:
    """Cut and leave out attributes of resources, in what facts are read in too: each span repeats them."""
    pairs = rows.resource_attributes
    sizes = pc.add(_lengths(pairs["key"]), _lengths(pairs["value"]))
    by_resource = pa.table({"resource": pairs["resource"], "size": sizes}).group_by("resource")
    if (
        _most(pc.binary_length(pairs["value"])) <= RESOURCE_VALUE_BYTES
        and _most(by_resource.aggregate([("size", "sum")])["size_sum"]) <= RESOURCE_BYTES
    ):
        return rows
    pairs = resources_as_stored(rows).sort_by("resource").combine_chunks()
    notes = _Notes(count)
    for name in ("value", "stored_value"):
        text = one_chunk(pairs[name])
        quiet = notes if name == "value" else _Notes(lambda *_: None)
        short = _cut_long(text, _numbers(len(text)), quiet, RESOURCE_VALUE_BYTES)
        pairs = pairs.set_column(pairs.column_names.index(name), name, short)
    owners = one_chunk(pairs["resource"])
    sums = count_before(
        pc.add(_lengths(one_chunk(pairs["key"])), _lengths(one_chunk(pairs["value"])))
    )
    firsts = pc.index_in(owners, owners)
    inside = pc.less_equal(pc.subtract(sums[1:], sums.take(firsts)), RESOURCE_BYTES)
    notes.note_left_out("resource_bytes", owners.filter(pc.invert(inside)))
    return replace(rows, resource_attributes=pairs.filter(inside))


def _cut_long(texts: pa.Array, rows: pa.Array, notes: _Notes, limit: int = VALUE_BYTES) -> pa.Array:
    is_long = pc.fill_null(pc.greater(pc.binary_length(texts), limit), False)
    if not pc.any(is_long).as_py():
        return texts
    notes.note_cut(rows.filter(is_long).to_pylist())
    short = pa.array([cut(text, limit) for text in texts.filter(is_long).to_pylist()], pa.string())
    return pc.replace_with_mask(texts, is_long, short)


def _event_sizes(events: pa.StructArray, maps: _Maps) -> pa.Array:
    named = pc.add(maps.totals(), _lengths(pc.struct_field(events, "name")))
    return pc.add(named, _EVENT_BYTES)


def _until(sizes: pa.Array, offsets: pa.Array, owners: pa.Array) -> pa.Array:
    """Return the sum of what an entry's owner holds up to that entry, it included."""
    sums = count_before(sizes)
    return pc.subtract(sums[1:], sums.take(offsets).take(owners))


def _starts(lists: pa.ListArray) -> pa.Array:
    return pc.cast(pc.subtract(lists.offsets, lists.offsets[0]), pa.int64())


def _lengths(texts: pa.Array) -> pa.Array:
    return pc.cast(pc.fill_null(pc.binary_length(texts), 0), pa.int64())


def _numbers(length: int) -> pa.Array:
    return pa.array(range(length), pa.int64())


def _most(numbers: pa.Array) -> int:
    return pc.max(numbers).as_py() or 0
