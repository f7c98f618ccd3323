"""What the alerts API is sent: a request's JSON in, checked values out; else an HTTP error."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from taximeter_alerts.amounts import parse_duration, parse_moment
from taximeter_alerts.rules.book import Rule, names_of
from taximeter_alerts.rules.yaml_nodes import did_you_mean

LONGEST_SILENCE: Final = timedelta(days=30)
_MOST_CHARACTERS: Final = 500
MOST_BYTES: Final = 65_536


async def read_body(request: Request, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the JSON object of a request. A page elsewhere can't send this content type."""
    if request.method == "DELETE":
        return {}
    if request.headers.get("Content-Type", "").split(";")[0].strip() != "application/json":
        raise HTTPException(415, "Send JSON: Content-Type: application/json.")
    text = bytearray()
    async for part in request.stream():
        text += part
        if len(text) > most_bytes:
            raise HTTPException(413, f"The body may have {most_bytes:,} bytes.")
    try:
        body = json.loads(text or b"{}")
        # Half a surrogate pair passes as JSON, but is no text that could be stored.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "The body must be a JSON object.")
    return body


def read_matchers(value: Any, rules: Collection[Rule]) -> dict[str, str]:
    """Return the matchers, at least one; each can match an alert of these rules."""
    if not isinstance(value, Mapping) or not value:
        raise HTTPException(400, 'matchers must name something, as {"agent_name": "support"}.')
    matchers = {str(name): str(text) for name, text in value.items()}
    known = {"rule"} | {name for rule in rules for name in rule.by}
    for name in matchers:
        if name not in known:
            raise HTTPException(
                400, f"No rule has a {name!r} to match; use {', '.join(sorted(known))}."
            )
    rule, names = matchers.get("rule"), names_of(rules)
    if rule is not None and rule not in names:
        raise HTTPException(400, f"There is no rule {rule!r}{did_you_mean(rule, names)}.")
    return matchers


def read_duration(value: Any) -> timedelta:
    """Return a duration of at most 30 days."""
    try:
        duration = parse_duration(str(value))
    except ValueError as error:
        raise HTTPException(400, f"duration: {error}.") from None
    if not timedelta(0) < duration <= LONGEST_SILENCE:
        raise HTTPException(400, "duration must lie between 1s and 30d.")
    return duration


def read_moment(body: Mapping[str, Any], name: str) -> datetime | None:
    """Return the time under this name, None without one."""
    if body.get(name) is None:
        return None
    try:
        return parse_moment(str(body[name]))
    except ValueError as error:
        raise HTTPException(400, f"{name}: {error}.") from None


def read_text(body: Mapping[str, Any], name: str) -> str:
    """Return the text under this name, cut to what is kept."""
    return str(body.get(name) or "")[:_MOST_CHARACTERS]
