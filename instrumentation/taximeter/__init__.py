"""taximeter: the meter that runs on every agent request.

import taximeter
taximeter.init(service="support-desk")
"""

from taximeter.lifecycle import flush, lost_spans, shutdown
from taximeter.limits import (
    CircuitOpened,
    CostBudgetReached,
    DeadlineReached,
    ErrorCascadeDetected,
    GuardrailBlocked,
    HandoffRequested,
    IterationCapReached,
    LimitReached,
    Limits,
    LowConfidenceDetected,
    ThrashingDetected,
    TokenBudgetReached,
    ToolCallCapReached,
    Used,
)
from taximeter.runs import Request, seconds_left
from taximeter.scopes import agent, confidence, handoff, partial, request
from taximeter.start import init
from taximeter.tools import tool

__all__ = [
    "CircuitOpened",
    "CostBudgetReached",
    "DeadlineReached",
    "ErrorCascadeDetected",
    "GuardrailBlocked",
    "HandoffRequested",
    "IterationCapReached",
    "LimitReached",
    "Limits",
    "LowConfidenceDetected",
    "Request",
    "ThrashingDetected",
    "TokenBudgetReached",
    "ToolCallCapReached",
    "Used",
    "agent",
    "confidence",
    "flush",
    "handoff",
    "init",
    "lost_spans",
    "partial",
    "request",
    "seconds_left",
    "shutdown",
    "tool",
]
