//! Which request headers select among the variants of a URL, and whether a request selects one
//! (RFC 9111 section 4.1).
//!
//! Values are compared as bytes, line by line, in order; a field that is absent is not one that is empty.
//! Read next: `revalidate`.

use http::header::VARY;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::directives::trim;
use super::reason::Reason;
use crate::cache::Selecting;
use crate::key::{Keyer, accept};

/// The longest `Vary` that is taken seriously, in bytes over all its lines.
const MAX_VARY_LEN: usize = 8 * 1024;

/// The most fields that may select.
const MAX_VARY_NAMES: usize = 64;

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

/// What `request_headers` have of the fields `names`, as it is stored with the response: a keyed hash where the field is
/// a credential, one value in a spelling of its own where its grammar says what of the spelling does not count. Fields
/// that are ignored are left out.
#[must_use]
pub fn selecting(names: &[HeaderName], request_headers: &HeaderMap, keyer: &Keyer<'_>) -> Vec<Selecting> {
    names
        .iter()
        .filter(|name| !keyer.matching.ignores_header(name.as_str()))
        .map(|name| Selecting::new(name.as_str(), values(name.as_str(), request_headers, keyer)))
        .collect()
}

/// Whether a request with these headers selects the response that `selecting` was stored with.
#[must_use]
pub fn matches(selecting: &[Selecting], request_headers: &HeaderMap, keyer: &Keyer<'_>) -> bool {
    selecting.iter().all(|field| {
        let lines = request_headers.get_all(field.name.as_str()).iter();
        lines.map(HeaderValue::as_bytes).eq(field.values.iter().map(Vec::as_slice))
            && !keyer.matching.is_secret_header(&field.name)
            || values(&field.name, request_headers, keyer) == field.values
    })
}

/// The values of a field as they select.
fn values(name: &str, request_headers: &HeaderMap, keyer: &Keyer<'_>) -> Vec<Vec<u8>> {
    let lines = || request_headers.get_all(name).iter();
    if lines().next().is_none() {
        return Vec::new();
    }
    if let Some(value) = accept::normalized(name, lines()) {
        return vec![value];
    }
    lines().map(|line| keyer.hash_secret(name, line.as_bytes()).unwrap_or_else(|| line.as_bytes().to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::headers;
    use super::*;

    fn names(lines: &[&str]) -> Result<Vec<String>, Reason> {
        let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        Ok(vary_names(&headers(&lines))?.iter().map(ToString::to_string).collect())
    }

    fn selects(vary: &str, first: &[(&str, &str)], second: &[(&str, &str)]) -> bool {
        let names = vary_names(&headers(&[("vary", vary)])).unwrap();
        let stored = selecting(&names, &headers(first), &Keyer::default());
        assert!(matches(&stored, &headers(first), &Keyer::default()));
        matches(&stored, &headers(second), &Keyer::default())
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

    /// Feature 41: what the grammar of `Accept` and its like does not tell apart is one.
    #[test]
    fn spelling_does_not_count_where_the_grammar_says_so() {
        for (name, one, other) in [
            ("accept-encoding", "gzip, br", "GZIP,br"),
            ("accept-language", "de;q=0.5, en", "en,de; q=0.5"),
            ("accept", "text/html, */*;q=0.1", "*/*;q=0.1, Text/HTML"),
        ] {
            assert!(selects(name, &[(name, one)], &[(name, other)]), "{name}");
        }
        assert!(!selects("accept-language", &[("accept-language", "de, en")], &[("accept-language", "en, de")]));
        assert!(!selects("accept-encoding", &[], &[("accept-encoding", "")]));
    }

    /// Feature 36: an ignored field does not select; a credential does all the same.
    #[test]
    fn ignored_fields_do_not_select() {
        let ignoring = || crate::key::Matching::default().ignored_headers(["User-*", "cookie"]);
        let (matching, shared) = (ignoring(), ignoring().separate_credentials(false));
        let names = vary_names(&headers(&[("vary", "accept, user-agent, cookie")])).unwrap();
        let of = |matching| Keyer { matching, ..Keyer::default() };
        let selected = selecting(&names, &headers(&[]), &of(&matching));
        assert_eq!(selected.iter().map(|field| &field.name[..]).collect::<Vec<_>>(), ["accept", "cookie"]);
        let selected = selecting(&names, &headers(&[]), &of(&shared));
        assert_eq!(selected.len(), 1);
    }

    /// Case 45: bytes that are not UTF-8 are bytes.
    #[test]
    fn values_are_bytes() {
        assert!(!selects("x-a", &[("x-a", "\u{e9}")], &[("x-a", "\u{e8}")]));
        let names = vary_names(&headers(&[("vary", "x-a")])).unwrap();
        let stored = selecting(&names, &headers(&[("x-a", "\u{e9}")]), &Keyer::default());
        assert_eq!(stored[0].values, [[0xe9]]);
    }

    /// Case 8: a secret is neither stored in clear nor made equal to another.
    #[test]
    fn secrets_are_hashed_and_still_tell_callers_apart() {
        for name in ["authorization", "cookie", "proxy-authorization", "x-api-key"] {
            assert!(!selects(name, &[(name, "canary")], &[(name, "other")]));
            assert!(!selects(name, &[(name, "canary")], &[]));
            let stored = selecting(&[HeaderName::from_static(name)], &headers(&[(name, "canary")]), &Keyer::default());
            assert_eq!(stored[0].values, [Keyer::default().hash_secret(name, b"canary").unwrap()]);
        }
    }
}
