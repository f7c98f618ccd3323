"""Dropped into programs of every kind, without a change to them: what they do arrives."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.instrumentation.hosts import Sink, finish, host

AGENT = """
import sys, taximeter
@taximeter.tool
def work(n): return n
if __name__ == "__main__":
    work(1)
    print(sys.argv, sys.path[0], __file__)
    if "fail" in sys.argv: raise OSError("the agent's own")
    if "three" in sys.argv: sys.exit(3)
"""
BOTH_EXPORT = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ALWAYS_OFF
from taximeter.testing import SpanList
theirs = SpanList()
def provider(sampler=ALWAYS_ON):
    made = TracerProvider(sampler=sampler)
    made.add_span_processor(SimpleSpanProcessor(theirs))
    return made
"""


CANCELLED = """
import asyncio
async def main():
    asyncio.current_task().cancel()
    await asyncio.sleep(1)
asyncio.run(main())
"""


def taximeter_run(sink: Sink, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "agent.py").write_text(AGENT)
    command = [sys.executable, "-m", "taximeter", "run", *arguments]
    environ = os.environ | {"TAXIMETER_ENDPOINT": sink.url}
    return subprocess.run(
        command, env=environ, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "arguments", [["agent.py", "a", "--b"], ["-m", "agent", "a", "--b"]], ids=["script", "module"]
)
def test_a_program_runs_as_by_python_and_is_measured(
    sink: Sink, tmp_path: Path, arguments: list[str]
) -> None:
    ran = taximeter_run(sink, tmp_path, "--service", "s", *arguments)
    assert ran.returncode == 0, ran.stderr
    assert "'a', '--b'] " + str(tmp_path) in ran.stdout
    assert sink.names == ["execute_tool work"]


@pytest.mark.parametrize(
    ("argument", "code", "said"), [("fail", 1, "OSError: the agent's own"), ("three", 3, "")]
)
def test_a_program_ends_as_it_would_without(
    sink: Sink, tmp_path: Path, argument: str, code: int, said: str
) -> None:
    ran = taximeter_run(sink, tmp_path, "agent.py", argument)
    assert ran.returncode == code
    assert said in ran.stderr
    assert not any(ours in ran.stderr for ours in ("runpy", "cli/run.py", "__main__.py"))
    assert sink.names == ["execute_tool work"]


def test_a_programs_own_file_is_found_after_it_has_changed_directory(
    sink: Sink, tmp_path: Path
) -> None:
    (tmp_path / "beside.py").write_text("import os; os.chdir('/'); print(open(__file__).read())")
    ran = taximeter_run(sink, tmp_path, "beside.py")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["-m"], ["missing.py"], ["."], ["--what", "agent.py"], ["-m", "no.such"], ["-m", "json"]],
)
def test_without_a_program_it_says_what_to_do(
    sink: Sink, tmp_path: Path, arguments: list[str]
) -> None:
    ran = taximeter_run(sink, tmp_path, *arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("taximeter: ") and "Traceback" not in ran.stderr


def test_a_provider_set_after_ours_gets_the_spans_too(sink: Sink) -> None:
    program = host(
        f"""{BOTH_EXPORT}
taximeter.init(service='s')
mine = provider()
trace.set_tracer_provider(mine)
assert trace.get_tracer_provider() is mine
with trace.get_tracer('app').start_as_current_span('theirs'): work(1)
assert sorted(s.name for s in theirs.spans) == ['execute_tool work', 'theirs']
""",
        sink.url,
    )
    finish(program)
    assert sorted(sink.names) == ["execute_tool work", "theirs"]


def test_a_sampler_decides_what_is_sent_and_not_what_is_counted(sink: Sink) -> None:
    program = host(
        f"""{BOTH_EXPORT}
trace.set_tracer_provider(provider(ALWAYS_OFF))
taximeter.init(service='s')
with taximeter.request() as request: work(1)
assert request.tool_calls == 1
""",
        sink.url,
    )
    finish(program)
    assert sink.names == []


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_that_starts_afresh_is_measured(sink: Sink, tmp_path: Path, method: str) -> None:
    """Real interpreters start: a second each."""
    (tmp_path / "main.py").write_text(
        f"""
import multiprocessing, taximeter
@taximeter.tool
def work(n): return n
if __name__ == "__main__":
    taximeter.init(service="s")
    child = multiprocessing.get_context({method!r}).Process(target=work, args=(1,))
    child.start(); child.join()
    assert child.exitcode == 0
"""
    )
    environ = os.environ | {"TAXIMETER_ENDPOINT": sink.url}
    ran = subprocess.run(
        [sys.executable, "main.py"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert sink.names == ["execute_tool work"]


def test_workers_forked_by_a_server_send_their_own_spans_once(sink: Sink) -> None:
    program = host(
        """
        taximeter.init(service='s')
        work(0)
        for _ in range(2):
            if os.fork() == 0:
                work(1)
                sys.exit(0)
        for _ in range(2): os.wait()
        work(2)
        """,
        sink.url,
    )
    finish(program)
    assert sink.names == ["execute_tool work"] * 4


def test_an_invocation_flushes_before_the_machine_freezes(sink: Sink) -> None:
    program = host(
        """
        taximeter.init(service='s')
        work(1)
        assert taximeter.flush(5)
        os._exit(0)
        """,
        sink.url,
    )
    finish(program)
    assert sink.names == ["execute_tool work"]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("raise SystemExit(4)", 4),
        ("raise RuntimeError('own')", 1),
        (CANCELLED, 1),
        ("os.kill(os.getpid(), signal.SIGINT)", -2),
    ],
    ids=["exit", "exception", "cancelled", "ctrl-c"],
)  # fmt: skip
def test_the_last_spans_arrive_however_it_ends(sink: Sink, end: str, code: int) -> None:
    program = host(f"taximeter.init(service='s')\nwork(1)\n{end}", sink.url)
    program.communicate(timeout=30)
    assert program.returncode == code
    assert sink.names == ["execute_tool work"]


def test_a_library_in_a_zip_file_is_measured_once_it_is_whole(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("lib/__init__.py", "from lib import part\nWHOLE = True\n")
        archive.writestr("lib/part.py", "")
    program = f"""
import sys
from taximeter.clients.late_imports import when_imported
sys.path.insert(0, {str(tmp_path / "lib.zip")!r})
when_imported("lib", lambda: print(sys.modules["lib"].WHOLE))
import lib
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert (ran.stdout, ran.stderr) == ("True\n", "")
