"""For your agents' tests, and our own: spans in a list, a clock that is told the time, a fake model.

docs/testing.md shows each in a test.
"""

from taximeter.demo.replies import ToolCall
from taximeter.testing.budgets import exhausted_budget
from taximeter.testing.fake_model import Answer, FakeModel
from taximeter.testing.spans import FixedClock, SpanList

__all__ = ["Answer", "FakeModel", "FixedClock", "SpanList", "ToolCall", "exhausted_budget"]
