"""DATA_DIR/ports.json: which part listens on which port, under which process id.

Each server part writes its own entry when it is ready; the others find it here.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from taximeter.settings.exposure import is_loopback
from taximeter.settings.settings import Settings
from taximeter.settings.tls import TlsFiles

FILE_NAME: Final = "ports.json"
_LOCK_PATIENCE_S: Final = 5.0
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def write_ports(data_dir: Path, part: str, **values: int) -> None:
    """Set one part's entry, e.g. `write_ports(d, "collector", http_port=4318, pid=os.getpid())`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with _locked(data_dir):
        entries = read_ports(data_dir)
        entries[part] = {"pid": os.getpid(), **values}
        _replace(data_dir / FILE_NAME, entries)


def remove_ports(data_dir: Path, part: str, pid: int | None = None) -> None:
    """Take a part's entry out when it stops, unless another process has replaced it."""
    if not (data_dir / FILE_NAME).exists():
        return
    with _locked(data_dir):
        entries = read_ports(data_dir)
        if entries.get(part, {}).get("pid") == (os.getpid() if pid is None else pid):
            del entries[part]
            _replace(data_dir / FILE_NAME, entries)


def read_ports(data_dir: Path) -> dict[str, dict[str, int]]:
    """Return all entries; empty if nothing runs here or the file is damaged."""
    try:
        entries = json.loads((data_dir / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {part: values for part, values in entries.items() if isinstance(values, dict)}


def live_port(data_dir: Path, part: str, key: str = "http_port") -> int | None:
    """Return a running part's port; None if its process is gone."""
    entry = read_ports(data_dir).get(part, {})
    pid = entry.get("pid")
    if not isinstance(pid, int) or not is_alive(pid):
        return None
    return web_port(entry) if key == "http_port" else entry.get(key)


def web_port(entry: Mapping[str, int]) -> int | None:
    """Return the HTTP port of an entry; a part with one port may call it just `port`.

    >>> web_port({"pid": 1, "port": 8501}), web_port({"http_port": 4318, "grpc_port": 4317})
    (8501, 4318)
    """
    return entry.get("http_port", entry.get("port"))


def collector_url(settings: Settings) -> str:
    """Return the address of the read API: of the running collector here, else as configured."""
    port = live_port(settings.store.data_dir, "collector")
    scheme = "http" if settings.collector.tls is None else "https"
    return url_of(settings.collector.host, port or settings.collector.http_port, scheme)


def served_certificate(settings: Settings, url: str | None = None) -> Path | None:
    """Return the certificate of the collector at `collector_url`; None for one named by ``url``."""
    tls = settings.collector.tls
    return None if url or tls is None else tls.certificate


def part_tls(settings: Settings, host: str) -> TlsFiles | None:
    """Return with what alerts and dashboard serve at ``host``: beyond loopback as the collector."""
    return None if is_loopback(host) else settings.collector.tls


def part_url(settings: Settings, host: str, port: int) -> str:
    """Return the address of alerts or the dashboard that a client on this machine can use."""
    return url_of(host, port, "http" if part_tls(settings, host) is None else "https")


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """Return an address that a client on this machine can use.

    >>> url_of("0.0.0.0", 4318), url_of("::1", 80)
    ('http://127.0.0.1:4318', 'http://[::1]:80')
    """
    host = _ANY_ADDRESS.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_alive(pid: int) -> bool:
    """Return whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Hold ports.json.lock: three parts start at the same moment."""
    lock = data_dir / f"{FILE_NAME}.lock"
    give_up = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            # A process killed between create and unlink must not lock the others out for ever.
            if time.monotonic() > give_up:
                lock.unlink(missing_ok=True)
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _replace(file: Path, entries: dict[str, dict[str, int]]) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{FILE_NAME}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(entries, stream, indent=2)
    os.replace(temporary, file)
