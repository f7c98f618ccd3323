"""Works beside: each framework that is installed makes one model call with the shim in it, counted once.

Not part of the suite: the packages belong in an environment of their own. `python tests/beside/frameworks.py`
prints a line a framework and ends with 1 where one failed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from opentelemetry import propagate

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.demo.replies import Reply, Tokens
from taximeter.guard import faults
from taximeter.testing import SpanList

MODEL = "gpt-5.4"
TOKENS = Tokens(uncached_input=1_000, output=50)
PICO = 1_000 * 2_500_000 + 50 * 15_000_000


def ask() -> str:
    """Make one call with the OpenAI SDK."""
    import openai

    said = openai.OpenAI().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}]
    )
    return said.choices[0].message.content or ""


def in_django() -> None:
    """A view, called through Django's own client."""
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.test import Client
    from django.urls import path

    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
    django.setup()
    globals()["urlpatterns"] = [path("", lambda request: HttpResponse(ask()))]
    assert Client().get("/").content == b"Done."


def in_fastapi() -> None:
    """An endpoint, run in FastAPI's thread pool; its server span hangs on what the client's header says."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    app.get("/")(ask)
    headers: dict[str, str] = {}
    propagate.inject(headers)
    assert TestClient(app, headers=headers).get("/").json() == "Done."


def in_mcp() -> None:
    """A tool call of an MCP client; the tool asks the model on the server's side."""
    from mcp import Client
    from mcp.server import MCPServer

    server = MCPServer("beside")
    server.tool()(ask)

    async def call() -> Any:
        async with Client(server) as client:
            return await client.call_tool("ask", {})

    assert not asyncio.run(call()).is_error


def in_langgraph() -> None:
    """A graph with one node."""
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(dict)
    graph.add_node("ask", lambda state: {"said": ask()})
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    assert graph.compile().invoke({"said": ""})["said"] == "Done."


def in_pydantic_ai() -> None:
    """An agent, whose own spans are switched on."""
    from pydantic_ai import Agent

    assert Agent(f"openai-chat:{MODEL}").run_sync("hi").output == "Done."


def in_openai_agents() -> None:
    """An agent of the OpenAI Agents SDK, by the responses API."""
    import agents

    agents.set_tracing_disabled(True)
    agent = agents.Agent(name="a", model=MODEL)
    assert asyncio.run(agents.Runner.run(agent, "hi")).final_output == "Done."


FRAMEWORKS: dict[str, tuple[str, str, Callable[[], None]]] = {
    "django": ("django", "Django", in_django),
    "fastapi": ("fastapi", "fastapi", in_fastapi),
    "mcp": ("mcp", "mcp", in_mcp),
    "langgraph": ("langgraph", "langgraph", in_langgraph),
    "pydantic-ai": ("pydantic_ai", "pydantic-ai-slim", in_pydantic_ai),
    "openai-agents": ("agents", "openai-agents", in_openai_agents),
}


def check(name: str, run: Callable[[], None], spans: SpanList, api: FakeApi) -> str:
    """Run one framework; return what went wrong, or nothing."""
    api.say(Reply(text="Done.", tokens=TOKENS))
    already = len(spans.spans)
    with taximeter.request(name) as request:
        run()
    (root,) = spans.named(name)
    calls = [
        span for span in spans.spans[already:]
        if span.instrumentation_scope is not None
        and span.instrumentation_scope.name == "taximeter"
        and (span.attributes or {}).get("gen_ai.operation.name") == "chat"
    ]  # fmt: skip
    if (request.model_calls, request.cost_pico) != (1, PICO):
        return f"{request.model_calls} calls and {request.cost_usd} USD were counted, not 1 and {PICO / 1e12}"
    if len(calls) != 1 or calls[0].context is None or root.context is None:
        return f"{len(calls)} spans of the call"
    if calls[0].context.trace_id != root.context.trace_id:
        return "the call is not in the request's trace"
    return f"faults {dict(faults.by_place)}" if faults.by_place else ""


def main() -> int:
    """Check what is installed; return the exit code."""
    spans: Any = SpanList()
    failed = 0
    with FakeApi() as api:
        os.environ |= {"OPENAI_BASE_URL": api.openai_url, "OPENAI_API_KEY": "demo"}
        taximeter.init(service="beside", span_exporter=spans)
        for name, (module, distribution, run) in FRAMEWORKS.items():
            if find_spec(module) is None:
                print(f"{name:16} is not installed")
                continue
            try:
                wrong = check(name, run, spans, api)
            except Exception:  # noqa: BLE001 - the next one is tried too
                wrong = traceback.format_exc()
            failed += bool(wrong)
            print(
                f"{name:16} {metadata.version(distribution):10} {wrong or 'one call, counted once'}"
            )
    taximeter.shutdown()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
