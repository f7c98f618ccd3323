"""A program that makes calls in every kind of place and prints whose each is, before it is made, as JSON.

None where the store goes by what comes later in the trace: a tenant, user or agent that is told after the call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tests.instrumentation.models import ASK, CLAUDE, GPT

import taximeter
from taximeter import lifecycle
from taximeter.budgets.fleet import Fleet
from taximeter.budgets.stops import DIMENSIONS
from taximeter.budgets.whose import Whose
from taximeter.runs.call_cost import Terms
from taximeter.runs.levels import Level
from taximeter.testing import FakeModel


class Noting(Fleet):
    """Stops nobody, and keeps whose each call is."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, str | None]] = []

    def check(
        self, levels: Sequence[Level], terms: Terms | None, resource: Mapping[str, Any]
    ) -> None:
        """Note all that a budget can ask."""
        whose = Whose(levels, terms, resource, os.environ.get("TAXIMETER_USER_KEY"), self._answered)
        self.calls.append({name: whose(name) for name in DIMENSIONS})


def claude() -> None:
    FakeModel().anthropic().messages.create(model=CLAUDE, max_tokens=9, messages=ASK)


def gpt() -> None:
    FakeModel().openai().chat.completions.create(model=GPT, messages=ASK)


def embed() -> None:
    FakeModel().openai().embeddings.create(model="text-embedding-3-small", input="x")


def work() -> None:
    """Make calls in every kind of place."""
    plain = taximeter.agent("plain")(claude)
    dated = taximeter.agent("dated", version="2026-11")(gpt)

    @taximeter.agent("lead", version="1")
    def lead() -> None:
        claude()
        plain()
        with taximeter.request("inside", user="u-2"):
            embed()
            dated()

    plain()
    with taximeter.request(tenant="acme", user="u-1"):
        lead()
        claude()
        with taximeter.request("inner", tenant="other"):
            gpt()
            with taximeter.request("innermost"):
                gpt()
            plain()
    with taximeter.request(user="u-3"):
        claude()
    with taximeter.request():
        dated()
        gpt()
        plain()
    with taximeter.request():
        plain()
        gpt()
    taximeter.agent("outer", version="3")(plain)()


def main() -> None:
    taximeter.init(service="desk")
    meter = lifecycle.meter()
    assert meter is not None
    meter.fleet = noting = Noting()
    work()
    assert taximeter.flush(30)
    print(json.dumps(noting.calls))


if __name__ == "__main__":
    main()
