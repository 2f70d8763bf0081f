//! The README does what it says: its files are written, its commands run, its output compared.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, in its helpers too"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A fenced block.
#[derive(Debug)]
struct Block {
    language: String,
    text: String,
}

/// All fenced blocks of a document in their order.
fn blocks(path: &str) -> Vec<Block> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        assert!(!language.is_empty(), "{path}: a block says what it is");
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { language: language.to_owned(), text: text.join("\n") });
    }
    blocks
}

/// A directory in which the README is followed, and what runs there.
struct Reader {
    directory: PathBuf,
    /// Each port of the README, and the one that stands for it here: ports are somebody else's, too.
    ports: Vec<(String, u16)>,
    running: Vec<Child>,
    output: String,
    _temporary: tempfile::TempDir,
}

impl Reader {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().canonicalize().unwrap();
        fs::create_dir_all(directory.join("target/release")).unwrap();
        symlink(env!("CARGO_BIN_EXE_torwart"), directory.join("target/release/torwart")).unwrap();
        let ports = ["8443", "8080", "9901"].map(|port| (port.to_owned(), free_port()));
        Self { directory, ports: ports.to_vec(), running: Vec::new(), output: String::new(), _temporary: temporary }
    }

    fn here(&self, text: &str) -> String {
        self.ports
            .iter()
            .fold(text.to_owned(), |text, (port, own)| text.replace(&format!(":{port}"), &format!(":{own}")))
    }

    fn write(&self, text: &str) {
        let Some(name) = text.lines().next().and_then(|line| line.strip_prefix("# ")) else {
            panic!("the first line of a file is its name: {text}");
        };
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut text = self.here(text);
        if name == "torwart.yaml" {
            // The default's port is somebody else's, too.
            text.push_str(&self.here("\nadmin: {address: 127.0.0.1:9901}"));
        }
        fs::write(path, text + "\n").unwrap();
    }

    fn run(&mut self, line: &str) {
        let verb = line.split(' ').nth(1).unwrap_or("");
        if verb == "dev" || verb == "run" {
            return self.start(line, verb);
        }
        let output = self.shell(&self.here(line)).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{}\n{errors}", String::from_utf8_lossy(&output.stdout));
        self.output = String::from_utf8(output.stdout).unwrap();
    }

    /// Starts what goes on, instead of what went on before: two gateways do not share a port.
    fn start(&mut self, line: &str, verb: &str) {
        self.stop();
        let mut line = format!("exec {line}");
        let port = self.ports[0].1;
        if verb == "dev" {
            line = format!("{line} --port {port}");
        }
        let mut child = self.shell(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), BufReader::new(child.stderr.take().unwrap()));
        let mut said = String::new();
        if verb == "dev" {
            let mut lines = BufReader::new(stdout);
            while !said.ends_with("Ctrl-C ends it.\n") {
                assert!(lines.read_line(&mut said).unwrap() > 0, "{line}: {said}");
            }
            thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        } else {
            while !said.contains("listening") {
                assert!(stderr.read_line(&mut said).unwrap() > 0, "{line}: {said}");
            }
            thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        }
        thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        self.running.push(child);
    }

    fn stop(&mut self) {
        for mut child in self.running.drain(..) {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(&self.directory).env_remove("TORWART_CONFIG").stdin(Stdio::null());
        command
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    // The provider has the next one, so both have to be free.
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

#[test]
fn two_commands_set_everything_up() {
    assert_eq!(blocks("README.md")[0].text, "cargo run --release -- dev\n./tests/run");
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let blocks = blocks("README.md");
    let mut reader = Reader::new();
    let mut commands = 0;
    // The first block is what the reader has done to be here.
    for block in &blocks[1..] {
        match block.language.as_str() {
            "yaml" => reader.write(&block.text),
            "sh" => {
                for line in block.text.lines() {
                    reader.run(line);
                    commands += 1;
                }
            }
            "text" => {
                let expected = reader.here(&block.text);
                let missing: Vec<&str> =
                    expected.lines().filter(|line| !reader.output.contains(line.trim_end_matches(','))).collect();
                assert!(missing.is_empty(), "not in the output: {missing:#?}\n{}", reader.output);
            }
            other => panic!("nobody checks blocks of `{other}`"),
        }
    }
    assert!(commands >= 6);
}

#[test]
fn the_gateway_of_the_readme_answers_on_its_port() {
    let mut reader = Reader::new();
    for block in blocks("README.md").iter().filter(|block| block.language == "yaml") {
        reader.write(&block.text);
    }
    reader.run("target/release/torwart run");
    let deadline = Instant::now() + Duration::from_secs(20);
    let ask = reader.here("curl -sS -o answer -w '%{http_code}' -H 'Host: notes.example.com' http://127.0.0.1:8080");
    // No token is needed, and nothing listens behind it.
    loop {
        let output = reader.shell(&format!("{ask}/status")).output().unwrap();
        if output.stdout == b"502" {
            break;
        }
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&output.stdout));
    }
    reader.run(&format!("{ask}/notes/ada"));
    assert_eq!(reader.output, "401");
}

#[test]
fn links_of_the_documentation_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = fs::read_dir(&docs).unwrap().map(|entry| entry.unwrap().path());
    for page in pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let there = if file.is_empty() { page.clone() } else { docs.join(file) };
            let leads =
                target.starts_with("https://") || there.exists() && anchor.is_none_or(|at| has_heading(&there, at));
            assert!(leads, "{}: {target}", page.display());
        }
    }
}

/// A promise is worth the test that holds it: each one that the pages name is there.
#[test]
fn tests_that_the_pages_on_security_and_reliability_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    let mut folders = vec![root.join("tests"), root.join("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() && !path.ends_with("node_modules") => folders.push(path),
                Some("rs" | "py") => code.push_str(&fs::read_to_string(path).unwrap()),
                _ => {}
            }
        }
    }
    for page in ["docs/security.md", "docs/reliability.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let (mut tests, mut files) = (0, 0);
        for named in text.split('`').skip(1).step_by(2) {
            if named.starts_with("tests/") || named.starts_with("src/") {
                assert!(root.join(named).exists(), "{named}");
                files += 1;
            } else if named.matches('_').count() > 3 && !named.contains(' ') {
                let defined = ["fn ", "def "].iter().any(|word| code.contains(&format!("{word}{named}(")));
                assert!(defined, "{named}");
                tests += 1;
            }
        }
        assert!(tests > 10 && files > 2, "{page}: {tests} tests and {files} files are named");
    }
}

/// Whether a page has a heading with this anchor: lower case, without punctuation, spaces as hyphens.
fn has_heading(page: &Path, anchor: &str) -> bool {
    let anchor_of = |heading: &str| -> String {
        let kept = heading.trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    fs::read_to_string(page)
        .unwrap()
        .lines()
        .any(|line| line.starts_with('#') && anchor_of(line.trim_start_matches('#')) == anchor)
}
