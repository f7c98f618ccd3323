"""Pictures of the dashboard for the docs: `python -m tests.browser.screenshots`.

Fills a collector with the demo's history in a temporary directory (or uses the running parts of
`--data-dir`) and writes docs/images.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode
from urllib.request import urlopen

from playwright.sync_api import sync_playwright
from tests.patience import wait_until

from taximeter.settings.ports import live_port
from taximeter_collector.client import ReadClient
from taximeter_dashboard.statements import EXAMPLES

from .conftest import CHROMIUM, FLAGS, environment, part, visiting

IMAGES = Path(__file__).parents[2] / "docs" / "images"
BUDGETS = """version: 1
rules:
  - {name: all, watch: cost_usd, when: "budget $330 per month"}
  - {name: web research, watch: cost_usd, where: {agent_name: web-researcher}, when: "budget $30 per day", on_exhausted: stop}
  - {name: agents, watch: cost_usd, by: agent_name, when: "budget $150 per week"}
"""
Scheme = Literal["light", "dark"]
NARROW = (390, 844)
NARROW_PAGES = (
    "overview", "request", "conversation", "costs", "errors", "people", "explore", "live", "setup",
)  # fmt: skip
WIDE = (1440, 900)
# A request with many steps and something that went wrong tells most.
_TELLING = """select request_id from requests where is_complete and cost_usd is not null
order by (tool_errors > 0) desc, span_count between 20 and 60 desc, start_time desc limit 1"""
# Of an agent whose every model call tells what was said.
_SAID = """select request_id from requests where is_complete and agent_name = 'code-assistant'
order by tool_calls between 3 and 8 desc, start_time desc limit 1"""
_DEAREST = (
    "select span_id from calls where trace_id = $id order by cost_pico desc nulls last limit 1"
)


def main() -> int:
    """Write every picture; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="use the parts that run there")
    parser.add_argument("--days", default="14", help="days of demo history to make")
    parser.add_argument("--pages", nargs="*", default=[], help="only these (all without it)")
    options = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    if options.data_dir:
        shoot(options.data_dir, options.pages)
        return 0
    with tempfile.TemporaryDirectory() as directory, filled(Path(directory), options.days):
        shoot(Path(directory), options.pages)
    return 0


@contextlib.contextmanager
def filled(data_dir: Path, days: str) -> Iterator[None]:
    """Run all parts over a data dir that holds the demo's history."""
    with part("collector", data_dir):
        command = [sys.executable, "-m", "taximeter.demo", "--days", days]
        variables = environment(data_dir) | {"TAXIMETER_CAPTURE_CONTENT": "1"}
        subprocess.run(command, env=variables, cwd=data_dir, check=True)
        (data_dir / "alerts.yaml").write_text(BUDGETS, encoding="utf-8")
        with part("alerts", data_dir) as alerts, part("dashboard", data_dir):
            url = f"http://127.0.0.1:{alerts}/api/budgets"
            wait_until(lambda: bool(json.load(urlopen(url))["budgets"]), "a judged budget")
            yield


def shoot(data_dir: Path, only: Sequence[str] = ()) -> None:
    """Take the pictures of the dashboard that runs over this data dir, ``only`` of these pages."""
    dashboard = f"http://127.0.0.1:{live_port(data_dir, 'dashboard', 'http_port')}"
    client = ReadClient(f"http://127.0.0.1:{live_port(data_dir, 'collector', 'http_port')}")
    request_id = client.query(_TELLING).to_pylist()[0]["request_id"]
    said_id = client.query(_SAID).to_pylist()[0]["request_id"]
    span_id = client.query(_DEAREST, {"id": request_id}).to_pylist()[0]["span_id"]
    pages = {
        "overview": "/?range=7d",
        "requests": "/requests?range=7d&sort=-cost",
        "request": f"/request?id={request_id}&span={span_id}",
        "conversation": f"/request?id={said_id}&view=Conversation",
        "spent": f"/request?id={request_id}&view=Cost+over+time",
        "agents": "/agents?range=7d",
        "agent": "/agents?range=7d&agent=web-researcher",
        "costs": "/costs?range=7d",
        "cache": "/cache?range=7d",
        "errors": "/errors?range=7d",
        "people": "/people?range=7d",
        "explore": f"/explore?{urlencode({'sql': EXAMPLES['Spend by model and day']})}&show=Chart",
        "live": "/live",
        "alerts": "/alerts",
        "setup": "/setup",
    }
    schemes: tuple[Scheme, ...] = ("light", "dark")
    shots = [(name, scheme, WIDE) for name in pages for scheme in schemes]
    shots += [(name, scheme, NARROW) for name in NARROW_PAGES for scheme in schemes]
    shots = [shot for shot in shots if not only or shot[0] in only]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        for name, scheme, (width, height) in shots:
            with visiting(browser, dashboard, width, height, scheme) as visit:
                visit.open(pages[name])
                visit.page.wait_for_timeout(1_500)  # charts draw themselves in
                suffix = "-narrow" if width == NARROW[0] else ""
                file = IMAGES / f"{name}{suffix}-{scheme}.png"
                visit.page.screenshot(path=str(file))
                print(f"{file.name}: {'; '.join(visit.complaints) or 'no complaint'}")
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
