"""The disjoint partition: every token of a call in exactly one leaf."""

from __future__ import annotations

from typing import NamedTuple


class Usage(NamedTuple):
    """Tokens of one call by leaf; None is unknown.

    Providers state a cache leaf only where they cache, so an absent one is 0 with
    ``cache_reported`` False; an absent prompt or answer is None and makes the cost unknown.
    What has a price comes first, in the order of `Band.prices`.
    """

    uncached_input: int | None = None
    cache_read: int | None = None
    cache_write_short: int | None = None
    """Written for 5 minutes (Anthropic) or 30 (OpenAI)."""
    cache_write_long: int | None = None
    """Written for an hour (Anthropic) or twelve (OpenAI)."""
    output: int | None = None
    """Reasoning included."""
    audio_input: int | None = None
    audio_cache_read: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    web_searches: int | None = None
    reasoning: int | None = None
    """Part of ``output``; for information."""
    cache_reported: bool = False
    """Whether the provider said anything about caching."""
    other_models: tuple[tuple[str, Usage], ...] = ()
    """(model, tokens) that the same call spent on other models, at their prices; in no leaf here."""

    @property
    def prompt_tokens(self) -> int | None:
        """The whole prompt, cached tokens included; it selects the price tier."""
        if self.uncached_input is None:
            return None
        return (
            self.uncached_input
            + (self.cache_read or 0) + (self.cache_write_short or 0) + (self.cache_write_long or 0)
            + (self.audio_input or 0) + (self.audio_cache_read or 0) + (self.image_input or 0)
        )  # fmt: skip

    @property
    def answer_tokens(self) -> int | None:
        """The whole answer: output of all kinds."""
        if self.output is None:
            return None
        return self.output + (self.audio_output or 0) + (self.image_output or 0)

    @property
    def total_tokens(self) -> int | None:
        """Prompt and output of all kinds."""
        prompt, answer = self.prompt_tokens, self.answer_tokens
        return None if prompt is None or answer is None else prompt + answer
