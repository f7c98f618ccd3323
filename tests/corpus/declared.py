"""What is declared of the corpus: the facts that a client does not tell, and the faults that are open.

Both are CSV files with one row a client, fact and reason; ``scenarios`` is ``*`` where it holds in every
scenario that the truth states the fact of, else their names. `python -m tests.corpus.declared` replays
the corpus and writes both, and the table of ``docs/dialects.md``; reasons are kept, and what is new gets
none, which the tests refuse: write it.
"""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from .findings import Findings, Key, find_all
from .table import write_table

UNTOLD: Final = Path(__file__).with_name("untold.csv")
"""``missing`` findings; the reason is a name in ``reasons.csv``."""
OPEN: Final = Path(__file__).with_name("open.csv")
"""``wrong`` findings, each a fault of ours that waits to be mended; may only shrink."""
REASONS: Final = Path(__file__).with_name("reasons.csv")
_EVERY: Final = "*"

Declared = dict[Key, str]
"""The reason of each fact."""


def read_declared(file: Path, stated: Iterable[Key]) -> Declared:
    """Return what ``file`` declares; ``stated`` are the facts that the truth speaks of."""
    scenarios: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in stated:
        scenarios[key.client, key.fact].append(key.scenario)
    declared: Declared = {}
    for client, fact, named, reason in _rows(file):
        of = scenarios[client, fact] if named == _EVERY else named.split()
        declared |= {Key(client, fact, scenario): reason for scenario in of}
    return declared


def read_reasons() -> dict[str, str]:
    """Return the sentence of each reason, by its name."""
    return {name: text for name, text in _rows(REASONS)}


def write_declared(file: Path, declared: Declared, stated: Iterable[Key]) -> None:
    """Write ``declared`` in the order of client and fact."""
    every, rows = defaultdict(set), defaultdict(set)
    for key in stated:
        every[key.client, key.fact].add(key.scenario)
    for key, reason in declared.items():
        rows[key.client, key.fact, reason].add(key.scenario)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["client", "fact", "scenarios", "reason"])
        for (client, fact, reason), of in sorted(rows.items()):
            named = _EVERY if of == every[client, fact] else " ".join(sorted(of))
            writer.writerow([client, fact, named, reason])


def found(findings: Findings, verdict: str, before: Mapping[Key, str]) -> Declared:
    """Return the facts of a verdict with the reasons that they had before, or none."""
    return {key: before.get(key, "") for key, f in findings.items() if f.verdict == verdict}


def _rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))[1:]


def main() -> None:
    """Replay the corpus and write what is declared of it, with the reasons that are known."""
    with tempfile.TemporaryDirectory() as folder:
        findings = find_all(Path(folder))
    for file, verdict in ((UNTOLD, "missing"), (OPEN, "wrong")):
        declared = found(findings, verdict, read_declared(file, findings))
        write_declared(file, declared, findings)
        new = {(key.client, key.fact) for key, reason in declared.items() if not reason}
        print(f"{file.name}: {len(declared)} facts, without a reason: {sorted(new) or 'none'}")
    write_table(findings, read_declared(UNTOLD, findings), read_reasons())


if __name__ == "__main__":
    main()
