"""Works beside: an agent of a framework that runs its own tools, from its first call to what a collector says of it.

Two tools, one of which fails, and three model calls. Not part of the suite: each framework belongs in an environment of
its own. `TAXIMETER_ENDPOINT=http://127.0.0.1:4318 python tests/beside/agent_runs.py`, beside a running collector, prints a
line a framework and ends with 1 where one failed.

The Claude Agent SDK's calls are made by the program that it starts; their telemetry is switched on by the very options
that docs/instrumentation.md shows. With CrewAI goes openinference-instrumentation-crewai.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.demo.replies import Reply, Tokens, ToolCall
from taximeter.read_query import read_query

COLLECTOR = os.environ.get("TAXIMETER_ENDPOINT", "http://127.0.0.1:4318")
TOKENS = Tokens(uncached_input=1_000, output=50)
PATIENCE_S = 20.0
DOCS = Path(__file__).parents[2] / "docs" / "instrumentation.md"


def ask(api: FakeApi, first: ToolCall, second: ToolCall) -> None:
    """Let the model ask for both tools, then answer."""
    api.say(
        *(Reply(tool_calls=(one,), tokens=TOKENS) for one in (first, second)),
        Reply(text="Done.", tokens=TOKENS),
    )


def in_crewai(api: FakeApi) -> None:
    """A crew of one agent."""
    from crewai import LLM, Agent, Crew, Task
    from crewai.tools import tool

    def look_up(order: str) -> str:
        """Look up an order."""
        return f"{order} was sent"

    def cancel(order: str) -> str:
        """Cancel an order."""
        raise RuntimeError(f"{order} was sent already")

    ask(api, ToolCall("look_up", {"order": "A1"}), ToolCall("cancel", {"order": "A1"}))
    tools = [tool("look_up")(look_up), tool("cancel")(cancel)]
    model = LLM(model="openai/gpt-5.4", base_url=api.openai_url, api_key="demo")
    agent = Agent(role="Clerk", goal="help", backstory="none", llm=model, tools=tools)
    task = Task(description="Cancel order A1", expected_output="a word", agent=agent)
    assert str(Crew(agents=[agent], tasks=[task]).kickoff()) == "Done."


def documented_options(sdk: Any) -> Any:
    """Return the options that the documentation shows, for this collector."""
    (block,) = re.findall(
        r"^```python\n(options = claude_agent_sdk\..+?)^```$",
        DOCS.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    made: dict[str, Any] = {"claude_agent_sdk": sdk}
    exec(block.replace("http://127.0.0.1:4318", COLLECTOR), made)  # noqa: S102
    return made["options"]


def in_claude_agent_sdk(api: FakeApi) -> None:
    """A query with a tool of this process and a shell command that fails."""
    import claude_agent_sdk as sdk

    async def look_up(given: dict[str, Any]) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": f"{given['order']} was sent"}]}

    look = sdk.tool("look_up", "Look up an order", {"order": str})(look_up)

    async def run(home: str) -> str:
        shown = documented_options(sdk)
        options = replace(
            shown,
            model="claude-sonnet-4-5",
            mcp_servers={"desk": sdk.create_sdk_mcp_server("desk", tools=[look])},
            allowed_tools=["mcp__desk__look_up", "Bash"],
            setting_sources=[],
            cwd=home,
            env={
                **shown.env,
                "ANTHROPIC_BASE_URL": api.anthropic_url,
                "ANTHROPIC_API_KEY": "demo",
                "HOME": home,
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            },
        )
        said = ""
        async for message in sdk.query(prompt="Where is A1?", options=options):
            said = getattr(message, "result", None) or said
        return said

    shell = ToolCall("Bash", {"command": "false", "description": "fail"})
    ask(api, ToolCall("mcp__desk__look_up", {"order": "A1"}), shell)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        assert asyncio.run(run(home)) == "Done."


AGENTS: dict[str, tuple[str, str, Callable[[FakeApi], None], list[Any]]] = {
    "crewai": ("crewai", "Clerk", in_crewai, [3, 3, 2, 1, 3_000, 150, 9_750_000_000]),
    "claude-agent-sdk": (
        "claude_agent_sdk",
        "claude_code.interaction",
        in_claude_agent_sdk,
        [3, 3, 2, 1, 3_000, 150, 11_250_000_000],
    ),
}
STORED = """select agent_name, model_calls, loop_length, tool_calls, tool_errors, uncached_input_tokens, output_tokens,
    cost_pico from requests where user_id = '{user}'"""


def check(name: str, agent: str, run: Callable[[FakeApi], None], numbers: list[Any]) -> str:
    """Run one agent; return what the collector says wrong of it, or nothing."""
    user = f"{name}-{time.time_ns()}"
    with FakeApi() as api, taximeter.request(name, user=user):
        run(api)
    taximeter.flush(timeout_s=PATIENCE_S)
    rows: list[list[Any]] = []
    until = time.monotonic() + PATIENCE_S
    while rows != [[agent, *numbers]] and time.monotonic() < until:
        time.sleep(0.5)
        rows = read_query(COLLECTOR, STORED.format(user=user))["rows"]
    return "" if rows == [[agent, *numbers]] else f"{rows}, not {[agent, *numbers]}"


def main() -> int:
    """Check what is installed; return the exit code."""
    os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}
    taximeter.init(service="beside")
    failed = 0
    for name, (module, agent, run, numbers) in AGENTS.items():
        if find_spec(module) is None:
            print(f"{name:16} is not installed")
            continue
        try:
            wrong = check(name, agent, run, numbers)
        except Exception:  # noqa: BLE001 - the next one is tried too
            wrong = traceback.format_exc()
        failed += bool(wrong)
        print(f"{name:16} {metadata.version(name):10} {wrong or 'every number is right'}")
    taximeter.shutdown()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
