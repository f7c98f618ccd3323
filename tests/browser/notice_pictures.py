"""Pictures of the notices for the docs: `python -m tests.browser.notice_pictures`.

Draws the golden messages (tests/alerts/golden, which the tests compare with what is sent) as the
channels show them, and writes docs/images/notice-*.png.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import sync_playwright

from .conftest import CHROMIUM, FLAGS

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
GOLDEN: Final = Path(__file__).parents[1] / "alerts" / "golden"
WIDTH: Final = 760
_DOT: Final = '<span style="color:{}">{}</span>'
SIGNS: Final = {
    "🔴": _DOT.format("#dd2e44", "●"), "🟠": _DOT.format("#f4900c", "●"),
    "🔵": _DOT.format("#55acee", "●"), "✅": _DOT.format("#2b9e49", "✔"),
}  # fmt: skip
"""Signs that need a font of their own."""
STYLE: Final = """<style>
* { box-sizing: border-box } body { margin: 0; background: #fff; font: 15px/1.47 Lato, "Segoe UI", Helvetica, sans-serif; color: #1d1c1d }
main { padding: 16px 20px } a { color: #1264a3; text-decoration: none } code { font: 12px Menlo, monospace; color: #c01343;
background: #f7f7f7; border: 1px solid #ddd; border-radius: 3px; padding: 1px 3px; white-space: pre }
.message { display: flex; gap: 10px; padding: 6px 0 } .reply { margin-left: 46px }
.avatar { flex: 0 0 36px; height: 36px; border-radius: 6px; background: #f0b429; color: #1d1c1d; font: 700 18px/36px sans-serif; text-align: center }
.who b { font-weight: 900 } .app { font-size: 10px; background: #e8e8e8; color: #616061; border-radius: 2px; padding: 1px 3px }
.when, .context { color: #616061; font-size: 12px } .section { margin: 2px 0 6px } .context { margin-top: 2px }
.thread { color: #1264a3; font-size: 13px; margin-left: 46px }
.card { border: 1px solid #e1dfdd; border-radius: 6px; padding: 14px 18px; box-shadow: 0 1px 3px #0002; font-size: 14px }
.card p { margin: 0 0 8px } .button { display: inline-block; border: 1px solid #c8c6c4; border-radius: 4px; padding: 5px 12px; margin: 6px 6px 0 0; color: #242424; font-weight: 600 }
h1 { font-size: 18px; margin: 4px 0 10px } table { border-collapse: collapse; width: 100%; font-size: 13px } td { border-top: 1px solid #eee; padding: 5px 8px; vertical-align: top }
td:first-child { color: #616061; white-space: nowrap } .tag { color: #fff; background: #c0362c; border-radius: 3px; padding: 2px 8px; font-size: 12px; font-weight: 700 }
.head { border-bottom: 1px solid #ddd; padding-bottom: 8px; margin-bottom: 10px; font-size: 13px; color: #616061 } .head b { display: block; font-size: 18px; color: #1d1c1d }
pre { margin: 0; font: 12px/1.5 Menlo, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
</style>"""


def main() -> int:
    """Write every picture."""
    pages = {
        "notice-slack": slack_channel([_read("slack_firing.json") | {"ts": ""}]),
        "notice-slack-thread": slack_channel(_read("bot_channel.json")),
        "notice-mail": mail(),
        "notice-teams": teams(_read("teams_firing.json")),
        "notice-pagerduty": pagerduty(_read("pagerduty_firing.json")),
        "notice-webhook": webhook(),
    }
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        page = browser.new_page(viewport={"width": WIDTH, "height": 200}, device_scale_factor=2)
        for name, body in pages.items():
            page.set_content(f"<!doctype html>{STYLE}<main>{body}</main>")
            page.screenshot(path=str(IMAGES / f"{name}.png"), full_page=True)
            print(f"{name}.png")
        browser.close()
    return 0


def slack_channel(messages: list[dict[str, Any]]) -> str:
    """Return a channel with a bot's messages, those in a thread below their first one."""
    shown = []
    for message in messages:
        in_thread = "thread_ts" in message
        shown.append(_slack_message(message, "message reply" if in_thread else "message"))
        replies = sum(other.get("thread_ts") == message["ts"] for other in messages)
        if replies:
            shown.append(f'<div class="thread">{replies} replies</div>')
    return "".join(shown)


def _slack_message(message: dict[str, Any], classes: str) -> str:
    blocks = "".join(_slack_block(block) for block in message["blocks"])
    who = '<div class="who"><b>taximeter</b> <span class="app">APP</span></div>'
    return f'<div class="{classes}"><div class="avatar">$</div><div>{who}{blocks}</div></div>'


def _slack_block(block: dict[str, Any]) -> str:
    if block["type"] == "section":
        return f'<div class="section">{mrkdwn(block["text"]["text"])}</div>'
    assert block["type"] == "context", block["type"]
    return f'<div class="context">{mrkdwn(block["elements"][0]["text"])}</div>'


def mrkdwn(text: str) -> str:
    """Return Slack's markup, which is escaped already, as HTML.

    >>> mrkdwn("*a &amp; b* <http://x|y>")
    '<b>a &amp; b</b> <a href="http://x">y</a>'
    """
    text = re.sub(r"<([^|>]+)\|([^>]+)>", r'<a href="\1">\2</a>', text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"(?<!\S)\*([^*\n]+)\*(?!\S)", r"<b>\1</b>", text)
    for sign, drawn in SIGNS.items():
        text = text.replace(sign, drawn)
    return text.replace("\n", "<br>")


def mail() -> str:
    """Return the first mail with its picture."""
    picture = base64.b64encode((GOLDEN / "mail_chart.png").read_bytes()).decode()
    body = (GOLDEN / "mail_firing.html").read_text(encoding="utf-8")
    subject = (GOLDEN / "mail_firing.txt").read_text(encoding="utf-8").partition("\n")[0]
    head = f'<div class="head"><b>[taximeter] {html.escape(subject)}</b>taximeter@example.org, to ops@example.org</div>'
    return head + re.sub(r"cid:[^\"]+", f"data:image/png;base64,{picture}", body)


def teams(message: dict[str, Any]) -> str:
    """Return an Adaptive Card."""
    card = message["attachments"][0]["content"]
    lines = []
    for block in card["body"]:
        run = block["inlines"][0]
        colour = {"Attention": "#a4262c", "Good": "#237b4b"}.get(run.get("color", ""), "inherit")
        weight = 700 if run.get("weight") == "Bolder" else 400
        faded = "opacity:.7;font-size:12px;" if run.get("isSubtle") else ""
        lines.append(
            f'<p style="{faded}color:{colour};font-weight:{weight}">{html.escape(run["text"])}</p>'
        )
    buttons = [f'<span class="button">{html.escape(a["title"])}</span>' for a in card["actions"]]
    return f'<div class="card">{"".join(lines)}{"".join(buttons)}</div>'


def pagerduty(event: dict[str, Any]) -> str:
    """Return an incident as PagerDuty lists what an event holds."""
    payload = event["payload"]
    rows = []
    for name, value in payload["custom_details"].items():
        told = (
            "<br>".join(map(html.escape, value)) if isinstance(value, list) else html.escape(value)
        )
        rows.append(f"<tr><td>{html.escape(name)}</td><td>{told}</td></tr>")
    links = " · ".join(f'<a href="#">{html.escape(link["text"])}</a>' for link in event["links"])
    return (
        f'<div class="card"><span class="tag">{html.escape(payload["severity"])}</span>'
        f"<h1>{html.escape(payload['summary'])}</h1>"
        f"<table>{''.join(rows)}<tr><td>links</td><td>{links}</td></tr></table></div>"
    )


def webhook() -> str:
    """Return the request's body as it is."""
    return f"<pre>{html.escape((GOLDEN / 'hook_firing.json').read_text(encoding='utf-8'))}</pre>"


def _read(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
