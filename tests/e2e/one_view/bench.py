"""Starts the servers and the gateway, sends everything, and says what may not be."""

import time

from support import TORWART, port_open, wait_until

from . import gateway, proof, sites


def runs(names, only):
    """Every site with the declarations that are tried of it."""
    for site in names:
        for quirks in ["default", *sites.PRESETS[site], "never"]:
            if only is None or quirks in only.split(","):
                yield site, quirks


def prove(programs, options):
    """Runs everything; gives a row for each run."""
    names = options.sites.split(",")
    ports = sites.start(programs, names)
    ports = {site: port for site, port in ports.items() if site in names}
    sites.wait_for(ports)
    wanted = list(runs(names, options.quirks))
    listening = gateway.write(programs.directory, ports, wanted)
    programs.start("torwart", [TORWART, "run", "--config", programs.directory / "one-view.yaml"], listening[0])
    wait_until(lambda: port_open(listening[1]), "the gateway listens")
    tokens = {subject: gateway.token(subject) for subject in gateway.SUBJECTS}
    rows, versions = [], sites.versions()
    for site, quirks in wanted:
        run, began = proof.Run(site, quirks, listening), time.monotonic()
        count = options.control if quirks == "never" else options.count
        if quirks == "default":
            straight = proof.generated(proof.Run(site, None, (ports[site],)), options.seed, options.control, tokens, options.workers)
        tally = proof.generated(run, options.seed, count, tokens, options.workers)
        refused = proof.refused_honest(run)
        row = {"site": site, "server": versions[site], "quirks": quirks, "sent": tally.sent, "passed": tally.passed, "disagreements": tally.total(),
               "kinds": dict(tally.disagreements), "passed_by_kind": dict(tally.kinds), "statuses": dict(tally.statuses), "honest": len(proof.honest_targets()),
               "honest_refused": [target for target, _ in refused if not proof.is_known(target)], "honest_known": sum(proof.is_known(target) for target, _ in refused), "seconds": round(time.monotonic() - began, 1)}
        if quirks == "default":
            row["straight"] = {"sent": straight.sent, "hits": straight.total(), "kinds": dict(straight.disagreements)}
        rows.append(row)
        report(row, tally, refused, options.show)
    return rows


def report(row, tally, refused, show):
    """Prints what became of a run."""
    print(f"{row['site']:14} {row['quirks']:8} sent {row['sent']:7} passed on {row['passed']:6} disagreements {row['disagreements']:5} "
          f"honest refused {len(refused)}/{row['honest']} {row['seconds']} s {row['kinds'] or ''}", flush=True)
    if "straight" in row:
        print(f"{'':14} {'':8} sent straight to the server: {row['straight']['hits']} of {row['straight']['sent']} reach what is strict {row['straight']['kinds']}", flush=True)
    if row["quirks"] != "never":
        for number, fault, text in tally.examples[:show]:
            print(f"    {number} {fault}: {text}", flush=True)
        for target, status in refused[:show]:
            print(f"    honest, but {status}: {target}", flush=True)


def failures(rows):
    """What a run must not show, and what the control must."""
    for row in rows:
        name = f"{row['site']} with {row['quirks']}"
        if row["quirks"] == "never" and row["disagreements"] == 0:
            yield f"{name}: the control found nothing, so the generator could not hurt"
        if row["quirks"] != "never" and row["disagreements"]:
            yield f"{name}: {row['disagreements']} disagreements"
        if row["passed"] == 0:
            yield f"{name}: nothing was passed on"
        for target in row["honest_refused"]:
            yield f"{name}: the honest target {target} is refused"
