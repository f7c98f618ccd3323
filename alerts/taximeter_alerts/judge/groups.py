"""The trailing windows of all groups as columns; one group's samples where it is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isnan
from typing import Final, Self

import numpy as np

from taximeter_alerts.judge.detect import Reference, Sample
from taximeter_alerts.judge.past import Learned
from taximeter_alerts.judge.segments import Floats, Ints
from taximeter_alerts.rules.book import NEWEST_S, WINDOWS_S, labels_key

WINDOWS: Final = (NEWEST_S, *WINDOWS_S)
Labels = dict[str, str | None]
_NOTHING: Final = Reference()


@dataclass(frozen=True, slots=True)
class SampleColumns:
    """`Sample` of one metric: a row a window of `WINDOWS`, a column a group; not known is NaN."""

    value: Floats
    count: Floats
    failures: Floats
    cost_per_request: Floats
    requests: Floats
    priced_ratio: Floats

    @classmethod
    def empty(cls, groups: int) -> Self:
        """Return the windows of groups without traffic."""
        unknown, none = np.full((len(WINDOWS), groups), np.nan), np.zeros((len(WINDOWS), groups))
        return cls(unknown, none, none, unknown, none, unknown)

    def row(self, window_s: int) -> int:
        return WINDOWS.index(window_s)

    def of(self, place: int) -> dict[int, Sample]:
        """Return the samples of one group by window size."""
        columns = (getattr(self, f.name)[:, place].tolist() for f in fields(self))
        return {
            window_s: Sample(known(value), count, failures, known(cost), requests, known(priced))
            for window_s, value, count, failures, cost, requests, priced in zip(
                WINDOWS, *columns, strict=True
            )
        }

    def take(self, places: Ints) -> Self:
        """Return these groups; a place below 0 is a group without traffic."""
        empty = self.empty(1)
        return type(self)(
            *(
                np.hstack([getattr(self, f.name), getattr(empty, f.name)])[:, places]
                for f in fields(self)
            )
        )


@dataclass(slots=True)
class Group:
    """All that is known of one group, by metric and window."""

    labels: Labels
    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)


class Groups(Mapping[str, Group]):
    """Some groups, by their key; a `Group` is made when it is looked at."""

    def __init__(self, labels: Sequence[Labels], metrics: Mapping[str, SampleColumns]) -> None:
        self.labels, self.metrics = labels, metrics
        self.places = {labels_key(named): place for place, named in enumerate(labels)}

    @classmethod
    def without_traffic(cls, labels: Sequence[Labels], metrics: Iterable[str]) -> Self:
        return cls(labels, dict.fromkeys(metrics, SampleColumns.empty(len(labels))))

    def __getitem__(self, key: str) -> Group:
        place = self.places[key]
        samples = {name: columns.of(place) for name, columns in self.metrics.items()}
        return Group(self.labels[place], samples)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def samples(self, key: str, metric: str) -> dict[int, Sample]:
        """Return one metric of one group by window size."""
        return self.metrics[metric].of(self.places[key])

    def joined(self, other: Groups) -> Groups:
        """Return the groups of both, with the metrics of both."""
        more = [named for key, named in zip(other.places, other.labels, strict=True)
                if key not in self.places]  # fmt: skip
        labels = [*self.labels, *more]
        keys = [labels_key(named) for named in labels]
        metrics = {
            name: columns.take(np.array([part.places.get(key, -1) for key in keys], dtype=np.int64))
            for part in (self, other)
            for name, columns in part.metrics.items()
        }
        return Groups(labels, metrics)


@dataclass(frozen=True, slots=True)
class History:
    """What was learned of all groups of a shape."""

    places: Mapping[str, int]
    metrics: Mapping[str, Learned]
    size: float = 0.0
    """How many requests and calls it is made of; it grows when data comes late."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the history of the groups of all parts."""
        if len(parts) == 1:
            return parts[0]
        keys = [key for part in parts for key in part.places]
        return cls(
            {key: place for place, key in enumerate(keys)},
            {
                metric: Learned.joined([part.metrics[metric] for part in parts])
                for metric in parts[0].metrics
            },
            sum(part.size for part in parts),
        )

    def beside(self, other: Self) -> Self:
        """Return the history of the groups and metrics of both."""
        keys = list(dict.fromkeys([*self.places, *other.places]))
        metrics = {
            metric: learned.at(part.places_of([*keys, ""]))
            for part in (self, other)
            for metric, learned in part.metrics.items()
        }
        places = {key: place for place, key in enumerate(keys)}
        return type(self)(places, metrics, self.size + other.size)

    def of(self, key: str, metric: str) -> Reference:
        """Return what is known of one metric of one group."""
        place = self.places.get(key)
        if place is None or metric not in self.metrics:
            return _NOTHING
        return self.metrics[metric].reference(place)

    def places_of(self, keys: Iterable[str]) -> Ints:
        """Return the places of groups in the columns; the last one, of nothing known, for new ones."""
        return np.array([self.places.get(key, -1) for key in keys], dtype=np.int64)


def known(value: float) -> float | None:
    """Return a number, None for NaN."""
    return None if isnan(value) else value
