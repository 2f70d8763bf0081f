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
    "--test=recipes", "--test=explaining", "--test=explain", "--test=diff", "--test=diff_cli", "--test=differential", "--test=allocations",
    "--test=issuers",
]
# Tests in which time passes. They are asked of what the others leave.
TIMED = ["--test=gateway", "--test=revoking", "--test=cli"]
ACCEPTED = PROJECT / "tests/mutants.txt"


def accepted():
    """How many survivors of a name are known. The list begins after the paragraph that explains it."""
    _, *parts = ACCEPTED.read_text().split("\n\n")
    return Counter(line for part in parts for line in part.splitlines() if line and not line.startswith("#"))


def killed(outcome):
    """How many mutants of a name an earlier run killed."""
    rows = (line.split("\t") for line in outcome.read_text().splitlines()) if outcome else ()
    return Counter(bare(name) for fate, name, _ in rows if fate == "killed")


def bare(name):
    """A mutant's name without line and column, which change with every edit."""
    return re.sub(r":\d+:\d+:", ":", name)


def main():
    parser = argparse.ArgumentParser(prog="tests/mutants", description=__doc__)
    parser.add_argument("--only", default="", help="regular expression that the mutant's name must have, as cargo-mutants prints it")
    parser.add_argument("--except", dest="settled", type=Path, metavar="OUTCOME", help="an earlier run's outcome: what it killed is not asked again")
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
    asked, known = chosen(tree, options), accepted()
    print(f"{len(mutants)} mutants, {len(tree.left)} not in this build, {len(asked)} asked", flush=True)
    with options.out.open("w") as out:

        def report(fate, number, detail=""):
            out.write(f"{fate}\t{tree.mutants[number].name}\t{detail}\n")
            out.flush()

        for number, why in sorted(tree.left.items()):
            report("left", number, why)
        survivors = []
        for number in ask(Suite(place, TARGETS, options.jobs), asked, report):
            known[bare(tree.mutants[number].name)] -= 1
            if known[bare(tree.mutants[number].name)] < 0:
                survivors.append(number)
        if survivors:
            survivors = ask(Suite(place, TIMED, options.jobs, timed=True), survivors, report)
    for number in survivors:
        print(f"  survives: {tree.mutants[number].name}")
    print(f"{len(asked)} asked, {len(survivors)} survive without a reason in {ACCEPTED.relative_to(PROJECT)}")
    sys.exit(bool(survivors))


def chosen(tree, options):
    """The mutants that are to be asked about."""
    part, parts = (int(text) for text in options.shard.split("/"))
    settled, numbers = killed(options.settled), []
    for mutant in tree.mutants.values():
        settled[bare(mutant.name)] -= 1
        if mutant.number not in tree.left and settled[bare(mutant.name)] < 0 and re.search(options.only, mutant.name):
            numbers.append(mutant.number)
    return numbers[part::parts]


def ask(suite, numbers, report):
    """Asks the suite about all of them; returns those that no test of it notices."""
    with TemporaryDirectory() as folder:
        suite.measure(Path(folder))
    print(f"{len(suite.tests)} tests", flush=True)
    survivors = []
    for number, killer in suite.ask(numbers):
        # `None` where no test fails, `""` where none comes past the mutant.
        report("killed" if killer else "missed" if killer is None else "unasked", number, killer or "")
        if not killer:
            survivors.append(number)
    return survivors


main()
