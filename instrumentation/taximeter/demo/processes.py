"""Children that do one thing each and send back its result; started by fork where there is fork."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

EXIT_TIMEOUT_S: Final = 10.0
HELD_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """A module-level function, which gets `send` as its first argument, and its other arguments."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]
    kind: type[T]
    """What the function sends."""


@dataclass(frozen=True, slots=True)
class Child(Generic[T]):
    """A running child and the pipe on which comes what it sends."""

    process: BaseProcess
    results: Connection

    def result(self) -> T:
        """Wait for what the child sends next; raises ChildDied when it ends without a word."""
        try:
            value: T = self.results.recv()
        except EOFError:
            self.process.join(EXIT_TIMEOUT_S)
            code = self.process.exitcode
            raise ChildDied(f"a process of the demo ended with code {code}") from None
        return value

    def stop(self) -> None:
        """Ask the child to end (SIGTERM), and kill it when it does not."""
        self.process.terminate()
        self.process.join(EXIT_TIMEOUT_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def start_child(task: Task[T]) -> Child[T]:
    """Start one task in a child process."""
    context = _context()
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sending, task), daemon=True)
    with _signals_held():
        process.start()
    sending.close()
    return Child(process, receiving)


def run_tasks(tasks: Iterable[Task[T]], width: int) -> Generator[T, None, None]:
    """Yield the results of all tasks as they come, `width` of them running at a time.

    Raises ChildDied when a child ends without a result. Closing the iterator stops the children.
    """
    waiting, running = iter(tasks), dict[Connection, Child[T]]()
    try:
        while True:
            while len(running) < width and (task := next(waiting, None)) is not None:
                child = start_child(task)
                running[child.results] = child
            if not running:
                return
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                child = running.pop(ready)
                yield child.result()
                child.process.join(EXIT_TIMEOUT_S)
    finally:
        for child in running.values():
            child.process.terminate()
        for child in running.values():
            child.stop()


class ChildDied(RuntimeError):
    """A child process ended without a result."""


def _run(sending: Connection, task: Task[Any]) -> None:
    # Ctrl-C reaches the parent too, which then says when. Its own handlers are not for a child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
    task.function(sending.send, *task.arguments)
    sending.close()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Keep signals waiting until a forked child has got rid of its parent's handlers."""
    if sys.platform == "win32":
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)


def _context() -> ForkContext | SpawnContext:
    """Fork shares the SDKs that the parent has imported; macOS and Windows import them again."""
    if sys.platform == "linux":
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn")
