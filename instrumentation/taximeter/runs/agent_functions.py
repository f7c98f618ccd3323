"""A function in; out one whose every call is a run, by what kind of function it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from taximeter.runs.generators import AsyncBody, Body, passed_on
from taximeter.runs.limits import LimitReached
from taximeter.runs.run_spans import Run

Begin = Callable[[], Run | None]
"""Starts a run; None while the shim is off."""


def as_runs(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """Return ``function`` as a run each time: by what kind of function it is."""
    if inspect.isasyncgenfunction(function):
        return _around_async_generator(function, begin)
    if inspect.isgeneratorfunction(function):
        return _around_generator(function, begin)
    if inspect.iscoroutinefunction(function):
        return _around_coroutine(function, begin)
    return _around_plain(function, begin)


def _around_async_generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    async def async_generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        run = begin()
        body = (
            AsyncBody(function(*args, **kwargs))
            if run is None
            else AsyncBody(function(*args, **kwargs), run.step, dropped=run.drop)
        )
        try:
            while await body.next():
                if run is not None:
                    run.keep(body.item)
                with body:
                    body.send((yield body.item))
        except GeneratorExit as reader:
            if run is not None:
                run.left(reader)
            raise
        except LimitReached as reached:
            if run is None:
                raise
            result = run.settle(reached)
            if inspect.isawaitable(result):
                result = await result
            if run.hands_over:
                yield result
        finally:
            try:
                await body.aclose()
            finally:
                if run is not None:
                    run.end()

    return async_generator


def _around_generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        run = begin()
        if run is None:
            return (yield from function(*args, **kwargs))
        try:
            body = Body(function(*args, **kwargs), run.step)
            return (yield from passed_on(body, run.keep))
        except GeneratorExit as reader:
            run.left(reader)
            raise
        except LimitReached as reached:
            return run.settle(reached)
        finally:
            run.end()

    return generator


def _around_coroutine(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        run = begin()
        if run is None:
            return await function(*args, **kwargs)
        try:
            with run.step():
                return await function(*args, **kwargs)
        except LimitReached as reached:
            result = run.settle(reached)
            return await result if inspect.isawaitable(result) else result
        finally:
            run.end()

    return coroutine


def _around_plain(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        run = begin()
        if run is None:
            return function(*args, **kwargs)
        try:
            with run.step():
                return function(*args, **kwargs)
        except LimitReached as reached:
            return run.settle(reached)
        finally:
            run.end()

    return plain
