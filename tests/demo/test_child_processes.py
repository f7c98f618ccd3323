"""Children of the demo send what they have, and none is left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable

import pytest

from taximeter.demo.processes import ChildDied, Task, run_tasks, start_child


def square(send: Callable[[int], None], number: int) -> None:
    send(number * number)


def die(send: Callable[[int], None], code: int) -> None:
    os._exit(code)


def linger(send: Callable[[int], None]) -> None:
    send(os.getpid())
    time.sleep(60)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_result_comes_once() -> None:
    tasks = [Task(square, (number,), int) for number in range(7)]
    assert sorted(run_tasks(tasks, width=2)) == [0, 1, 4, 9, 16, 25, 36]


def test_a_child_that_dies_is_named_by_its_exit_code() -> None:
    with pytest.raises(ChildDied, match="code 3"):
        list(run_tasks([Task(die, (3,), int)], width=1))


def test_a_stopped_child_is_gone() -> None:
    child = start_child(Task(linger, (), int))
    pid = child.result()
    child.stop()
    assert not is_running(pid)


def test_leaving_early_stops_the_children_that_still_run() -> None:
    tasks = [Task(square, (2,), int), Task(square, (3,), int), Task(square, (4,), int)]
    with contextlib.closing(run_tasks(tasks, width=2)) as results:
        assert next(results) in (4, 9)
    assert multiprocessing.active_children() == []
