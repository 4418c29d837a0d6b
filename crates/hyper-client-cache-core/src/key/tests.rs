//! Which requests have one key, and which have two.

use http::header;

use super::*;

fn key(url: &str) -> CacheKey {
    primary(&Method::GET, &url.parse().unwrap(), None)
}

/// Case 35.
#[test]
fn scheme_host_and_port_separate_and_a_default_port_does_not() {
    assert_eq!(key("http://host/"), key("http://host:80/"));
    assert_eq!(key("https://host/"), key("https://host:443/"));
    assert_eq!(key("http://HOST/"), key("http://host/"));
    let different = ["http://host/", "https://host/", "http://other/", "http://host:443/", "https://host:80/"];
    all_differ(&different);
}

/// Cases 37 and 38: the bytes as sent decide.
#[test]
fn path_and_query_are_taken_as_sent() {
    all_differ(&[
        "http://host/a/../b",
        "http://host/b",
        "http://host/%2e%2e/b",
        "http://host//b",
        "http://host/%7Eb",
        "http://host/%7eb",
        "http://host/~b",
        "http://host/b?",
        "http://host/b?a=1;b=2",
        "http://host/b?a=1&b=2",
        "http://host/b?a[]=1",
        "http://host/b?a",
        "http://host/b?a=",
        "http://host/b?a=1&a=2",
    ]);
    assert_eq!(key("http://host"), key("http://host/"));
}

/// Cases 33 and 195: equal when concatenated, different when split; a flight has the same keys as an entry.
#[test]
fn fields_cannot_be_moved_from_one_to_the_next() {
    let name = Selecting::new("a", vec![b"x:b=y".to_vec()]);
    let both = [Selecting::new("a", vec![b"x".to_vec()]), Selecting::new("b", vec![b"y".to_vec()])];
    let base = key("http://host/");
    assert_ne!(variant(&base, &[name]), variant(&base, &both));
    let one = [Selecting::new("a", vec![b"xy".to_vec()])];
    let two = [Selecting::new("a", vec![b"x".to_vec(), b"y".to_vec()])];
    assert_ne!(variant(&base, &one), variant(&base, &two));
    assert_ne!(
        variant(&base, &[Selecting::new("a", vec![])]),
        variant(&base, &[Selecting::new("a", vec![vec![]])]),
        "absent and empty (case 40)"
    );
}

/// Case 36.
#[test]
fn user_information_separates_and_is_never_shown() {
    all_differ(&["http://u:p@host/", "http://u:q@host/", "http://host/"]);
    let uri: Uri = "http://u:canary@host:8080/a?b".parse().unwrap();
    assert_eq!(shown_url(&uri), "http://host:8080/a?b");
    assert!(is_shown_url(&uri, "http://host:8080/a?b"));
    assert!(!is_shown_url(&uri, "http://host:8080/a?bc"));
    assert!(!is_shown_url(&uri, "http://host:8080/a"));
}

/// Cases 4, 5 and 7.
#[test]
fn credentials_separate_in_a_private_cache() {
    let separation = Separation { secret: b"secret", by_hand: None, by_credentials: true, apart: None, cookies: None };
    let with = |name, value| {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        partition(&headers, separation)
    };
    let seen = [
        partition(&HeaderMap::new(), separation),
        with(header::AUTHORIZATION, "a"),
        with(header::AUTHORIZATION, "b"),
        with(header::AUTHORIZATION, ""),
        with(header::COOKIE, "a"),
    ];
    for (at, one) in seen.iter().enumerate() {
        assert!(seen.iter().skip(at + 1).all(|other| other != one));
    }
}

/// Case 72: what keeps a session apart does so with and without credentials and a partition by hand.
#[test]
fn a_session_that_is_apart_shares_nothing() {
    let mut headers = HeaderMap::new();
    let mut seen = Vec::new();
    for apart in [None, Some(&[1; 32]), Some(&[2; 32])] {
        for by_hand in [None, Some("by hand")] {
            headers.clear();
            seen.push(partition(
                &headers,
                Separation { secret: b"s", by_hand, by_credentials: true, apart, cookies: None },
            ));
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static("a"));
            seen.push(partition(
                &headers,
                Separation { secret: b"s", by_hand, by_credentials: true, apart, cookies: None },
            ));
        }
    }
    for (at, one) in seen.iter().enumerate() {
        assert!(seen.iter().skip(at + 1).all(|other| other != one));
    }
}

fn all_differ(urls: &[&str]) {
    for (at, one) in urls.iter().enumerate() {
        for other in urls.iter().skip(at + 1) {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
    }
}
