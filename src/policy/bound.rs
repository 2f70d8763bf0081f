//! Query parameters and headers that a route *binds*: every server must read them as the policy does (policy.md, "Bound
//! query parameters", "Bound headers").

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};
use smallvec::SmallVec;

use crate::json;
use crate::policy::decision::Cause;
use crate::target::fold::{fold_header, folds_to};
use crate::target::query::{EscapeError, Query, Separator, fold_name, without_needless_escapes};
use crate::target::scan;

/// More parameters than this are not read. PHP (`max_input_vars`), Tomcat (`maxParameterCount`) and `qs` (`parameterLimit`)
/// read 1000 at most, the first two in query and body together, and drop the rest without a word: the one that policy saw
/// could be among those.
const MOST_PARAMETERS: usize = 500;

/// Why a request is 400 on a route that binds parameters or headers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::policy) enum BoundError {
    /// The query cannot be decoded.
    #[error(transparent)]
    Escape(EscapeError),
    /// A parameter that some server reads as a bound one is not spelt like it.
    #[error("a parameter that servers may read as `{0}` is not spelt so")]
    MisspeltParameter(Box<str>),
    /// A bound parameter's name stands after `;`, which only some servers take for a separator.
    #[error("the parameter `{0}` stands after a `;`")]
    AfterSemicolon(Box<str>),
    /// A parameter stands in the query that is bound in the body, or the other way round, and servers mix the two.
    #[error("the parameter `{0}` stands where servers may take it for another")]
    Elsewhere(Box<str>),
    /// The path holds a `;` where, for some servers, the query begins: they read other parameters, or none.
    #[error("the path holds a `;`, where some servers begin the query")]
    InPath,
    /// There are so many parameters that servers leave out some.
    #[error("there are more than {MOST_PARAMETERS} parameters, of which servers may leave out some")]
    TooMany,
    /// The value of a bound parameter is not UTF-8.
    #[error("the value of the parameter `{0}` is not UTF-8")]
    NotText(Box<str>),
    /// The value of a parameter that holds JSON is none, or has several meanings.
    #[error("the value of the parameter `{0}` is refused: {1}")]
    Json(Box<str>, json::Fault),
    /// A header that some server reads as a bound one is not spelt like it.
    #[error("a header that servers may read as `{0}` is not spelt so")]
    MisspeltHeader(HeaderName),
    /// `Connection` names a bound header, so it would not reach the upstream.
    #[error("`Connection` names the header `{0}`")]
    HopByHop(HeaderName),
}

impl BoundError {
    /// What is answered.
    pub(in crate::policy) fn cause(&self) -> Cause {
        match self {
            Self::Escape(_)
            | Self::MisspeltParameter(_)
            | Self::AfterSemicolon(_)
            | Self::Elsewhere(_)
            | Self::InPath
            | Self::TooMany
            | Self::NotText(_)
            | Self::Json(..) => Cause::AmbiguousParameter,
            Self::MisspeltHeader(_) | Self::HopByHop(_) => Cause::AmbiguousHeader,
        }
    }
}

/// The parameters that a route binds in the query, or in a urlencoded body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) struct BoundQuery(Vec<BoundName>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct BoundName {
    exact: Box<str>,
    folded: Box<str>,
    place: Belongs,
}

/// Where a parameter belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belongs {
    /// Here.
    Here,
    /// Elsewhere: here it must not stand.
    Elsewhere,
}

