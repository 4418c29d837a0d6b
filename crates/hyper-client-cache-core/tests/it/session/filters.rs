//! Functions of the user's that decide what is stored and used, and change what is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_client_cache_core::policy::{
    BeforeStore, Outcome, Reason, RequestFilter, ResponseFilter, ResponseView, Settings, Storing, UrlRule,
};
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};

use super::{entries, eventually, flushed, get, see, with_settings};

/// The forms that a filter may have, all deciding by the same rule.
fn forms(rule: fn(Option<&[u8]>, u16) -> bool) -> [ResponseFilter; 4] {
    let at_once = move |view: ResponseView<'_>| rule(view.body().map(AsRef::as_ref), view.status().as_u16());
    let later = move |view: ResponseView<'_>| {
        let (body, status) = (view.body().cloned(), view.status().as_u16());
        async move {
            tokio::task::yield_now().await;
            rule(body.as_deref(), status)
        }
    };
    [
        ResponseFilter::new(at_once),
        ResponseFilter::asynchronous(later),
        ResponseFilter::new(at_once).with_body(),
        ResponseFilter::asynchronous(later).with_body(),
    ]
}

/// One that wants the body, and says yes when the gate is open.
fn waiting_at(gate: &Gate) -> ResponseFilter {
    let gate = gate.clone();
    let filter = ResponseFilter::asynchronous(move |_| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            true
        }
    });
    filter.with_body()
}

/// Features 63 and 64, seed line 17: what the filter refuses is handed on and not stored, and the reason is told.
#[tokio::test]
async fn what_a_filter_refuses_is_not_stored() {
    let origin = Origin::scripted().await;
    origin.on("/yes", Answer::ok("yes"));
    origin.on("/no", Answer::status(203).body("no"));
    let codes = [http::StatusCode::OK, http::StatusCode::NON_AUTHORITATIVE_INFORMATION];
    for (at, filter) in forms(|_, status| status == 200).into_iter().enumerate() {
        let (session, _) = with_settings(Settings::default().allowed_codes(codes).filter_write(filter.clone()));
        for _ in 0..2 {
            let seen = get(&session, &origin.url("/no"), &[]).await;
            assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, "no"), "{at}");
            if !filter.wants_body() {
                assert_eq!(seen.storing(), Storing::No(Reason::Filter));
            }
        }
        get(&session, &origin.url("/yes"), &[]).await;
        assert_eq!(get(&session, &origin.url("/yes"), &[]).await.outcome(), Outcome::Hit, "{at}");
        flushed(&session).await;
        assert_eq!(entries(&**session.cache()).await.len(), 1, "{at}");
    }
}

