//! What of a response is stored and replayed, header by header (RFC 9111 section 3.1), and odd messages.

use hyper_client_cache_core::policy::{Outcome, Reason, Settings, Storing};
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::{builder, entries, get, is_stored, outcome, see, session, with_settings};

/// Case 67: what concerns only the connection is neither stored nor replayed.
#[tokio::test]
async fn fields_of_the_connection_are_not_replayed() {
    let origin = Origin::scripted().await;
    let raw = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncache-control: max-age=60\r\n\
               Connection: X-One, keep-alive\r\nCONNECTION: x-two,,\r\nconnection: close\r\n\
               x-one: 1\r\nX-Two: 2\r\nx-three: 3\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\nte: trailers\r\n\
               trailer: x-end\r\nupgrade: h2c\r\nproxy-authenticate: Basic\r\nproxy-authentication-info: x\r\n\r\nx";
    origin.on("/", Answer::raw(raw));
    let (session, _) = session();
    get(&session, &origin.url("/"), &[]).await;
    let seen = get(&session, &origin.url("/"), &[]).await;
    assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "x"));
    let names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).filter(|name| *name != "date").collect();
    assert_eq!(names, ["content-length", "cache-control", "x-three", "age"]);
    // A field that the response cannot do without is not left out: it is not stored at all.
    origin.on("/", Answer::ok("x").header("connection", "cache-control").header("cache-control", "max-age=60"));
    let seen = see(session.get(origin.url("/")).mode(hyper_client_cache_core::policy::Mode::Reload)).await;
    assert_eq!(seen.storing(), Storing::No(Reason::MalformedHeaders));
}

/// Feature 105, case 45: repeated lines stay apart and in order, and values that are no UTF-8 survive.
#[tokio::test]
async fn lines_survive_a_hit_as_they_came() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60").header("x-many", "b").header("link", "<1>");
    let answer =
        answer.header("x-many", "a, c").header("x-many", "").header("x-bytes", b"\xff\xfe\xe9").header("x-tab", "a\tb");
    origin.on("/", answer.header("link", "<2>"));
    let (session, _) = session();
    let first = get(&session, &origin.url("/"), &[]).await;
    let second = get(&session, &origin.url("/"), &[]).await;
    assert_eq!((first.outcome(), second.outcome()), (Outcome::Miss, Outcome::Hit));
    for seen in [first, second] {
        assert_eq!(seen.lines("x-many"), [&b"b"[..], b"a, c", b""]);
        assert_eq!(seen.lines("link"), [b"<1>", b"<2>"]);
        assert_eq!(seen.lines("x-bytes"), [b"\xff\xfe\xe9"]);
        assert_eq!(seen.lines("x-tab"), [b"a\tb"]);
    }
}

/// Case 12: fields that a qualified `no-cache` names reach their own caller and are not stored.
#[tokio::test]
async fn fields_that_are_not_to_be_cached_are_not_replayed() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60, no-cache=\" SET-cookie, X-One \"");
    origin.on("/", answer.header("set-cookie", "id=1").header("x-one", "1").header("x-two", "2"));
    let (session, _) = session();
    for (outcome, lines) in [(Outcome::Miss, 1), (Outcome::Hit, 0)] {
        let seen = get(&session, &origin.url("/"), &[]).await;
        assert_eq!((seen.outcome(), seen.lines("x-two").len()), (outcome, 1));
        assert_eq!((seen.lines("set-cookie").len(), seen.lines("x-one").len()), (lines, lines));
    }
}

