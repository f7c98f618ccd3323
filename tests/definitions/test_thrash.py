"""Saying the same again: what is a repeat, what only looks like one, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.definitions.spans import agent, call, plain, tool
from tests.telemetry import GENAI, Span, one, send, wipe

from taximeter.fingerprint import arguments_hash
from taximeter.settings.settings import ToolsSettings
from taximeter_collector.store.store import Store

RUN = "select max_consecutive_repeat, max_repeats, thrash_ratio from agent_runs"


@pytest.fixture(scope="module")
def _tools_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    tools = ToolsSettings(mutating=("write*",), volatile_arguments=("page_token", "search.cursor"))
    store = Store(Path(tmp_path_factory.mktemp("tools")), tools=tools)
    yield store
    store.close()


@pytest.fixture
def store(_tools_store: Store) -> Store:
    """Return an empty store with a writing tool and volatile arguments."""
    wipe(_tools_store)
    return _tools_store


def turns(*asked: Sequence[Span]) -> list[Span]:
    """Return an agent run: a model call before each group of tools."""
    calls = [call(100 + n, at=1000 * n, finish="tool_use") for n in range(len(asked))]
    return [agent(1), *calls, *(span for group in asked for span in group)]


def loop(*tools: tuple[str, str], **said: Any) -> list[Span]:
    """Return a run in which each turn asks for one tool."""
    return turns(*([tool(10 + n, at=1000 * n + 200, name=name, q=q, **said)] for n, (name, q) in enumerate(tools)))  # fmt: skip


def test_repeats_runs_and_their_cost(store: Store) -> None:
    """a a a b a: four of key a are three repeats, three in a row; three of five calls asked for them."""
    send(store, [loop(("s", "a"), ("s", "a"), ("s", "a"), ("s", "b"), ("s", "a"))])
    assert one(store, RUN) == (3, 3, 3 / 5)
    assert one(store, "select thrash_cost_pico * 5 = cost_pico * 3, thrash_level from agent_runs") == (True, "warn")  # fmt: skip


def test_thresholds_are_warn_and_page(store: Store) -> None:
    send(store, [loop(*[("s", "a")] * 6)])
    assert one(store, "select thrash_level from agent_runs") == ("page",)


@pytest.mark.parametrize(
    "spans",
    [
        pytest.param(loop(*[("job_status", "a")] * 4), id="polling"),
        pytest.param(loop(("read", "a"), ("write_file", "b"), ("read", "a")), id="a write between"),
        pytest.param(turns([tool(10, at=200, failed=True), tool(11, at=400)]), id="again after a failure"),
        pytest.param(turns([tool(10, at=200, gen_ai__tool__call__id="c"), tool(11, at=400, gen_ai__tool__call__id="c")]), id="same call id"),
        pytest.param(loop(("s", "a"), ("s", "b"), ("t", "a")), id="others"),
    ],
)  # fmt: skip
def test_what_is_no_repeat(store: Store, spans: list[Span]) -> None:
    send(store, [spans])
    assert one(store, "select max_consecutive_repeat, max_repeats, thrash_cost_pico, fanout_duplicates from agent_runs") == (1, 0, 0, 0)  # fmt: skip


def test_a_mock_that_gives_all_calls_one_id_hides_no_repeat_where_no_decision_is_seen(
    store: Store,
) -> None:
    asked = [tool(10 + n, at=200 * n, gen_ai__tool__call__id="call_0") for n in range(3)]
    send(store, [[agent(1), *asked]])
    assert one(store, RUN)[:2] == (3, 2)


def test_the_same_call_twice_in_one_turn_is_a_parallel_duplicate(store: Store) -> None:
    send(store, [turns([tool(10, at=200), tool(11, at=210)], [tool(12, at=1200, q="y")])])
    assert one(store, "select max_repeats, fanout_duplicates from agent_runs") == (0, 1)


def test_the_same_write_again_is_a_repeat(store: Store) -> None:
    send(store, [loop(("write_file", "a"), ("write_file", "a"))])
    assert one(store, RUN)[:2] == (2, 1)


def test_a_tool_belongs_to_the_turn_before_what_begins_with_it(store: Store) -> None:
    """Where clocks tell milliseconds, the next call can begin with the tool that it was told of."""
    calls = [call(100 + n, at=1000 * n, finish="tool_use", took=900) for n in range(4)]
    send(store, [[agent(1), *calls, *(tool(at, at=at, took=0) for at in (1000, 1950, 2950))]])
    assert one(store, "select max_repeats, fanout_duplicates from agent_runs") == (2, 0)


def test_same_results_and_same_errors_are_told_apart(store: Store) -> None:
    same = loop(*[("s", "a")] * 3, gen_ai__tool__call__result="r")
    send(store, [same])
    assert one(store, "select same_result_repeats, same_error_repeats from agent_runs") == (2, 0)


@pytest.mark.parametrize(("order", "found"), [("ababab", (3, 2)), ("abcabcabc", (3, 3)), ("abab", (0, None)),
                                              ("aaaaaa", (0, None)), ("xabababab", (4, 2))])  # fmt: skip
def test_ping_pong(store: Store, order: str, found: tuple[int, int | None]) -> None:
    send(store, [loop(*(("s", letter) for letter in order))])
    assert one(store, "select cycle_repeats, cycle_period from agent_runs") == found


def test_the_spans_of_one_execution_are_one_call(store: Store) -> None:
    """Framework over MCP client over MCP server; the error that only the inner one shows is theirs."""
    outer = tool(10, at=200, name="mcp__desk__lookup", took=500)
    client = tool(11, 10, at=210, name="lookup", took=400)
    server = Span(1, 12, 11, 220, 500, client.attributes, name="tools/call lookup", failed=True)
    send(store, [turns([outer, client, server, plain(13, 10, at=230, end=240)])])
    assert one(store, "select tool_name, is_error from tool_calls") == ("mcp__desk__lookup", True)


CLAUDE_CODE = "com.anthropic.claude_code.tracing"


@pytest.mark.parametrize(
    ("caller", "scope", "at", "found"),
    [
        ("mcp__desk__lookup", CLAUDE_CODE, 220, ["mcp__desk__lookup"]),
        ("mcp_tool", CLAUDE_CODE, 220, ["mcp_tool"]),
        ("lookup", GENAI, 220, ["lookup"]),
        ("lookup", GENAI, 5_000, ["lookup", "lookup"]),
        ("other", GENAI, 220, ["other", "lookup"]),
    ],
)
def test_a_server_beside_its_caller_is_the_same_execution(
    store: Store, caller: str, scope: str, at: int, found: list[str]
) -> None:
    """An MCP server in the program that started the caller's: the same tool at the same time."""
    said = (*tool(9, at=0, name=caller).attributes, ("tool_name", caller))
    outer = Span(1, 10, 1, 200, 700, said, scope, name="claude_code.tool")
    told = tool(9, at=0, name="lookup").attributes
    server = Span(1, 12, 1, at, at + 100, told, "mcp-python-sdk", name="tools/call lookup", kind=2)
    send(store, [turns([outer, server])])
    assert one(store, "select list(tool_name order by start_time) from tool_calls") == (found,)


