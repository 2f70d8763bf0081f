//! `localhost` beside the hosts that documents name, so that a request needs no name server.
//!
//! The word is written into the text that is compiled, in a way that leaves every line and every column in front of it
//! where it was. What documents mean together may change by that (two of them may have the same route, or a capture of
//! a host is missing in the other), so it is tried, and left out where it does not work.

use std::sync::Arc;

use crate::diagnostic::{Diagnostics, Source};
use crate::document::{Entry, parse};

/// The host that is added.
pub const LOCALHOST: &str = "localhost";

/// Documents, some of which answer to `localhost` as well.
#[derive(Debug)]
pub struct Local {
    /// The documents as they are to be compiled.
    pub documents: Vec<Arc<Source>>,
    /// Those that do not answer to `localhost`.
    pub left_out: Vec<Arc<Source>>,
    /// Whether they compile at all.
    pub compiles: bool,
}

/// Adds `localhost` to every document that `compiles` in company of the others with it.
pub fn add_localhost(documents: &[Arc<Source>], compiles: impl Fn(&[Arc<Source>]) -> bool) -> Local {
    let added: Vec<Arc<Source>> = documents.iter().map(with_localhost).collect();
    // What is wrong with the documents themselves is to be shown with their own text.
    if !compiles(documents) {
        return Local { documents: documents.to_vec(), left_out: Vec::new(), compiles: false };
    }
    if compiles(&added) {
        return Local { documents: added, left_out: Vec::new(), compiles: true };
    }
    let mut local = Local { documents: documents.to_vec(), left_out: Vec::new(), compiles: true };
    for (at, (before, after)) in documents.iter().zip(added).enumerate() {
        if Arc::ptr_eq(before, &after) {
            continue;
        }
        let mut trial = local.documents.clone();
        if let Some(place) = trial.get_mut(at) {
            *place = after;
        }
        if compiles(&trial) {
            local.documents = trial;
        } else {
            local.left_out.push(Arc::clone(before));
        }
    }
    local
}

/// The document with `localhost` as its last host; the same one when it has it, or has no list of hosts.
fn with_localhost(source: &Arc<Source>) -> Arc<Source> {
    let edited = parse(source, &mut Diagnostics::new()).and_then(|node| {
        let hosts = node.map()?.entry("hosts")?;
        let known = hosts.value.list().iter().any(|host| host.text() == Some(LOCALHOST));
        if known { None } else { edit(&source.text, hosts) }
    });
    edited.map_or_else(|| Arc::clone(source), |text| Arc::new(Source { path: source.path.clone(), text }))
}

/// A list in brackets gets one more item. Of a list with dashes a list in brackets is made: the first bracket behind
/// the key, spaces in place of dashes, commas behind items.
fn edit(text: &str, hosts: &Entry) -> Option<String> {
    let items = hosts.value.list();
    let last = items.last()?;
    let mut out = text.to_owned();
    if text.get(hosts.value.span.start..)?.starts_with('[') {
        out.insert_str(last.span.end, ", localhost");
        return Some(out);
    }
    // From the back, so that positions in front stay right.
    for item in items.iter().rev() {
        out.insert_str(item.span.end, if item.span == last.span { ", localhost]" } else { "," });
        let dash = out.get(..item.span.start)?.rfind('-')?;
        out.replace_range(dash..=dash, " ");
    }
    let colon = hosts.key.span.end + text.get(hosts.key.span.end..)?.find(':')?;
    out.insert_str(colon + 1, " [");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { path: "a.yaml".into(), text: text.to_owned() })
    }

    fn hosts(source: &Arc<Source>) -> Vec<String> {
        let mut problems = Diagnostics::new();
        let node = parse(source, &mut problems).unwrap();
        assert!(problems.is_empty(), "{}", problems.render());
        node.map().unwrap().list("hosts").iter().map(|host| host.text().unwrap().to_owned()).collect()
    }

    #[test]
    fn lists_of_either_form_get_one_more_host_and_nothing_moves() {
        for text in [
            "version: 1\nhosts: [a.example, \"{t}.example.com\"] # why\npolicy: x\n",
            "version: 1\nhosts:\n  - a.example # one - two\n  - \"{t}.example.com\"\npolicy: x\n",
            "hosts:\n- a.example\n\n- '{t}.example.com' # last\npolicy: x\n",
            "hosts: [\n  a.example,\n  '{t}.example.com',\n]\npolicy: x\n",
        ] {
            let edited = with_localhost(&source(text));
            assert_eq!(hosts(&edited), ["a.example", "{t}.example.com", "localhost"], "{text}\n{}", edited.text);
            assert_eq!(text.lines().count(), edited.text.lines().count());
            let at = |text: &str| text.lines().position(|line| line == "policy: x");
            assert_eq!(at(text), at(&edited.text));
        }
    }

    #[test]
    fn a_document_that_has_it_or_has_no_list_stays_as_it_is() {
        for text in ["hosts: [localhost]\n", "hosts: a.example\n", "hosts: []\n", "policy: x\n", "a: [", "hosts: *a\n"]
        {
            let before = source(text);
            assert!(Arc::ptr_eq(&before, &with_localhost(&before)), "{text}");
        }
    }

    #[test]
    fn documents_that_would_collide_are_left_out() {
        let documents = ["a", "b", "c"].map(|name| source(&format!("hosts: [{name}.example]\n")));
        // `c` cannot share a host with `a`.
        let collides = |sources: &[Arc<Source>]| {
            let shared = |at: usize| hosts(&sources[at]).len() == 2;
            !(shared(0) && shared(2))
        };
        let local = add_localhost(&documents, collides);
        let counts: Vec<usize> = local.documents.iter().map(|source| hosts(source).len()).collect();
        assert_eq!(counts, [2, 2, 1]);
        assert!(local.left_out.len() == 1 && Arc::ptr_eq(&local.left_out[0], &documents[2]));
    }

    #[test]
    fn documents_with_errors_are_compiled_as_they_are_written() {
        let documents = [source("hosts: [a.example]\n")];
        let local = add_localhost(&documents, |_| false);
        assert!(Arc::ptr_eq(&local.documents[0], &documents[0]) && local.left_out.is_empty());
    }
}
