//! What `torwart dev` prints: where everything is, and commands to paste, each with the answer to expect.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::provider::CLIENT_SECRET;
use super::scene::Scene;
use super::showcase::{Example, Outcome};
use crate::config::AdminAddress;

/// How a command is written down.
#[derive(Debug, Clone)]
pub struct Shell {
    /// This program.
    pub program: PathBuf,
    /// The root certificate.
    pub root: PathBuf,
    /// `--policies`, if it has to be said.
    pub policies: Option<PathBuf>,
    /// `--certs`, if it has to be said.
    pub certs: Option<PathBuf>,
    /// The gateway's port.
    pub port: u16,
    /// Whether the upstream is the echo, whose answer is known.
    pub echo: bool,
}

impl Shell {
    /// A comment that says who asks and what comes, and the command.
    pub fn example(&self, example: &Example) -> String {
        let who = example.persona.as_deref().unwrap_or("nobody");
        let allowed = if self.echo { "200" } else { "allowed, the upstream's own answer" };
        let outcome = match &example.outcome {
            Outcome::Allowed => allowed.to_owned(),
            Outcome::Observed(refusal) => format!("{allowed} (only observed; would be {refusal})"),
            Outcome::Refused(refusal) => refusal.to_string(),
        };
        format!("# {who}: {outcome}\n{}\n", self.command(example))
    }

    fn command(&self, example: &Example) -> String {
        let mut out = format!("curl -i --cacert {}", quote(&self.root.to_string_lossy()));
        match example.method.as_str() {
            "GET" => {}
            "HEAD" => out.push_str(" -I"),
            method => {
                let _ = write!(out, " -X {}", quote(method));
            }
        }
        let local = example.host == super::local::LOCALHOST;
        if !local {
            let _ = write!(out, " --connect-to ::localhost:{}", self.port);
        }
        if example.target.contains("/.") {
            out.push_str(" --path-as-is");
        }
        if example.target.contains(['[', ']', '{', '}']) {
            out.push_str(" -g");
        }
        if let Some(persona) = &example.persona {
            let _ = write!(out, " -H \"Authorization: Bearer $({})\"", self.mint(persona));
        }
        for (name, value) in &example.headers {
            let _ = write!(out, " -H {}", quote(&format!("{name}: {value}")));
        }
        let port = if local { format!(":{}", self.port) } else { String::new() };
        let _ = write!(out, " {}", quote(&format!("https://{}{port}{}", example.host, example.target)));
        out
    }

    /// The command that mints a persona's token.
    pub fn mint(&self, persona: &str) -> String {
        let mut out = format!("{} token mint --as {}", quote(&self.program.to_string_lossy()), quote(persona));
        for (flag, path) in [("--policies", &self.policies), ("--certs", &self.certs)] {
            if let Some(path) = path {
                let _ = write!(out, " {flag} {}", quote(&path.to_string_lossy()));
            }
        }
        out
    }
}

/// What is where, and what is to be known about it.
pub fn head(shell: &Shell, scene: &Scene, admin: &AdminAddress) -> String {
    let (seen, workspace, surround) = (scene.seen(), scene.workspace(), scene.surround());
    let mut out =
        "torwart dev - for this machine only: its tokens and certificates are worth nothing elsewhere\n\n".to_owned();
    let policies = if workspace.built_in {
        let copy = "copy them to policies/ and make them yours";
        format!("{} (built-in examples; {copy})", workspace.policies.display())
    } else {
        format!("{} (watched: a change takes effect at once)", workspace.policies.display())
    };
    let upstream = match (shell.echo, surround.endpoint.tls) {
        (true, _) => "echo (answers with what it received)".to_owned(),
        (false, tls) => {
            let scheme = if tls { "https" } else { "http" };
            format!("{scheme}://{}:{}", surround.endpoint.host, surround.endpoint.port)
        }
    };
    let admin = match admin {
        AdminAddress::Tcp(address) => format!("http://{address}/readyz and /metrics"),
        AdminAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let lines = [
        ("gateway", format!("https://localhost:{}", shell.port)),
        ("upstream", upstream),
        ("policies", policies),
        ("provider", format!("{}/ (OpenID Connect; client secret `{}`)", surround.origin, CLIENT_SECRET)),
        ("admin", admin),
        ("root CA", shell.root.display().to_string()),
    ];
    for (name, value) in lines {
        let _ = writeln!(out, "  {name:<9} {value}");
    }
    for note in &seen.notes {
        let _ = writeln!(out, "\nnote: {note}");
    }
    let directory = std::env::current_dir().unwrap_or_default();
    let _ = writeln!(out, "\nPaste into another terminal, in {}:", quote(&directory.to_string_lossy()));
    out
}

/// This program as it can be typed in the directory: relative when it is below.
pub fn program(executable: &Path, directory: &Path) -> PathBuf {
    match executable.strip_prefix(directory) {
        Ok(below) if below.components().count() > 1 => below.to_owned(),
        Ok(below) => Path::new(".").join(below),
        Err(_) => executable.to_owned(),
    }
}

/// A word as a POSIX shell reads it back.
pub fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::dev::showcase::Refusal;

    fn shell() -> Shell {
        Shell {
            program: "target/release/torwart".into(),
            root: "certs/dev-ca.pem".into(),
            policies: None,
            certs: None,
            port: 8443,
            echo: true,
        }
    }

    fn example(host: &str, target: &str, outcome: Outcome) -> Example {
        Example {
            persona: Some("alice".to_owned()),
            method: "GET".to_owned(),
            host: host.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            outcome,
        }
    }

    #[test]
    fn a_request_to_localhost_is_as_short_as_it_can_be() {
        assert_eq!(
            shell().example(&example("localhost", "/crm/a", Outcome::Allowed)),
            "# alice: 200\ncurl -i --cacert certs/dev-ca.pem -H \"Authorization: Bearer $(target/release/torwart token \
             mint --as alice)\" https://localhost:8443/crm/a\n"
        );
    }

    #[test]
    fn another_host_is_connected_to_on_this_machine() {
        let refusal = Refusal { status: 403, reason: "subject".to_owned(), place: Some("a.yaml:3:5".to_owned()) };
        let text = shell().example(&example("api.example.com", "/a?b={c}", Outcome::Refused(refusal)));
        assert!(text.starts_with("# alice: 403, subject, a.yaml:3:5\ncurl -i "), "{text}");
        assert!(text.contains(" --connect-to ::localhost:8443 -g "), "{text}");
        assert!(text.ends_with(" 'https://api.example.com/a?b={c}'\n"), "{text}");
    }

    #[test]
    fn what_an_upstream_of_ones_own_answers_is_not_foretold() {
        let shell = Shell { echo: false, ..shell() };
        let text = shell.example(&example("localhost", "/", Outcome::Allowed));
        assert!(text.starts_with("# alice: allowed, the upstream's own answer\n"), "{text}");
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in ["", "a b", "it's", "$HOME `x` \"y\" \\", "a\nb", "*?[]{}~#!&;|<>()", "plain-1.2/3"] {
            let script = format!("printf %s {}", quote(word));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn the_program_is_named_so_that_it_runs_from_the_directory() {
        let named = |path: &str| program(Path::new(path), Path::new("/home/me/project"));
        assert_eq!(named("/home/me/project/target/release/torwart"), Path::new("target/release/torwart"));
        assert_eq!(named("/home/me/project/torwart"), Path::new("./torwart"));
        assert_eq!(named("/usr/bin/torwart"), Path::new("/usr/bin/torwart"));
    }
}
