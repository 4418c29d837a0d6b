//! From the key that a response was stored under by some settings to the one that others give it.
//!
//! A record says which URL and which `Vary` fields it was stored for, and nothing of its caller, its request's body or
//! other fields. So its key is made anew from what it says, by the settings that it was stored by: where that is the key
//! that it has, nothing else was part of it, and the key by other settings is known too.

use http::{HeaderMap, Method, Uri};

use super::names::Names;
use super::options::Options;
use super::{Identity, KeyRequest, Keyer, query};
use crate::cache::Selecting;
use crate::storage::CacheKey;

/// What becomes of a key by other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rekey {
    /// It is the key by these settings too.
    Same,
    /// By these settings the response belongs there.
    Moves(Identity),
    /// It cannot be told from the record: it is another caller's, or something counts that is not stored.
    Unknown,
}

impl Keyer<'_> {
    /// The key by these settings of what has the primary key `key` and the [`shown_url`](Self::shown_url) `shown`, and was
    /// stored by `before`.
    ///
    /// Where settings would give a response to callers who could not have had it before, the answer is
    /// [`Rekey::Unknown`].
    #[must_use]
    pub fn rekey(&self, before: &Keyer<'_>, method: &Method, shown: &Uri, key: &CacheKey) -> Rekey {
        let headers = HeaderMap::new();
        let plain = KeyRequest::new(method, shown, &headers);
        let Some(after) = self.identify(&plain) else { return Rekey::Unknown };
        if after.primary == *key {
            return Rekey::Same;
        }
        let is_known = before.identify(&plain).is_some_and(|earlier| earlier.primary == *key);
        if is_known && self.keeps_apart(before) && !self.misses_value(before, shown) {
            Rekey::Moves(after)
        } else {
            Rekey::Unknown
        }
    }

    /// The values of the fields `vary` by these settings, where they were `stored` by `before`; `None` where one is not
    /// known.
    #[must_use]
    pub fn reselect<'n>(
        &self,
        before: &Keyer<'_>,
        vary: impl IntoIterator<Item = &'n str>,
        stored: &[Selecting],
    ) -> Option<Vec<Selecting>> {
        let same_secret = self.separation.secret == before.separation.secret;
        let counted = vary.into_iter().filter(|name| !self.matching.ignores_header(name));
        counted
            .map(|name| {
                let was_secret = before.matching.is_secret_header(name);
                let is_legible = was_secret == self.matching.is_secret_header(name) && (same_secret || !was_secret);
                stored.iter().find(|field| field.name == name).filter(|_| is_legible).cloned()
            })
            .collect()
    }

    /// Whether nobody is given by these settings what `before` kept from them, whatever request it was stored for.
    fn keeps_apart(&self, before: &Keyer<'_>) -> bool {
        let (ours, theirs) = (self.matching.options(), before.matching.options());
        let by_hand = |options: &Options, other: Option<&str>| options.partition.clone().or(other.map(str::to_owned));
        let separates = |keyer: &Keyer<'_>| {
            keyer.separation.by_credentials && keyer.matching.options().separate_credentials.unwrap_or(true)
        };
        let written = |names: &Option<Names>| names.as_ref().map(|names| names.written().to_vec()).unwrap_or_default();
        let (secret, was_secret) = (written(&ours.secret_headers), written(&theirs.secret_headers));
        let function = |options: &Options| options.key_fn.as_ref().map(|key_fn| key_fn.name.clone());
        // What a request had of matched fields is not stored; that it had none of those of before is known.
        let matched = |options: &Options| (written(&options.match_headers), written(&options.ignored_headers));
        let same_matched = matched(ours).0.is_empty() || matched(ours) == matched(theirs);
        by_hand(ours, self.separation.by_hand) == by_hand(theirs, before.separation.by_hand)
            && self.separation.by_credentials == before.separation.by_credentials
            && self.separation.apart == before.separation.apart
            && ours.transport == theirs.transport
            // What many callers have put in one place is nobody's in particular.
            && separates(self) == separates(before)
            && secret.iter().all(|name| was_secret.contains(name))
            && (ours.key_fn.is_none() || function(ours) == function(theirs))
            && same_matched
    }

    /// Whether a parameter counts whose value `before` has not let be stored.
    fn misses_value(&self, before: &Keyer<'_>, shown: &Uri) -> bool {
        let counts = |name: &str| {
            before.matching.hides_param(name)
                && !self.matching.options().ignored_params.as_ref().is_some_and(|ignored| ignored.contains(name))
        };
        shown.query().is_some_and(|query| query::has_hidden(query, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Matching, Separation, variant};
    use super::*;

    fn keyer(matching: &Matching) -> Keyer<'_> {
        Keyer { matching, separation: Separation::default() }
    }

    fn outcome(before: &Matching, after: &Matching, url: &str) -> Rekey {
        let (uri, headers) = (url.parse().unwrap(), HeaderMap::new());
        let key = keyer(before).identify(&KeyRequest::new(&Method::GET, &uri, &headers)).unwrap().primary;
        let shown = keyer(before).shown_url(&uri).parse().unwrap();
        keyer(after).rekey(&keyer(before), &Method::GET, &shown, &key)
    }

    /// Feature 50: a key is made anew where the record says all that it was made of.
    #[test]
    fn what_is_known_moves() {
        let default = Matching::default;
        let url = "http://host/?b=1&a=2&x=3";
        for (before, after) in [
            (default(), default().sort_query(true)),
            (default().sort_query(true), default()),
            (default(), default().ignored_params(["x"])),
            (default().ignored_params(["x"]), default().ignored_params(["x", "a"])),
            (default(), default().ignored_headers(["accept"])),
            (default().match_headers(["a"]), default().match_headers(["a"]).sort_query(true)),
            (default().match_headers(["a"]), default()),
            (default().key_fn("f", |_| Some(b"1".to_vec())), default()),
            (default(), default().method_override(true)),
        ] {
            let Rekey::Moves(to) = outcome(&before, &after, url) else { panic!("{before:?} {after:?}") };
            let (uri, headers) = (url.parse().unwrap(), HeaderMap::new());
            assert_eq!(Some(to), keyer(&after).identify(&KeyRequest::new(&Method::GET, &uri, &headers)));
        }
        assert_eq!(outcome(&default(), &default().no_vary_search(true), url), Rekey::Same);
        assert_eq!(outcome(&default(), &default().secret_params(["y"]), url), Rekey::Same);
    }

    /// Feature 50, cases 4 to 7, 31, 34, 36 and 72: what is not known stays, and so does what others must not have.
    #[test]
    fn what_is_not_known_stays() {
        let default = Matching::default;
        let url = "http://host/?b=1&a=2&x=3";
        for (before, after) in [
            (default().ignored_params(["x"]), default()),
            (default(), default().match_headers(["a"])),
            (default(), default().key_fn("f", |_| Some(b"1".to_vec()))),
            (default().separate_credentials(false), default()),
            (default(), default().separate_credentials(false)),
            (default(), default().partition("x")),
            (default().partition("x"), default()),
            (default(), default().transport("unverified")),
            (default().transport("unverified"), default()),
            (default(), default().secret_headers(["x-login"]).sort_query(true)),
        ] {
            assert_eq!(outcome(&before, &after, url), Rekey::Unknown, "{before:?} {after:?}");
        }
        for url in ["http://u:p@host/?b&a", "http://host/?token=1&b&a"] {
            assert_eq!(outcome(&default(), &default().sort_query(true), url), Rekey::Unknown, "{url}");
        }
        let (uri, mut headers) = ("http://host/?b&a".parse().unwrap(), HeaderMap::new());
        headers.insert(http::header::AUTHORIZATION, "a".parse().unwrap());
        let before = Keyer::default();
        let sorted = default().sort_query(true);
        for request in [
            KeyRequest::new(&Method::GET, &uri, &headers),
            KeyRequest::new(&Method::GET, &uri, &HeaderMap::new()).with_body(b"x"),
            KeyRequest::new(&Method::POST, &uri, &HeaderMap::new()),
        ] {
            let key = before.identify(&request).unwrap().primary;
            assert_eq!(keyer(&sorted).rekey(&before, &Method::GET, &uri, &key), Rekey::Unknown, "{request:?}");
        }
        let key = variant(&before.group(&uri), &[]);
        assert_eq!(keyer(&sorted).rekey(&before, &Method::GET, &uri, &key), Rekey::Unknown, "no key of a request");
    }

    /// Case 8: a hash is not one by another secret, and no value in clear.
    #[test]
    fn values_that_select_are_kept_where_they_are_known() {
        let stored = [Selecting::new("accept", vec![b"a".to_vec()]), Selecting::new("cookie", vec![b"hash".to_vec()])];
        let (before, sorted) = (Keyer::default(), Matching::default().sort_query(true));
        let after = keyer(&sorted);
        assert_eq!(after.reselect(&before, ["accept", "cookie"], &stored), Some(stored.to_vec()));
        assert_eq!(after.reselect(&before, ["accept", "user-agent"], &stored), None);
        let other = Keyer { separation: Separation { secret: b"other", ..Separation::default() }, ..after };
        assert_eq!(other.reselect(&before, ["cookie"], &stored), None);
        assert_eq!(other.reselect(&before, ["accept"], &stored), Some(stored[..1].to_vec()));
        let (ignoring, secret) =
            (Matching::default().ignored_headers(["accept"]), Matching::default().secret_headers(["accept"]));
        assert_eq!(keyer(&ignoring).reselect(&before, ["accept"], &stored), Some(Vec::new()));
        assert_eq!(keyer(&secret).reselect(&before, ["accept"], &stored), None);
    }
}
