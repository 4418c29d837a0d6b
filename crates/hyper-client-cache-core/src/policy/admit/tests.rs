//! What is stored, and for how long.

use super::*;
use crate::policy::settings::{CacheControl, ExpireAfter, Mode};
use crate::policy::testing::{Exchange, date, now, seconds};

fn cc(cache_control: &str) -> Exchange {
    Exchange::new(&[("cache-control", cache_control)])
}

fn tagged(cache_control: &str) -> Exchange {
    Exchange::new(&[("cache-control", cache_control), ("etag", "\"a\"")])
}

fn ignoring(exchange: Exchange) -> Exchange {
    exchange.with(|all| all.cache_control(CacheControl::Ignore))
}

fn decided(exchange: &Exchange) -> (Option<Duration>, LifetimeSource) {
    let freshness = exchange.admit().unwrap().freshness;
    (freshness.lifetime, freshness.source)
}

/// Case 1: `max-age` alone permits a shared cache nothing where the request had `Authorization`.
#[test]
fn a_shared_cache_stores_no_answer_to_an_authorized_request() {
    let exchange = cc("max-age=60").sent(&[("authorization", "Bearer a")]);
    assert_eq!(exchange.clone().shared().refusal(), Some(Reason::Authorization));
    assert_eq!(ignoring(exchange.clone()).shared().refusal(), Some(Reason::Authorization));
    let forced = exchange.clone().request(|all| all.expire_after(seconds(60)).force_ttl(true));
    assert_eq!(forced.shared().refusal(), Some(Reason::Authorization));
    assert_eq!(exchange.lifetime(), Some(seconds(60)));
}

/// Case 2: explicit leave counts; an empty value is a value; the response's own header does not count.
#[test]
fn a_shared_cache_stores_an_answer_to_an_authorized_request_where_permitted() {
    for leave in ["public", "s-maxage=60", "must-revalidate"] {
        for value in ["Bearer a", ""] {
            let line = format!("max-age=60, {leave}");
            assert!(cc(&line).sent(&[("authorization", value)]).shared().admit().is_ok(), "{leave}");
        }
    }
    assert_eq!(cc("max-age=60").sent(&[("authorization", "")]).shared().refusal(), Some(Reason::Authorization));
    let answered = Exchange::new(&[("cache-control", "max-age=60"), ("authorization", "x")]);
    assert!(answered.shared().admit().is_ok());
}

/// Case 3: a malformed permission is none.
#[test]
fn a_malformed_permission_is_none() {
    for line in ["max-age=60, s-maxage=x", "max-age=60, s-maxage = 5", "public;, max-age=60"] {
        let exchange = cc(line).sent(&[("authorization", "Bearer a")]).shared();
        assert_eq!(exchange.refusal(), Some(Reason::Authorization), "{line}");
    }
}

/// Cases 9 and 10: `private`, with or without an empty list.
#[test]
fn a_shared_cache_stores_nothing_private() {
    for line in ["private", "Private, max-age=60", r#"private="", max-age=60"#, r#"private=" , ", s-maxage=5"#] {
        assert_eq!(cc(line).shared().refusal(), Some(Reason::ResponsePrivate), "{line}");
        assert_eq!(ignoring(cc(line)).shared().refusal(), Some(Reason::ResponsePrivate), "{line}");
        assert!(cc(line).admit().is_ok(), "{line}");
    }
}

fn names(terms: &Terms) -> Vec<&str> {
    terms.headers.iter().map(|(name, _)| name.as_str()).collect()
}

