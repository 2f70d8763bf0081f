"""A copy of the project with all mutants in it: made, and freed of those that do not compile."""

import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

from weave import Mutant, Weaver, unmark

SWITCH = '''//! Says which mutant is at work. Numbers that are asked for are written to the file that `TORWART_MUTANTS_ASKED` names.
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
static ASKED: [AtomicBool; LENGTH] = [const { AtomicBool::new(false) }; LENGTH];
pub(crate) fn on(number: usize) -> bool {
    static STATE: OnceLock<(usize, Option<Mutex<std::fs::File>>)> = OnceLock::new();
    let (active, asked) = STATE.get_or_init(|| {
        let active = std::env::var("TORWART_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        let file = std::env::var_os("TORWART_MUTANTS_ASKED").map(|path| {
            Mutex::new(std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap())
        });
        (active, file)
    });
    if let Some(file) = asked && !ASKED[number].swap(true, Ordering::Relaxed) {
        file.lock().unwrap().write_all(format!("{number}\\n").as_bytes()).unwrap();
    }
    *active == number
}
'''


def listed(project, files):
    """cargo-mutants' list, its columns turned to bytes."""
    selection = [argument for pattern in files for argument in ("-f", pattern)]
    text = subprocess.run(["cargo", "mutants", "--list", "--json", *selection], cwd=project, check=True, capture_output=True).stdout
    mutants, starts = [], {}

    def offset(file, place):
        if file not in starts:
            starts[file] = (project / file).read_text().splitlines(keepends=True)
        lines = starts[file]
        return sum(len(line.encode()) for line in lines[: place["line"] - 1]) + len(lines[place["line"] - 1][: place["column"] - 1].encode())

    for number, entry in enumerate(json.loads(text)):
        start, end = (offset(entry["file"], entry["span"][side]) for side in ("start", "end"))
        # A second `return` of another type than the body's is no `impl Trait` any more.
        opaque = entry["genre"] == "FnValue" and "impl " in entry["function"]["return_type"]
        genre = "OpaqueFnValue" if opaque else entry["genre"]
        mutants.append(Mutant(number, genre, entry["file"], entry["name"], entry["replacement"], start, end))
    return mutants


class Tree:
    """The copy. `left` has the mutants that cannot be woven in, each with the reason."""

    def __init__(self, project, place, mutants):
        self.project, self.place = project, place
        self.mutants = {m.number: m for m in mutants}
        self.left = {}
        self.spans = {}

    def make(self):
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=self.project, check=True, capture_output=True).stdout
        for name in filter(None, tracked.decode().split("\0")):
            target = self.place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() or target.read_bytes() != (self.project / name).read_bytes():
                shutil.copy2(self.project / name, target)
        (self.place / "src/mutation.rs").write_text(SWITCH.replace("LENGTH", str(len(self.mutants))))
        lib = (self.project / "src/lib.rs").read_text()
        (self.place / "src/lib.rs").write_text(lib + "\nmod mutation;\n")
        self.weave()
        while self.faults():
            self.weave()

    def weave(self):
        by_file = defaultdict(list)
        for mutant in self.mutants.values():
            by_file[mutant.file].append(mutant)
        for file, all_of_it in by_file.items():
            weaver = Weaver((self.project / file).read_text(), [m for m in all_of_it if m.number not in self.left])
            text, self.spans[file] = unmark(weaver.woven())
            self.left.update((m.number, "has no place in the woven source") for m in weaver.homeless)
            if (self.place / file).read_text() != text:
                (self.place / file).write_text(text)

    def faults(self):
        """Compiles; leaves out the mutants that errors stand in. Says whether there were any."""
        command = ["cargo", "check", "--lib", "--message-format=json", "--quiet"]
        lines = subprocess.run(command, cwd=self.place, capture_output=True, text=True).stdout.splitlines()
        before, strange = len(self.left), []
        for message in (entry["message"] for entry in map(json.loads, lines) if entry.get("reason") == "compiler-message"):
            if message["level"] != "error" or not message["spans"]:
                continue
            culprits = {n for span in message["spans"] if span["is_primary"] for n in self.at(span)}
            strange += [] if culprits else [message["rendered"]]
            self.left.update((n, message["message"]) for n in culprits)
        print(f"  {len(self.left) - before} mutants do not compile in one build with the others", flush=True)
        if strange and len(self.left) == before:
            raise SystemExit("the woven source does not compile:\n" + "\n".join(strange[:5]))
        return bool(len(self.left) - before)

    def at(self, span):
        """The innermost mutants around a place; without one all of the same line."""
        file, start, end = span["file_name"], span["byte_start"], span["byte_end"]
        spans = self.spans.get(file, [])
        around = [(stop - begin, n) for n, begin, stop in spans if begin <= start and end <= stop]
        if around:
            return [min(around)[1]]
        text = (self.place / file).read_bytes() if spans else b""
        first, last = text.rfind(b"\n", 0, start) + 1, text.find(b"\n", end)
        return [n for n, begin, stop in spans if first <= begin < last or start <= begin < end]
