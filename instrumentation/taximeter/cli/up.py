"""`taximeter up`: collector, alerts and dashboard in one terminal, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import webbrowser
from typing import Final

from taximeter.cli.supervisor import Part, StartError, StopAsked, Supervisor
from taximeter.extras import missing_extra
from taximeter.settings.exposure import check_dashboard_exposure, check_exposure
from taximeter.settings.ports import (
    collector_url,
    live_port,
    part_url,
    read_ports,
    url_of,
    web_port,
)
from taximeter.settings.settings import Settings, load_settings

COLLECTOR: Final = Part("collector", "taximeter_collector")
ALERTS: Final = Part("alerts", "taximeter_alerts")
DASHBOARD: Final = Part("dashboard", "taximeter_dashboard")
READY_WITHIN_S: Final = 60.0
_HOSTS: Final = ("TAXIMETER_COLLECTOR_HOST", "TAXIMETER_ALERTS_HOST", "TAXIMETER_DASHBOARD_HOST")


def add_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    up = commands.add_parser("up", help="collector, alerts and dashboard together")
    up.add_argument("--config", metavar="FILE", help="taximeter.toml")
    up.add_argument("--data-dir", metavar="DIR", help="where the data lies (~/.taximeter)")
    up.add_argument(
        "--host", metavar="H", help="listen here instead of 127.0.0.1 (needs tokens and TLS)"
    )
    up.add_argument("--insecure", action="store_true", help="listen there without TLS")
    up.add_argument("--demo", action="store_true", help="also start the demo fleet")
    up.add_argument("--days", metavar="N", help="days of demo history")
    up.add_argument("--no-browser", action="store_true", help="do not open the page")
    up.set_defaults(run=run_up)


def run_up(options: argparse.Namespace) -> int:
    """Start everything, keep it, stop it; return the exit code."""
    environment = dict(os.environ)
    if options.host:
        environment.update(dict.fromkeys(_HOSTS, options.host))
    if options.insecure:
        environment["TAXIMETER_COLLECTOR_INSECURE"] = "true"
    settings = load_settings(options.config, environment, data_dir=options.data_dir)
    check_exposure(settings.collector)
    check_dashboard_exposure(settings)
    parts = ("collector", "alerts", "dashboard", *(("demo",) if options.demo else ()))
    for sentence in filter(None, map(missing_extra, parts)):
        return _complain(sentence, 2)
    data_dir = settings.store.data_dir.absolute()
    if live_port(data_dir, "collector") is not None:
        pid = read_ports(data_dir)["collector"]["pid"]
        running = collector_url(settings)
        return _complain(f"A collector (process {pid}) already serves {data_dir} at {running}.", 1)
    environment["TAXIMETER_STORE_DATA_DIR"] = str(data_dir)
    if settings.file is not None:
        environment["TAXIMETER_CONFIG"] = str(settings.file.absolute())
    return _supervise(options, settings, Supervisor(data_dir, environment, _say))


def _supervise(options: argparse.Namespace, settings: Settings, supervisor: Supervisor) -> int:
    def on_signal(number: int, frame: object) -> None:
        supervisor.ask_to_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        address = _start_parts(options, settings, supervisor)
        if not options.no_browser and _has_screen():
            webbrowser.open(address)
        return supervisor.keep()
    except StopAsked:
        return 0
    except StartError as error:
        return _complain(str(error), error.exit_code)
    finally:
        _say("Stopping …")
        supervisor.stop()
        _say("Stopped; everything that was acknowledged is on disk.")


def _start_parts(options: argparse.Namespace, settings: Settings, supervisor: Supervisor) -> str:
    """Start all parts, print how to use them, return the dashboard's address."""
    _say("Starting the collector …")
    supervisor.start(COLLECTOR)
    collector = supervisor.wait_ready("collector", READY_WITHIN_S)
    supervisor.pin(
        {
            "TAXIMETER_COLLECTOR_HTTP_PORT": str(collector["http_port"]),
            "TAXIMETER_COLLECTOR_GRPC_PORT": str(collector["grpc_port"]),
        }
    )
    _say("Starting alerts and dashboard …")
    supervisor.start(ALERTS)
    supervisor.start(DASHBOARD)
    if options.demo:
        days = ("--days", options.days) if options.days else ()
        supervisor.start(Part("demo", "taximeter.demo", (*days, "--live"), is_kept=False))
    alerts = web_port(supervisor.wait_ready("alerts", READY_WITHIN_S))
    dashboard = web_port(supervisor.wait_ready("dashboard", READY_WITHIN_S))
    if alerts is None or dashboard is None:
        raise StartError("alerts or dashboard did not write its port into ports.json.")
    supervisor.pin(
        {"TAXIMETER_ALERTS_PORT": str(alerts), "TAXIMETER_DASHBOARD_PORT": str(dashboard)}
    )
    address = part_url(settings, settings.dashboard.host, dashboard)
    _say(_banner(settings, collector, alerts, address, options.demo))
    return address


def _banner(
    settings: Settings,
    collector: dict[str, int],
    alerts: int,
    dashboard: str,
    is_demo: bool,
) -> str:
    from taximeter.export.otlp_http import DEFAULT_ENDPOINT

    scheme = "http" if settings.collector.tls is None else "https"
    http = url_of(settings.collector.host, collector["http_port"], scheme)
    lines = [
        "",
        "taximeter is running.",
        f"  dashboard   {dashboard}",
        f"  collector   {http}  (OTLP/HTTP, queries)  and port {collector['grpc_port']} (OTLP/gRPC)",
        f"  alerts      {part_url(settings, settings.alerts.host, alerts)}",
        f"  data, logs  {settings.store.data_dir.absolute()}",
        "",
        "Point an agent at it:",
        '  import taximeter; taximeter.init(service="my-agent")',
        f"  or, for any OpenTelemetry program: OTEL_EXPORTER_OTLP_ENDPOINT={http}",
    ]
    if http != DEFAULT_ENDPOINT:
        lines.insert(-1, f"  with TAXIMETER_ENDPOINT={http} set there")
    if settings.collector.ingest_token is not None:
        lines.append("  with TAXIMETER_INGEST_TOKEN set there as here")
    if is_demo:
        lines.append("The demo fleet fills in its history; the page shows it as it comes.")
    return "\n".join([*lines, "", "Ctrl-C stops everything."])


def _has_screen() -> bool:
    """Return whether a browser would be seen: without a display a text browser would take over."""
    if not sys.stdout.isatty():
        return False
    return sys.platform != "linux" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _say(text: str) -> None:
    print(text, flush=True)


def _complain(message: str, code: int) -> int:
    print(f"taximeter: {message}", file=sys.stderr, flush=True)
    return code
