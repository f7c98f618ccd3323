"""taximeter: the meter that runs on every agent request.

import taximeter
taximeter.init(service="support-desk")
"""

from taximeter.breaker import Breaker
from taximeter.denied import Denied
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
from taximeter.privacy import Privacy
from taximeter.rate import Rate
from taximeter.retry import Backoff
from taximeter.runs import Request, seconds_left
from taximeter.scopes import agent, confidence, handoff, partial, request
from taximeter.start import init
from taximeter.tools import tool

__all__ = [
    "Backoff",
    "Breaker",
    "CircuitOpened",
    "CostBudgetReached",
    "DeadlineReached",
    "Denied",
    "ErrorCascadeDetected",
    "GuardrailBlocked",
    "HandoffRequested",
    "IterationCapReached",
    "LimitReached",
    "Limits",
    "LowConfidenceDetected",
    "Privacy",
    "Rate",
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