/// The values of a route's bound parameters in one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) struct QueryValues<'q> {
    /// The parameter's number, and a value: percent-decoded with `+` as space. In the order of the query.
    pub(in crate::policy) values: SmallVec<[(usize, Cow<'q, str>); 4]>,
    /// Numbers of parameters with a value that servers which split at `;` read shorter, so that a condition on them cannot be
    /// known to be false.
    pub(in crate::policy) wavering: SmallVec<[usize; 2]>,
}

impl BoundQuery {
    /// Binds a parameter by its decoded name and gives its number; a name that is bound already keeps its own.
    pub(in crate::policy) fn bind(&mut self, name: &str) -> usize {
        if let Some(number) = self.0.iter().position(|bound| *bound.exact == *name) {
            return number;
        }
        self.add(name, Belongs::Here);
        self.0.len() - 1
    }

    fn add(&mut self, name: &str, place: Belongs) {
        self.0.push(BoundName { exact: name.into(), folded: fold_decoded(name).into(), place });
    }

    /// Refuses here what belongs to another part of the request, unless it is bound here too.
    pub(in crate::policy) fn exclude(&mut self, other: &Self) {
        for name in other.names() {
            if !self.0.iter().any(|bound| *bound.exact == *name) {
                self.add(name, Belongs::Elsewhere);
            }
        }
    }

    /// The names that belong here, in the order of their numbers, before those that must not stand here.
    pub(in crate::policy) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|bound| bound.place == Belongs::Here).map(|bound| &*bound.exact)
    }

    /// Whether the route binds none: its query is not read at all.
    pub(in crate::policy) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Two bound names that servers may read as one, if there are any: no request with either passes.
    pub(in crate::policy) fn indistinguishable(&self) -> Option<(&str, &str)> {
        self.0.iter().enumerate().find_map(|(index, bound)| {
            let twin = self.0.iter().skip(index + 1).find(|other| other.folded == bound.folded)?;
            Some((&*bound.exact, &*twin.exact))
        })
    }

    /// The query with the names of bound parameters written so that servers which do not decode names find them, too; `None`
    /// where they are.
    pub(in crate::policy) fn spelt_plainly(&self, query: Query<'_>) -> Option<String> {
        if self.is_empty() || query.is_plain() {
            return None;
        }
        let bound = |name: &str| self.0.iter().any(|bound| *query.decode(name) == *bound.exact.as_bytes());
        let mut is_changed = false;
        let pieces = query.text().split('&').map(|piece| {
            let (name, rest) = piece.split_at(scan::find(b'=', piece.as_bytes()).unwrap_or(piece.len()));
            match without_needless_escapes(name).filter(|_| bound(name)) {
                Some(plain) => {
                    is_changed = true;
                    Cow::Owned(plain + rest)
                }
                None => Cow::Borrowed(piece),
            }
        });
        let spelt = pieces.collect::<Vec<_>>().join("&");
        is_changed.then_some(spelt)
    }

    /// Reads the bound parameters.
    ///
    /// # Errors
    /// A query in which some server could find other values.
    pub(in crate::policy) fn read<'q>(&self, query: Option<Query<'q>>) -> Result<QueryValues<'q>, BoundError> {
        let mut found = QueryValues::default();
        let Some(query) = query.filter(|_| !self.is_empty()) else { return Ok(found) };
        query.check_escapes().map_err(BoundError::Escape)?;
        // There are as many bytes as separators, at least.
        if query.text().len() >= MOST_PARAMETERS && query.parameters().nth(MOST_PARAMETERS).is_some() {
            return Err(BoundError::TooMany);
        }
        for parameter in query.parameters() {
            let name = parameter.raw_name;
            // A server that splits at `;` ends the name there, too.
            let head = scan::find(b';', name.as_bytes()).and_then(|end| name.get(..end));
            for (number, bound) in self.0.iter().enumerate() {
                if head.is_some_and(|head| query.name_folds_to(head, &bound.folded)) {
                    return Err(BoundError::MisspeltParameter(bound.exact.clone()));
                }
                if !query.name_folds_to(name, &bound.folded) {
                    continue;
                }
                if parameter.separator == Separator::Semicolon {
                    return Err(BoundError::AfterSemicolon(bound.exact.clone()));
                }
                if *query.decode(name) != *bound.exact.as_bytes() {
                    return Err(BoundError::MisspeltParameter(bound.exact.clone()));
                }
                if bound.place == Belongs::Elsewhere {
                    return Err(BoundError::Elsewhere(bound.exact.clone()));
                }
                let raw = parameter.raw_value.unwrap_or_default();
                let value = query.decode_text(raw).ok_or_else(|| BoundError::NotText(bound.exact.clone()))?;
                found.values.push((number, value));
                if scan::find(b';', raw.as_bytes()).is_some() && !found.wavering.contains(&number) {
                    found.wavering.push(number);
                }
            }
        }
        Ok(found)
    }
}

/// The fold of a name that is decoded already.
pub(in crate::policy) fn fold_decoded(name: &str) -> String {
    fold_name(&name.replace('%', "%25").replace('+', "%2B"))
}

