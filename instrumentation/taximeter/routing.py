"""A routing table: role → models, in order; where one can't serve, the next does, and spans say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_args

from taximeter import semconv
from taximeter.guard import guarded
from taximeter.runs.current import ending
from taximeter.runs.limits import CircuitOpened, LimitReached
from taximeter.span_attributes import stamped
from taximeter.tools.breaker import Breaker, Ticket
from taximeter.tools.retry import is_retryable

T = TypeVar("T")
Unpriced = Literal["allow", "skip"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model by its provider's names, as the price list has them."""

    name: str
    provider: str


@dataclass(frozen=True, slots=True)
class _Choice:
    model: Model
    breaker: Breaker
    ticket: Ticket
    attributes: Mapping[str, Any]


class Routes:
    """``Routes({"plan": ["claude-opus-5-5", "claude-sonnet-5-5"], "title": ["claude-haiku-5-5"]})``.

    The next model of a role is asked where one fails by what may pass (time-out, broken connection,
    408, 429, 5xx), where its circuit is open, or, with ``unpriced="skip"``, where the price list
    does not know it. Each model has one circuit breaker for all roles.
    """

    def __init__(
        self,
        table: Mapping[str, str | Model | Sequence[str | Model]],
        *,
        provider: str = "anthropic",
        unpriced: Unpriced = "allow",
        breaker: Callable[[], Breaker] = Breaker,
    ) -> None:
        """``provider`` is that of the models given by name alone; ``breaker`` makes a model's."""
        self._table = {role: _models(models, provider) for role, models in table.items()}
        for role, models in self._table.items():
            if not models:
                raise ValueError(f"Routes: the role {role!r} has no model")
            if unpriced == "skip" and not any(map(is_priced, models)):
                raise ValueError(
                    f"Routes: no model of the role {role!r} has a price{_wrong_file()}; add one to the"
                    " price file or say unpriced='allow'"
                )
        if unpriced not in get_args(Unpriced):
            raise ValueError(f"Routes(unpriced={unpriced!r}): use 'allow' or 'skip'")
        self._skips_unpriced = unpriced == "skip"
        self._breakers = {model: breaker() for models in self._table.values() for model in models}

    def call(self, role: str, ask: Callable[[str], T]) -> T:
        """Return ``ask(model)`` of the first model that can serve.

        Raises what the last one raised; CircuitOpened where all circuits are open; KeyError for an
        unknown role. A stream that breaks after it began is not asked again.
        """
        tries = _Tries(self._choices(role))
        while choice := tries.next():
            try:
                with stamped(choice.attributes):
                    answer = ask(choice.model.name)
            except BaseException as error:  # noqa: BLE001 - raised again, or the next is asked
                tries.failed(choice, error)
            else:
                choice.breaker.leave(choice.ticket, None)
                return answer
        raise tries.end(role)

    async def call_async(self, role: str, ask: Callable[[str], Awaitable[T]]) -> T:
        """Return ``await ask(model)`` of the first model that can serve; else as `call`."""
        tries = _Tries(self._choices(role))
        while choice := tries.next():
            try:
                with stamped(choice.attributes):
                    answer = await ask(choice.model.name)
            except BaseException as error:  # noqa: BLE001 - raised again, or the next is asked
                tries.failed(choice, error)
            else:
                choice.breaker.leave(choice.ticket, None)
                return answer
        raise tries.end(role)

    def _choices(self, role: str) -> Iterator[_Choice | str]:
        """Yield what to ask, or why a model is passed over."""
        if role not in self._table:
            raise KeyError(f"Routes: no role {role!r}; there are {', '.join(self._table)}")
        for position, model in enumerate(self._table[role], start=1):
            if self._skips_unpriced and not is_priced(model):
                yield "unpriced"
                continue
            breaker = self._breakers[model]
            ticket = breaker.enter()
            if ticket is None:
                yield "circuit_open"
                continue
            attributes = {semconv.ROUTE_ROLE: role, semconv.ROUTE_POSITION: position}
            yield _Choice(model, breaker, ticket, attributes)


class _Tries:
    """The way down a role's list."""

    def __init__(self, choices: Iterator[_Choice | str]) -> None:
        self._choices = choices
        self._reason: str | None = None
        self._error: BaseException | None = None

    def next(self) -> _Choice | None:
        for choice in self._choices:
            if isinstance(choice, str):
                self._reason = choice
                continue
            if self._reason is None:
                return choice
            attributes = {**choice.attributes, semconv.ROUTE_FALLBACK: self._reason}
            return _Choice(choice.model, choice.breaker, choice.ticket, attributes)
        return None

    def failed(self, choice: _Choice, error: BaseException) -> None:
        """Go on where the error may pass, else raise it."""
        choice.breaker.leave(choice.ticket, error)
        if isinstance(error, LimitReached) or not is_retryable(error):
            raise error
        self._reason, self._error = type(error).__qualname__, error

    def end(self, role: str) -> BaseException:
        if self._error is not None:
            return self._error
        return ending(CircuitOpened, f"no model of the role {role!r} is in service")


def _models(models: str | Model | Sequence[str | Model], provider: str) -> tuple[Model, ...]:
    listed = [models] if isinstance(models, str | Model) else models
    return tuple(m if isinstance(m, Model) else Model(m, provider) for m in listed)


@lru_cache(maxsize=1_024)
def is_priced(model: Model) -> bool:
    """Return whether the price list, with ``TAXIMETER_PRICES_FILE``, knows the model."""
    return bool(_resolves(model))


@guarded(default=False)
def _resolves(model: Model) -> bool:
    from taximeter.runs.call_cost import price_book

    prices = price_book().prices
    return prices is not None and prices.resolve(model.provider, model.name) is not None


@guarded(default="")
def _wrong_file() -> str:
    from taximeter.runs.call_cost import price_book

    wrong = price_book().wrong
    return f" while your price file is wrong ({wrong})" if wrong else ""
