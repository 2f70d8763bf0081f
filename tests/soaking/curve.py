"""Draws the samples of a run of tests/soak as SVG: one panel for each figure, over time."""

import json
import sys

PANELS = [
    ("resident", "resident memory, MiB", 1 / 1024),
    ("descriptors", "file descriptors", 1),
    ("threads", "threads", 1),
    ("connections", "connections of clients", 1),
    ("upstream_connections", "connections to upstreams", 1),
    ("in_flight", "requests under way at upstreams", 1),
    ("rate", "decisions a second", 1),
]
WIDTH, HEIGHT, LEFT, GAP = 760, 90, 60, 44


def with_rate(samples):
    """The samples with how many decisions a second were made since the one before."""
    before = samples[0]
    for sample in samples[1:]:
        decisions = sum(sample[name] - before[name] for name in ("allowed", "denied"))
        yield sample | {"rate": decisions / max(1, sample["seconds"] - before["seconds"])}
        before = sample


def panel(number, samples, name, title, factor):
    """One figure over time, from zero."""
    top, last = number * (HEIGHT + GAP) + 26, samples[-1]["seconds"]
    values = [sample[name] * factor for sample in samples]
    most = max(*values, 1) * 1.1
    points = " ".join(
        f"{LEFT + sample['seconds'] / last * WIDTH:.1f},{top + HEIGHT - value / most * HEIGHT:.1f}"
        for sample, value in zip(samples, values)
    )
    yield f'<text x="{LEFT}" y="{top - 8}" class="title">{title}</text>'
    for value in (0, most / 2, most):
        y = top + HEIGHT - value / most * HEIGHT
        yield f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="scale">{value:.0f}</text>'
    yield f'<polyline points="{points}"/>'


def main(path):
    with open(path, encoding="utf-8") as file:
        samples = list(with_rate([json.loads(line) for line in file]))
    height = len(PANELS) * (HEIGHT + GAP) + 40
    minutes = samples[-1]["seconds"] / 60
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}">')
    print("<style>text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.scale{text-anchor:end}"
          ".grid{stroke:#ddd}polyline{fill:none;stroke:#0a5ca8;stroke-width:1.2}</style>")
    print('<rect width="100%" height="100%" fill="#fff"/>')
    for number, (name, title, factor) in enumerate(PANELS):
        print("\n".join(panel(number, samples, name, title, factor)))
    for share in range(7):
        print(f'<text x="{LEFT + share / 6 * WIDTH:.0f}" y="{height - 14}" text-anchor="middle">'
              f"{share / 6 * minutes:.0f} min</text>")
    print("</svg>")


if __name__ == "__main__":
    main(sys.argv[1])
