//! Lines that say what they say, and lines that are not what they seem.

use http::HeaderValue;
use proptest::prelude::*;

use super::super::testing::{RESTRICTIONS, cache_control_lines};
use super::*;

fn response(lines: &[&str]) -> ResponseDirectives {
    ResponseDirectives::from_lines(lines.iter().map(|line| line.as_bytes()))
}

fn request(lines: &[&str]) -> RequestDirectives {
    RequestDirectives::from_lines(lines.iter().map(|line| line.as_bytes()))
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn fields(names: &[&'static str]) -> Restriction {
    Restriction::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect())
}

#[test]
fn nothing_is_read_from_nothing() {
    assert_eq!(response(&[]), ResponseDirectives::default());
    assert_eq!(response(&["", " , ,,\t"]), ResponseDirectives::default());
    assert_eq!(RequestDirectives::parse(&HeaderMap::new()), RequestDirectives::default());
}

#[test]
fn a_usual_line_is_read() {
    let found = response(&["public, max-age=60,s-maxage=120, immutable, stale-while-revalidate=5"]);
    assert!(found.public && found.immutable && found.permits_authorized);
    assert_eq!((found.max_age, found.s_maxage), (seconds(60), seconds(120)));
    assert_eq!((found.stale_while_revalidate, found.stale_if_error), (seconds(5), None));
}

/// Case 10: an empty list is no list.
#[test]
fn a_qualified_directive_without_names_is_unqualified() {
    for line in [r#"private="""#, r#"private=",""#, r#"private="   ""#, r#"private=" , ,""#] {
        assert_eq!(response(&[line]).private, Restriction::Whole, "{line}");
    }
}

/// Case 11: of both forms the unqualified one wins, in either order, on one line or two.
#[test]
fn unqualified_wins_over_qualified() {
    for lines in [
        &[r#"private, private="x", no-cache, no-cache="x""#][..],
        &[r#"private="x", private, no-cache="x", no-cache"#],
        &[r#"private="x", no-cache="x""#, "no-cache, private"],
    ] {
        let found = response(lines);
        assert!(found.private.is_whole() && found.no_cache.is_whole(), "{lines:?}");
    }
}

/// Case 12: names are trimmed and compared without case; lists of one directive add up.
#[test]
fn a_qualified_list_is_read_leniently() {
    let found = response(&[r#"private=" Set-Cookie ", no-cache="AUTHORIZATION ,X-a,,""#, r#"no-cache="x-b""#]);
    assert_eq!(found.private, fields(&["set-cookie"]));
    assert_eq!(found.no_cache, fields(&["authorization", "x-a", "x-b"]));
}

#[test]
fn a_qualified_list_that_cannot_be_kept_to_is_unqualified() {
    for line in [
        r#"no-cache="a b""#,
        r#"no-cache="a\"b""#,
        "no-cache=set-cookie",
        "no-cache=",
        r#"no-cache="content-encoding""#,
        r#"no-cache="x-a, vary""#,
        r#"no-cache="x-a"junk"#,
        r#"no-cache ="x-a""#,
    ] {
        assert_eq!(response(&[line]).no_cache, Restriction::Whole, "{line}");
    }
}

/// Case 13: names have no case.
#[test]
fn names_are_compared_without_case() {
    let found = response(&["No-Store, PRIVATE, Must-Revalidate, PROXY-Revalidate, Max-AGE=5, PUBLIC"]);
    assert!(found.no_store && found.private.is_whole() && found.must_revalidate && found.proxy_revalidate);
    assert!(found.public);
    assert_eq!(found.max_age, seconds(5));
}

/// Case 14: a line that is not UTF-8 is still a line.
#[test]
fn a_line_is_read_as_bytes() {
    let mut headers = HeaderMap::new();
    headers.append(CACHE_CONTROL, HeaderValue::from_bytes(b"no-store, x=\"\xe9\"").unwrap());
    assert!(ResponseDirectives::parse(&headers).no_store);
    assert!(RequestDirectives::parse(&headers).no_store);
}

/// Case 15: nothing inside quotes is a directive.
#[test]
fn quotes_hide_what_they_hold() {
    let found = response(&[r#"ext="a, max-age=3600, public, no-store", ext="b\", immutable, \"""#]);
    assert_eq!(found, ResponseDirectives::default());
}

/// Case 16: a quote that is never closed hides nothing, and what follows permits nothing.
#[test]
fn an_open_quote_hides_nothing() {
    let found = response(&[r#"no-cache="a, no-store, public, max-age=60, immutable"#]);
    assert!(found.no_store && found.no_cache.is_whole());
    assert!(!found.public && !found.immutable);
    assert_eq!(found.max_age, seconds(0));
    assert!(response(&[r#"x="\", no-store"#]).no_store);
}

/// Case 17: a restriction is one amid junk too.
#[test]
fn a_restriction_amid_junk_is_one() {
    assert!(response(&["no-store;x"]).no_store);
    assert!(response(&["private\t\tfoo"]).private.is_whole());
    assert!(response(&["no\x0bstore"]).no_store);
    assert!(response(&["NO-STORE;"]).no_store);
    assert!(response(&["(no-cache)"]).no_cache.is_whole());
    assert!(response(&["max-age=60;must-revalidate"]).must_revalidate);
    assert_eq!(response(&["max-age=60;must-revalidate"]).max_age, seconds(0));
    assert!(response(&["no-store=yes"]).no_store);
    assert!(response(&[r#"x"a, no-store""#]).no_store);
    assert!(request(&["no-cache;x", "no-store\u{e9}"]).no_store);
    assert!(!response(&["x-no-store, nostore, no_store"]).no_store);
}

#[test]
fn a_permission_amid_junk_is_none() {
    for line in ["public;", "public=1", "immutable x", "\"public\"", "pub lic", "must-understand=?1"] {
        let found = response(&[line]);
        assert!(!found.public && !found.immutable && !found.must_understand && !found.permits_authorized, "{line}");
    }
}

/// Case 18: of several numbers the most restrictive counts.
#[test]
fn the_least_of_several_lifetimes_counts() {
    assert_eq!(response(&["max-age=60, max-age=5"]).max_age, seconds(5));
    assert_eq!(response(&["max-age=5", "max-age=60"]).max_age, seconds(5));
    assert_eq!(response(&["s-maxage=60, s-maxage=x"]).s_maxage, seconds(0));
    assert_eq!(request(&["max-age=60, max-age=5"]).max_age, seconds(5));
    assert_eq!(request(&["min-fresh=60, min-fresh=5"]).min_fresh, seconds(60));
    assert_eq!(request(&["max-stale=60, max-stale"]).max_stale, seconds(60));
}

/// Case 19: numbers are clamped, however long they are.
#[test]
fn numbers_are_clamped() {
    for number in ["2147483648", "18446744073709551615", "99999999999999999999", &"9".repeat(5000)] {
        assert_eq!(response(&[&format!("max-age={number}")]).max_age, Some(MAX_DELTA), "{number}");
    }
    assert_eq!(response(&["max-age=2147483646"]).max_age, seconds(2_147_483_646));
    assert_eq!(response(&["max-age=0000000060"]).max_age, seconds(60));
}

/// Case 20: every line counts.
#[test]
fn every_line_counts() {
    assert!(response(&["max-age=60", "no-store"]).no_store);
    assert!(request(&["max-age=60", "no-store"]).no_store);
}

/// Case 21: what is no number of seconds is none.
#[test]
fn what_is_no_number_is_zero() {
    for line in [
        "max-age = 60",
        "max-age =60",
        "max-age= 60",
        "max-age=60.5",
        "max-age='60'",
        "max-age=-1",
        "max-age=+60",
        "max-age=0x60",
        "max-age=60s",
        "max-age=60 s",
        "max-age=",
        "max-age",
        r#"max-age="""#,
        r#"max-age=" 60""#,
        r#"max-age="60"#,
    ] {
        assert_eq!(response(&[line]).max_age, seconds(0), "{line}");
        assert_eq!(request(&[line]).max_age, seconds(0), "{line}");
    }
    // RFC 9111 section 5.2: both forms of an argument are accepted.
    assert_eq!(response(&[r#"max-age="60""#]).max_age, seconds(60));
    assert_eq!(request(&["min-fresh=soon"]).min_fresh, Some(MAX_DELTA));
    assert_eq!(request(&["max-stale=some"]).max_stale, seconds(0));
    assert_eq!(request(&["max-stale"]).max_stale, Some(Duration::MAX));
    assert_eq!(response(&["stale-if-error=-1"]).stale_if_error, seconds(0));
}

/// Case 3 (the parser's part): a malformed `s-maxage` permits nothing, also beside a good one.
#[test]
fn only_an_exact_permission_lets_a_shared_cache_store_for_authorization() {
    for line in ["public", "must-revalidate", "s-maxage=0", "s-maxage=5, s-maxage=6"] {
        assert!(response(&[line]).permits_authorized, "{line}");
    }
    for line in ["max-age=60", "s-maxage=x", "s-maxage = 5", "s-maxage", "s-maxage=5, s-maxage=x", "must-revalidate=1"]
    {
        assert!(!response(&[line]).permits_authorized, "{line}");
    }
}

/// Feature 88: Pragma counts where there is no Cache-Control.
#[test]
fn pragma_counts_only_by_itself() {
    let mut headers = HeaderMap::new();
    headers.append(PRAGMA, HeaderValue::from_static("x, No-Cache"));
    assert!(RequestDirectives::parse(&headers).no_cache);
    headers.append(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
    assert!(!RequestDirectives::parse(&headers).no_cache);
}

/// Case 108 (the parser's part): each byte is looked at a bounded number of times, so a long line is no burden.
#[test]
fn a_mebibyte_of_anything_is_read() {
    for unit in [",", "\"", " ", ";", "\\\"", "\"\\", "=", "a=\",", "no-store;", "\t,"] {
        let line = unit.repeat((1 << 20) / unit.len());
        let found = response(&[&line, "max-age=7"]);
        assert_eq!(found.max_age, seconds(7), "{unit:?}");
    }
}

proptest! {
    /// Case 99.
    #[test]
    fn any_bytes_are_read(lines in cache_control_lines()) {
        let _ = ResponseDirectives::from_lines(lines.iter().map(Vec::as_slice));
        let _ = RequestDirectives::from_lines(lines.iter().map(Vec::as_slice));
    }

    /// A line more that restricts lifts no restriction and gives no permission but that of RFC 9111 section 3.5.
    #[test]
    fn a_restriction_more_is_never_laxer(lines in cache_control_lines(), which in 0..RESTRICTIONS.len(), first: bool) {
        let before = ResponseDirectives::from_lines(lines.iter().map(Vec::as_slice));
        let added = RESTRICTIONS[which].as_bytes();
        let mut more: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        more.insert(if first { 0 } else { more.len() }, added);
        let after = ResponseDirectives::from_lines(more.into_iter());

        prop_assert!(after.no_store >= before.no_store);
        prop_assert!(after.must_revalidate >= before.must_revalidate);
        prop_assert!(after.no_cache.is_whole() >= before.no_cache.is_whole());
        prop_assert!(after.private.is_whole() >= before.private.is_whole());
        prop_assert!(after.public == before.public && after.immutable == before.immutable);
        let lifetime = |found: &ResponseDirectives| found.max_age.unwrap_or(Duration::MAX);
        prop_assert!(lifetime(&after) <= lifetime(&before));
        prop_assert!(after.no_store || after.must_revalidate || after.no_cache.is_whole()
            || after.private.is_whole() || after.max_age == Some(Duration::ZERO));
    }
}
