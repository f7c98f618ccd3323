"""Child processes that `multiprocessing` starts afresh (spawn, forkserver) measure like their parent."""

from __future__ import annotations

from multiprocessing.process import BaseProcess
from typing import Any, Final

from taximeter.guard import guarded

_MARK: Final = "_taximeter"


class _Begin:
    """Starts the shim where it is unpickled: in the child, before its target."""

    def __init__(self, *settings: str | bool | None) -> None:
        self._settings = settings

    def __reduce__(self) -> tuple[Any, ...]:
        return _begin, self._settings


@guarded(default=None)
def _begin(
    service: str | None,
    environment: str | None,
    endpoint: str | None,
    budgets: bool | str | None,
) -> None:
    from taximeter.start import init

    init(service=service, environment=environment, endpoint=endpoint, budgets=budgets)


def install(
    service: str | None,
    environment: str | None,
    endpoint: str | None,
    budgets: bool | str | None,
) -> None:
    """Let every process that is pickled for a child carry the shim's settings."""
    begin = _Begin(service, environment, endpoint, budgets)

    def state(self: BaseProcess) -> dict[str, Any]:
        return {**self.__dict__, _MARK: begin}

    own = vars(BaseProcess).get("__getstate__")
    if own is None or hasattr(own, _MARK):
        setattr(state, _MARK, True)
        setattr(BaseProcess, "__getstate__", state)


def uninstall() -> None:
    """Let child processes be."""
    if hasattr(vars(BaseProcess).get("__getstate__"), _MARK):
        delattr(BaseProcess, "__getstate__")
