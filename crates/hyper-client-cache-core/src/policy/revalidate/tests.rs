//! What is asked with validators, and what a 304 changes.

use std::time::Duration;

use http::Method;

use super::super::settings::{ExpireAfter, Mode};
use super::super::testing::{Exchange, date, headers, now, seconds};
use super::*;

/// What is stored in these tests: fetched a minute ago, fresh for ten seconds.
fn stored(lines: &[(&str, &str)]) -> ResponseRecord {
    let mut exchange = Exchange::new(lines);
    exchange.requested_at = now() - seconds(60);
    exchange.received_at = now() - seconds(60);
    exchange.record()
}

fn tagged() -> ResponseRecord {
    stored(&[("etag", "\"a\""), ("cache-control", "max-age=10"), ("x-a", "1"), ("x-a", "2"), ("date", &date(-60))])
}

fn not_modified(lines: &[(&str, &str)]) -> Exchange {
    let mut exchange = Exchange::new(lines).status(304);
    exchange.received.remove("content-length");
    exchange
}

fn refreshed(record: &ResponseRecord, exchange: &Exchange) -> (ResponseRecord, Option<SystemTime>) {
    match exchange.merge(record) {
        Merge::Refreshed { record, retain_until } => (record, retain_until),
        Merge::Forbidden(reason) => panic!("forbidden: {reason}"),
    }
}

fn forbidden(record: &ResponseRecord, exchange: &Exchange) -> Option<Reason> {
    match exchange.merge(record) {
        Merge::Refreshed { .. } => None,
        Merge::Forbidden(reason) => Some(reason),
    }
}