/// Case 66: headers that look like a cache's own are data like any.
#[tokio::test]
async fn headers_that_look_like_a_caches_own_mean_nothing() {
    let origin = Origin::scripted().await;
    let names = [
        ("x-cache", "HIT"),
        ("x-from-cache", "1"),
        ("x-cache-expires", "9999999999"),
        ("x-varied-authorization", "Bearer x"),
        ("okhttp-sent-millis", "0"),
        ("okhttp-received-millis", "99999999999999"),
        ("x-body-file", "/etc/passwd"),
        ("cache-status", "Ours; hit; ttl=1000"),
        ("warning", "110 - stale"),
    ];
    let answer = Answer::ok("x").header("cache-control", "max-age=60");
    origin.on("/", names.iter().fold(answer, |answer, (name, value)| answer.header(name, value)));
    let clock = hyper_client_cache_testkit::ManualClock::new();
    let session = builder(&clock).cache_status("Ours").build().unwrap();
    let url = origin.url("/");
    for outcome in [Outcome::Miss, Outcome::Hit] {
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, "x"));
        for (name, value) in names {
            assert_eq!(seen.lines(name)[0], value.as_bytes());
        }
        assert_eq!(seen.lines("cache-status").len(), 2, "the origin's, and ours after it");
    }
    clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Miss);
}

/// Case 71: interim responses are not stored, and their headers are not those of the final one.
#[tokio::test]
async fn interim_responses_leave_no_trace() {
    let origin = Origin::scripted().await;
    for code in [100, 102, 103] {
        let path = format!("/{code}");
        let hints = [("link", "</style.css>"), ("cache-control", "no-store"), ("x-interim", "1")];
        let answer = Answer::ok("final").header("cache-control", "max-age=60");
        origin.on(&path, answer.informational(code, &hints).informational(code, &hints));
        let (session, _) = session();
        for outcome in [Outcome::Miss, Outcome::Hit] {
            let seen = get(&session, &origin.url(&path), &[]).await;
            assert_eq!((seen.outcome(), seen.status, &seen.text[..]), (outcome, 200, "final"), "{code}");
            assert!(seen.lines("link").is_empty() && seen.lines("x-interim").is_empty());
            assert_eq!(seen.lines("cache-control"), [b"max-age=60"]);
        }
    }
}

/// Case 182: the rule is that trailers are neither stored nor merged into the headers.
#[tokio::test]
async fn trailers_are_not_merged_into_the_headers() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("body").header("cache-control", "max-age=60").trailer("x-sum", "1");
    origin.on("/", answer.trailer("cache-control", "no-store").trailer("set-cookie", "id=1"));
    let (session, _) = session();
    for outcome in [Outcome::Miss, Outcome::Hit] {
        let seen = get(&session, &origin.url("/"), &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, "body"));
        for name in ["x-sum", "set-cookie", "trailer", "transfer-encoding"] {
            assert!(outcome == Outcome::Miss && name != "x-sum" || seen.lines(name).is_empty(), "{name}");
        }
        assert_eq!(seen.lines("cache-control"), [b"max-age=60"]);
    }
}

/// Case 69: a length that is said twice or in an odd way is an error, or at least not stored.
#[tokio::test]
async fn an_ambiguous_length_is_not_stored() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    for (at, lengths) in [
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: 1, 2\r\n",
        "content-length: +1\r\n",
        "content-length: -1\r\n",
        "content-length: 0x1\r\n",
        "content-length: 1 1\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length: 1\r\ncontent-length: 1\r\n",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/{at}");
        origin.on(&path, Answer::raw(format!("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n{lengths}\r\nx")));
        if let Ok(response) = session.get(origin.url(&path)).send().await {
            assert_eq!(response.cache_info().unwrap().storing, Storing::No(Reason::ContentLength), "{lengths:?}");
        }
    }
    session.layer().flush().await;
    assert!(entries(&**session.cache()).await.is_empty());
}

/// Case 70: bytes that nobody asked for never become an answer, nor an entry.
#[tokio::test]
async fn an_unsolicited_response_answers_nothing() {
    let origin = Origin::scripted().await;
    let extra = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\ncache-control: max-age=600\r\n\r\npoison";
    origin.on("/a", Answer::ok("a").header("cache-control", "max-age=60").followed_by(extra));
    origin.on("/b", Answer::ok("b").header("cache-control", "max-age=60"));
    let (session, _) = session();
    assert_eq!(get(&session, &origin.url("/a"), &[]).await.text, "a");
    // The origin waits for whoever has come to go.
    let dropped = tokio::time::timeout(std::time::Duration::from_secs(10), origin.disconnected(1)).await;
    dropped.expect("the connection is given up");
    for (path, outcome) in [("/b", Outcome::Miss), ("/a", Outcome::Hit), ("/b", Outcome::Hit)] {
        let seen = get(&session, &origin.url(path), &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (outcome, &path[1..]));
    }
    assert_eq!(origin.connections(), 2);
    session.layer().flush().await;
    let stored = entries(&**session.cache()).await;
    assert!(stored.iter().all(|(_, entry)| !entry.body.windows(6).any(|bytes| bytes == b"poison")));
}

