"""Where the collector may listen, and what it says when it can't."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from starlette.applications import Starlette

from taximeter.settings.exposure import check_exposure
from taximeter.settings.ports import read_ports
from taximeter.settings.settings import SettingsError, load_settings
from taximeter_collector.receivers.grpc_receiver import GrpcReceiver
from taximeter_collector.server import serve

from .conftest import Edges, SteeredIngest


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "telemetry.example"])
def test_an_open_address_needs_both_tokens(host: str) -> None:
    environment = {"TAXIMETER_COLLECTOR_HOST": host, "TAXIMETER_INGEST_TOKEN": "x"}
    with pytest.raises(SettingsError, match="set TAXIMETER_QUERY_TOKEN, or stay"):
        check_exposure(load_settings(environ=environment).collector)
    environment["TAXIMETER_QUERY_TOKEN"] = "y"
    with pytest.raises(SettingsError, match="plain text: set collector.tls_cert_file"):
        check_exposure(load_settings(environ=environment).collector)
    environment["TAXIMETER_COLLECTOR_INSECURE"] = "true"
    check_exposure(load_settings(environ=environment).collector)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    check_exposure(load_settings(environ={"TAXIMETER_COLLECTOR_HOST": host}).collector)


@pytest.mark.parametrize("taken", ["HTTP", "GRPC"])
def test_a_taken_port_is_one_sentence_with_the_way_out(tmp_path: Path, taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
        ports[f"TAXIMETER_COLLECTOR_{taken}_PORT"] = str(other.getsockname()[1])
        settings = load_settings(environ=ports).collector

        async def run() -> None:
            await serve(settings, tmp_path, Starlette(), GrpcReceiver(SteeredIngest(), 1024, None))

        with pytest.raises(OSError, match=f"choose another with TAXIMETER_COLLECTOR_{taken}_PORT"):
            asyncio.run(run())


def test_the_ports_are_written_while_it_serves(edges: Edges) -> None:
    data_dir = edges.store.data_dir
    assert read_ports(data_dir)["collector"]["http_port"] == edges.addresses.http_port
    edges.stop()
    assert read_ports(data_dir) == {}