/// The headers that a route binds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) struct BoundHeaders(Vec<(HeaderName, Box<str>)>);

impl BoundHeaders {
    /// Binds a header.
    pub(in crate::policy) fn bind(&mut self, name: &HeaderName) {
        if !self.0.iter().any(|(bound, _)| bound == name) {
            self.0.push((name.clone(), fold_header(name.as_str()).into()));
        }
    }

    /// Checks that every server finds the bound headers where the policy does. Allocates nothing.
    ///
    /// # Errors
    /// A header that folds like a bound one but is not it, case aside; `Connection` naming one.
    pub(in crate::policy) fn check(&self, headers: &HeaderMap) -> Result<(), BoundError> {
        if self.0.is_empty() {
            return Ok(());
        }
        for (name, value) in headers {
            if let Some(bound) = self.read_as(name.as_str()).find(|bound| *bound != name) {
                return Err(BoundError::MisspeltHeader(bound.clone()));
            }
            if name == header::CONNECTION {
                let options = value.as_bytes().split(|byte| *byte == b',');
                let mut options = options.filter_map(|option| std::str::from_utf8(option.trim_ascii()).ok());
                if let Some(bound) = options.find_map(|option| self.read_as(option).next()) {
                    return Err(BoundError::HopByHop(bound.clone()));
                }
            }
        }
        Ok(())
    }

    /// The bound headers that a server may take a name for.
    fn read_as<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h HeaderName> {
        self.0.iter().filter(move |(_, folded)| folds_to(name, folded)).map(|(bound, _)| bound)
    }
}

