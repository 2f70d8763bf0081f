"""Chooses, of what libFuzzer's merge has looked at, the few inputs that reach most together; copies those that are not seeds yet.

    python3 fuzz/distil.py CONTROL-FILE SEEDS MOST
"""

import sys
from pathlib import Path


def looked_at(control):
    """Each input with the features that it reaches. The file begins with two counts and the inputs' names."""
    lines = control.read_text().splitlines()
    count = int(lines[0])
    names, rows = lines[2 : 2 + count], (line.split() for line in lines[2 + count :])
    return {Path(names[int(row[1])]): {int(feature) for feature in row[2:]} for row in rows if row[0] == "FT"}


def chosen(reached, most):
    """Again and again the input that adds most to what the ones before it reach: never far from the best choice."""
    covered = set()
    for _ in range(most):
        best = max(reached, key=lambda path: (len(reached[path] - covered), -path.stat().st_size), default=None)
        if best is None or not reached[best] - covered:
            return
        covered |= reached[best]
        yield best


def main():
    control, seeds, most = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    known, new = {path.read_bytes() for path in seeds.iterdir()}, 0
    for path in chosen(looked_at(control), most):
        if path.read_bytes() not in known:
            (seeds / f"found-{path.name[:12]}").write_bytes(path.read_bytes())
            new += 1
    print(f"{seeds.name}: {new} new seeds")


main()