/// Feature 66, seed line 18: a filter may look at the body, whole, and whoever has read that finds it stored or not.
#[tokio::test]
async fn a_filter_may_look_at_the_body() {
    let origin = Origin::scripted().await;
    origin.on("/ok", Answer::ok(r#"{"result":"ok"}"#));
    origin.on("/error", Answer::ok(r#"{"result":"error"}"#));
    origin.on("/chunked/ok", Answer::ok("").chunk(r#"{"result":"#).chunk(r#""ok"}"#).chunked());
    origin.on("/chunked/error", Answer::ok("").chunk(r#"{"result":"#).chunk(r#""error"}"#).chunked());
    origin.on("/empty", Answer::ok(""));
    for filter in forms(|body, _| body.is_some_and(|body| body.ends_with(b"\"ok\"}"))).into_iter().skip(2) {
        let (session, _) = with_settings(Settings::default().filter_write(filter));
        for (path, stored) in
            [("/ok", true), ("/error", false), ("/chunked/ok", true), ("/chunked/error", false), ("/empty", false)]
        {
            get(&session, &origin.url(path), &[]).await;
            let outcome = get(&session, &origin.url(path), &[]).await.outcome();
            assert_eq!(outcome, if stored { Outcome::Hit } else { Outcome::Miss }, "{path}");
        }
    }
}

/// Feature 66: a body that is too long to be in memory is not shown, announced or not; the filter decides without.
#[tokio::test]
async fn a_long_body_is_not_shown_to_a_filter() {
    let origin = Origin::scripted().await;
    origin.on("/announced", Answer::pattern(1 << 20));
    origin.on("/chunked", Answer::pattern(1 << 20).chunked());
    for filter in forms(|body, _| body.is_some()).into_iter().skip(2) {
        let (refusing, _) = with_settings(Settings::default().filter_write(filter));
        for path in ["/announced", "/chunked"] {
            let response = refusing.get(origin.url(path)).send().await.unwrap();
            assert_eq!(response.bytes().await.unwrap().len(), 1 << 20);
        }
        eventually("no flight", || refusing.layer().in_flight() == 0).await;
        flushed(&refusing).await;
        assert!(entries(&**refusing.cache()).await.is_empty());
    }
    for filter in forms(|body, _| body.is_none()).into_iter().skip(2) {
        let (accepting, _) = with_settings(Settings::default().filter_write(filter));
        for path in ["/announced", "/chunked"] {
            accepting.get(origin.url(path)).send().await.unwrap().bytes().await.unwrap();
            let again = accepting.get(origin.url(path)).send().await.unwrap();
            assert!(again.from_cache(), "{path}");
        }
    }
}

/// Feature 65: also what is stored must pass, body included; it stays for those whose filter lets it pass.
#[tokio::test]
async fn what_is_stored_must_pass_the_filter_too() {
    let origin = Origin::scripted().await;
    origin.on("/", [Answer::ok("old").etag("\"1\""), Answer::ok("new")]);
    for filter in forms(|body, _| body == Some(b"new")).into_iter().skip(2) {
        let (session, _) = with_settings(Settings::default());
        let url = origin.url("/");
        origin.on("/", [Answer::ok("old").etag("\"1\""), Answer::ok("new")]);
        get(&session, &url, &[]).await;
        session.update_settings(|all| all.filter_read(filter.clone())).unwrap();
        let offline = see(session.get(&url).header("cache-control", "only-if-cached")).await;
        assert_eq!((offline.status, offline.reason()), (504, Reason::Filter));
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Miss, Reason::Filter, "new"));
        assert_eq!(origin.requests().last().unwrap().header("if-none-match"), None);
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Hit, "new"));
    }
}

/// Feature 64: what has come is given to the caller while a filter takes its time; only the end waits, for all who read.
#[tokio::test]
async fn a_filter_that_takes_its_time_holds_back_only_the_end() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/", Answer::ok("body"));
    let (session, _) = with_settings(Settings::default().filter_write(waiting_at(&gate)));
    let url = origin.url("/");
    let mut one = session.get(&url).send().await.unwrap();
    let mut two = session.get(&url).send().await.unwrap();
    assert_eq!((super::outcome(&one), super::outcome(&two)), (Outcome::Miss, Outcome::Coalesced));
    for response in [&mut one, &mut two] {
        assert_eq!(response.chunk().await.unwrap().as_deref(), Some(&b"body"[..]));
    }
    let ends = tokio::spawn(async move { (one.chunk().await.unwrap(), two.chunk().await.unwrap()) });
    gate.arrived(1).await;
    assert!(!ends.is_finished());
    gate.open();
    assert_eq!(ends.await.unwrap(), (None, None));
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
    assert_eq!(origin.count(), 1);
}

/// Feature 64: a caller who has all of the body and leaves does not take the decision along.
#[tokio::test]
async fn a_decision_is_carried_out_though_nobody_reads_any_more() {
    let origin = Origin::scripted().await;
    let gate = Gate::new();
    origin.on("/", Answer::ok("body"));
    let (session, _) = with_settings(Settings::default().filter_write(waiting_at(&gate)));
    let url = origin.url("/");
    let mut response = session.get(&url).send().await.unwrap();
    response.chunk().await.unwrap();
    tokio::select! {
        biased;
        end = response.chunk() => panic!("{end:?}"),
        () = gate.arrived(1) => {}
    }
    drop(response);
    gate.open();
    eventually("no flight", || session.layer().in_flight() == 0).await;
    flushed(&session).await;
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
}

/// Cases 81 and 236: a filter that panics keeps one response out of the store or of use; nothing else suffers.
#[tokio::test]
async fn a_filter_that_panics_fails_open() {
    fn panicking(now: bool, body: bool) -> ResponseFilter {
        let filter = match now {
            true => ResponseFilter::new(|_| panic!("canary")),
            false => ResponseFilter::asynchronous(|_| async { panic!("canary") }),
        };
        if body { filter.with_body() } else { filter }
    }
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let url = origin.url("/");
    for (now, body) in [(true, false), (false, false), (true, true), (false, true)] {
        let (session, _) = with_settings(Settings::default().filter_write(panicking(now, body)));
        for _ in 0..2 {
            let seen = get(&session, &url, &[]).await;
            assert_eq!((seen.outcome(), &seen.text[..]), (Outcome::Miss, "x"));
        }
        assert_eq!(session.stats().callback_panicked, 2);
        session.update_settings(|_| Settings::default()).unwrap();
        get(&session, &url, &[]).await;
        assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
        session.update_settings(|all| all.filter_read(panicking(now, body))).unwrap();
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), seen.reason(), &seen.text[..]), (Outcome::Miss, Reason::CallbackPanicked, "x"));
        session
            .update_settings(|_| Settings::default().filter_request(RequestFilter::new(|_| panic!("canary"))))
            .unwrap();
        let seen = get(&session, &url, &[]).await;
        assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::CallbackPanicked));
        session
            .update_settings(|_| Settings::default().before_store(BeforeStore::new(|_, _| panic!("canary"))))
            .unwrap();
        let seen = see(session.get(&url).reload()).await;
        assert_eq!(seen.storing(), Storing::No(Reason::CallbackPanicked));
        assert_eq!(session.stats().callback_panicked, 5);
        assert_eq!(session.layer().in_flight(), 0);
    }
}

