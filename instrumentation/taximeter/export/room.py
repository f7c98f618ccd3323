"""What waits for export, bounded in bytes and spans: what does not fit is dropped, by reason, counted."""

from __future__ import annotations

import logging
import marshal
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, cast

from opentelemetry.sdk.trace import ReadableSpan

from taximeter.guard import guarded

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_SPANS: Final = 8_192
_SPAN_BYTES: Final = 1_024
"""A span without attributes: ids, times, objects."""
_ATTRIBUTE_BYTES: Final = 104
"""One attribute, but for its text."""
_REMEDIES: Final = {
    "not_taken": "no collector took them: start one with `taximeter up`, say in TAXIMETER_ENDPOINT"
    " where it listens, or end the program with taximeter.shutdown(timeout_s=30) where it is busy",
    "unanswered": "the collector did not answer in time, they may have arrived: end the program with"
    " taximeter.shutdown(timeout_s=30) to wait longer",
}
_SAY_EVERY_S: Final = 60.0
_WEIGHED_TOGETHER: Final = 16
"""Spans whose size is taken at once, in a fifth of the time: by so many the room may be overfull."""

logger: Final = logging.getLogger("taximeter")


@guarded(default=_SPAN_BYTES)
def size_of(span: ReadableSpan) -> int:
    """Return about how many bytes a waiting span holds."""
    size = _SPAN_BYTES + _attributes_size(span.attributes)
    if events := span.events:
        size += sum(64 + _attributes_size(event.attributes) for event in events)
    return size


def _attributes_size(attributes: Mapping[str, Any] | None) -> int:
    if not attributes:
        return 0
    copy = getattr(attributes, "copy", None)  # the SDK's mapping is slow to walk
    values = copy() if copy is not None else attributes
    try:
        text = len(marshal.dumps(cast(Any, values)))  # a third of the time of a walk
    except ValueError:  # a kind of text or number of somebody's own
        text = sum(map(_value_size, values.values()))
    return _ATTRIBUTE_BYTES * len(values) + text


def _value_size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return _attributes_size(value)
    if isinstance(value, Sequence):
        return sum(8 + _value_size(item) for item in value)
    return 8


class Room:
    """Spans that wait, the oldest first, and what was lost for which reason. Its owner locks."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_spans: int = MAX_SPANS) -> None:
        self._max_bytes, self._max_spans = max_bytes, max_spans
        self._waiting: deque[ReadableSpan] = deque()
        self._sizes: deque[int] = deque()
        """Of those that wait longest; the newest are not weighed yet."""
        self.waiting_bytes = 0
        """Of those that are weighed."""
        self.exported = 0
        self.taken = 0
        self.lost: Counter[str] = Counter()
        self._said = 0
        self._said_at = -_SAY_EVERY_S

    @property
    def waiting_spans(self) -> int:
        """How many spans wait, those on their way included."""
        return len(self._waiting)

    def emptied(self) -> Room:
        """Return the same room with nothing in it and nothing lost."""
        return Room(self._max_bytes, self._max_spans)

    def add(self, span: ReadableSpan) -> int:
        """Let an ended span wait; return how many do, 0 where it has no room, which is counted."""
        waiting = len(self._waiting)
        if waiting >= self._max_spans:
            self.lost["queue_full_spans"] += 1
            return 0
        self._waiting.append(span)
        self.taken += 1
        if waiting - len(self._sizes) >= _WEIGHED_TOGETHER - 1:
            self.weigh()
        return len(self._waiting)

    def weigh(self) -> None:
        """Take the size of those that came last; what does not fit is lost."""
        new = [self._waiting.pop() for _ in range(len(self._waiting) - len(self._sizes))]
        while new:
            span = new.pop()
            size = size_of(span)
            if self.waiting_bytes + size > self._max_bytes:
                self.lost["queue_full_bytes"] += 1
                continue
            self._waiting.append(span)
            self._sizes.append(size)
            self.waiting_bytes += size

    def parted(self, count: int) -> Room:
        """Return a room with all that wait but the oldest ``count``; they leave this one."""
        self.weigh()
        behind = self.emptied()
        while len(self._waiting) > count:
            behind._waiting.appendleft(self._waiting.pop())
            behind._sizes.appendleft(self._sizes.pop())
        behind.taken = len(behind._waiting)
        behind.waiting_bytes = sum(behind._sizes)
        self.waiting_bytes -= behind.waiting_bytes
        return behind

    def oldest(self, count: int) -> list[ReadableSpan]:
        """Return the spans that have waited longest; they keep their room until `release`."""
        self.weigh()
        return list(islice(self._waiting, count))

    def release(self, count: int, *, lost_for: str | None) -> None:
        """Free the room of the oldest spans, which left or were lost."""
        self.weigh()
        count = min(count, len(self._waiting))
        for _ in range(count):
            self._waiting.popleft()
            self.waiting_bytes -= self._sizes.popleft()
        if lost_for is None:
            self.exported += count
        elif count:
            self.lost[lost_for] += count

    def say_losses(self, *, is_last: bool = False) -> None:
        """Say in the log how many spans were lost so far, where more were: once a minute, and at last."""
        lost = self.lost.total()
        now = time.monotonic()
        if lost == self._said or (now - self._said_at < _SAY_EVERY_S and not is_last):
            return
        self._said, self._said_at = lost, now
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.lost.items())
        remedies = [said for reason, said in _REMEDIES.items() if self.lost[reason]]
        logger.warning(
            "%d spans were lost so far (%s)%s; your program is not affected",
            lost, reasons, "".join(f"; {said}" for said in remedies),
        )  # fmt: skip
