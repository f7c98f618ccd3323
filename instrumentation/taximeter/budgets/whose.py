"""Whose a call is, before it is made: what the store will say of it, by dimension of a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taximeter import semconv
from taximeter.privacy import hashed
from taximeter.runs.call_cost import Terms, stored_model
from taximeter.runs.current import AgentRun, Request
from taximeter.runs.levels import Level

_ENVIRONMENT: Final = ("deployment.environment.name", "deployment.environment")
Model = tuple[str | None, str | None]
"""Provider and model, as the store names them."""


@dataclass(frozen=True, slots=True)
class Whose:
    """One call: what binds it, its terms, and what its process says of itself."""

    levels: Sequence[Level]
    terms: Terms | None
    resource: Mapping[str, Any]
    user_key: str | None
    answered: Mapping[Model, Model]
    """Who has answered earlier calls: by the name asked for -> by the name that is stored."""

    def __call__(self, dimension: str) -> str | None:
        """Return the call's value; None where it has none."""
        return _VALUES[dimension](self)

    def said(self, key: str) -> str | None:
        """Return what the service says of itself."""
        value = self.resource.get(key)
        return value if isinstance(value, str) else None

    def of_request(self, key: str, else_said: str | None = None) -> str | None:
        """Return what the innermost request says, or else the outermost that says it."""
        requests = [level for level in self.levels if isinstance(level, Request)]
        own = requests[0].attributes.get(key) if requests else None
        if own is not None or else_said is not None:
            return own if own is not None else else_said
        found = (level.attributes.get(key) for level in reversed(requests))
        return next((value for value in found if value is not None), None)

    def agent_name(self) -> str | None:
        """Return the innermost agent's name, or else the trace's first one, or the service's."""
        run = next(self._runs(), None)
        name = run.name if run is not None else self._said_first(semconv.AGENT_NAME)
        return name or self.said("service.name")

    def agent_version(self) -> str | None:
        """Return the innermost agent's version, or else the service's, or the trace's first one."""
        run = next(self._runs(), None)
        own = run.said.get(semconv.AGENT_VERSION) if run is not None else None
        first = self._said_first(semconv.AGENT_VERSION)
        service = self.said("service.version")
        return own or ((service or first) if run is not None else (first or service))

    def _runs(self) -> Iterator[AgentRun]:
        return (level for level in self.levels if isinstance(level, AgentRun))

    def _said_first(self, key: str) -> str | None:
        """Return what the agents of the trace have said first."""
        requests = [level for level in self.levels if isinstance(level, Request)]
        if requests:
            return requests[-1].first_agent.get(key)
        outermost = [run.said.get(key) for run in self._runs()]
        return next(filter(None, reversed(outermost)), None)


def _user(call: Whose) -> str | None:
    user = call.of_request(semconv.USER_ID)
    if user is None or call.user_key is None:
        return user
    return hashed(user, call.user_key.encode())


def _environment(call: Whose) -> str | None:
    return next(filter(None, map(call.said, _ENVIRONMENT)), None)


def _model(call: Whose) -> Model:
    if call.terms is None:
        return None, None
    asked = stored_model(call.terms, None)
    return call.answered.get(asked, asked)


_VALUES: Final[Mapping[str, Callable[[Whose], str | None]]] = {
    "service_name": lambda call: call.said("service.name"),
    "environment": _environment,
    "agent_name": Whose.agent_name,
    "agent_version": Whose.agent_version,
    "tenant": lambda call: call.of_request(semconv.TENANT, call.said("service.namespace")),
    "user_id": _user,
    "provider": lambda call: _model(call)[0],
    "model": lambda call: _model(call)[1],
}
