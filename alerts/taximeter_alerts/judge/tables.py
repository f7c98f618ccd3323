"""The collector's answers as columns of numbers: a pyarrow Table in, numpy arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from taximeter_alerts.judge.segments import Floats, Ints

Labels = dict[str, str | None]


def floats(column: Any) -> Floats:
    """Return a column of numbers; NULL is NaN."""
    numbers: Floats = column.cast(pa.float64()).to_numpy()
    return numbers


def seconds(column: Any) -> Ints:
    """Return a column of times as seconds since 1970."""
    microseconds: Ints = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return microseconds // 1_000_000


def group_of_rows(table: pa.Table, by: Sequence[str]) -> tuple[Ints, list[Labels]]:
    """Return the place of each row's group, and the labels of each place."""
    group = np.zeros(len(table), dtype=np.int64)
    labels: list[Labels] = [{}] if len(table) else []
    for name in by:
        text, values = _encoded(table[name])
        pairs, group = np.unique(group * len(values) + text, return_inverse=True)
        labels = [
            {**labels[pair // len(values)], name: values[pair % len(values)]}
            for pair in pairs.tolist()
        ]
    return group, labels


def _encoded(column: Any) -> tuple[Ints, list[str | None]]:
    """Return a column of text as places in the list of its values; the last one is NULL."""
    encoded = pa.chunked_array(column.chunks, pa.string()).combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    places = encoded.indices.fill_null(len(values)).cast(pa.int64()).to_numpy()
    return places, [*values, None]
