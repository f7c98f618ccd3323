"""A plan of one request, and the builder that writes its script call by call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Final

from taximeter.demo.incidents import Conditions
from taximeter.demo.replies import STALL, Fault, Reply, Tokens, ToolCall
from taximeter.demo.stage import Outcome, Script
from taximeter.demo.world import TOKENS_PER_SECOND, Caller, Service

ANTHROPIC_FAULTS: Final = (529, 529, 529, 503)
OPENAI_FAULTS: Final = (429, 500)
SDK_ATTEMPTS: Final = 3
"""Both SDKs try a call three times before they give up."""

AGENT_ATTEMPTS: Final = 5
"""The code assistant retries by itself, and more stubbornly."""
TIMEOUT_SHARE: Final = 0.4
"""How many of the calls that fail for good, outside incidents, fail by a time-out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One request: who asks which service for what, when, and everything that will happen."""

    service: Service
    version: str
    environment: str
    at: datetime
    name: str
    prompt: str
    caller: Caller
    tags: tuple[str, ...]
    script: Script
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ScriptBuilder:
    """Writes a script in the order in which the agent will make its calls."""

    rng: Random
    conditions: Conditions
    replies: list[Reply] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    branches: list[Script] = field(default_factory=list)
    batch: list[Reply] = field(default_factory=list)

    def say(
        self,
        model: str,
        tokens: Tokens,
        text: str = "",
        calls: tuple[ToolCall, ...] = (),
        is_retried_by_agent: bool = False,
        **fields: Any,
    ) -> None:
        """Add a model's answer: the final text, or the tools that it asks for.

        The SDK retries what fails, unless the agent does so itself: then each attempt is a call.
        """
        faults = self._faults(model, AGENT_ATTEMPTS if is_retried_by_agent else SDK_ATTEMPTS)
        if is_retried_by_agent:
            self.replies += [Reply(faults=(fault,)) for fault in faults]
            if len(faults) == AGENT_ATTEMPTS:
                return
            faults = ()
        first_s = round(min(6.0, self.rng.lognormvariate(-0.5, 0.35)), 3)
        per_token_s = self.rng.uniform(0.9, 1.25) / TOKENS_PER_SECOND.get(model, 100)
        self.replies.append(
            Reply(
                text=text,
                tool_calls=calls,
                tokens=tokens,
                first_token_s=first_s,
                latency_s=round(first_s + tokens.output * per_token_s, 3),
                faults=faults,
                **fields,
            )
        )

    def embed(self, model: str, tokens: int) -> None:
        """Add an embedding call."""
        latency_s = round(self.rng.uniform(0.06, 0.2), 3)
        faults = self._faults(model, SDK_ATTEMPTS)
        usage = Tokens(uncached_input=tokens)
        self.replies.append(Reply(text="", tokens=usage, latency_s=latency_s, faults=faults))

    def batched(self, tokens: Tokens, text: str) -> None:
        """Add the answer to one entry of the message batch."""
        self.batch.append(Reply(text=text, tokens=tokens))

    def tool(self, result: str, median_s: float, *, error: str | None = None) -> None:
        """Add how one tool execution goes."""
        seconds = round(min(40.0, median_s * self.rng.lognormvariate(0, 0.4)), 3)
        self.outcomes.append(Outcome(result, seconds, error))

    def script(self) -> Script:
        """Return what was written."""
        return Script(
            tuple(self.replies), tuple(self.outcomes), tuple(self.branches), tuple(self.batch)
        )

    def _faults(self, model: str, limit: int) -> tuple[Fault, ...]:
        """Draw the failures before the answer: few usually, many during an incident.

        `limit` failures mean that the caller gives up.
        """
        rng, conditions = self.rng, self.conditions
        is_claude = model.startswith("claude")
        is_down = conditions.is_model_down if is_claude else conditions.is_throttled
        if is_down:
            count = rng.choices((0, 1, 2, limit), (42, 22, 18, 18))[0]
        else:
            count = rng.choices((0, 1, 2, limit), (9860, 110, 20, 10))[0]
        statuses = ANTHROPIC_FAULTS if is_claude else OPENAI_FAULTS
        faults: list[Fault] = []
        for attempt in range(count):
            is_last = attempt == limit - 1
            if is_last and not is_down and rng.random() < TIMEOUT_SHARE:
                faults.append(Fault(STALL, after_s=60.0))
                continue
            status = 429 if is_down and not is_claude else rng.choice(statuses)
            wait_s = round(rng.uniform(0.5, 1.2) * 2**attempt, 2)
            took_s = round(rng.uniform(0.1, 2.5), 2)
            faults.append(Fault(status, retry_after_s=wait_s, after_s=took_s))
        return tuple(faults)


@dataclass(slots=True)
class ClaudeContext:
    """The growing prompt of one Anthropic conversation whose prefix is cached."""

    fixed: int
    """Tokens of tools and system prompt."""
    is_warm: bool
    """Whether somebody else's call wrote the fixed part a short while ago."""
    is_broken: bool = False
    """The prefix changes with every call: everything is written, nothing is ever read."""
    is_long_lived: bool = False
    """The fixed part is written for an hour."""
    is_growing: bool = True
    """Whether the conversation is cached too, turn by turn."""
    _turns: int = 0
    _said: int = 0
    """Tokens of the conversation so far, the last answer included."""
    _cached: int = 0
    """How much of the conversation the cache holds."""

    def turn(self, added: int, output: int, *, reasoning: int = 0, searches: int = 0) -> Tokens:
        """Return the usage of the next call, whose prompt has grown by `added` tokens."""
        is_first, self._turns = self._turns == 0, self._turns + 1
        read = short = long = 0
        if self.is_broken:
            short = self.fixed
        elif not is_first or self.is_warm:
            read = self.fixed + self._cached
        elif self.is_long_lived:
            long = self.fixed
        else:
            short = self.fixed
        uncached = self._said + added - self._cached
        if self.is_growing and not self.is_broken:
            kept = max(0, uncached - 4)
            short, uncached, self._cached = short + kept, uncached - kept, self._cached + kept
        self._said += added + output
        return Tokens(
            uncached_input=uncached,
            cache_read=read,
            cache_write_5m=short,
            cache_write_1h=long,
            output=output + reasoning,
            reasoning=reasoning,
            web_searches=searches,
        )


@dataclass(slots=True)
class GptContext:
    """The growing prompt of one OpenAI conversation; its prefix is cached by itself."""

    prompt: int
    """Tokens of the first prompt."""
    cached_prefix: int = 0
    """How much of it other calls have left in the cache."""
    _turns: int = 0

    def turn(self, added: int, output: int, *, reasoning: int = 0) -> Tokens:
        """Return the usage of the next call, whose prompt has grown by `added` tokens."""
        cached = self.cached_prefix if self._turns == 0 else self.prompt
        self.prompt += added
        cached = cached // 128 * 128 if cached >= 1024 else 0
        usage = Tokens(
            uncached_input=self.prompt - cached,
            cache_read=cached,
            output=output + reasoning,
            reasoning=reasoning,
        )
        self.prompt += output
        self._turns += 1
        return usage
