"""`taximeter run agent.py …`: somebody's program, measured, without a change to it.

It runs in this process as `python agent.py …` would run it: same arguments, path, exit code, traceback.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Final

from taximeter.start import init

USAGE: Final = (
    "taximeter run [--service NAME] (SCRIPT | -m MODULE) [ARGUMENT …]: "
    "runs a Python program with every model call measured"
)


def run(given: Sequence[str]) -> int:
    """Start measuring and run the program; return its exit code. SystemExit and Ctrl-C pass."""
    arguments = list(given)
    service = None
    if arguments[:1] == ["--service"] and len(arguments) > 1:
        service, arguments = arguments[1], arguments[2:]
    is_module = arguments[:1] == ["-m"]
    target = arguments[is_module : is_module + 1]
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if not target or target[0].startswith("-"):
        print(f"taximeter: say which program to run: {USAGE}", file=sys.stderr)
        return 2
    (program,) = target
    sys.path[0] = os.getcwd() if is_module else os.path.dirname(os.path.abspath(program))
    if missing := _missing_module(program) if is_module else _missing_file(program):
        print(f"taximeter: {missing}", file=sys.stderr)
        return 2
    init(service=service)
    sys.argv = arguments[is_module:]
    try:
        if is_module:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(os.path.abspath(program), run_name="__main__")  # it may change directory
    except Exception as error:  # noqa: BLE001 - told as Python tells it
        own = _programs_own(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(own), own)
        return 1
    return 0


def _programs_own(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback without what stands between us and the program's first line."""
    between = (run.__code__.co_filename, runpy.run_path.__code__.co_filename)
    while traceback is not None and traceback.tb_frame.f_code.co_filename in between:
        traceback = traceback.tb_next
    return traceback


def _missing_file(path: str) -> str | None:
    if not os.path.exists(path):
        return f"there is no file {path}; check the path"
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "__main__.py")):
        return f"{path} is a directory without a __main__.py; name a file in it"
    return None


def _missing_module(name: str) -> str | None:
    try:
        spec = find_spec(name)
        is_package = spec is not None and spec.submodule_search_locations is not None
        spec = find_spec(f"{name}.__main__") if is_package else spec
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            return None  # a package above it lacks something: its own traceback says more
        spec = None
    if spec is not None:
        return None
    return f"there is no module {name} to run; check its name, and that it is installed"
