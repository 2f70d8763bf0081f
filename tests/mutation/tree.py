"""A copy of the project with all mutants in it: made, and freed of those that do not compile."""

import hashlib
import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import weave
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
        // In one piece, and without an allocation: there is a test that counts them.
        let mut line = [0; 24];
        let mut rest = &mut line[..];
        writeln!(rest, "{number}").unwrap();
        let left = rest.len();
        file.lock().unwrap().write_all(&line[..24 - left]).unwrap();
    }
    *active == number
}
/// A mutant's iterator, or the true one.
#[derive(Clone)]
pub(crate) enum Either<A, B> { Mutant(A), True(B) }
pub(crate) fn either<A: Iterator, B: Iterator<Item = A::Item>>(mutant: Option<A>, body: B) -> Either<A, B> {
    match mutant { Some(mutant) => Either::Mutant(mutant), None => Either::True(body) }
}
impl<A: Iterator, B: Iterator<Item = A::Item>> Iterator for Either<A, B> {
    type Item = A::Item;
    fn next(&mut self) -> Option<A::Item> {
        match self { Self::Mutant(mutant) => mutant.next(), Self::True(body) => body.next() }
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        match self { Self::Mutant(mutant) => mutant.size_hint(), Self::True(body) => body.size_hint() }
    }
}
impl<A: DoubleEndedIterator, B: DoubleEndedIterator<Item = A::Item>> DoubleEndedIterator for Either<A, B> {
    fn next_back(&mut self) -> Option<A::Item> {
        match self { Self::Mutant(mutant) => mutant.next_back(), Self::True(body) => body.next_back() }
    }
}
impl<A: ExactSizeIterator, B: ExactSizeIterator<Item = A::Item>> ExactSizeIterator for Either<A, B> {}
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
        returns = (entry["function"] or {}).get("return_type", "")
        mutants.append(Mutant(number, entry["genre"], entry["file"], entry["name"], entry["replacement"], start, end, returns))
    return mutants


class Tree:
    """The copy. `left` has the mutants that cannot be woven in, each with the reason."""

    def __init__(self, project, place, mutants):
        self.project, self.place = project, place
        self.mutants = {m.number: m for m in mutants}
        self.left = {}
        self.spans = {}
        self.files = defaultdict(list)
        for mutant in mutants:
            self.files[mutant.file].append(mutant)

    def make(self):
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=self.project, check=True, capture_output=True).stdout
        for name in filter(None, tracked.decode().split("\0")):
            if name in self.files or name == "src/lib.rs":
                continue
            target = self.place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() or target.read_bytes() != (self.project / name).read_bytes():
                shutil.copy2(self.project / name, target)
        self.write("src/mutation.rs", SWITCH.replace("LENGTH", str(len(self.mutants))))
        self.write("src/lib.rs", (self.project / "src/lib.rs").read_text() + "\nmod mutation;\n")
        self.recall()
        self.weave()
        while self.faults():
            self.weave()
        notes = {file: [self.digest(file), [self.left.get(m.number) for m in own]] for file, own in self.files.items()}
        self.write("left.json", json.dumps(notes))

    def recall(self):
        """What did not compile last time does not today in a file that is as it was: where nothing has changed, nothing is built anew."""
        notes = self.place / "left.json"
        for file, (digest, left) in json.loads(notes.read_text()).items() if notes.exists() else ():
            if self.digest(file) == digest:
                self.left.update((m.number, why) for m, why in zip(self.files[file], left) if why)

    def digest(self, file):
        """Of the file, and of how mutants are woven in."""
        return hashlib.sha256((self.project / file).read_bytes() + Path(weave.__file__).read_bytes()).hexdigest()

    def write(self, name, text):
        """An unchanged file keeps its time."""
        target = self.place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text() != text:
            target.write_text(text)

    def weave(self):
        for file, own in self.files.items():
            weaver = Weaver((self.project / file).read_text(), [m for m in own if m.number not in self.left])
            text, self.spans[file] = unmark(weaver.woven())
            self.left.update((m.number, "has no place in the woven source") for m in weaver.homeless)
            self.write(file, text)

    def faults(self):
        """Compiles; leaves out the mutants that errors stand in. Says whether there were any."""
        command = ["cargo", "check", "--lib", "--message-format=json", "--quiet"]
        lines = subprocess.run(command, cwd=self.place, capture_output=True, text=True).stdout.splitlines()
        before, strange = len(self.left), []
        for message in (entry["message"] for entry in map(json.loads, lines) if entry.get("reason") == "compiler-message"):
            if message["level"] != "error" or not message["spans"]:
                continue
            culprits = {n for span in message["spans"] if span["is_primary"] for n in self.at(span)}
            if not culprits and (message["code"] or {}).get("code") == "E0015":
                # A function that others call while compiling has to stay `const`.
                name = message["message"].split("`")[1]
                culprits = {n for n, mutant in self.mutants.items() if f" {name} " in mutant.name and n not in self.left}
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
