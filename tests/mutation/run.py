"""Asks of every mutant which tests notice it.

One build has all mutants. Each test is run once alone, to learn which mutants it comes past; then every mutant is switched on, and
only those tests are run, the quick ones first, until one fails. What survives the tests that fail for no other reason is asked of those
that depend on time: there a failure counts that comes twice, and not without the mutant.
"""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# What one process gets to do, in seconds of tests' own time: most mutants die in the first moments.
SPANS = (0.3, 2.0, 10.0, float("inf"))


@dataclass
class Test:
    """One test: the binary it is in, how long it takes, the mutants it comes past."""

    binary: Path
    name: str
    seconds: float = 0.0
    asks: set = field(default_factory=set)


class Suite:
    """The tests of a woven tree."""

    def __init__(self, place, targets, workers, timed=False):
        self.place, self.workers, self.timed = place, workers, timed
        command = ["cargo", "test", "--no-run", "--message-format=json", "--quiet", *targets]
        built = subprocess.run(command, cwd=place, capture_output=True, text=True)
        entries = [json.loads(line) for line in built.stdout.splitlines()]
        self.binaries = [Path(entry["executable"]) for entry in entries if entry.get("executable") and entry["profile"]["test"]]
        if built.returncode or not self.binaries:
            raise SystemExit(built.stderr[-4000:])
        self.tests = []

    def call(self, binary, names, environment, timeout):
        """Runs tests of one binary; says whether all passed in time."""
        command = [binary, "--exact", "--test-threads=1", *names]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        with subprocess.Popen(command, cwd=self.place, env=os.environ | environment, start_new_session=True, **quiet) as process:
            try:
                return process.wait(timeout) == 0
            except subprocess.TimeoutExpired:
                # With the programs that the tests have started.
                os.killpg(process.pid, signal.SIGKILL)
                return False

    def measure(self, folder):
        """Runs each test alone. Tests that fail as the tree is are left out, and told."""
        pairs = []
        for binary in self.binaries:
            listing = subprocess.run([binary, "--list", "--format=terse"], cwd=self.place, capture_output=True, text=True).stdout
            pairs += [Test(binary, line.removesuffix(": test")) for line in listing.splitlines() if line.endswith(": test")]

        def learn(item):
            number, test = item
            asked = folder / str(number)
            start = time.monotonic()
            passed = self.call(test.binary, [test.name], {"TORWART_MUTANTS_ASKED": str(asked)}, 300)
            test.seconds = time.monotonic() - start
            test.asks = {int(line) for line in asked.read_text().split()} if asked.exists() else set()
            return test, passed

        with ThreadPoolExecutor(self.workers) as pool:
            learnt = list(pool.map(learn, enumerate(pairs)))
        for test, passed in learnt:
            if not passed:
                print(f"  fails without any mutant, so is left out: {test.name}", flush=True)
        self.tests = [test for test, passed in learnt if passed]

    def killer(self, number):
        """The binary whose tests notice the mutant; `None` where none does, `""` where none comes past it."""
        left = sorted((test for test in self.tests if number in test.asks), key=lambda test: test.seconds)
        if not left:
            return ""
        for span in SPANS:
            batch, total = [], 0.0
            while left and (total + left[0].seconds <= span or not batch):
                total += left[0].seconds
                batch.append(left.pop(0))
            for binary in dict.fromkeys(test.binary for test in batch):
                tests = [test for test in batch if test.binary == binary]
                if not self.passes(tests, number) and (not self.timed or any(self.confirmed(test, number) for test in tests)):
                    return binary.name.rsplit("-", 1)[0]
            if not left:
                return None
        return None

    def passes(self, tests, number=None):
        """Whether tests of one binary pass, with a mutant or as the tree is."""
        switch = {} if number is None else {"TORWART_MUTANT": str(number)}
        allowed = 20 + 10 * sum(test.seconds for test in tests)
        return self.call(tests[0].binary, [test.name for test in tests], switch, allowed)

    def confirmed(self, test, number):
        """Whether it is the mutant that the test fails of."""
        return not self.passes([test], number) and not self.passes([test], number) and self.passes([test])

    def ask(self, numbers):
        """Each number with its killer, in their order, as they are known."""
        with ThreadPoolExecutor(self.workers) as pool:
            yield from zip(numbers, pool.map(self.killer, numbers))
