"""The proof: generated requests to each site under each declaration of quirks, in several processes, and what became of them."""

import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import gateway, judge
from .driver import Http1, Http2
from .generator import Generator

HTTP2_SHARE = 0.1
HONEST = Path(__file__).resolve().parent / "honest.tsv"


@dataclass
class Tally:
    """What became of the requests of one run."""

    sent: int = 0
    passed: int = 0
    kinds: Counter = field(default_factory=Counter)
    statuses: Counter = field(default_factory=Counter)
    disagreements: Counter = field(default_factory=Counter)
    examples: list = field(default_factory=list)

    def add(self, other):
        self.sent += other.sent
        self.passed += other.passed
        for mine, others in ((self.kinds, other.kinds), (self.statuses, other.statuses), (self.disagreements, other.disagreements)):
            mine.update(others)
        self.examples = (self.examples + other.examples)[:40]

    def total(self):
        return sum(self.disagreements.values())


@dataclass(frozen=True)
class Run:
    """One site under one declaration of quirks; without quirks the requests go straight to the site."""

    site: str
    quirks: str | None
    ports: tuple

    def name(self):
        return f"{self.site}-{self.quirks}" if self.quirks != self.site else f"{self.site}-preset"


def slice_of(run, seed, numbers, tokens):
    """Sends some of a run's requests."""
    tally, domain = Tally(), gateway.domain(run.name())
    generator = Generator(seed, domain, tokens)
    http1, http2 = Http1(run.ports[0]), Http2(run.ports[-1])
    for number in numbers:
        request = generator.case(number)
        over2 = run.quirks is not None and random.Random(number).random() < HTTP2_SHARE
        try:
            answer = (http2 if over2 else http1).ask(request)
        except TimeoutError:
            (http2 if over2 else http1).close()
            tally.disagreements["no answer in time"] += 1
            tally.examples.append((number, "no answer in time", str(request)))
            continue
        tally.sent += 1
        if answer is None:
            tally.statuses["closed"] += 1
            continue
        passed = answer.passed or run.quirks is None
        tally.passed += passed
        tally.statuses[f"{'upstream' if passed else 'gateway'} {answer.status}"] += 1
        if passed:
            tally.kinds[request.kind] += 1
        if fault := judge.disagreement(answer) if passed else None:
            tally.disagreements[fault] += 1
            tally.examples.append((number, fault, f"{request} -> {answer.status} {answer.body[:300]!r}"))
    http1.close()
    http2.close()
    tally.examples = tally.examples[:40]
    return tally


def generated(run, seed, count, tokens, workers):
    """Sends `count` generated requests."""
    tally = Tally()
    step = max(1, min(2000, count // workers))
    slices = [range(start, min(start + step, count)) for start in range(0, count, step)]
    with ProcessPoolExecutor(workers) as pool:
        for part in pool.map(slice_of, [run] * len(slices), [seed] * len(slices), slices, [tokens] * len(slices)):
            tally.add(part)
    return tally


def honest_targets():
    """The honest list: targets, where they are from, and why one is refused all the same."""
    lines = HONEST.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def is_known(target):
    """Whether the list says that this target is refused."""
    return any(line[0] == target and len(line) > 2 for line in honest_targets())


def refused_honest(run):
    """The honest targets that the gateway refuses, each with the status."""
    from .message import Request
    connection, refused = Http1(run.ports[0]), []
    for target, *_ in honest_targets():
        answer = connection.ask(Request("honest", b"GET", target.encode(), f"api.{gateway.domain(run.name())}".encode()))
        if answer is None or not answer.passed:
            refused.append((target, answer.status if answer else 0))
    connection.close()
    return refused