/// Whether a route that binds this header would refuse a request with these.
pub fn is_ambiguous_header(name: &HeaderName, headers: &HeaderMap) -> bool {
    let mut bound = BoundHeaders::default();
    bound.bind(name);
    bound.check(headers).is_err()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn bound(names: &[&str]) -> BoundQuery {
        let mut bound = BoundQuery::default();
        for name in names {
            bound.bind(name);
        }
        bound
    }

    fn values(names: &[&str], query: &str) -> Result<Vec<(usize, String)>, BoundError> {
        let read = bound(names).read(Some(Query::of(query)))?;
        Ok(read.values.iter().map(|(number, value)| (*number, value.to_string())).collect())
    }

    #[test]
    fn values_are_decoded_with_plus_as_space() {
        assert_eq!(
            values(&["org", "$filter"], "org=a+b%2Bc&x=%ff&%24filter=%C3%A4&org=&org&orgs=1&=1").unwrap(),
            [(0, "a b+c".into()), (1, "\u{e4}".into()), (0, String::new()), (0, String::new())]
        );
        assert_eq!(values(&["org"], "").unwrap(), []);
        assert_eq!(bound(&["org"]).read(None), Ok(QueryValues::default()));
    }

    #[test]
    fn a_name_that_folds_like_a_bound_one_must_be_spelt_exactly_so() {
        for query in [
            "org.uid=1",
            "org%2Euid=1",
            "org+uid=1",
            "org%20uid=1",
            "ORG_UID=1",
            "org_uid[]=1",
            "org_uid%5B0%5D=1",
            "org[uid=1",
            "[org_uid]=1",
            "org_uid[=1",
            "org_uid]=1",
            "org_uid[x=1",
            "+org_uid=1",
            "org_uid%20=1",
            "%09org_uid",
            "org_uid=1&Org_uid=2",
            "org_uid[x=1&org_uid[]=",
            "org_uid;x=1",
        ] {
            assert_eq!(values(&["org_uid"], query), Err(BoundError::MisspeltParameter("org_uid".into())), "{query}");
        }
        for query in ["org_uid=1", "org%5Fuid=1", "%6frg_uid=1"] {
            assert_eq!(values(&["org_uid"], query).unwrap(), [(0, "1".into())], "{query}");
        }
        for query in ["org__uid=1", "orguid=1", "org_uidx=1", "xorg_uid=1", "x[org_uid]=1"] {
            assert_eq!(values(&["org_uid"], query).unwrap(), [], "{query}");
        }
    }

    #[test]
    fn a_bound_name_with_brackets_is_bound_as_it_is() {
        assert_eq!(values(&["ids[]"], "ids[]=1&ids%5B%5D=2").unwrap(), [(0, "1".into()), (0, "2".into())]);
        assert_eq!(values(&["ids[]"], "ids=1"), Err(BoundError::MisspeltParameter("ids[]".into())));
        assert_eq!(values(&["a%b+c"], "a%25b%2Bc=1").unwrap(), [(0, "1".into())]);
    }

    #[test]
    fn a_bound_name_after_a_semicolon_is_refused_however_it_is_spelt() {
        for query in ["a=1;org=2", ";org=2", "a;org", "a=1;ORG[]=2", "org=1;org=1"] {
            assert_eq!(values(&["org"], query), Err(BoundError::AfterSemicolon("org".into())), "{query}");
        }
        let read = bound(&["org", "x"]).read(Some(Query::of("org=1;y=2&x=1%3By=2"))).unwrap();
        assert_eq!(read.values.as_slice(), [(0, "1;y=2".into()), (1, "1;y=2".into())]);
        assert_eq!(read.wavering.as_slice(), [0]);
    }

    #[test]
    fn so_many_parameters_that_servers_drop_some_are_refused() {
        assert_eq!(values(&["org"], &("x&".repeat(499) + "org=1")).unwrap(), [(0, "1".into())]);
        assert_eq!(values(&["org"], &("x&".repeat(500) + "org=1")), Err(BoundError::TooMany));
        assert_eq!(values(&["org"], &("x;".repeat(500) + "&org=1")), Err(BoundError::TooMany));
        assert_eq!(values(&[], &"x&".repeat(2000)).unwrap(), []);
    }

    #[test]
    fn a_query_that_cannot_be_decoded_is_refused() {
        for query in ["x=%", "x=%u0041", "%zz", "x=1&org=%4"] {
            assert_eq!(values(&["org"], query), Err(BoundError::Escape(EscapeError::Invalid)), "{query}");
        }
        assert_eq!(values(&["org"], "org%00x=1"), Err(BoundError::Escape(EscapeError::Nul)));
        assert_eq!(values(&["org"], "org=%ff"), Err(BoundError::NotText("org".into())));
        // Where nothing is bound, the query is not read.
        assert_eq!(values(&[], "x=%").unwrap(), []);
    }

    #[test]
    fn names_that_servers_cannot_tell_apart_exclude_each_other() {
        let twins = bound(&["a.b", "c", "a_b"]);
        assert_eq!(twins.indistinguishable(), Some(("a.b", "a_b")));
        assert!(twins.read(Some(Query::of("a.b=1"))).is_err() && twins.read(Some(Query::of("a_b=1"))).is_err());
        assert_eq!(bound(&["a", "b"]).indistinguishable(), None);
        let mut again = bound(&["a", "b"]);
        assert_eq!((again.bind("b"), again.bind("a"), again.bind("c")), (1, 0, 2));
    }

    fn check(bound: &str, headers: &[(&str, &str)]) -> Result<(), BoundError> {
        let mut rules = BoundHeaders::default();
        rules.bind(&HeaderName::from_bytes(bound.as_bytes()).unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        rules.check(&map)
    }

    #[test]
    fn a_header_that_folds_like_a_bound_one_must_be_it() {
        let name = HeaderName::from_static("x-org");
        assert_eq!(check("X-Org", &[("x-ORG", "1"), ("X-Org", "2"), ("x-orgs", "3")]), Ok(()));
        for alias in ["X_Org", "x.org", "x!org"] {
            assert_eq!(check("X-Org", &[("X-Org", "1"), (alias, "2")]), Err(BoundError::MisspeltHeader(name.clone())));
        }
        assert!(check("X_Org", &[("X-Org", "1")]).is_err());
    }

    #[test]
    fn connection_cannot_name_a_bound_header() {
        let name = HeaderName::from_static("x-org");
        for option in ["x-org", "close, X-Org", "close,\tx_org ,x", "X-ORG"] {
            let refused = check("X-Org", &[("Connection", "keep-alive"), ("Connection", option)]);
            assert_eq!(refused, Err(BoundError::HopByHop(name.clone())), "{option}");
        }
        assert_eq!(check("X-Org", &[("Connection", "close, x-orgs")]), Ok(()));
    }
}
