"""Which mutants of the policy engine and of the token checks does no test notice? `./tests/mutants --help` tells how to ask."""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from run import Suite
from tree import Tree, listed

PROJECT = Path(__file__).resolve().parents[2]
FILES = ["src/policy/**", "src/policy.rs", "src/authn/**", "src/authn.rs"]
# Tests that never fail by chance, and those that decide what these two rooms decide.
TARGETS = [
    "--lib", "--test=decisions", "--test=families", "--test=tokens", "--test=wycheproof", "--test=config", "--test=policy_tests",
    "--test=recipes", "--test=explaining", "--test=diff", "--test=differential", "--test=allocations",
]
ACCEPTED = PROJECT / "tests/mutants.txt"


def accepted():
    """How many survivors of a name are known. The list begins after the paragraph that explains it."""
    _, *parts = ACCEPTED.read_text().split("\n\n")
    return Counter(line for part in parts for line in part.splitlines() if line and not line.startswith("#"))


def bare(name):
    """A mutant's name without line and column, which change with every edit."""
    return re.sub(r":\d+:\d+:", ":", name)


def main():
    parser = argparse.ArgumentParser(prog="tests/mutants", description=__doc__)
    parser.add_argument("--only", default="", help="regular expression that the mutant's name must have, as cargo-mutants prints it")
    parser.add_argument("--shard", default="0/1", help="K/N: every Nth mutant, beginning with the Kth")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=PROJECT / "target/mutants/outcome.txt")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    mutants = listed(PROJECT, FILES)
    place = PROJECT / "target/mutants/tree"
    place.mkdir(parents=True, exist_ok=True)
    tree = Tree(PROJECT, place, mutants)
    tree.make()
    suite = Suite(place, TARGETS, options.jobs)
    with TemporaryDirectory() as folder:
        suite.measure(Path(folder))
    print(f"{len(mutants)} mutants, {len(tree.left)} not in this build, {len(suite.tests)} tests", flush=True)
    part, parts = (int(text) for text in options.shard.split("/"))
    asked = [m.number for m in mutants if m.number not in tree.left and re.search(options.only, m.name)][part::parts]
    known, survivors = accepted(), []
    with options.out.open("w") as out:
        out.writelines(f"left\t{tree.mutants[number].name}\t{why}\n" for number, why in sorted(tree.left.items()))

        def report(number, killer):
            name = tree.mutants[number].name
            out.write(f"{'killed' if killer else 'missed' if killer is None else 'unasked'}\t{name}\t{killer or ''}\n")
            out.flush()
            if killer:
                return
            known[bare(name)] -= 1
            if known[bare(name)] < 0:
                survivors.append(name)
                print(f"  {'survives' if killer is None else 'never run'}: {name}", flush=True)

        suite.ask(asked, report)
    print(f"{len(asked)} asked, {len(survivors)} survive without a reason in {ACCEPTED.relative_to(PROJECT)}")
    sys.exit(bool(survivors))


main()