def test_volatile_arguments_do_not_tell_calls_apart(store: Store) -> None:
    texts = ['{"q": 1, "page_token": "a"}', '{"page_token": "b", "q": 1.0}', '"{\\"q\\": 1, \\"cursor\\": 9}"']  # fmt: skip
    send(store, [turns(*([tool(10 + n, at=1000 * n + 200, gen_ai__tool__call__arguments=text)] for n, text in enumerate(texts)))])  # fmt: skip
    assert one(store, RUN)[:2] == (3, 2)


@pytest.mark.parametrize(
    ("one_form", "other_form"),
    [
        ('{"inputs": {"q": 1}}', {"q": 1}),
        ('{"input_str": "{}", "inputs": {"q": 1}, "tags": ["step:1"], "metadata": {"langgraph_step": 2}, "kwargs": {}}', {"q": 1}),
        ('{"args": [], "kwargs": {"q": 1}}', {"q": 1}),
        ('"{\\"q\\": 1}"', {"q": 1.0}), ("two  words\n", "two words"), ({"a": 1e16}, {"a": 10**16}),
        ({"q": 1, "timestamp": 5, "_meta": {}}, {"q": 1}), ({"\U0001f600": 1, "\ufb33": 2}, '{"\ufb33": 2, "\U0001f600": 1}'),
    ],
)  # fmt: skip
def test_forms_of_the_same_arguments(one_form: object, other_form: object) -> None:
    assert arguments_hash(one_form) == arguments_hash(other_form) is not None
