"""`taximeter run agent.py …`: somebody's program, measured, without a change to it.

It runs in this process as `python agent.py …` would run it: same arguments, path, exit code, traceback.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from typing import Final

from taximeter.start import init

USAGE: Final = (
    "taximeter run [--service NAME] (SCRIPT | -m MODULE) [ARGUMENT …]: "
    "runs a Python program with every model call measured"
)


def run(given: Sequence[str]) -> int:
    """Start measuring and run the program; whatever it raises passes."""
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
    if not is_module and not os.path.exists(program):
        print(f"taximeter: there is no file {program}; check the path", file=sys.stderr)
        return 2
    init(service=service)
    sys.argv = arguments[is_module:]
    sys.path[0] = os.getcwd() if is_module else os.path.dirname(os.path.abspath(program))
    if is_module:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(program, run_name="__main__")
    return 0
