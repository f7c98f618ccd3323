"""`python -m taximeter.cli.supervised MODULE …`: run a part that ends when its supervisor is gone.

A supervisor that is killed can't stop its parts; on Linux the kernel does it for it.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Become the module named by the first argument."""
    module = sys.argv[1]
    parent = int(os.environ.pop("TAXIMETER_SUPERVISOR_PID", "0"))
    if sys.platform == "linux" and parent:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(0)
    sys.argv = [module, *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
