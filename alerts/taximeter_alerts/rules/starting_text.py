"""The default rules as an alerts.yaml to begin with: all of it comments but the version."""

from __future__ import annotations

from taximeter_alerts.rules.book import Rule
from taximeter_alerts.rules.defaults import default_rules

_HEAD = """\
version: 1
# Nobody is told yet: take the # away here, and give the alerts service SLACK_WEBHOOK_URL.
# notify:
#   ops: {slack: env:SLACK_WEBHOOK_URL}

# These rules run without being written here. One of yours with the same name takes one's place:
# take the # away from `rules:` and from the rule, and change it. `defaults: false` ends the others.
# rules:
"""


def starting_text() -> str:
    """Return the text; without its # before keys and rules it says what runs without a file."""
    return _HEAD + "".join(f"#   - {_written(rule)}\n" for rule in default_rules())


def _written(rule: Rule) -> str:
    """Return a rule as it is written; of what a default rule can have."""
    least = {"impact": rule.min_impact_usd, "agents": rule.min_agents}
    at_least = [
        f"{name}: {'$' if name == 'impact' else ''}{value:g}"
        for name, value in least.items()
        if value is not None
    ]
    keys = {
        "name": rule.name,
        "watch": rule.watch,
        "by": f"[{', '.join(rule.by)}]" if rule.by else "",
        "when": rule.condition.text,
        "at_least": f"{{{', '.join(at_least)}}}" if at_least else "",
        "severity": rule.severity if rule.severity != "warning" else "",
    }
    return f"{{{', '.join(f'{key}: {value}' for key, value in keys.items() if value)}}}"