fn values(record: &ResponseRecord, name: &'static str) -> Vec<String> {
    let name = HeaderName::from_static(name);
    lines(record, &name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// Feature 108: both validators, as they came; none where there is none that is well-formed.
#[test]
fn a_request_is_made_conditional_on_both_validators() {
    let conditional = |lines: &[(&str, &str)]| {
        let mut sent = headers(&[("if-none-match", "\"old\"")]);
        let added = add_validators(&stored(lines), &mut sent);
        let value = |name: &str| sent.get(name).map(|value| value.to_str().unwrap().to_owned());
        (added, value("if-none-match"), value("if-modified-since"))
    };
    let (tag, changed) = ("W/\"a\"", date(-100));
    assert_eq!(
        conditional(&[("etag", tag), ("last-modified", &changed)]),
        (true, Some(tag.to_owned()), Some(changed.clone()))
    );
    assert_eq!(conditional(&[("last-modified", &changed)]), (true, Some("\"old\"".to_owned()), Some(changed)));
    for lines in [&[][..], &[("etag", "*")], &[("etag", "a")], &[("last-modified", "yesterday")]] {
        assert_eq!(conditional(lines), (false, Some("\"old\"".to_owned()), None), "{lines:?}");
    }
}

/// Features 109 and 110.
#[test]
fn a_304_renews_freshness_and_replaces_fields() {
    let (record, until) = refreshed(
        &tagged(),
        &not_modified(&[("etag", "\"a\""), ("cache-control", "max-age=20"), ("x-a", "3"), ("x-b", "4")]),
    );
    assert_eq!(record.freshness.received_at, now());
    assert_eq!(record.freshness.expires(), Some(now() + seconds(20)));
    assert_eq!(until, Some(now() + seconds(20) + seconds(7 * 24 * 3600)));
    assert_eq!(values(&record, "x-a"), ["3"]);
    assert_eq!(values(&record, "x-b"), ["4"]);
    assert_eq!(values(&record, "content-length"), ["5"]);
    assert_eq!(values(&record, "date"), [date(0)]);
}

#[test]
fn a_304_that_says_nothing_renews_on_the_stored_terms() {
    let (record, _) = refreshed(&tagged(), &not_modified(&[]));
    assert_eq!(record.freshness.expires(), Some(now() + seconds(10)));
    assert_eq!(values(&record, "x-a"), ["1", "2"]);
    // By a setting as well.
    let silent = stored(&[("etag", "\"a\"")]);
    let exchange = not_modified(&[]).with(|all| all.expire_after(seconds(30)));
    assert_eq!(refreshed(&silent, &exchange).0.freshness.expires(), Some(now() + seconds(30)));
    // An old one stays old: its age is the newest word.
    let (aged, _) = refreshed(&tagged(), &not_modified(&[("age", "8")]));
    assert_eq!(aged.freshness.expires(), Some(now() + seconds(2)));
}

/// Case 68 (the part of a 304), and what a 304 must not say about a body that it does not carry.
#[test]
fn a_304_does_not_redescribe_the_body() {
    let record = stored(&[("etag", "\"a\""), ("content-type", "text/plain"), ("content-encoding", "gzip")]);
    let (record, _) = refreshed(
        &record,
        &not_modified(&[
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("content-type", "text/html"),
            ("content-encoding", "br"),
            ("content-range", "bytes 0-1/2"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]),
    );
    assert_eq!(values(&record, "content-length"), ["5"]);
    assert_eq!(values(&record, "content-type"), ["text/plain"]);
    assert_eq!(values(&record, "content-encoding"), ["gzip"]);
    for gone in ["transfer-encoding", "content-range", "connection", "x-hop"] {
        assert!(values(&record, gone).is_empty(), "{gone}");
    }
}

/// Case 23: a cookie that a 304 sets is for the live response.
#[test]
fn a_304_does_not_store_a_cookie() {
    let record = stored(&[("etag", "\"a\""), ("set-cookie", "a=1")]);
    let (record, _) = refreshed(&record, &not_modified(&[("set-cookie", "a=2")]));
    assert_eq!(values(&record, "set-cookie"), ["a=1"]);
}

/// Cases 24 and 25: a 304 that forbids reuse.
#[test]
fn what_a_304_forbids_is_obeyed() {
    for (line, reason) in [
        (("cache-control", "no-store"), Reason::ResponseNoStore),
        (("cache-control", "max-age=5, no-store;x"), Reason::ResponseNoStore),
        (("cache-control", "must-understand"), Reason::ResponseMustUnderstand),
        (("vary", "*"), Reason::VaryStar),
        (("vary", "a b"), Reason::VaryMalformed),
    ] {
        let mut record = tagged();
        if line.1 == "must-understand" {
            record.status = http::StatusCode::IM_A_TEAPOT;
        }
        assert_eq!(forbidden(&record, &not_modified(&[line])), Some(reason), "{line:?}");
    }
    let private = not_modified(&[("cache-control", "private")]);
    assert_eq!(forbidden(&tagged(), &private), None);
    assert_eq!(forbidden(&tagged(), &private.shared()), Some(Reason::ResponsePrivate));
    let ignoring = not_modified(&[("cache-control", "no-store")])
        .with(|all| all.cache_control(super::super::settings::CacheControl::Ignore));
    assert_eq!(forbidden(&tagged(), &ignoring), None);
    let not_stored = not_modified(&[]).with(|all| all.expire_after(ExpireAfter::DoNotStore));
    assert_eq!(forbidden(&stored(&[("etag", "\"a\"")]), &not_stored), Some(Reason::Setting));
}

/// Case 46: the selecting values stay those of the request that fetched the body.
#[test]
fn a_304_keeps_the_selecting_values() {
    let fetched = Exchange::new(&[("etag", "\"a\""), ("vary", "x-a, cookie")]).sent(&[("x-a", "1")]);
    let record = fetched.record();
    for vary in ["x-a, cookie", "x-a", ""] {
        let exchange = not_modified(&[("vary", vary)]).sent(&[("x-a", "other"), ("cookie", "b")]);
        let (record_now, _) = refreshed(&record, &exchange);
        assert_eq!(record_now.selecting, record.selecting, "{vary}");
        assert_eq!(values(&record_now, "vary"), ["x-a, cookie"], "{vary}");
    }
    // It varies on more than was recorded when it was fetched.
    let exchange = not_modified(&[("vary", "x-a, x-new")]);
    assert_eq!(forbidden(&record, &exchange), Some(Reason::OriginChanged));
}

/// Feature 112, RFC 9111 section 4.3.4.
#[test]
fn a_304_about_another_representation_is_not_merged() {
    let changed = Some(Reason::OriginChanged);
    let etag =
        |stored_tag: &str, tag: &str| forbidden(&stored(&[("etag", stored_tag)]), &not_modified(&[("etag", tag)]));
    assert_eq!(etag("\"a\"", "\"a\""), None);
    assert_eq!(etag("\"a\"", "W/\"a\""), None);
    assert_eq!(etag("W/\"a\"", "W/\"a\""), None);
    assert_eq!(etag("\"a\"", "\"b\""), changed);
    assert_eq!(etag("\"a\"", "W/\"b\""), changed);
    assert_eq!(etag("W/\"a\"", "\"a\""), changed);
    assert_eq!(etag("\"a\"", "a"), changed);
    let (then, later) = (date(-100), date(-10));
    let modified = |at: &str| forbidden(&stored(&[("last-modified", &then)]), &not_modified(&[("last-modified", at)]));
    assert_eq!(modified(&then), None);
    assert_eq!(modified(&later), changed);
    // The tag, where there is one, is the better witness.
    let both = stored(&[("etag", "\"a\""), ("last-modified", &then)]);
    assert_eq!(forbidden(&both, &not_modified(&[("etag", "\"a\""), ("last-modified", &later)])), None);
}

#[test]
fn a_refreshed_head_does_not_outlive_its_body() {
    let mut record = tagged();
    let limit = now() + seconds(15);
    let parts = |retain_until: Option<SystemTime>| BodyPlace::Parts {
        id: "x".to_owned(),
        count: 1,
        part_len: 5,
        len: 5,
        checksum: 0,
        retain_until,
    };
    record.body = parts(Some(limit));
    assert_eq!(refreshed(&record, &not_modified(&[])).1, Some(limit));
    let mut forever = stored(&[("etag", "\"a\"")]);
    forever.body = parts(Some(limit));
    assert_eq!(refreshed(&forever, &not_modified(&[])).1, Some(limit));
    forever.body = parts(None);
    assert_eq!(refreshed(&forever, &not_modified(&[])).1, None);
    record.body = parts(Some(now() + Duration::from_secs(1 << 40)));
    assert_eq!(refreshed(&record, &not_modified(&[])).1, Some(now() + seconds(10) + seconds(7 * 24 * 3600)));
}

#[test]
fn a_read_only_request_may_serve_what_was_confirmed() {
    let exchange = not_modified(&[]).request(|all| all.mode(Mode::ReadOnly));
    assert_eq!(forbidden(&tagged(), &exchange), None);
}

/// Case 49: what a HEAD says about the length, the tag or the date.
#[test]
fn a_head_that_differs_contradicts_the_stored_get() {
    let changed = date(-100);
    let mut record = stored(&[("etag", "\"a\""), ("last-modified", &changed), ("content-encoding", "gzip")]);
    record.body = BodyPlace::Inline { len: 5 };
    assert_eq!(record.method, Method::GET);
    let contradicts = |lines: &[(&str, &str)]| head_contradicts(&record, &headers(lines));
    for same in [
        &[][..],
        &[("content-length", "5")],
        &[("etag", "\"a\""), ("last-modified", &changed), ("content-length", "5")],
        &[("content-encoding", "gzip"), ("x-other", "1")],
    ] {
        assert!(!contradicts(same), "{same:?}");
    }
    for other in [
        ("content-length", "6"),
        ("content-length", "-5"),
        ("etag", "\"b\""),
        ("etag", "W/\"a\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-encoding", "br"),
    ] {
        assert!(contradicts(&[other]), "{other:?}");
    }
}
