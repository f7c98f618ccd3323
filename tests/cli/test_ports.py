"""ports.json: how the parts of one installation find each other."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from taximeter.settings.ports import collector_url, live_port, read_ports, remove_ports, write_ports
from taximeter.settings.settings import load_settings

DEAD_PID = 2**22 + 1
"""Above the kernel's largest process id."""


def test_each_part_keeps_its_own_entry(tmp_path: Path) -> None:
    write_ports(tmp_path, "collector", http_port=1, grpc_port=2)
    write_ports(tmp_path, "alerts", port=3)
    assert read_ports(tmp_path)["collector"] == {"pid": os.getpid(), "http_port": 1, "grpc_port": 2}
    assert live_port(tmp_path, "alerts") == 3


def test_parts_that_start_together_lose_no_entry(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=write_ports, args=(tmp_path, f"part{i}"), kwargs={"port": i})
        for i in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_ports(tmp_path)) == 12


def test_a_damaged_file_reads_as_empty(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{")
    assert read_ports(tmp_path) == {}


def test_the_collector_is_found_by_its_entry_else_by_its_setting(tmp_path: Path) -> None:
    settings = load_settings(environ={}, data_dir=tmp_path)
    assert collector_url(settings) == "http://127.0.0.1:4318"
    write_ports(tmp_path, "collector", http_port=5555)
    assert collector_url(settings) == "http://127.0.0.1:5555"
    write_ports(tmp_path, "collector", http_port=5555, pid=DEAD_PID)
    assert collector_url(settings) == "http://127.0.0.1:4318"


def test_only_the_owner_removes_its_entry(tmp_path: Path) -> None:
    write_ports(tmp_path, "alerts", port=1, pid=DEAD_PID)
    remove_ports(tmp_path, "alerts")
    assert "alerts" in read_ports(tmp_path)
    remove_ports(tmp_path, "alerts", pid=DEAD_PID)
    assert read_ports(tmp_path) == {}