/// Case 12: the fields of a qualified list are not stored.
#[test]
fn listed_fields_are_left_out() {
    let exchange = Exchange::new(&[
        ("cache-control", r#"max-age=60, private=" X-User ", no-cache="X-TOKEN""#),
        ("x-user", "a"),
        ("x-token", "b"),
        ("x-other", "c"),
    ]);
    let private = exchange.admit().unwrap();
    assert!(!private.freshness.no_cache);
    assert_eq!(names(&private), ["cache-control", "x-user", "x-other", "content-length", "date"]);
    let shared = exchange.clone().shared().admit().unwrap();
    assert_eq!(names(&shared), ["cache-control", "x-other", "content-length", "date"]);
    let ignored = ignoring(exchange).shared().admit().unwrap();
    assert_eq!(names(&ignored), ["cache-control", "x-token", "x-other", "content-length", "date"]);
}

/// Cases 13, 14, 17, 20: `no-store` however it is written.
#[test]
fn no_store_is_obeyed() {
    for lines in [
        &["no-store"][..],
        &["max-age=60, No-Store"],
        &["max-age=60", "no-store"],
        &["no-store, x=\"\u{e9}\""],
        &["no-store;x, max-age=60"],
        &["no-cache=\"a, no-store"],
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
        let exchange = Exchange::new(&lines);
        assert_eq!(exchange.refusal(), Some(Reason::ResponseNoStore), "{lines:?}");
        // The settings alone decide.
        assert_eq!(decided(&ignoring(exchange)), (None, LifetimeSource::Session));
    }
}

/// Case 15: what is quoted neither permits nor lengthens.
#[test]
fn a_quoted_lifetime_is_none() {
    let exchange = cc(r#"ext="a, max-age=3600, public""#).with(|all| all.expire_after(seconds(5)));
    assert_eq!(decided(&exchange), (Some(seconds(5)), LifetimeSource::Session));
}

/// Cases 18, 19, 21 end in the lifetime that is stored.
#[test]
fn lifetimes_are_the_strictest_reading() {
    assert_eq!(tagged("max-age=60, max-age=5").lifetime(), Some(seconds(5)));
    assert_eq!(tagged("max-age = 60").lifetime(), Some(seconds(0)));
    assert_eq!(tagged("max-age=99999999999999999999").lifetime(), Some(seconds((1 << 31) - 1)));
}

/// Case 22: a shared cache never stores `Set-Cookie`. Case 23: a private one does, for whoever asks for it.
#[test]
fn set_cookie_is_stored_in_a_private_cache_only() {
    let exchange = Exchange::new(&[("set-cookie", "a=1"), ("cache-control", "public"), ("set-cookie", "b=2")]);
    let count = |terms: &Terms| names(terms).iter().filter(|name| **name == "set-cookie").count();
    assert_eq!(count(&exchange.admit().unwrap()), 2);
    assert_eq!(count(&exchange.clone().shared().admit().unwrap()), 0);
    assert_eq!(count(&ignoring(exchange).shared().admit().unwrap()), 0);
}

/// Case 28: nothing about a path makes a response storable.
#[test]
fn a_path_decides_nothing() {
    for path in ["/account/x.css", "/account;a.css", "/account%2fx.css"] {
        let mut exchange = Exchange::new(&[]).with(|_| Settings::rfc9111());
        exchange.uri = path.parse().unwrap();
        assert_eq!(exchange.refusal(), Some(Reason::NoFreshness), "{path}");
    }
}

/// Case 30: errors are stored on explicit freshness only.
#[test]
fn a_status_that_is_not_allowed_needs_explicit_freshness() {
    for status in [302, 400, 404, 413, 431, 500, 501, 503] {
        for settings in [Settings::default(), Settings::rfc9111()] {
            let mut silent = Exchange::new(&[("last-modified", &date(-1000)), ("etag", "\"a\"")]).status(status);
            silent.settings = settings;
            assert!(matches!(silent.refusal(), Some(Reason::Status(_))), "{status}");
            silent.received.append("cache-control", HeaderValue::from_static("max-age=60"));
            assert_eq!(silent.lifetime(), Some(seconds(60)), "{status}");
            assert!(matches!(ignoring(silent).refusal(), Some(Reason::Status(_))), "{status}");
        }
    }
    let allowed = Exchange::new(&[]).status(404).with(|all| all.allowed_codes([StatusCode::NOT_FOUND]));
    assert_eq!(decided(&allowed), (None, LifetimeSource::Session));
}

/// Cases 71, 103, 181, 183: no response that is not whole is stored, whatever its headers say.
#[test]
fn what_is_no_whole_response_is_refused() {
    for status in [100, 102, 103, 304, 600, 999] {
        assert!(matches!(cc("max-age=60").status(status).refusal(), Some(Reason::Status(_))), "{status}");
    }
    assert_eq!(cc("max-age=60").status(206).refusal(), Some(Reason::PartialContent));
}

/// Features 74 and 84.
#[test]
fn a_shared_cache_prefers_s_maxage() {
    let exchange = cc("max-age=5, s-maxage=60");
    assert_eq!(decided(&exchange), (Some(seconds(5)), LifetimeSource::MaxAge));
    let shared = exchange.shared();
    assert_eq!(decided(&shared), (Some(seconds(60)), LifetimeSource::SMaxAge));
    assert!(shared.admit().unwrap().freshness.must_revalidate);
    assert!(cc("max-age=5, proxy-revalidate").shared().admit().unwrap().freshness.must_revalidate);
    assert!(!cc("max-age=5, proxy-revalidate, s-maxage=5").admit().unwrap().freshness.must_revalidate);
}

/// Feature 85: `no-store` beside `must-understand` is for those who do not understand.
#[test]
fn must_understand_is_understood() {
    assert!(cc("must-understand, no-store, max-age=60").admit().is_ok());
    let odd = cc("must-understand, max-age=60").status(599);
    assert_eq!(odd.refusal(), Some(Reason::ResponseMustUnderstand));
}

/// The order of who decides: the response, the request's `max-age`, the request's setting, the session's.
#[test]
fn the_nearest_word_on_the_lifetime_counts() {
    let mut exchange = cc("max-age=60")
        .sent(&[("cache-control", "max-age=20")])
        .request(|all| all.expire_after(seconds(30)))
        .with(|all| all.expire_after(seconds(40)));
    assert_eq!(decided(&exchange), (Some(seconds(60)), LifetimeSource::MaxAge));
    exchange.received.remove("cache-control");
    assert_eq!(decided(&exchange), (Some(seconds(20)), LifetimeSource::Request));
    exchange.sent.clear();
    assert_eq!(decided(&exchange), (Some(seconds(30)), LifetimeSource::Request));
    exchange.request.expire_after = None;
    assert_eq!(decided(&exchange), (Some(seconds(40)), LifetimeSource::Session));
}

#[test]
fn a_forced_lifetime_overrides_the_headers_and_says_so() {
    for line in ["max-age=5", "no-store", "no-cache, must-revalidate", "private"] {
        let exchange = cc(line).request(|all| all.expire_after(seconds(30)).force_ttl(true));
        assert_eq!(decided(&exchange), (Some(seconds(30)), LifetimeSource::Forced), "{line}");
        let freshness = exchange.admit().unwrap().freshness;
        assert!(!freshness.no_cache && !freshness.must_revalidate);
    }
    let session = cc("max-age=5").with(|all| all.expire_after(seconds(9))).request(|all| all.force_ttl(true));
    assert_eq!(decided(&session), (Some(seconds(9)), LifetimeSource::Forced));
}

/// Features 51 to 54: the lifetimes that settings can give, counted from the receipt.
#[test]
fn settings_count_from_the_receipt() {
    let aged = Exchange::new(&[("age", "100")]);
    let expires = |setting: ExpireAfter| aged.clone().with(|all| all.expire_after(setting)).record().freshness;
    assert_eq!(expires(seconds(30).into()).expires(), Some(now() + seconds(30)));
    assert_eq!(expires((now() + seconds(30)).into()).expires(), Some(now() + seconds(30)));
    assert_eq!(expires(ExpireAfter::Never).expires(), None);
    let refusal = |setting: ExpireAfter| aged.clone().with(|all| all.expire_after(setting)).refusal();
    assert_eq!(refusal(ExpireAfter::DoNotStore), Some(Reason::Setting));
    assert_eq!(refusal((now() - seconds(1)).into()), Some(Reason::StaleOnArrival));
    assert_eq!(refusal(Duration::ZERO.into()), Some(Reason::StaleOnArrival));
    // Good for ever, or nearly: no arithmetic overflows.
    assert_eq!(expires(Duration::MAX.into()).expires(), None);
}

#[test]
fn what_can_never_be_served_is_not_stored() {
    assert_eq!(cc("max-age=0").refusal(), Some(Reason::StaleOnArrival));
    assert_eq!(cc("no-cache, max-age=60").refusal(), Some(Reason::ResponseNoCache));
    assert_eq!(cc("max-age=0, must-revalidate, stale-if-error=60").refusal(), Some(Reason::StaleOnArrival));
    let aged = Exchange::new(&[("cache-control", "max-age=60"), ("age", "60")]);
    assert_eq!(aged.refusal(), Some(Reason::StaleOnArrival));
    assert!(cc("max-age=0, stale-while-revalidate=60").admit().is_ok());
    assert!(cc("max-age=0").with(|all| all.stale_if_error(seconds(5))).admit().is_ok());
    assert!(tagged("max-age=0").admit().is_ok());
    assert!(tagged("no-cache").admit().unwrap().freshness.no_cache);
}

/// Case 166 (the pure side): what is retained is at least what may be served.
#[test]
fn a_response_is_kept_as_long_as_it_may_be_of_use() {
    let until = |exchange: &Exchange| exchange.admit().unwrap().retain_until;
    let week = seconds(7 * 24 * 3600);
    assert_eq!(until(&Exchange::new(&[])), None);
    assert_eq!(until(&cc("max-age=60")), Some(now() + seconds(60)));
    assert_eq!(until(&cc("max-age=60, stale-if-error=5")), Some(now() + seconds(65)));
    assert_eq!(until(&cc("max-age=60").with(|all| all.stale_while_revalidate(seconds(9)))), Some(now() + seconds(69)));
    assert_eq!(until(&tagged("max-age=60")), Some(now() + seconds(60) + week));
    assert_eq!(until(&tagged("max-age=60").with(|all| all.retain_stale(seconds(1)))), Some(now() + seconds(61)));
    let long = tagged("max-age=60").with(|all| all.retain_stale(Duration::ZERO).stale_if_error(seconds(9)));
    assert_eq!(until(&long), Some(now() + seconds(69)));
    assert_eq!(until(&tagged("max-age=60").with(|all| all.retain_stale(Duration::MAX))), None);
    // Stale for years when it came, but worth a revalidation.
    let old = Exchange::new(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("age", "x")]);
    assert_eq!(until(&old), Some(now() + week));
}

/// Case 171: over TLS the end of the connection is no end of a body.
#[test]
fn a_body_that_ends_with_the_connection_is_not_stored() {
    let mut exchange = cc("max-age=60");
    exchange.received.remove("content-length");
    assert_eq!(exchange.refusal(), Some(Reason::CloseDelimited));
    for change in [
        |exchange: &mut Exchange| exchange.version = Version::HTTP_2,
        |exchange: &mut Exchange| exchange.uri = Uri::from_static("http://example.org/"),
        |exchange: &mut Exchange| exchange.method = Method::HEAD,
        |exchange: &mut Exchange| {
            exchange.received.insert(TRANSFER_ENCODING, HeaderValue::from_static("gzip, Chunked"));
        },
        |exchange: &mut Exchange| exchange.status = StatusCode::NO_CONTENT,
    ] {
        let mut changed = exchange.clone();
        change(&mut changed);
        assert!(changed.admit().is_ok());
    }
    exchange.received.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked, gzip"));
    assert_eq!(exchange.refusal(), Some(Reason::CloseDelimited));
}

/// Case 69.
#[test]
fn an_ambiguous_length_is_refused() {
    for lengths in [
        &["5", "5"][..],
        &["5", "6"],
        &["5, 5"],
        &["+5"],
        &["-5"],
        &[""],
        &["5 "],
        &["0x5"],
        &["5.0"],
        &["18446744073709551616"],
    ] {
        let lines: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
        assert_eq!(Exchange::new(&lines).refusal(), Some(Reason::ContentLength), "{lengths:?}");
    }
    assert!(Exchange::new(&[("content-length", "18446744073709551615")]).admit().is_ok());
}

/// Case 180 (what the headers tell): at the limit it is stored, over it not.
#[test]
fn an_announced_length_over_the_limit_is_refused() {
    let exchange = Exchange::new(&[("content-length", "10")]);
    assert!(exchange.clone().with(|all| all.max_body_len(10)).admit().is_ok());
    let mut over = exchange.with(|all| all.max_body_len(9));
    assert_eq!(over.refusal(), Some(Reason::TooLarge));
    // A HEAD's length is that of a body that does not come (case 181).
    over.method = Method::HEAD;
    assert!(over.admit().is_ok());
}

/// Cases 41 and 42, whatever the settings.
#[test]
fn a_response_that_varies_on_what_cannot_be_compared_is_refused() {
    for (vary, reason) in [("*", Reason::VaryStar), ("a b", Reason::VaryMalformed)] {
        let exchange = Exchange::new(&[("cache-control", "max-age=60"), ("vary", vary)]);
        assert_eq!(exchange.refusal(), Some(reason));
        assert_eq!(ignoring(exchange).refusal(), Some(reason));
    }
    let exchange = Exchange::new(&[("vary", "Cookie, ACCEPT"), ("vary", "accept")]);
    assert_eq!(exchange.admit().unwrap().vary, ["accept", "cookie"]);
}

/// Feature 57: bounds for what headers give, and told where they bite.
#[test]
fn a_lifetime_of_the_headers_is_kept_within_bounds() {
    let bounded = |cache_control: &str, lines: &[(&str, &str)], change: fn(Settings) -> Settings| {
        let mut lines = lines.to_vec();
        lines.push(("cache-control", cache_control));
        let freshness = Exchange::new(&lines).with(change).admit().unwrap().freshness;
        (freshness.expires().unwrap().duration_since(now()).unwrap().as_secs(), freshness.source)
    };
    let floor: fn(Settings) -> Settings = |all| all.min_ttl(seconds(60));
    let cap: fn(Settings) -> Settings = |all| all.max_ttl(seconds(600));
    assert_eq!(bounded("max-age=5", &[], floor), (60, LifetimeSource::Forced));
    assert_eq!(bounded("max-age=0", &[], floor), (60, LifetimeSource::Forced));
    assert_eq!(bounded("max-age=5", &[("age", "500")], floor), (60, LifetimeSource::Forced));
    assert_eq!(bounded("max-age=61", &[], floor), (61, LifetimeSource::MaxAge));
    assert_eq!(bounded("max-age=86400", &[], cap), (600, LifetimeSource::Forced));
    assert_eq!(bounded("max-age=86400", &[("age", "500")], cap), (600, LifetimeSource::Forced));
    assert_eq!(bounded("max-age=599", &[], cap), (599, LifetimeSource::MaxAge));
    // Nothing else is overridden, nor what a setting gives.
    assert_eq!(cc("no-store, max-age=5").with(floor).refusal(), Some(Reason::ResponseNoStore));
    assert!(cc("must-revalidate, max-age=5").with(floor).admit().unwrap().freshness.must_revalidate);
    let silent = Exchange::new(&[]).with(floor).with(|all| all.expire_after(seconds(5)));
    assert_eq!(silent.lifetime(), Some(seconds(5)));
    assert_eq!(Exchange::new(&[]).with(cap).lifetime(), None);
}

/// Feature 62: errors for a short while, before what rule and session say, after headers and the request's own.
#[test]
fn a_status_may_have_a_lifetime_of_its_own() {
    let missing = |lines: &[(&str, &str)]| {
        Exchange::new(lines)
            .status(404)
            .with(|all| all.expire_after(ExpireAfter::Never).expire_status_after(StatusCode::NOT_FOUND, seconds(9)))
    };
    assert_eq!(missing(&[]).lifetime(), Some(seconds(9)));
    assert_eq!(missing(&[]).status(200).lifetime(), None);
    assert_eq!(missing(&[]).status(410).refusal(), Some(Reason::Status(StatusCode::GONE)));
    assert_eq!(missing(&[("cache-control", "max-age=5")]).lifetime(), Some(seconds(5)));
    assert_eq!(missing(&[]).request(|all| all.expire_after(seconds(3))).lifetime(), Some(seconds(3)));
    let rule = || super::super::UrlRule::glob("*").expire_after(seconds(4));
    assert_eq!(missing(&[]).with(|all| all.rule(rule())).lifetime(), Some(seconds(9)));
    let none = missing(&[]).with(|all| all.expire_status_after(StatusCode::NOT_FOUND, ExpireAfter::DoNotStore));
    assert_eq!(none.refusal(), Some(Reason::Setting));
}

/// Feature 59, case 202: what is stored together expires apart, by no chance, and never later than without.
#[test]
fn jitter_spreads_lifetimes() {
    let lifetime = |path: u32, age: &str, change: fn(Settings) -> Settings| {
        let mut exchange = Exchange::new(&[("cache-control", "max-age=1000"), ("age", age)]).with(change);
        exchange.uri = format!("https://example.org/{path}").parse().unwrap();
        exchange.lifetime().unwrap()
    };
    let tenth: fn(Settings) -> Settings = |all| all.ttl_jitter(0.1);
    let all: Vec<_> = (0..1000).map(|path| lifetime(path, "0", tenth)).collect();
    assert!(all.iter().all(|one| (seconds(900)..=seconds(1000)).contains(one)));
    for from in (900..1000).step_by(10) {
        let inside = all.iter().filter(|one| (seconds(from)..seconds(from + 10)).contains(*one)).count();
        assert!((50..200).contains(&inside), "{inside} from {from}");
    }
    assert_eq!(lifetime(7, "0", tenth), lifetime(7, "0", tenth));
    // Only what is left of it.
    assert!(lifetime(7, "990", tenth) >= seconds(999));
    assert!(lifetime(7, "1500", |all| all.ttl_jitter(1.0).stale_if_error(true)) == seconds(1000));
    assert!((0..100).all(|path| lifetime(path, "0", |all| all) == seconds(1000)));
    let exact = Exchange::new(&[]).with(|all| all.ttl_jitter(0.5).expire_after(now() + seconds(60)));
    assert_eq!(exact.lifetime(), Some(seconds(60)));
    let set = Exchange::new(&[]).with(|all| all.ttl_jitter(0.5).expire_after(seconds(60)));
    assert!(set.lifetime() < Some(seconds(60)));
    let longest = Exchange::new(&[]).with(|all| all.ttl_jitter(1.0).expire_after(Duration::MAX));
    assert!(longest.lifetime() < Some(Duration::MAX));
}

#[test]
fn a_mode_that_writes_nothing_admits_nothing() {
    assert_eq!(cc("max-age=60").request(|all| all.mode(Mode::ReadOnly)).refusal(), Some(Reason::Mode));
}
