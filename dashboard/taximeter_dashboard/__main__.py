"""The dashboard: settings → application → serve until a signal."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import uvicorn

from taximeter.settings.exposure import check_dashboard_exposure
from taximeter.settings.ports import part_tls, part_url, remove_ports, write_ports
from taximeter.settings.settings import Settings, SettingsError, load_settings

_SHUTDOWN_S: Final = 2


class _Server(uvicorn.Server):
    """Says where it listens once it really does."""

    def __init__(self, config: uvicorn.Config, settings: Settings, port: int) -> None:
        super().__init__(config)
        self._settings, self._port = settings, port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.should_exit:
            return
        write_ports(
            self._settings.store.data_dir, "dashboard", http_port=self._port, pid=os.getpid()
        )
        address = part_url(self._settings, self._settings.dashboard.host, self._port)
        print(f"taximeter dashboard: ready at {address}", flush=True)


def read_settings(arguments: Sequence[str] | None = None) -> Settings:
    """Return the settings for these arguments. Raises SettingsError."""
    parser = argparse.ArgumentParser(
        prog="taximeter dashboard", description="Shows what the agents cost and how they fail."
    )
    parser.add_argument("--config", metavar="FILE", help="taximeter.toml")
    parser.add_argument("--data-dir", metavar="DIR", help="where the data lies")
    given = parser.parse_args(arguments)
    settings = load_settings(given.config, data_dir=given.data_dir)
    check_dashboard_exposure(settings)
    if settings.dashboard.oidc_file is not None and find_spec("authlib") is None:
        raise SettingsError('dashboard.oidc_file needs authlib: pip install "taximeter[oidc]".')
    # The page runs in Streamlit's own threads, which read their settings from the environment.
    if settings.file is not None:
        os.environ["TAXIMETER_CONFIG"] = str(settings.file.resolve())
    os.environ["TAXIMETER_STORE_DATA_DIR"] = str(settings.store.data_dir.resolve())
    return settings


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises OSError if the port can't be had."""
    from taximeter_dashboard.server import build_app

    listener = _listen(settings.dashboard.host, settings.dashboard.port)
    tls = part_tls(settings, settings.dashboard.host)
    app = build_app(_cache_dir(settings.store.data_dir), settings.dashboard, is_tls=tls is not None)
    config = uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )  # fmt: skip
    try:
        _Server(config, settings, listener.getsockname()[1]).run(sockets=[listener])
    finally:
        remove_ports(settings.store.data_dir, "dashboard")


def main() -> int:
    """Return the exit code: 0 after a clean stop, 2 for a wrong configuration, 1 otherwise."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        run(read_settings())
    except SettingsError as error:
        print(f"taximeter dashboard: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f'taximeter dashboard: {error.name} is missing: pip install "taximeter[server]"',
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        print(f"taximeter dashboard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: only then asyncio sets TCP_NODELAY, without which an answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(
            f"port {port} on {host} can't be had ({error.strerror}): stop what uses it, or set"
            " TAXIMETER_DASHBOARD_PORT (0 takes a free one)"
        ) from error
    return listener


def _cache_dir(data_dir: Path) -> Path:
    return data_dir / "cache"


if __name__ == "__main__":
    sys.exit(main())