/// Case 103: an odd status line is no panic, and what is stored is stored as it was.
#[tokio::test]
async fn an_odd_status_line_is_stored_whole_or_not_at_all() {
    let origin = Origin::scripted().await;
    let (session, _) = session();
    let long = format!("HTTP/1.1 200 {}", "x".repeat(4096));
    let lines: [(&[u8], Option<u16>); 9] = [
        (b"HTTP/1.1 200 OK", Some(200)),
        (b"HTTP/1.1 200 ", Some(200)),
        (b"HTTP/1.1 200 \xfcber gut", Some(200)),
        (long.as_bytes(), Some(200)),
        (b"HTTP/1.0 200 OK", Some(200)),
        (b"HTTP/1.1 299 Odd", Some(299)),
        (b"HTTP/1.1 999 Odd", None),
        (b"HTTP/1.1 000 Odd", None),
        (b"HTTP/0.9 200 OK", None),
    ];
    for (at, (line, stored)) in lines.into_iter().enumerate() {
        let path = format!("/{at}");
        let rest = b"\r\ncontent-length: 1\r\ncache-control: max-age=60\r\n\r\nx";
        origin.on(&path, Answer::raw([line, rest].concat()));
        let shown = String::from_utf8_lossy(&line[..line.len().min(20)]).into_owned();
        let Ok(first) = session.get(origin.url(&path)).send().await else {
            assert_eq!(stored, None, "{shown}");
            continue;
        };
        let (status, version) = (first.status(), first.version());
        assert_eq!(outcome(&first), Outcome::Miss);
        assert_eq!(first.text().await.unwrap(), "x");
        if let Some(code) = stored {
            let second = session.get(origin.url(&path)).send().await.unwrap();
            assert_eq!((second.status().as_u16(), second.status(), second.version()), (code, status, version));
            assert_eq!((outcome(&second), &second.text().await.unwrap()[..]), (Outcome::Hit, "x"), "{shown}");
        } else {
            assert!(!is_stored(&session, &origin.url(&path)).await, "{shown}");
        }
    }
}

/// Case 73: a shared cache tells nobody about hits and misses unless it is asked to.
#[tokio::test]
async fn no_status_field_is_added_by_itself() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x").header("cache-control", "max-age=60"));
    let (session, _) = with_settings(Settings::default().shared(true));
    for _ in 0..2 {
        assert!(get(&session, &origin.url("/"), &[]).await.lines("cache-status").is_empty());
    }
}

/// Case 187 as far as the first form has it: a coded body is stored as it came, with the fields that say how to read it.
#[tokio::test]
async fn a_coded_body_is_stored_as_it_came() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok(&b"\x1f\x8b\x08\x00"[..]).header("content-encoding", "gzip").header("etag", "W/\"z\"");
    origin.on("/", answer.header("vary", "accept-encoding").header("cache-control", "max-age=60"));
    let (session, _) = session();
    for outcome_expected in [Outcome::Miss, Outcome::Hit] {
        let response =
            session.get(origin.url("/")).header("accept-encoding", "gzip").decompress(false).send().await.unwrap();
        assert_eq!(outcome(&response), outcome_expected);
        assert_eq!(
            (&response.headers()["content-encoding"], &response.headers()["content-length"]),
            (&"gzip".parse().unwrap(), &"4".parse().unwrap())
        );
        assert_eq!(&response.bytes().await.unwrap()[..], b"\x1f\x8b\x08\x00");
    }
    let without = session.get(origin.url("/")).decompress(false).send().await.unwrap();
    assert_eq!(outcome(&without), Outcome::Miss, "another variant");
}
