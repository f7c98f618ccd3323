"""A program ends while its collector is slow or busy: what can arrive arrives once, the rest is said."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.instrumentation.hosts import Reply, Sink, host

SPANS: Final = 500
FIRST: Final = 8
"""Of them, those that are on their way to the collector when the others end."""
EXIT_S: Final = 3.0
START: Final = f"""
taximeter.init(service='s')
def rest():
    for n in range({SPANS - FIRST}): work(n)
for n in range({FIRST}): work(n)
time.sleep(0.6)
print('begins to end', flush=True)
"""
ENDS: Final = {
    "return": "rest()",
    "sigterm": "rest()\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)",
    "exception": "rest()\nraise RuntimeError('the program has failed')",
    "sys.exit in a pool": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    pool.submit(rest)
    left = pool.submit(sys.exit, 3)
left.result()
""",
    "asyncio": """
import asyncio
async def work_and_wait():
    rest()
    await asyncio.sleep(30)
asyncio.run(asyncio.wait_for(work_and_wait(), 0.1))
""",
    "multiprocessing": """
import multiprocessing
child = multiprocessing.get_context('fork').Process(target=rest)
child.start(); child.join()
""",
    "fork": """
child = os.fork()
if not child:
    rest()
    sys.exit()
os.waitpid(child, 0)
""",
}
FORKS: Final = ("multiprocessing", "fork")


@contextmanager
def collector(reply: Callable[[int], Reply]) -> Iterator[Sink]:
    sink = Sink(reply)
    try:
        yield sink
    finally:
        sink.close()


@dataclass(frozen=True)
class Run:
    """A program that came to its end."""

    arrived: int
    lost: list[tuple[str, int]]
    """What the log tells of, by reason."""
    logged: str
    seconds: float
    """From when it began to end."""


def run(end: str, reply: Callable[[int], Reply]) -> Run:
    """Run a program that ends so."""
    with collector(reply) as sink:
        program = host(START + end, sink.url)
        assert program.stdout is not None
        assert program.stdout.readline(), program.communicate()[1]
        began = time.monotonic()
        _, logged = program.communicate(timeout=60)
        lost = [(reason, int(count)) for count, reason in re.findall(r"\((\d+) (\w+)\)", logged)]
        return Run(len(sink.names), lost, logged, time.monotonic() - began)


def runs(reply: Callable[[int], Reply]) -> dict[str, Run]:
    """Run a program to each end, each with its own collector, two at a time: an exit has three seconds for its work."""
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda end: run(end, reply), ENDS.values())
        return dict(zip(ENDS, done, strict=True))


def test_answers_that_take_longer_than_an_exit_may_cost_no_span() -> None:
    """The 492 waited behind the 8, whose answer never came, and were lost."""
    done = runs(lambda number: Reply(after_s=5))
    assert {end: found.arrived for end, found in done.items()} == dict.fromkeys(ENDS, SPANS)
    for end, found in done.items():
        waited = SPANS - FIRST if end in FORKS else SPANS  # the parent got its answer meanwhile
        assert found.lost == [("unanswered", waited)], end
        assert "may have arrived" in found.logged and "timeout_s=30" in found.logged


def test_a_collector_that_is_busy_for_a_second_costs_no_span() -> None:
    done = runs(lambda number: Reply() if number else Reply(503, retry_after_s=1))
    assert {end: (found.arrived, found.lost) for end, found in done.items()} == dict.fromkeys(
        ENDS, (SPANS, [])
    )


def test_what_a_busy_collector_never_takes_is_counted_and_said_once_and_not_waited_for() -> None:
    for end, found in runs(lambda number: Reply(503, retry_after_s=30)).items():
        processes = [SPANS - FIRST, FIRST] if end in FORKS else [SPANS]
        assert found.lost == [("not_taken", count) for count in processes], end
        assert found.arrived == 0
        assert found.logged.count("TAXIMETER_ENDPOINT") == len(processes)
        assert found.seconds < len(processes) * EXIT_S + 3


def test_no_answer_makes_an_exit_longer_than_it_may_be() -> None:
    """It sent what waited from the program's own thread: several slow answers, or one in drops, held it."""
    replies: tuple[Callable[[int], Reply], ...] = (
        lambda number: Reply(after_s=1.8),
        lambda number: Reply(drops=40, drop_every_s=0.2),
    )
    for reply in replies:
        found = run("for n in range(5_000): work(n)", reply)
        assert found.seconds < EXIT_S + 3
        assert "spans were lost" in found.logged


def test_a_span_that_ends_while_the_program_waits_to_end_arrives() -> None:
    program = """
    import threading
    @taximeter.tool
    def late(): time.sleep(0.3)
    taximeter.init(service='s')
    work(1)
    time.sleep(0.6)
    threading.Thread(target=late, daemon=True).start()
    time.sleep(0.1)
    """
    with collector(lambda number: Reply(after_s=1.5)) as sink:
        _, said = host(program, sink.url).communicate(timeout=60)
        assert sorted(sink.names) == ["execute_tool late", "execute_tool work"]
    assert "lost" not in said
