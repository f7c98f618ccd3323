"""The rules that run when nobody has written any, and the two that watch alerting itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from taximeter_alerts.rules.book import DEAREST, Condition, Rule

BLIND: Final = Rule(
    name="evaluation-failing",
    title="alerts cannot be evaluated",
    watch="requests",
    condition=Condition("above", 0.0, "no answer from the collector for 5 minutes"),
    keep_firing_for=timedelta(0),
    severity="critical",
)
DEAF: Final = Rule(
    name="receiver-failing",
    title="notices are not delivered",
    watch="requests",
    condition=Condition("above", 0.0, "a notice waits for 15 minutes, or was given up"),
    by=("receiver",),
    keep_firing_for=timedelta(0),
)
OWN_RULES: Final = (BLIND, DEAF)
"""What goes wrong with alerting; these cannot be switched off."""


def default_rules() -> tuple[Rule, ...]:
    """Return the rules that run with no configuration at all."""
    agent = ("agent_name",)
    return (
        Rule(
            name="cost-per-request",
            watch="cost_per_request_usd",
            condition=Condition("spike", 2.0, "spike 2x"),
            by=agent,
            min_impact_usd=1.0,
            is_default=True,
        ),
        Rule(
            name="error-rate",
            watch="error_rate",
            condition=Condition("spike", 2.0, "spike"),
            by=agent,
            severity="critical",
            is_default=True,
        ),
        Rule(
            name="loop-length",
            watch="loop_length_mean",
            condition=Condition("spike", 1.5, "spike 1.5x"),
            by=agent,
            is_default=True,
        ),
        Rule(
            name="cache-drop",
            watch="cache_hit_ratio",
            condition=Condition("drop", 0.5, "drop 50%"),
            by=agent,
            is_default=True,
        ),
        Rule(
            name="dear-request",
            watch=DEAREST,
            condition=Condition("spike", 3.0, "spike 3x"),
            by=agent,
            min_impact_usd=1.0,
            is_default=True,
        ),
        Rule(
            name="tool-errors",
            watch="tool_error_rate",
            condition=Condition("spike", 2.0, "spike"),
            by=(*agent, "tool_name"),
            is_default=True,
        ),
        Rule(
            name="provider-outage",
            watch="call_error_rate",
            condition=Condition("spike", 2.0, "spike"),
            by=("provider",),
            min_agents=2,
            severity="critical",
            is_default=True,
        ),
        Rule(
            name="agent-quiet",
            watch="requests",
            condition=Condition("silent", 0.0, "silent"),
            by=agent,
            is_default=True,
        ),
        Rule(
            name="everything-quiet",
            watch="requests",
            condition=Condition("silent", 0.0, "silent"),
            severity="critical",
            is_default=True,
        ),
    )
