"""taximeter: the meter that runs on every agent request.

import taximeter
taximeter.init(service="support-desk")
"""

from taximeter.lifecycle import flush, lost_spans, shutdown
from taximeter.privacy import Privacy
from taximeter.runs.current import Request, seconds_left
from taximeter.runs.limits import (
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
from taximeter.runs.scopes import agent, confidence, handoff, partial, request
from taximeter.start import init
from taximeter.tools.breaker import Breaker
from taximeter.tools.denied import Denied
from taximeter.tools.rate import Rate
from taximeter.tools.retry import Backoff
from taximeter.tools.tool import tool

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
