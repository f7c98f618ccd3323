"""Parts are kept alive and stopped in order; the parts here are tiny real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.patience import wait_until

from taximeter.cli.supervisor import Part, StartError, Supervisor
from taximeter.settings.ports import is_alive, read_ports

SERVER = """
import os, pathlib, signal, sys, threading
from taximeter.settings.ports import write_ports
data_dir = pathlib.Path(os.environ["TAXIMETER_STORE_DATA_DIR"])
name = sys.argv[1]
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
write_ports(data_dir, name, port=1000)
stop.wait()
with open(data_dir / "order", "a") as order:
    order.write(name + "\\n")
"""
CARELESS = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
sys.exit(0)
"""
FAILING = "import sys; print('the reason.'); sys.exit(int(sys.argv[1]))"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tiny_server.py").write_text(SERVER)
    (tmp_path / "tiny_failure.py").write_text(FAILING)
    (tmp_path / "tiny_careless.py").write_text(CARELESS)
    return {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "TAXIMETER_STORE_DATA_DIR": str(tmp_path),
    }


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(
    tmp_path: Path, environment: dict[str, str], said: list[str]
) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, environment, said.append)
    yield supervisor
    supervisor.stop()


def server(name: str) -> Part:
    return Part(name, "tiny_server", (name,))


def test_a_part_is_ready_when_it_has_written_its_port(supervisor: Supervisor) -> None:
    supervisor.start(server("a"))
    assert supervisor.wait_ready("a", 60)["port"] == 1000


def test_parts_stop_in_reverse_order(supervisor: Supervisor, tmp_path: Path) -> None:
    for name in ("collector", "alerts", "dashboard"):
        supervisor.start(server(name))
        supervisor.wait_ready(name, 60)
    supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["dashboard", "alerts", "collector"]


def test_a_killed_part_comes_back(supervisor: Supervisor, tmp_path: Path, said: list[str]) -> None:
    supervisor.start(server("a"))
    first = supervisor.wait_ready("a", 60)["pid"]

    def kill_and_look() -> None:
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: read_ports(tmp_path)["a"]["pid"] != first)
        supervisor.ask_to_stop()

    looking = threading.Thread(target=kill_and_look)
    looking.start()
    assert supervisor.keep() == 0
    looking.join()
    assert "a was ended by signal 9" in said[0] and "Starting it again in 1 s." in said[0]


def test_a_wrong_configuration_is_not_tried_again(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(Part("a", "tiny_failure", ("2",)))
    assert supervisor.keep() == 2
    assert "stopped with exit code 2: the reason (log: " in said[0]


def test_a_part_that_fails_at_start_says_why(supervisor: Supervisor) -> None:
    supervisor.start(Part("a", "tiny_failure", ("1",)))
    with pytest.raises(StartError, match="the reason") as caught:
        supervisor.wait_ready("a", 60)
    assert caught.value.exit_code == 1


def test_a_data_dir_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    supervisor = Supervisor(tmp_path / "file", dict(os.environ), print)
    with pytest.raises(StartError, match=r"cannot write .*file .*--data-dir") as caught:
        supervisor.start(Part("tiny", "tiny_server"))
    assert caught.value.exit_code == 2


def test_a_part_that_is_not_kept_may_end(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(Part("demo", "tiny_failure", ("0",), is_kept=False))

    def stop_when_said() -> None:
        wait_until(lambda: bool(said))
        supervisor.ask_to_stop()

    threading.Thread(target=stop_when_said).start()
    assert supervisor.keep() == 0
    assert said[0] == "demo is done."


def test_nothing_that_a_part_started_is_left(supervisor: Supervisor) -> None:
    supervisor.start(Part("a", "tiny_careless", is_kept=False))
    wait_until(lambda: supervisor.log("a").read_text().endswith("\n"))
    orphan = int(supervisor.log("a").read_text())
    supervisor.stop()
    wait_until(lambda: not is_running(orphan))


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that waits to be reaped by init does not."""
    status = Path(f"/proc/{pid}/stat")
    with suppress(OSError):
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_no_part_outlives_a_killed_supervisor(tmp_path: Path, environment: dict[str, str]) -> None:
    script = (
        "import os, pathlib\n"
        "from taximeter.cli.supervisor import Part, Supervisor\n"
        f"s = Supervisor(pathlib.Path({str(tmp_path)!r}), os.environ, print)\n"
        "s.start(Part('a', 'tiny_server', ('a',)))\n"
        "s.wait_ready('a', 60)\n"
        "s.keep()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment)
    wait_until(lambda: "a" in read_ports(tmp_path))
    child = read_ports(tmp_path)["a"]["pid"]
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(child) or (tmp_path / "order").exists())
