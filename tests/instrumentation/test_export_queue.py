"""Export costs telemetry, never the host: bounded, counted, quick to end, patient in an outage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import taximeter
from taximeter.export import queue as export_queue
from taximeter.export.queue import ExportQueue, Immediate, Sent
from taximeter.export.room import Room, size_of
from taximeter.testing import FixedClock, SpanList


class Collector:
    """Answers each batch by what a test decides, and keeps the names of those it takes."""

    def __init__(self, decide: Callable[[Sequence[ReadableSpan]], Sent]) -> None:
        self._decide = decide
        self.names: list[str] = []
        self.batches: list[int] = []
        self.asked = threading.Event()

    def send(self, spans: Sequence[ReadableSpan]) -> Sent:
        self.batches.append(len(spans))
        sent = self._decide(spans)
        if sent is Sent.TAKEN:
            self.names += [span.name for span in spans]
        self.asked.set()
        return sent

    is_unanswered = False

    def anew(self, timeout_s: float | None = None) -> Collector:
        return self

    def shutdown(self) -> None:
        """Nothing under way."""


def end_spans(queue: ExportQueue | Immediate, count: int, text: str = "short") -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(f"work {number}", attributes={"text": text}).end()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of an outage in a hundredth."""
    monkeypatch.setattr(export_queue, "EXPORT_EVERY_S", 0.004)
    monkeypatch.setattr(export_queue, "RETRY_EVERY_S", 0.01)


def test_the_queue_is_bounded_in_bytes() -> None:
    queue = ExportQueue(Collector(lambda spans: Sent.LATER), Room(max_bytes=50_000))
    end_spans(queue, 20, "x" * 10_000)
    assert 0 < queue.room.waiting_bytes <= 50_000
    assert queue.room.lost == {"queue_full_bytes": 20 - queue.room.waiting_spans}
    queue.stop(1.0)


def test_the_queue_is_bounded_in_spans() -> None:
    queue = ExportQueue(Collector(lambda spans: Sent.LATER), Room(max_spans=5))
    end_spans(queue, 7)
    assert (queue.room.waiting_spans, queue.room.lost) == (5, {"queue_full_spans": 2})
    queue.stop(1.0)


def test_a_span_is_as_big_as_its_text() -> None:
    exported = SpanList()
    end_spans(Immediate(exported), 1, "x" * 10_000)
    assert 10_000 < size_of(exported.spans[0]) < 12_000


def test_a_span_with_text_of_a_kind_of_its_own_is_as_big_as_its_text() -> None:
    class Text(str):
        __slots__ = ()

    exported = SpanList()
    end_spans(Immediate(exported), 1, Text("x" * 10_000))
    assert 10_000 < size_of(exported.spans[0]) < 12_000


def test_an_outage_of_a_minute_costs_no_span_at_a_hundred_a_second(quick: None) -> None:
    """6,000 spans of 2 KB while nobody answers fit into the queue; then all arrive, once."""
    is_down = threading.Event()
    is_down.set()
    collector = Collector(lambda spans: Sent.LATER if is_down.is_set() else Sent.TAKEN)
    queue = ExportQueue(collector)
    end_spans(queue, 6_000, "x" * 1_000)
    assert collector.asked.wait(2)
    assert not queue.force_flush(20)
    is_down.clear()
    assert queue.force_flush(5_000)
    assert collector.names == [f"work {number}" for number in range(6_000)]
    assert (queue.room.waiting_bytes, queue.room.lost.total()) == (0, 0)
    queue.stop(1.0)


def test_a_batch_is_sent_again_with_the_same_spans(quick: None) -> None:
    """The collector stores the same bytes once; a batch that grew would be stored twice."""
    answers = iter([Sent.LATER, Sent.TAKEN, Sent.TAKEN])
    collector = Collector(lambda spans: next(answers))
    queue = ExportQueue(collector)
    end_spans(queue, 3)
    assert collector.asked.wait(2)
    end_spans(queue, 4)
    assert queue.force_flush(2_000)
    first, again = collector.batches[:2]
    assert first == again
    assert len(collector.names) == 7
    queue.stop(1.0)


def test_one_span_that_can_not_be_sent_takes_no_other_along(quick: None) -> None:
    collector = Collector(
        lambda spans: Sent.UNREADABLE if any(s.name == "work 5" for s in spans) else Sent.TAKEN
    )
    queue = ExportQueue(collector)
    end_spans(queue, 40)
    assert queue.force_flush(2_000)
    assert len(collector.names) == 39
    assert queue.room.lost == {"unreadable": 1}
    queue.stop(1.0)


def test_what_is_refused_for_good_is_counted_and_not_sent_again(quick: None) -> None:
    collector = Collector(lambda spans: Sent.REFUSED)
    queue = ExportQueue(collector)
    end_spans(queue, 4)
    queue.force_flush(2_000)
    queue.stop(1.0)
    assert sum(collector.batches) == 4
    assert queue.room.lost == {"refused": 4}


def test_stopping_gives_up_what_nobody_takes_and_says_so_once(
    quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    queue = ExportQueue(Collector(lambda spans: Sent.LATER))
    end_spans(queue, 4)
    queue.stop(1.0)
    queue.stop(1.0)
    assert queue.room.lost == {"not_taken": 4}
    (said,) = [record.getMessage() for record in caplog.records if record.name == "taximeter"]
    assert "4 spans were lost" in said and "not_taken" in said and "TAXIMETER_ENDPOINT" in said


def test_what_is_lost_within_a_minute_of_the_last_word_is_said_at_the_end(
    quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([Sent.REFUSED])
    queue = ExportQueue(Collector(lambda spans: next(answers, Sent.LATER)))
    end_spans(queue, 3)
    assert queue.force_flush(2_000)
    end_spans(queue, 4)
    queue.stop(0.1)
    said = [record.getMessage() for record in caplog.records if record.name == "taximeter"]
    assert "3 refused, 4 not_taken" in said[-1]


def test_spans_that_end_after_the_end_are_counted() -> None:
    queue = ExportQueue(Collector(lambda spans: Sent.TAKEN))
    queue.stop(0.1)
    end_spans(queue, 2)
    assert queue.room.lost == {"ended_late": 2}


def test_what_was_lost_can_be_asked_for_after_the_end() -> None:
    taximeter.shutdown()
    taximeter.init(service="tests", endpoint="http://127.0.0.1:9")
    taximeter.tool(name="work")(lambda: None)()
    taximeter.shutdown(timeout_s=0.05)
    assert taximeter.lost_spans() == 1
    taximeter.init(service="tests", span_exporter=SpanList())
    assert taximeter.lost_spans() == 0
    taximeter.shutdown()


def test_an_exporter_that_breaks_counts_what_it_lost() -> None:
    class Broken(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            raise OSError("down")

    for exporter, lost in ((SpanList(), {}), (Broken(), {"not_taken": 1})):
        queue = Immediate(exporter)
        end_spans(queue, 1)
        assert (queue.room.waiting_spans, dict(queue.room.lost)) == (0, lost)


def test_an_injected_clock_times_the_spans() -> None:
    taximeter.shutdown()
    clock, exported = FixedClock(), SpanList()
    taximeter.init(service="tests", span_exporter=exported, clock=clock)
    began = clock.now_ns
    with taximeter.request():
        clock.advance(60)
    taximeter.shutdown()
    (root,) = exported.named("request")
    assert (root.start_time, root.end_time) == (began, began + 60 * 10**9)
