//! Which request headers select among the variants of a URL, and whether a request selects one
//! (RFC 9111 section 4.1).
//!
//! Values are compared as bytes, line by line, in order; a field that is absent is not one that is empty.
//! Read next: `revalidate`.

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, VARY};
use http::{HeaderMap, HeaderName};

use super::directives::trim;
use super::reason::Reason;
use crate::cache::Selecting;

/// The longest `Vary` that is taken seriously, in bytes over all its lines.
const MAX_VARY_LEN: usize = 8 * 1024;

/// The most fields that may select.
const MAX_VARY_NAMES: usize = 64;

/// What stands in for the value of a field that carries a secret: a keyed hash of the field's name and the value.
pub type Hash<'a> = dyn Fn(&str, &[u8]) -> Vec<u8> + 'a;

/// The fields that a response's `Vary` names, in lower case, sorted, each once.
///
/// # Errors
/// [`Reason::VaryStar`] where `*` is anywhere among them, [`Reason::VaryMalformed`] where something else than a field
/// name is or the list is unreasonably long: such a response cannot be told from its siblings, so it is not stored.
pub fn vary_names(headers: &HeaderMap) -> Result<Vec<HeaderName>, Reason> {
    let lines = headers.get_all(VARY);
    if lines.iter().map(|line| line.len()).fold(0, usize::saturating_add) > MAX_VARY_LEN {
        return Err(Reason::VaryMalformed);
    }
    let elements = || lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(trim);
    // No field has a star in its name, so that one anywhere is taken for the star alone.
    if elements().any(|element| element.contains(&b'*')) {
        return Err(Reason::VaryStar);
    }
    let mut names = elements()
        .filter(|element| !element.is_empty())
        .map(|element| HeaderName::from_bytes(element).map_err(|_| Reason::VaryMalformed))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if names.len() > MAX_VARY_NAMES { Err(Reason::VaryMalformed) } else { Ok(names) }
}

/// What `request_headers` have of the fields `names`, as it is stored with the response.
#[must_use]
pub fn selecting(names: &[HeaderName], request_headers: &HeaderMap, hash: &Hash<'_>) -> Vec<Selecting> {
    names
        .iter()
        .map(|name| {
            let lines = request_headers.get_all(name).iter();
            let values = if is_secret(name.as_str()) {
                lines.map(|line| hash(name.as_str(), line.as_bytes())).collect()
            } else {
                lines.map(|line| line.as_bytes().to_vec()).collect()
            };
            Selecting::new(name.as_str(), values)
        })
        .collect()
}

/// Whether a request with these headers selects the response that `selecting` was stored with.
#[must_use]
pub fn matches(selecting: &[Selecting], request_headers: &HeaderMap, hash: &Hash<'_>) -> bool {
    selecting.iter().all(|field| {
        let lines = request_headers.get_all(field.name.as_str()).iter();
        if is_secret(&field.name) {
            lines.map(|line| hash(&field.name, line.as_bytes())).eq(field.values.iter().cloned())
        } else {
            lines.map(|line| line.as_bytes()).eq(field.values.iter().map(Vec::as_slice))
        }
    })
}

