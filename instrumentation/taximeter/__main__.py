"""`python -m taximeter …` is the command `taximeter …`."""

from __future__ import annotations

import sys

from taximeter.cli import main

sys.exit(main())
