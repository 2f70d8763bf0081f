"""`python -m one_view`: the proof as a command, see `tests/oneview`."""

import argparse
import json
import sys
from pathlib import Path

from support import EndToEnd

from . import bench, sites


class Programs(EndToEnd):
    """Programs and a directory, without tests."""


def arguments():
    parser = argparse.ArgumentParser(prog="tests/oneview", description="Proves that no server reads a request otherwise than the gateway.")
    parser.add_argument("--count", type=int, default=100_000, help="generated requests for each site and declaration of quirks")
    parser.add_argument("--control", type=int, default=5_000, help="the same where all quirks are `never`, which has to find disagreements")
    parser.add_argument("--sites", default=",".join(sites.PRESETS), help="which servers")
    parser.add_argument("--quirks", help="only these declarations: default, never, or a preset")
    parser.add_argument("--seed", default="one view")
    parser.add_argument("--workers", type=int, default=3, help="processes that send")
    parser.add_argument("--show", type=int, default=5, help="how many disagreements are printed of each run")
    parser.add_argument("--json", type=Path, help="writes the figures to this file")
    return parser.parse_args()


def main():
    options = arguments()
    Programs.setUpClass()
    try:
        rows = bench.prove(Programs, options)
    finally:
        Programs.doClassCleanups()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    found = list(bench.failures(rows))
    print("\n".join(found) or "no disagreement")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
