"""Every internal function of the shim is made to raise, one after another: the agent does not notice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from types import FunctionType
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

import taximeter
from taximeter.clients.openai import wrap_post
from taximeter.guard import faults
from taximeter.testing import SpanList

MODULES = (
    "clients.broken_streams", "clients.fields", "clients.openai", "clients.sending", "clients.servers",
    "clients.streams", "export.queue", "export.room",
    "fingerprint", "pricing.catalog", "pricing.listed_bands", "pricing.matching", "pricing.resolution", "pricing.traffic", "runs.call_cost",
    "runs.model_calls", "span_attributes", "spans", "tools.call_arguments", "tracing", "usage.counts",
    "usage.openai_shapes", "usage.shapes",
)  # fmt: skip
THE_HOSTS = {
    "taximeter.runs.model_calls.before_model_call": "raises LimitReached by design",
    "taximeter.clients.sending.CurrentCall.__enter__": "is the application's own call",
    "taximeter.clients.sending.CurrentCall.__exit__": "is the application's own call",
    "taximeter.spans.current_span.__init__": "holds two names; what it calls is broken below",
    "taximeter.spans.current_span.__enter__": "holds two names; what it calls is broken below",
    "taximeter.spans.current_span.__exit__": "holds two names; what it calls is broken below",
    "taximeter.clients.streams._Once.__enter__": "does nothing",
    "taximeter.clients.streams._Once.__exit__": "passes on; what it calls is broken below",
    "taximeter.clients.openai.wrap_post": "runs once, at init, guarded there",
}
"""What stands between the application and its own work, and why it may raise."""
ANSWER = ChatCompletion.model_validate(
    {"id": "c-1", "object": "chat.completion", "created": 1, "model": "gpt-5.4",
     "choices": [{"index": 0, "finish_reason": "stop",
                  "message": {"role": "assistant", "content": "ok"}}],
     "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
)  # fmt: skip


class Stream:
    """What the SDK's stream is for us."""

    def __init__(self) -> None:
        self._iterator = iter(["once", "upon"])

    def __iter__(self) -> Iterator[str]:
        yield from self._iterator


def internals() -> Iterator[tuple[str, Callable[[pytest.MonkeyPatch, Any], None]]]:
    """Yield every function and method of the modules with what makes it raise."""
    for module_name in MODULES:
        module = import_module(f"taximeter.{module_name}")
        for name, found in vars(module).items():
            if isinstance(found, FunctionType) and found.__module__ == module.__name__:
                yield f"{module.__name__}.{name}", breaks(module, name, found)
            if inspect.isclass(found) and found.__module__ == module.__name__:
                for method, function in vars(found).items():
                    if (
                        isinstance(function, FunctionType)
                        and function.__module__ == module.__name__
                    ):
                        yield f"{module.__name__}.{name}.{method}", breaks(found, method, function)


def breaks(
    owner: Any, name: str, function: FunctionType
) -> Callable[[pytest.MonkeyPatch, Any], None]:
    """Return what makes a function raise: inside its guard where it has one."""
    if function.__code__.co_filename.endswith("guard.py"):
        place = function.__code__.co_freevars.index("hook")
        cell: Any = (function.__closure__ or ())[place]
        return lambda patch, broken: patch.setattr(cell, "cell_contents", broken)
    return lambda patch, broken: patch.setattr(owner, name, broken)


OPENTELEMETRYS = {
    f"taximeter.spans.{name}": breaks(import_module("taximeter.spans"), name, found)
    for name, found in vars(import_module("taximeter.spans")).items()
    if name in ("attach", "detach", "set_span_in_context")
}
INTERNALS = OPENTELEMETRYS | {name: way for name, way in internals() if name not in THE_HOSTS}


@pytest.fixture(scope="module")
def agent() -> Callable[[], list[Any]]:
    """An agent with a tool that works, one that fails, a call, a call that fails and a stream."""
    client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")
    replies: dict[str, Any] = {"whole": lambda: ANSWER, "stream": Stream}

    def refuse() -> None:
        raise ConnectionError("the network's own")

    post = wrap_post(
        lambda _client, _path, **settings: replies.get(settings["body"]["model"], refuse)()
    )

    @taximeter.tool
    def search(query: str, *, top: int = 3) -> list[str]:
        return [query] * top

    @taximeter.tool
    def breaking() -> None:
        raise OSError("the tool's own")

    @taximeter.agent("a")
    def answer() -> list[Any]:
        done: list[Any] = [search("x", top=2)]
        for call in (breaking, lambda: post(client, "/chat/completions", body={"model": "none"})):
            try:
                call()
            except OSError as error:
                done.append(str(error))
        done.append(post(client, "/chat/completions", body={"model": "whole"}))
        stream = post(client, "/chat/completions", body={"model": "stream"}, stream=True)
        return [*done, list(stream)]

    def run() -> list[Any]:
        with taximeter.request(user="u-1"):
            return answer()

    return run


EXPECTED = [["x", "x"], "the tool's own", "the network's own", ANSWER, ["once", "upon"]]


def test_the_agent_works_without_faults(spans: SpanList, agent: Callable[[], list[Any]]) -> None:
    assert agent() == EXPECTED
    assert len(spans.spans) == 7


@pytest.mark.parametrize("name", INTERNALS)
def test_the_agent_does_not_notice(
    monkeypatch: pytest.MonkeyPatch, agent: Callable[[], list[Any]], name: str
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    taximeter.shutdown()
    taximeter.init(service="tests", span_exporter=SpanList())

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        INTERNALS[name](patch, broken)
        assert agent() == EXPECTED
        assert taximeter.flush() in (True, False)
    taximeter.shutdown()
