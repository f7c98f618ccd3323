"""The ways in that docs/instrumentation.md shows work, as their processes live and end."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.instrumentation.hosts import Sink, finish, host

import taximeter
from taximeter import lifecycle

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "instrumentation.md").read_text("utf-8")
# What the example needs of Celery: the worker forks, tells its signals, and ends without exit handlers.
CELERY = """
        import types
        class Signal(list):
            def connect(self, hook):
                self.append(hook)
                return hook
            def send(self):
                for hook in self: hook(sender=None)
        class Celery:
            def __init__(self, name): pass
            def task(self, function): return function
        signals = types.ModuleType('celery.signals')
        signals.worker_process_init, signals.worker_process_shutdown = Signal(), Signal()
        sys.modules |= {'celery': types.ModuleType('celery'), 'celery.signals': signals}
        sys.modules['celery'].Celery = Celery
"""


def example(section: str) -> str:
    part = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    return str(block)


def test_a_celery_worker_sends_what_its_tasks_did(sink: Sink) -> None:
    worker = """
        exec(os.environ['EXAMPLE'])
        for number in range(2):
            if os.fork() == 0:
                signals.worker_process_init.send()
                assert answer('A-17', user='u') == 'A-17 was sent on Monday'
                signals.worker_process_shutdown.send()
                os._exit(0)
        for _ in range(2): assert os.wait()[1] == 0
    """
    finish(host(CELERY + worker, sink.url, EXAMPLE=example("Workers that fork")))
    assert sorted(sink.names) == ["answer"] * 2 + ["execute_tool look_up"] * 2


def test_a_function_has_sent_its_spans_when_it_freezes(sink: Sink) -> None:
    function = """
        exec(os.environ['EXAMPLE'])
        for order in ('A-17', 'A-18'):
            handler({'user': 'u', 'order': order}, None)
        os._exit(0)
    """
    finish(host(function, sink.url, EXAMPLE=example("Functions that freeze")))
    assert sorted(sink.names) == ["answer"] * 2 + ["execute_tool look_up"] * 2


def test_a_request_that_asks_a_server_of_its_own_tells_it_the_trace() -> None:
    found: dict[str, object] = {}
    taximeter.init(service="tests", endpoint="http://127.0.0.1:9")
    exec(example("Web servers, and the trace a request is in"), found)  # noqa: S102
    taximeter.shutdown(timeout_s=0)
    headers = found["headers"]
    assert isinstance(headers, dict) and re.fullmatch(
        "00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", headers["traceparent"]
    )


def test_opentelemetrys_own_launcher_starts_the_shim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXIMETER_ENDPOINT", "http://127.0.0.1:9")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    group = "opentelemetry_post_instrument"
    ((name, value),) = project["entry-points"][group].items()
    taximeter.shutdown(timeout_s=0)
    EntryPoint(name, value, group).load()()  # as opentelemetry-instrument does
    assert lifecycle.is_active()
    taximeter.shutdown(timeout_s=0)
