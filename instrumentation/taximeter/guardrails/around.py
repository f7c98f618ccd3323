"""`protect`: guardrails around a function's arguments and its result."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar, cast

from taximeter.guardrails.rail import Guardrail
from taximeter.runs.limits import GuardrailBlocked

P = ParamSpec("P")
T = TypeVar("T")
Rails = Guardrail | Sequence[Guardrail]
_RAISE: Final[Any] = object()


def protect(
    *,
    input: Rails | Mapping[str, Rails] = (),
    output: Rails = (),
    on_block: Any = _RAISE,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Put guardrails around a function: a request's handler, an agent, a tool. Plain and async.

    ``input`` goes to the first argument, or by name (``{"question": rail}``); ``output`` to the
    result. They run in order, each on what the one before let pass. What is blocked raises
    GuardrailBlocked; with ``on_block`` the caller gets this value, or what it returns for the
    exception. Raises TypeError for generators and ValueError for an argument that is not there.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"protect: {function.__name__} yields its result in parts, which no guardrail can"
                " judge; protect a function that returns it"
            )
        inputs = _by_name(function, input)
        outputs = _listed(output)
        wrap = _around_coroutine if inspect.iscoroutinefunction(function) else _around_plain
        return cast(Callable[P, T], wrap(function, inputs, outputs, on_block))

    return decorate


_ByName = Mapping[str, Sequence[Guardrail]]


def _around_plain(
    function: Callable[..., Any], inputs: _ByName, outputs: Sequence[Guardrail], on_block: Any
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = _bound(function, args, kwargs)
        try:
            for name, rails in inputs.items():
                for rail in rails:
                    bound.arguments[name] = rail(bound.arguments[name])
            result = function(*bound.args, **bound.kwargs)
            for rail in outputs:
                result = rail(result)
        except GuardrailBlocked as blocked:
            return _answer(blocked, on_block)
        return result

    return call


def _around_coroutine(
    function: Callable[..., Any], inputs: _ByName, outputs: Sequence[Guardrail], on_block: Any
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        bound = _bound(function, args, kwargs)
        try:
            for name, rails in inputs.items():
                for rail in rails:
                    bound.arguments[name] = await rail.check_async(bound.arguments[name])
            result = await function(*bound.args, **bound.kwargs)
            for rail in outputs:
                result = await rail.check_async(result)
        except GuardrailBlocked as blocked:
            answer = _answer(blocked, on_block)
            return await answer if inspect.isawaitable(answer) else answer
        return result

    return call


def _answer(blocked: GuardrailBlocked, on_block: Any) -> Any:
    if on_block is _RAISE:
        raise blocked
    return on_block(blocked) if callable(on_block) else on_block


def _bound(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


def _by_name(function: Callable[..., Any], rails: Rails | Mapping[str, Rails]) -> _ByName:
    names = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("self", "cls")
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if not isinstance(rails, Mapping):
        if not _listed(rails):
            return {}
        if not names:
            raise ValueError(f"protect: {function.__name__} has no argument to check")
        return {names[0]: _listed(rails)}
    if unknown := [name for name in rails if name not in names]:
        raise ValueError(f"protect: {function.__name__} has no argument {unknown[0]!r}")
    return {name: _listed(each) for name, each in rails.items()}


def _listed(rails: Rails) -> Sequence[Guardrail]:
    listed = list(rails) if isinstance(rails, Sequence) else [rails]
    for rail in listed:
        if not isinstance(rail, Guardrail):
            raise TypeError(
                f"protect: {rail!r} is no guardrail; make one of a function with @guardrail"
            )
    return listed