/// Feature 67: only requests that the filter lets pass use the cache.
#[tokio::test]
async fn a_filter_decides_which_requests_use_the_cache() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let filter = RequestFilter::new(|request| !request.headers.contains_key("x-private"));
    let (session, _) = with_settings(Settings::default().filter_request(filter));
    let url = origin.url("/");
    get(&session, &url, &[]).await;
    let seen = get(&session, &url, &[("x-private", "1")]).await;
    assert_eq!((seen.outcome(), seen.reason()), (Outcome::Bypass, Reason::Filter));
    assert_eq!(get(&session, &url, &[]).await.outcome(), Outcome::Hit);
}

/// Feature 70: what is stored may be changed first; whoever asked gets it as it came, and a 304 brings nothing back.
#[tokio::test]
async fn what_is_stored_may_be_changed_first() {
    let origin = Origin::scripted().await;
    let answer = Answer::ok("x").header("cache-control", "max-age=60").etag("\"1\"");
    origin.on("/", answer.header("x-trace", "1").header("link", "<a>").header("link", "<b>"));
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let hook = BeforeStore::new(move |response, headers| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(response.url().ends_with('/') && response.header("ETag").is_some());
        headers.remove("x-trace");
        headers.insert("x-stored", response.status().as_str().parse().unwrap());
    });
    let (session, clock) = with_settings(Settings::default().before_store(hook));
    let url = origin.url("/");
    let live = get(&session, &url, &[]).await;
    assert_eq!((live.lines("x-trace").len(), live.lines("x-stored").len()), (1, 0));
    clock.advance(Duration::from_secs(30));
    for outcome in [Outcome::Hit, Outcome::Revalidated, Outcome::Hit] {
        let seen = get(&session, &url, &[]).await;
        assert_eq!(seen.outcome(), outcome);
        assert_eq!((seen.lines("x-trace").len(), seen.lines("x-stored")), (0, vec![&b"200"[..]]), "{outcome:?}");
        assert_eq!(seen.lines("link"), [b"<a>", b"<b>"]);
        if outcome == Outcome::Hit {
            clock.advance(Duration::from_secs(40));
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// Features 9 and 63: one function for both directions, as in the original.
#[tokio::test]
async fn one_filter_may_be_for_writing_and_reading() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    let settings = Settings::default().filter(ResponseFilter::new(|response| response.url().ends_with("/other")));
    assert!(settings.filter_write.is_some() && settings.filter_read.is_some());
    let (session, _) = with_settings(settings);
    assert_eq!(get(&session, &origin.url("/"), &[]).await.storing(), Storing::No(Reason::Filter));
}

/// Features 63, 65 and 70: functions of a request go before those of a rule, these before the session's.
#[tokio::test]
async fn the_nearest_functions_count() {
    let origin = Origin::scripted().await;
    origin.on("/", Answer::ok("x"));
    origin.on("/rule", Answer::ok("x"));
    let all = || ResponseFilter::new(|_| true);
    let none = || ResponseFilter::new(|_| false);
    let marking = |mark: &'static str| {
        BeforeStore::new(move |_, headers| {
            headers.insert("x-mark", mark.parse().unwrap());
        })
    };
    let rule = UrlRule::glob("*/rule").filter(all());
    let settings = Settings::default().filter(none()).before_store(marking("session")).rule(rule);
    let (session, _) = with_settings(settings);
    let (url, by_rule) = (origin.url("/"), origin.url("/rule"));
    for _ in 0..2 {
        assert_eq!(get(&session, &url, &[]).await.storing(), Storing::No(Reason::Filter));
    }
    // What the rule does not set is the session's.
    get(&session, &by_rule, &[]).await;
    let seen = get(&session, &by_rule, &[]).await;
    assert_eq!((seen.outcome(), seen.lines("x-mark")), (Outcome::Hit, vec![&b"session"[..]]));
    let seen = see(session.get(&by_rule).filter(none())).await;
    assert_eq!(
        (seen.outcome(), seen.reason(), seen.storing()),
        (Outcome::Miss, Reason::Filter, Storing::No(Reason::Filter))
    );
    assert_eq!(get(&session, &by_rule, &[]).await.outcome(), Outcome::Hit, "what one request refuses stays for others");

    let own = || session.get(&url).filter(all());
    see(own().before_store(marking("request"))).await;
    assert_eq!(own().explain().await.unwrap().outcome, Outcome::Hit);
    let seen = see(own()).await;
    assert_eq!((seen.outcome(), seen.lines("x-mark")), (Outcome::Hit, vec![&b"request"[..]]));
    assert_eq!(session.get(&url).explain().await.unwrap().reason, Reason::Filter);
    assert_eq!(get(&session, &url, &[]).await.reason(), Reason::Filter);
}
