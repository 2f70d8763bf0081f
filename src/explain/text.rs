//! An explanation as it is read in a terminal.

use std::fmt::Write as _;
use std::path::Path;

use super::Explained;

pub(super) fn of(explained: &Explained, base: Option<&Path>) -> String {
    let mut text = format!("{}\nas {}\n", explained.request, explained.asked_as);
    let reason = explained.reason.unwrap_or_default();
    let status = explained.status.map(|status| status.to_string()).unwrap_or_default();
    let _ = match explained.decision {
        "deny" => writeln!(text, "deny: {reason} ({status})"),
        "observe" => writeln!(text, "allow, because it is only observed; else deny: {reason} ({status})"),
        _ if status.is_empty() => writeln!(text, "allow"),
        _ => writeln!(text, "answered by the gateway itself ({status})"),
    };
    if let Some(obstacle) = &explained.obstacle {
        let _ = writeln!(text, "  {obstacle}");
    }
    if let Some(explanation) = &explained.explanation {
        // Request and decision have been said.
        let tree = explanation.text(base);
        let said = tree.lines().skip(2);
        said.for_each(|line| {
            let _ = writeln!(text, "{line}");
        });
    }
    for (name, value) in &explained.answer {
        let _ = writeln!(text, "answer   {name}: {value}");
    }
    if let Some(sent) = &explained.forwarded {
        let query = sent.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let _ = writeln!(text, "forward  to upstream {}: {}{query}", sent.upstream, sent.path);
        for (name, value) in &sent.headers {
            let _ = writeln!(text, "         {name}: {value}");
        }
    }
    if let Some(way) = &explained.way {
        text.push_str(&way.text());
    }
    text
}
