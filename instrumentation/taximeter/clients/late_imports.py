"""Calls a hook once a package is imported, now or later: `init` itself imports no SDK, which may take seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from taximeter.guard import guarded

Hook = Callable[[], None]


def when_imported(name: str, hook: Hook) -> None:
    """Call ``hook`` after the module ``name`` was imported; at once if it is."""
    if name in sys.modules:
        hook()
        return
    _finder.hooks[name] = hook
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _AfterImport(MetaPathFinder):
    """Finds nothing itself; lets those that do finish, then calls the hook."""

    def __init__(self) -> None:
        self.hooks: dict[str, Hook] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that another finder has, with a loader that calls the hook."""
        hook = self.hooks.get(name)
        if hook is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self._watch(name, spec.loader, hook)
                return spec
        return None

    @guarded(default=None)
    def _watch(self, name: str, loader: Loader | None, hook: Hook) -> None:
        load = loader.exec_module if loader is not None else None
        if load is None:
            return

        def load_and_call(module: ModuleType) -> None:
            load(module)
            # A loader may serve other modules too: a zip file's does.
            if module.__name__ == name and self.hooks.pop(name, None) is not None:
                guarded(default=None)(hook)()

        setattr(loader, "exec_module", load_and_call)


_finder: Final = _AfterImport()
