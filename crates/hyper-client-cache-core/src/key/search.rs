//! `No-Vary-Search` (draft-ietf-httpbis-no-vary-search): an origin says which parameters of its queries do not matter.
//!
//! What is malformed says nothing, so that URLs match exactly. Where this is in doubt it is stricter than the draft:
//! what is left of two queries is compared byte by byte, as everywhere in a key; a parameter that is a
//! [secret](super::Matching::secret_params) always counts, whatever the origin says; and a query with a `;` in it, which
//! some take for a separator, matches exactly (case 37).

use std::borrow::Cow;

use http::{HeaderValue, Method, Uri};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

use super::fields::{Fields, port, user_information};
use super::{KeyRequest, Keyer, Partition, query};
use crate::cache::{SearchRule, SearchVariance};
use crate::storage::CacheKey;

/// The longest field that is taken seriously, in bytes over all its lines.
const MAX_LEN: usize = 4 * 1024;

/// The most parameters that it may name.
const MAX_NAMES: usize = 64;

/// What the lines of a response's `No-Vary-Search` say; `None` where that is nothing, or is malformed.
#[must_use]
pub fn search_variance<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<SearchVariance> {
    let mut field = Vec::new();
    for line in lines {
        if !field.is_empty() {
            field.extend_from_slice(b", ");
        }
        field.extend_from_slice(line.as_bytes());
        if field.len() > MAX_LEN {
            return None;
        }
    }
    if field.is_empty() {
        return None;
    }
    let said: Dictionary = Parser::new(&field).parse().ok()?;
    let any_order = match said.get("key-order") {
        None => false,
        Some(entry) => boolean(entry)?,
    };
    let (all_but, names) = match (said.get("params"), said.get("except")) {
        (None, None) => (false, Vec::new()),
        (Some(ListEntry::InnerList(params)), None) => (false, names(params)?),
        (Some(entry), None) => (boolean(entry)?, Vec::new()),
        (Some(entry), Some(ListEntry::InnerList(except))) if boolean(entry)? => (true, names(except)?),
        // Exceptions from nothing, or of another kind.
        (_, Some(_)) => return None,
    };
    let variance = SearchVariance::new(any_order, all_but, names);
    (!variance.is_exact() && variance.names.len() <= MAX_NAMES).then_some(variance)
}

fn boolean(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => item.bare_item.as_boolean(),
        ListEntry::InnerList(_) => None,
    }
}

/// Names as a form's decoder reads them, because that is how those of a URL are compared.
fn names(list: &InnerList) -> Option<Vec<String>> {
    let name = |item: &BareItem| Some(query::decoded(item.as_string()?.as_str()).into_owned());
    list.items.iter().map(|item| name(&item.bare_item)).collect()
}