fn is_secret(name: &str) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].iter().any(|secret| secret == name)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{hash, headers};
    use super::*;

    fn names(lines: &[&str]) -> Result<Vec<String>, Reason> {
        let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        Ok(vary_names(&headers(&lines))?.iter().map(ToString::to_string).collect())
    }

    fn selects(vary: &str, first: &[(&str, &str)], second: &[(&str, &str)]) -> bool {
        let names = vary_names(&headers(&[("vary", vary)])).unwrap();
        let stored = selecting(&names, &headers(first), &hash);
        assert!(matches(&stored, &headers(first), &hash));
        matches(&stored, &headers(second), &hash)
    }

    #[test]
    fn names_are_in_lower_case_sorted_and_single() {
        assert_eq!(names(&[]), Ok(vec![]));
        assert_eq!(names(&["", " ,, "]), Ok(vec![]));
        assert_eq!(
            names(&["Cookie, accept", "ACCEPT ,x-a"]),
            Ok(vec!["accept".to_owned(), "cookie".to_owned(), "x-a".to_owned()])
        );
    }

    /// Case 41: a star anywhere, on any line.
    #[test]
    fn a_star_anywhere_is_a_star() {
        for lines in [&["*"][..], &["*, *"], &[", *"], &["Foo, *"], &["Foo", " * "], &["a b, *"], &["**"]] {
            assert_eq!(names(lines), Err(Reason::VaryStar), "{lines:?}");
        }
    }

    /// Cases 42 and 108: what is no list of names, or too long a one.
    #[test]
    fn a_malformed_list_is_refused() {
        for line in ["x y", "a:b", "a;b", "\"a\"", "\u{e9}"] {
            assert_eq!(names(&[line]), Err(Reason::VaryMalformed), "{line}");
        }
        assert_eq!(names(&["a,".repeat(1 << 19).as_str()]), Err(Reason::VaryMalformed));
        assert_eq!(names(&[",".repeat(1 << 20).as_str()]), Err(Reason::VaryMalformed));
        let many: Vec<_> = (0..=MAX_VARY_NAMES).map(|number| format!("x-{number}")).collect();
        assert_eq!(names(&[&many.join(",")]), Err(Reason::VaryMalformed));
        assert_eq!(names(&[&many[1..].join(",")]).map(|names| names.len()), Ok(MAX_VARY_NAMES));
    }

    /// Case 40: an absent field is not an empty one.
    #[test]
    fn absent_is_not_empty() {
        assert!(!selects("x-a", &[], &[("x-a", "")]));
        assert!(!selects("x-a", &[("x-a", "")], &[]));
        assert!(selects("x-a", &[], &[("x-b", "1")]));
        assert!(selects("x-a", &[("x-a", "")], &[("x-a", "")]));
    }

    /// Case 43: every line counts, in order.
    #[test]
    fn all_lines_are_compared_in_order() {
        assert!(!selects("x-user", &[("x-user", "a"), ("x-user", "1")], &[("x-user", "a"), ("x-user", "2")]));
        assert!(!selects("x-user", &[("x-user", "a"), ("x-user", "1")], &[("x-user", "a")]));
        assert!(!selects("x-user", &[("x-user", "a")], &[("x-user", "a"), ("x-user", "a")]));
        assert!(!selects("x-user", &[("x-user", "a"), ("x-user", "b")], &[("x-user", "b"), ("x-user", "a")]));
        assert!(!selects("x-user", &[("x-user", "a"), ("x-user", "b")], &[("x-user", "a, b")]));
    }

    /// Case 44: case and order within a value count.
    #[test]
    fn values_are_compared_exactly() {
        assert!(!selects("x-tenant", &[("x-tenant", "A,B")], &[("x-tenant", "a,b")]));
        assert!(!selects("x-tenant", &[("x-tenant", "A,B")], &[("x-tenant", "B,A")]));
        assert!(!selects("x-a, x-b", &[("x-a", "1"), ("x-b", "2")], &[("x-a", "1"), ("x-b", "3")]));
        assert!(selects("x-a, x-b", &[("x-a", "1"), ("x-b", "2")], &[("x-b", "2"), ("X-A", "1"), ("x-c", "3")]));
    }

    /// Case 45: bytes that are not UTF-8 are bytes.
    #[test]
    fn values_are_bytes() {
        assert!(!selects("x-a", &[("x-a", "\u{e9}")], &[("x-a", "\u{e8}")]));
        let names = vary_names(&headers(&[("vary", "x-a")])).unwrap();
        let stored = selecting(&names, &headers(&[("x-a", "\u{e9}")]), &hash);
        assert_eq!(stored[0].values, [[0xe9]]);
    }

    /// Case 8: a secret is neither stored in clear nor made equal to another.
    #[test]
    fn secrets_are_hashed_and_still_tell_callers_apart() {
        for name in ["authorization", "cookie", "proxy-authorization"] {
            assert!(!selects(name, &[(name, "canary")], &[(name, "other")]));
            assert!(!selects(name, &[(name, "canary")], &[]));
            let stored = selecting(&[HeaderName::from_static(name)], &headers(&[(name, "canary")]), &hash);
            assert_eq!(stored[0].values, [hash(name, b"canary")]);
        }
    }
}
