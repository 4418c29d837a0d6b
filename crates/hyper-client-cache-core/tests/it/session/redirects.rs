//! Which redirects are followed, and what goes with them (cases 59 to 64, features 17 and 18).

use bytes::Bytes;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_core::session::{Multipart, Part, RedirectAction, RedirectPolicy};
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Origin};

use super::{builder, outcome, session};

/// Feature 18: whether redirects are followed is no part of the match, for each hop is an entry of its own.
#[tokio::test]
async fn a_policy_says_which_are_followed_and_hops_are_shared_by_all_policies() {
    let (origin, other) = (Origin::scripted().await, Origin::scripted().await);
    let fresh = |answer: Answer| answer.header("cache-control", "max-age=60");
    origin.on("/1", fresh(Answer::redirect(301, "/2")));
    origin.on("/2", fresh(Answer::redirect(301, &other.url("/3"))));
    other.on("/3", fresh(Answer::ok("end")));
    let (session, _) = session();
    let get = |policy| session.get(origin.url("/1")).redirects(policy).send();
    let none = get(RedirectPolicy::none()).await.unwrap();
    assert_eq!((none.status().as_u16(), none.history().len(), none.from_cache()), (301, 0, false));
    none.bytes().await.unwrap();
    let same = get(RedirectPolicy::same_origin()).await.unwrap();
    assert_eq!((same.status().as_u16(), same.history().len(), same.url().path()), (301, 1, "/2"));
    assert_eq!(same.history()[0].cache_info.as_ref().unwrap().outcome, Outcome::Hit);
    same.bytes().await.unwrap();
    let all = get(RedirectPolicy::limited(2)).await.unwrap();
    assert_eq!((all.status().as_u16(), all.history().len()), (200, 2));
    all.bytes().await.unwrap();
    assert_eq!(get(RedirectPolicy::limited(1)).await.unwrap_err().kind(), ErrorKind::Redirect);
    assert_eq!(outcome(&get(RedirectPolicy::default()).await.unwrap()), Outcome::Hit);
    assert_eq!((origin.count(), other.count()), (2, 1), "each hop was fetched once, whatever the policy");

    let decided = |action| {
        get(RedirectPolicy::custom(move |redirect| match redirect.history.len() {
            0 => RedirectAction::Follow,
            _ => action,
        }))
    };
    assert_eq!(decided(RedirectAction::Follow).await.unwrap().status().as_u16(), 200);
    assert_eq!(decided(RedirectAction::Stop).await.unwrap().url().path(), "/2");
    assert_eq!(decided(RedirectAction::Fail).await.unwrap_err().kind(), ErrorKind::Redirect);
    // Cases 81 and 236: it is only this request that fails, and what the panic says is not shown.
    let error = get(RedirectPolicy::custom(|_| panic!("canary"))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Redirect && !format!("{error} {error:?}").contains("canary"));
    assert_eq!(outcome(&get(RedirectPolicy::default()).await.unwrap()), Outcome::Hit);
}

/// What leads to no place that can be asked is the policy's business first, and no fault of the request's URL.
#[tokio::test]
async fn what_cannot_be_followed_is_the_response_unless_it_is_to_be_followed() {
    for (location, is_shown) in [
        ("myapp://callback?code=canary", true),
        ("ftp://canary/", true),
        ("mailto:canary@host", false),
        ("javascript:canary()", false),
        ("http://[canary", false),
    ] {
        let origin = Origin::scripted().await;
        origin.on("/", Answer::redirect(302, location));
        let (session, _) = session();
        let get = |policy| session.get(origin.url("/")).redirects(policy).send();
        for policy in [RedirectPolicy::none(), RedirectPolicy::same_origin()] {
            let response = get(policy).await.unwrap();
            assert_eq!(
                (response.status().as_u16(), response.headers()["location"].as_bytes()),
                (302, location.as_bytes())
            );
        }
        let error = get(RedirectPolicy::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect, "{location}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        let decided = |action| get(RedirectPolicy::custom(move |_| action));
        assert_eq!(decided(RedirectAction::Stop).await.unwrap().status().as_u16(), 302);
        for action in [RedirectAction::Follow, RedirectAction::Fail] {
            match decided(action).await {
                Err(error) => assert!(is_shown && error.kind() == ErrorKind::Redirect, "{location}"),
                Ok(response) => assert!(!is_shown && response.status().as_u16() == 302, "{location}"),
            }
        }
    }
}

/// Case 60: configured secret headers are credentials like any other.
#[tokio::test]
async fn secret_headers_stay_with_their_origin() {
    let (a, b) = (Origin::scripted().await, Origin::scripted().await);
    a.on("/start", Answer::redirect(307, &b.url("/away")));
    b.on("/away", Answer::redirect(307, &a.url("/end")));
    a.on("/end", Answer::ok("end"));
    let clock = ManualClock::new();
    let session = builder(&clock).default_header("x-api-key", "canary").secret_headers(["x-api-key"]).build().unwrap();
    let response = session.get(a.url("/start")).header("x-plain", "1").send().await.unwrap();
    assert!(!format!("{response:?} {:?}", response.history()).contains("canary"));
    let seen: Vec<_> =
        a.requests().iter().chain(&b.requests()).map(|seen| seen.header("x-api-key").is_some()).collect();
    assert_eq!(seen, [true, false, false], "case 61: they do not come back");
}

#[tokio::test]
async fn a_body_that_cannot_be_sent_again_is_named() {
    let origin = Origin::scripted().await;
    origin.on("/307", Answer::redirect(307, "/end"));
    origin.on("/303", Answer::redirect(303, "/end"));
    origin.on("/end", Answer::ok("end"));
    let (session, _) = session();
    let stream = || http_body_util::Full::new(Bytes::from_static(b"x"));
    let error = session.post(origin.url("/307")).body_stream(stream()).send().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Redirect && error.to_string().contains("`body_stream`"), "{error}");
    assert!(session.post(origin.url("/303")).body_stream(stream()).send().await.unwrap().is_success());
    let form = || Multipart::new().text("a", "1").part("f", Part::bytes("2").file_name("f"));
    assert!(session.post(origin.url("/307")).multipart(form()).send().await.unwrap().is_success());
    let sent = origin.requests().pop().unwrap();
    assert!(sent.header("content-type").unwrap().starts_with("multipart/form-data; boundary="));
    assert_eq!(sent.header("content-length"), Some(sent.body.len().to_string().as_str()));
    let streamed = form().part("s", Part::stream(stream())).boundary("b");
    assert!(session.post(origin.url("/303")).multipart(streamed).send().await.unwrap().is_success());
    let sent = origin.requests().into_iter().rev().find(|request| request.path() == "/303").unwrap();
    assert!(sent.body.ends_with(b"name=\"s\"\r\n\r\nx\r\n--b--\r\n"), "{:?}", sent.body);
}