impl Keyer<'_> {
    /// Where the [`SearchRule`] is kept of the URLs that differ from this one only in the query.
    #[must_use]
    pub fn search_rule(&self, uri: &Uri) -> CacheKey {
        let mut hash = Fields::new(b"search-rule-1");
        hash.url(uri, uri.path());
        if !user_information(uri).is_empty() {
            hash.field(self.separation.secret);
        }
        hash.key()
    }

    /// Where it is listed what may answer this request and all that differ from it only in what does not matter by
    /// `rule`. `None` where the rule is not for such a request: only a GET or HEAD without a body goes by one.
    ///
    /// Partition and options are part of it, as of each key of a response.
    #[must_use]
    pub fn listed_by(
        &self,
        request: &KeyRequest<'_>,
        partition: Option<&Partition>,
        rule: &SearchRule,
    ) -> Option<CacheKey> {
        let options = self.matching.options();
        let is_plain = matches!(*request.method, Method::GET | Method::HEAD) && request.body.is_none();
        if !is_plain || options.key_fn.is_some() || self.overriding(request.headers).is_some() {
            return None;
        }
        let mut hash = Fields::new(b"search-1");
        self.add_rule(&mut hash, request.uri, rule)?;
        hash.field(request.method.as_str().as_bytes());
        hash.field(partition.map_or(&b""[..], |partition| partition));
        hash.field(options.fingerprint.as_ref().map_or(&b""[..], |fingerprint| fingerprint));
        self.matched_headers(&mut hash, request.headers);
        Some(hash.key())
    }

    /// The [group](Self::group) of all URLs that are the same as this one by `rule`, in every partition: it lists what
    /// an unsafe request to one of them removes. `None` where the rule is not for such a URL.
    #[must_use]
    pub fn group_by(&self, uri: &Uri, rule: &SearchRule) -> Option<CacheKey> {
        let mut hash = Fields::new(b"search-group-1");
        self.add_rule(&mut hash, uri, rule)?;
        Some(hash.key())
    }

    /// Whether what is stored with the [`shown_url`](Self::shown_url) `stored` may answer a request for `uri`, where the
    /// stored response says this about its query.
    #[must_use]
    pub fn is_shown_url_by(&self, uri: &Uri, stored: &str, variance: &SearchVariance) -> bool {
        let Ok(stored) = stored.parse::<Uri>() else { return false };
        let same_host = uri.host().unwrap_or("").eq_ignore_ascii_case(stored.host().unwrap_or(""));
        // Hidden values count as such on both sides: what they are, the key has told.
        let left = |uri: &Uri| self.left_by(uri, variance).map(|query| self.shown_query(&query).into_owned());
        same_host
            && uri.scheme() == stored.scheme()
            && port(uri) == port(&stored)
            && uri.path() == stored.path()
            && left(uri).is_some_and(|query| Some(query) == left(&stored))
    }

    fn add_rule(&self, hash: &mut Fields, uri: &Uri, rule: &SearchRule) -> Option<()> {
        let variance = &rule.variance;
        let query = self.left_by(uri, variance)?;
        // There may be a secret in the query.
        hash.field(self.separation.secret);
        hash.field(rule.id.as_bytes());
        hash.number(u64::from(variance.any_order));
        hash.number(u64::from(variance.all_but));
        hash.number(variance.names.len() as u64);
        variance.names.iter().for_each(|name| hash.field(name.as_bytes()));
        hash.url(uri, uri.path());
        hash.field(query.as_bytes());
        Some(())
    }

    /// What of the query counts by the options and by what its origin says; `None` where that is not to be told.
    fn left_by<'u>(&self, uri: &'u Uri, variance: &SearchVariance) -> Option<Cow<'u, str>> {
        let query = uri.query().unwrap_or_default();
        if query.contains(';') {
            return None;
        }
        let options = self.matching.options();
        let ignores = |name: &str| {
            options.ignored_params.as_ref().is_some_and(|ignored| ignored.contains(name))
                || (variance.drops(name) && !query::is_name(name, &|name: &str| self.matching.is_secret_param(name)))
        };
        let sort = variance.any_order || options.sort_query.unwrap_or(false);
        Some(query::counted_by(query, sort, ignores))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::super::Matching;
    use super::*;

    fn said(lines: &[&str]) -> Option<SearchVariance> {
        let lines: Vec<_> = lines.iter().map(|line| HeaderValue::from_bytes(line.as_bytes()).unwrap()).collect();
        search_variance(lines.iter())
    }

    fn listed(keyer: &Keyer<'_>, url: &str, rule: &SearchRule) -> Option<CacheKey> {
        let (uri, headers) = (url.parse().unwrap(), HeaderMap::new());
        keyer.listed_by(&KeyRequest::new(&Method::GET, &uri, &headers), None, rule)
    }

    fn rule(line: &str) -> SearchRule {
        SearchRule::new(CacheKey::from_digest([0; 32]), "1", said(&[line]).unwrap())
    }

    /// Feature 49: what the draft gives as examples.
    #[test]
    fn the_field_is_read_as_the_draft_says() {
        let none: [&str; 0] = [];
        for (lines, expected) in [
            (&["key-order"][..], SearchVariance::new(true, false, none)),
            (&["key-order=?1"], SearchVariance::new(true, false, none)),
            (&["params"], SearchVariance::new(false, true, none)),
            (&["params=?1"], SearchVariance::new(false, true, none)),
            (&["params=(\"b\" \"a\" \"b\")"], SearchVariance::new(false, false, ["a", "b"])),
            (&["params, except=(\"x\")"], SearchVariance::new(false, true, ["x"])),
            (&["params, except=()"], SearchVariance::new(false, true, none)),
            (&["params", "key-order, except=(\"x\")"], SearchVariance::new(true, true, ["x"])),
            (&["params=(\"%C3%A9+%E6%B0%97\")"], SearchVariance::new(false, false, ["é 気"])),
            (&["key-order=?0, params=(\"a\";q=1);r, later=\"x\""], SearchVariance::new(false, false, ["a"])),
            (&["params=1, params=(\"a\")"], SearchVariance::new(false, false, ["a"])),
        ] {
            assert_eq!(said(lines), Some(expected), "{lines:?}");
        }
    }

    /// Feature 49: what is malformed, or says nothing, lets URLs match exactly.
    #[test]
    fn what_is_malformed_says_nothing() {
        for line in [
            "",
            "unknown-key",
            "key-order=\"not a boolean\"",
            "key-order=1",
            "key-order=()",
            "params=\"a\"",
            "params=(a)",
            "params=(\"a\" 1)",
            "params=(\"a\"), except=(\"x\")",
            "params=(), except=()",
            "params=?0, except=(\"x\")",
            "params, except=(x)",
            "params, except=\"x\"",
            "params, except=?1",
            "params, except",
            "except=(\"x\")",
            "except=()",
            "params=?0",
            "params=()",
            "key-order=?0",
            "params=(\"a\"",
            "params,",
            "Params",
            "params=(\"\u{e9}\")",
        ] {
            assert_eq!(said(&[line]), None, "{line}");
        }
        assert_eq!(said(&[]), None);
        let many = |count: usize| {
            format!("params=({})", (0..count).map(|n| format!("\"a{n}\"")).collect::<Vec<_>>().join(" "))
        };
        assert!(said(&[&many(MAX_NAMES)]).is_some());
        assert_eq!(said(&[&many(MAX_NAMES + 1)]), None);
        assert_eq!(said(&[&format!("params=(\"{}\")", "a".repeat(MAX_LEN))]), None, "longer than anybody writes it");
    }

    /// Feature 49 and cases 36 to 38: only what the origin has named does not matter; all else counts byte by byte.
    #[test]
    fn only_what_the_origin_names_does_not_matter() {
        let keyer = Keyer::default();
        let same = |line: &str, one: &str, other: &str| {
            let (rule, url) = (rule(line), |query: &str| format!("http://u:p@host/a{query}"));
            let (one, other) = (url(one), url(other));
            let listed = (listed(&keyer, &one, &rule), listed(&keyer, &other, &rule));
            let grouped = |url: &str| keyer.group_by(&url.parse().unwrap(), &rule);
            let is_same = listed.0.is_some() && listed.0 == listed.1;
            assert_eq!(is_same, grouped(&one).is_some() && grouped(&one) == grouped(&other), "{line} {one} {other}");
            let shown = keyer.shown_url(&one.parse().unwrap());
            assert_eq!(is_same, keyer.is_shown_url_by(&other.parse().unwrap(), &shown, &rule.variance));
            is_same
        };
        for (line, one, other, expected) in [
            ("params=(\"x\")", "?a=1&x=1", "?a=1", true),
            ("params=(\"x\")", "?x=1&a=1&x=2", "?%78=3&a=1", true),
            ("params=(\"x\")", "?x", "", true),
            ("params=(\"x\")", "?a=1&X=1", "?a=1", false),
            ("params=(\"x\")", "?a=1&b=1", "?b=1&a=1", false),
            ("params=(\"x\")", "?a=1", "?%61=1", false),
            ("params=(\"x\")", "?a=1", "?a=1;x=1", false),
            ("params=(\"x\")", "?a=1;x=1", "?a=1;x=1", false),
            ("params", "?a=1&b", "", true),
            ("params, except=(\"a\")", "?b=1&a=1&c", "?a=1", true),
            ("params, except=(\"a\")", "?a=1", "?a=2", false),
            ("params, except=(\"a\")", "?a=1&a=2", "?a=2&a=1", false),
            ("key-order", "?b=1&a=1", "?a=1&b=1", true),
            ("key-order", "?a=1&b=1&a=2", "?b=1&a=1&a=2", true),
            ("key-order", "?a=1&a=2", "?a=2&a=1", false),
            ("key-order", "?a=1&A=2", "?A=2&a=1", false),
            // A secret counts, whatever the origin says.
            ("params", "?token=1", "?token=2", false),
            ("params", "?%2574oken=1", "?%2574oken=2", false),
            ("params=(\"api_key\")", "?api_key=1&a", "?a", false),
        ] {
            // Hidden values are the same as they are shown.
            if line == "params" && one.contains("oken") {
                assert_ne!(
                    listed(&keyer, &format!("http://h/{one}"), &rule(line)),
                    listed(&keyer, &format!("http://h/{other}"), &rule(line))
                );
            } else {
                assert_eq!(same(line, one, other), expected, "{line} {one} {other}");
            }
        }
    }

    /// Feature 49: another path, host, partition, set of options or rule is never the same.
    #[test]
    fn nothing_but_the_query_is_merged() {
        let (all, keyer) = (rule("params"), Keyer::default());
        let with = |matching: &Matching, url: &str, rule: &SearchRule| {
            listed(&Keyer { matching, ..Keyer::default() }, url, rule).unwrap()
        };
        let sorted = Matching::default().sort_query(true);
        let other_id = SearchRule { id: "2".into(), ..all.clone() };
        let plain = Matching::default();
        let headers = HeaderMap::new();
        let uri = "http://host/a".parse().unwrap();
        let seen = [
            with(&plain, "http://host/a", &all),
            with(&plain, "https://host/a", &all),
            with(&plain, "http://host:81/a", &all),
            with(&plain, "http://other/a", &all),
            with(&plain, "http://u:p@host/a", &all),
            with(&plain, "http://host/a/", &all),
            with(&sorted, "http://host/a", &all),
            with(&plain, "http://host/a", &other_id),
            with(&plain, "http://host/a", &rule("params, key-order")),
            keyer.listed_by(&KeyRequest::new(&Method::HEAD, &uri, &headers), None, &all).unwrap(),
            keyer.listed_by(&KeyRequest::new(&Method::GET, &uri, &headers), Some(&[1; 32]), &all).unwrap(),
            keyer.group_by(&uri, &all).unwrap(),
            keyer.search_rule(&uri),
            keyer.group(&uri),
            super::super::primary(&Method::GET, &uri, None),
        ];
        for (at, one) in seen.iter().enumerate() {
            assert!(seen.iter().skip(at + 1).all(|other| other != one), "{at}");
        }
        let post = KeyRequest::new(&Method::POST, &uri, &headers);
        assert_eq!(keyer.listed_by(&post, None, &all), None);
        assert_eq!(keyer.listed_by(&KeyRequest::new(&Method::GET, &uri, &headers).with_body(b"x"), None, &all), None);
        let with_fn = Matching::default().key_fn("x", |_| None);
        assert_eq!(listed(&Keyer { matching: &with_fn, ..keyer }, "http://host/a", &all), None);
    }

    proptest! {
        /// Case 99: any field is read without a panic.
        #[test]
        fn any_field_is_handled(line in "[a-z\"()=?1, ;%+-]{0,48}") {
            let _ = said(&[&line]);
        }

        /// Whatever counts as the same here does so by the draft too: by a plain model of it.
        #[test]
        fn what_is_the_same_is_so_by_the_draft(one in "[abx=1&%]{0,10}", other in "[abx=1&%]{0,10}", order: bool) {
            let line = if order { "params=(\"x\"), key-order" } else { "params=(\"x\")" };
            let model = |query: &str| {
                let pieces = query.split('&').filter(|piece| !piece.is_empty());
                let mut pairs: Vec<_> = pieces
                    .map(|piece| {
                        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                        (query::decoded(name).into_owned(), query::decoded(value).into_owned())
                    })
                    .filter(|(name, _)| name != "x")
                    .collect();
                if order {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                }
                pairs
            };
            let (rule, keyer) = (rule(line), Keyer::default());
            let left = |query: &str| {
                let uri: Uri = format!("http://host/?{query}").parse().unwrap();
                keyer.left_by(&uri, &rule.variance).unwrap().into_owned()
            };
            if left(&one) == left(&other) {
                prop_assert_eq!(model(&one), model(&other));
            }
        }
    }
}
