//! Sets of methods (policy.md, "Routes").

use crate::target::method::is_never_served;

/// The methods that `"*"` stands for, in the order in which `Allow` lists them.
const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A set of methods, compared as RFC 9110 section 9.1 says: with case. `GET` brings `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::policy) struct MethodSet {
    /// A bit for each of [`USUAL`].
    usual: u8,
    /// Others, sorted.
    others: Vec<Box<str>>,
}

/// Why a method cannot be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::policy) enum MethodError {
    /// `TRACE`, `TRACK` or `CONNECT`.
    #[error("this method is always refused with 405 and cannot be listed")]
    NeverServed,
    /// Not a token (RFC 9110 section 5.6.2).
    #[error("a method consists of letters, digits and `!#$%&'*+-.^_`|~`")]
    NotAToken,
}

impl MethodSet {
    /// What `"*"` stands for; anything else must be named.
    pub(in crate::policy) fn usual() -> Self {
        Self { usual: (1 << USUAL.len()) - 1, others: Vec::new() }
    }

    /// Adds a method; `GET` adds `HEAD`.
    ///
    /// # Errors
    /// A method that is never served, or a name that is no method.
    pub(in crate::policy) fn insert(&mut self, method: &str) -> Result<(), MethodError> {
        if is_never_served(method) {
            return Err(MethodError::NeverServed);
        }
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if method.is_empty() || !method.bytes().all(is_token) {
            return Err(MethodError::NotAToken);
        }
        match bit(method) {
            Some(bit) if method == "GET" => self.usual |= bit | head(),
            Some(bit) => self.usual |= bit,
            None => {
                if let Err(position) = self.others.binary_search_by(|other| (**other).cmp(method)) {
                    self.others.insert(position, method.into());
                }
            }
        }
        Ok(())
    }

    /// Whether the method is in the set.
    pub(in crate::policy) fn contains(&self, method: &str) -> bool {
        match bit(method) {
            Some(bit) => self.usual & bit != 0,
            None => self.others.iter().any(|other| **other == *method),
        }
    }

    /// The methods that both sets have.
    pub(in crate::policy) fn common<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s str> {
        self.names().filter(|method| other.contains(method))
    }

    /// The methods, the usual ones first.
    pub(in crate::policy) fn names(&self) -> impl Iterator<Item = &str> {
        let usual = USUAL.into_iter().enumerate().filter(|(index, _)| self.usual & (1 << index) != 0);
        usual.map(|(_, method)| method).chain(self.others.iter().map(|method| &**method))
    }

    /// Adds every method of the other set.
    pub(in crate::policy) fn extend(&mut self, other: &Self) {
        self.usual |= other.usual;
        self.others.extend_from_slice(&other.others);
        self.others.sort_unstable();
        self.others.dedup();
    }
}

fn bit(method: &str) -> Option<u8> {
    USUAL.iter().position(|usual| *usual == method).map(|index| 1 << index)
}

fn head() -> u8 {
    bit("HEAD").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(methods: &[&str]) -> MethodSet {
        let mut set = MethodSet::default();
        for method in methods {
            set.insert(method).unwrap();
        }
        set
    }

    #[test]
    fn get_implies_head_and_case_counts() {
        let get = set(&["GET"]);
        assert!(get.contains("GET") && get.contains("HEAD"));
        assert!(!get.contains("get") && !get.contains("POST"));
        assert!(!set(&["HEAD"]).contains("GET"));
    }

    #[test]
    fn the_star_is_seven_methods_and_no_other() {
        let usual = MethodSet::usual();
        assert_eq!(usual.names().collect::<Vec<_>>(), ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
        for method in ["TRACE", "TRACK", "CONNECT", "PROPFIND", "", "get"] {
            assert!(!usual.contains(method));
        }
    }

    #[test]
    fn other_methods_are_named_and_some_never_served() {
        let set = set(&["PROPFIND", "MKCOL", "PROPFIND"]);
        assert_eq!(set.names().collect::<Vec<_>>(), ["MKCOL", "PROPFIND"]);
        for method in ["TRACE", "TRACK", "CONNECT", "trace"] {
            assert_eq!(MethodSet::default().insert(method), Err(MethodError::NeverServed));
        }
        for method in ["", "A B", "GET,POST", "\u{c4}"] {
            assert_eq!(MethodSet::default().insert(method), Err(MethodError::NotAToken));
        }
    }

    #[test]
    fn common_methods_are_found() {
        assert_eq!(set(&["GET", "X"]).common(&set(&["HEAD", "X"])).collect::<Vec<_>>(), ["HEAD", "X"]);
        assert_eq!(set(&["GET"]).common(&set(&["POST"])).count(), 0);
    }
}
