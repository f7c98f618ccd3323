"""Damaged export requests through the collector's decoding, in processes that may die: none should.

`python -m tests.faults.fuzz --bodies 1000000` takes seeds from --first on, each one damaged request of the test corpus
(tests/faults/mutations.py): decompress, JSON to protobuf, parse, flatten. A finding is an error that is not one of
the refusals (400, 413, 415), a body that takes more than 2 s of CPU, or a process that ends. Findings print their seed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
from tests.corpus.archive import Export, scenarios
from tests.faults.mutations import Mutant, mutant

from taximeter_collector.ingest.decode import (
    SIGNALS,
    Signal,
    Undecodable,
    count_items,
    flatten,
    parse,
)
from taximeter_collector.receivers.content_encoding import decompress
from taximeter_collector.receivers.otlp_json import json_to_protobuf
from taximeter_collector.receivers.responses import BodyTooLarge, UnsupportedEncoding

SLOW_S = 2.0
LIMIT = 4 << 20
CHUNK = 20_000
GROUP = 16
PATIENCE_S = 3_000.0


def corpus() -> list[Export]:
    """Return every request of the test corpus."""
    return [export for scenario in scenarios().values() for export in scenario.exports]


def parsed(sent: Mutant) -> pa.RecordBatch | int:
    """Return the request as it waits for the writer, or the HTTP status of its refusal.

    What is not a refusal is raised.
    """
    try:
        body = decompress(sent.body, sent.encoding, LIMIT)
        if sent.is_json:
            body = json_to_protobuf(sent.signal, body)
        batch = parse(sent.signal, body)
        count_items(sent.signal, batch)
    except Undecodable:
        return 400
    except BodyTooLarge:
        return 413
    except UnsupportedEncoding:
        return 415
    return batch


def try_seeds(first: int, last: int) -> tuple[Counter[int], float, list[str]]:
    """Return statuses, the longest CPU time in seconds, and the findings of seeds first to last."""
    bodies, statuses, findings, slowest = corpus(), Counter[int](), list[str](), 0.0
    waiting: dict[Signal, dict[int, pa.RecordBatch]] = {signal: {} for signal in SIGNALS}
    for seed in range(first, last):
        sent = mutant(bodies, seed)
        started = time.process_time()
        try:
            answer = parsed(sent)
            if isinstance(answer, int):
                statuses[answer] += 1
            else:
                waiting[sent.signal][seed] = answer
                if len(waiting[sent.signal]) >= GROUP:
                    statuses += flattened(sent.signal, waiting[sent.signal], findings)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            findings.append(f"seed {seed}: {type(error).__name__}: {str(error)[:200]}")
        took = time.process_time() - started
        slowest = max(slowest, took)
        if took > SLOW_S:
            findings.append(f"seed {seed}: {took:.2f} s of CPU")
    for signal, batches in waiting.items():
        statuses += flattened(signal, batches, findings)
    return statuses, slowest, findings


def flattened(
    signal: Signal, batches: dict[int, pa.RecordBatch], findings: list[str]
) -> Counter[int]:
    """Make a group's rows as the writer does: all at once, and each alone when that fails."""
    statuses, at_once = Counter[int](), dict(batches)
    batches.clear()
    try:
        if at_once:
            flatten(signal, list(at_once.values()))
        return Counter({200: len(at_once)})
    except Exception:  # noqa: BLE001 - which one it was comes next
        for seed, batch in at_once.items():
            try:
                flatten(signal, [batch])
                statuses[200] += 1
            except pa.ArrowInvalid:
                statuses[400] += 1
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                findings.append(f"seed {seed}: {type(error).__name__}: {str(error)[:200]}")
    return statuses


def main() -> None:
    """Try the seeds in chunks, each in a process of its own, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    asked = parser.parse_args()
    statuses, slowest, findings, started = Counter[int](), 0.0, list[str](), time.perf_counter()
    for first, last in chunks(asked.first, asked.first + asked.bodies):
        answer = in_a_process(first, last)
        if isinstance(answer, str):
            findings.append(answer)
        else:
            statuses += answer[0]
            slowest, findings = max(slowest, answer[1]), findings + answer[2]
        done = last - asked.first
        print(f"{done:,} bodies, {dict(sorted(statuses.items()))}, slowest {slowest:.2f} s,"
              f" {len(findings)} findings, {time.perf_counter() - started:,.0f} s", flush=True)  # fmt: skip
    rss = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak RSS of a process {rss:,.0f} MB")
    print("\n".join(findings) or "no finding")


def chunks(first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the seeds in chunks."""
    for at in range(first, end, CHUNK):
        yield at, min(at + CHUNK, end)


def in_a_process(first: int, last: int) -> tuple[Counter[int], float, list[str]] | str:
    """Return what `try_seeds` gives, or how the process ended."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(try_seeds(first, last)))
    process.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE_S):
            process.kill()
            return f"seeds {first} to {last}: hangs"
        answer: tuple[Counter[int], float, list[str]] = ours.recv()
    except EOFError:
        process.join()
        return f"seeds {first} to {last}: the process ended with {process.exitcode}"
    process.join()
    return answer


if __name__ == "__main__":
    main()
