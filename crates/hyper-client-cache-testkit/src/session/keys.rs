//! Which spellings and which bodies are one request, and who shares nothing with whom.

use http::Method;
use http_body_util::Full;

use super::support::{Case, builder};
use crate::contract::{CacheHarness, Outcome, Verdict, Violation, ensure, ensure_eq};
use crate::core::cache::Filter;
use crate::core::key::Matching;
use crate::core::policy::{Outcome as Decided, Settings};
use crate::core::session::SessionBuilder;
use crate::origin::{Answer, Origin, Recorded};

/// Features 25 and 27: two orders are two requests, unless the query is sorted; that within one name counts all the same,
/// and what is sent is what was written.
pub(super) async fn session_the_order_of_parameters_counts_unless_sorted(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/q", |request: &Recorded| Answer::ok(request.target.clone()));
    let sorting = builder(harness, &case.cache).sort_query(true).build()?;
    ensure!(!case.answers(case.get("/q?b=2&a=1"), "/q?b=2&a=1").await?, "the first answer is cached");
    ensure!(!case.answers(case.get("/q?a=1&b=2"), "/q?a=1&b=2").await?, "the order does not count");
    let sorted = async |target: &str, said: &str| case.answers(sorting.get(case.origin.url(target)), said).await;
    ensure!(!sorted("/q?b=2&a=1&a=0", "/q?b=2&a=1&a=0").await?, "the first answer is cached");
    ensure!(sorted("/q?a=1&a=0&b=2", "/q?b=2&a=1&a=0").await?, "the order counts although the query is sorted");
    ensure!(!sorted("/q?a=0&a=1&b=2", "/q?a=0&a=1&b=2").await?, "the order within one name does not count");
    Ok(Verdict::Kept)
}

/// Features 26 and 28: what HTTP declares equal is one request, what the origin could tell apart is another.
pub(super) async fn session_spellings_of_one_url_are_one(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for path in ["/b", "/B", "/b/", "/%62"] {
        case.origin.on(path, Answer::ok(path));
    }
    let url = case.origin.url("/b");
    case.answers(case.session.get(&url), "/b").await?;
    for same in [url.replace("http:", "HTTP:"), url.replace("/b", "/a/../b"), format!("{url}#part")] {
        ensure!(case.answers(case.session.get(&same), "/b").await?, "{same} is another request");
    }
    for other in ["/B", "/b/", "/%62"] {
        ensure!(!case.answers(case.get(other), other).await?, "{other} is the same request");
    }
    Ok(Verdict::Kept)
}

/// Features 30 to 33: JSON by what it says, arrays in their order, multipart by its parts; a form is not JSON, and what
/// streams goes past the cache.
pub(super) async fn session_bodies_are_compared_by_what_they_say(harness: &dyn CacheHarness) -> Outcome {
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let case = storing(harness, |builder| builder).await?;
    let multipart = |boundary: &str, value: &str| {
        let head = "content-disposition: form-data; name=\"a\"";
        let body = format!("--{boundary}\r\n{head}\r\n\r\n{value}\r\n--{boundary}--\r\n");
        (format!("multipart/form-data; boundary={boundary}"), body)
    };
    let plain = |kind: &str, body: &str| (kind.to_owned(), body.to_owned());
    for ((kind, body), is_hit) in [
        (plain(json, r#"{"a":{"x":[1,2],"y":null},"b":1}"#), false),
        (plain(json, r#"{ "b":1, "a":{"y":null,"x":[1, 2]} }"#), true),
        (plain(json, r#"{"a":{"x":[2,1],"y":null},"b":1}"#), false),
        (plain("text/plain", r#"{"a":{"x":[1,2],"y":null},"b":1}"#), false),
        (plain(form, "a=1"), false),
        (plain(json, "a=1"), false),
        (plain(form, "a=1"), true),
        (multipart("one", "1"), false),
        (multipart("two", "1"), true),
        (multipart("two", "2"), false),
    ] {
        let post = case.session.post(case.origin.url("/")).header("content-type", &kind).body(body.clone());
        ensure_eq!(case.answers(post, "answer").await?, is_hit, "whether {body:?} as {kind} is cached");
    }
    for _ in 0..2 {
        let streamed = case.session.post(case.origin.url("/")).body_stream(Full::from("a=1"));
        ensure_eq!(case.ask(streamed).await?.0, Decided::Bypass, "what becomes of a body that streams");
    }
    Ok(Verdict::Kept)
}

/// Feature 35: an ignored name is ignored at any depth of JSON, and nothing else is.
pub(super) async fn session_an_ignored_member_is_ignored_at_any_depth(harness: &dyn CacheHarness) -> Outcome {
    let case = storing(harness, |builder| builder.ignored_params(["ignored"])).await?;
    for (body, is_hit) in [
        (r#"{"deep":[{"ignored":1,"a":1}]}"#, false),
        (r#"{"deep":[{"ignored":2,"a":1}],"ignored":{"a":3}}"#, true),
        (r#"{"deep":[{"ignored":1,"a":2}]}"#, false),
    ] {
        let post = case.session.post(case.origin.url("/")).header("content-type", "application/json").body(body);
        ensure_eq!(case.answers(post, "answer").await?, is_hit, "whether {body} is cached");
    }
    Ok(Verdict::Kept)
}

/// Feature 44: QUERY is answered by its body, and shares nothing with a POST of the same.
pub(super) async fn session_query_is_answered_by_its_body(harness: &dyn CacheHarness) -> Outcome {
    let case = storing(harness, |builder| builder).await?;
    let query = async |body: &'static str| {
        case.answers(case.session.request(query(), case.origin.url("/")).body(body), "answer").await
    };
    ensure!(!query("a").await? && query("a").await?, "a QUERY is not stored");
    ensure!(!query("b").await?, "a QUERY with another body is the same");
    let post = case.session.post(case.origin.url("/")).body("a");
    ensure!(!case.answers(post, "answer").await?, "a POST is answered by what a QUERY stored");
    Ok(Verdict::Kept)
}

/// Feature 42: what the function returns decides, but merges no callers; where it returns nothing all is as without it.
pub(super) async fn session_a_key_function_decides_what_counts(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| {
        builder.key_fn("by-path", |request| match request.uri.path() {
            "/default" => None,
            path => Some(path.trim_end_matches(char::is_numeric).into()),
        })
    })
    .await?;
    for path in ["/a1", "/a2", "/b1", "/default"] {
        case.origin.on(path, Answer::ok("answer"));
    }
    for (target, is_hit) in [
        ("/a1?x", false),
        ("/a2?y", true),
        ("/b1", false),
        ("/default?1", false),
        ("/default?2", false),
        ("/default?1", true),
    ] {
        ensure_eq!(case.answers(case.get(target), "answer").await?, is_hit, "whether {target} is cached");
    }
    let other = case.get("/a1?x").header("authorization", "b");
    ensure!(!case.answers(other, "answer").await?, "a key function has merged two callers");
    Ok(Verdict::Kept)
}

/// Feature 43, case 31: a field that overrides the method goes past the cache, or is believed where asked for and shares
/// nothing with the method itself.
pub(super) async fn session_an_overridden_method_shares_nothing(harness: &dyn CacheHarness) -> Outcome {
    const FIELD: &str = "x-http-method-override";
    let case = Case::new(harness).await?;
    case.origin.on("/one", |request: &Recorded| {
        Answer::ok(format!("{} {}", request.method, request.header(FIELD).unwrap_or("-")))
    });
    let url = case.origin.url("/one");
    ensure_eq!(
        case.ask(case.get("/one").header(FIELD, "GET")).await?.0,
        Decided::Bypass,
        "what becomes of it by default"
    );
    let believing = builder(harness, &case.cache).method_override(true).build()?;
    case.answers(believing.get(&url), "GET -").await?;
    let post = || believing.post(&url).header(FIELD, "GET");
    ensure!(!case.answers(post(), "POST GET").await?, "it is answered by what a GET stored");
    ensure!(case.answers(post(), "POST GET").await?, "it is not stored where it is believed");
    ensure!(case.answers(believing.get(&url), "GET -").await?, "it made invalid what a GET stored");
    Ok(Verdict::Kept)
}

/// Feature 48: what is stored in one partition is found in no other, whether session or request names it.
pub(super) async fn session_partitions_do_not_meet(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.settings(Settings::default().partition("a"))).await?;
    case.origin.on("/one", |request: &Recorded| Answer::ok(request.header("x-who").unwrap_or("-").to_owned()));
    let none = builder(harness, &case.cache).build()?;
    let url = case.origin.url("/one");
    for round in 0..2 {
        for (request, who) in
            [(case.get("/one"), "a"), (case.get("/one").partition("b"), "b"), (none.get(&url), "none")]
        {
            let hit = case.answers(request.header("x-who", who), who).await?;
            ensure_eq!(hit, round == 1, "whether the answer for {who} is cached in round {round}");
        }
    }
    ensure!(case.answers(none.get(&url).partition("a"), "a").await?, "a partition is not found from another session");
    Ok(Verdict::Kept)
}

/// Feature 49: where the origin is believed, a response answers the URLs that differ only in what it says does not
/// matter; no other caller's, and none that an unsafe request to one of them has made invalid.
pub(super) async fn session_no_vary_search_is_believed_where_asked_for(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.no_vary_search(true)).await?;
    case.serve("/q", &[("no-vary-search", "params=(\"utm\")"), ("cache-control", "max-age=60")]);
    let plain = builder(harness, &case.cache).build()?;
    ensure!(!case.answers(case.get("/q?a=1&utm=x"), "/q").await?, "the first answer is cached");
    ensure!(case.answers(case.get("/q?a=1&utm=y"), "/q").await?, "what does not matter counts");
    ensure!(!case.answers(case.get("/q?a=2&utm=y"), "/q").await?, "what matters does not count");
    let other = case.get("/q?a=1&utm=z").header("authorization", "b");
    ensure!(!case.answers(other, "/q").await?, "another caller is given the answer");
    let unbelieving = plain.get(case.origin.url("/q?a=1&utm=y"));
    ensure!(!case.answers(unbelieving, "/q").await?, "the origin is believed where nobody asked for that");
    case.ask(case.session.post(case.origin.url("/q?a=1&utm=other")).body("x")).await?;
    ensure!(!case.answers(case.get("/q?a=1&utm=w"), "/q").await?, "an unsafe request left what answers its URL");
    Ok(Verdict::Kept)
}

/// Feature 50: what was stored before a change of the settings is found after it, variants and redirects too, and
/// nothing is left in the old place.
pub(super) async fn session_what_is_stored_may_be_given_new_keys(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/plain", &[]);
    case.serve("/varies", &[("vary", "accept")]);
    case.origin.on("/hop", Answer::redirect(301, "/plain?b=1&a=2").header("cache-control", "max-age=60"));
    let ask = async |query: &str| -> Result<bool, Violation> {
        let mut all = case.answers(case.get(&format!("/hop{query}")), "/plain").await?;
        all &= case.answers(case.get(&format!("/plain{query}")), "/plain").await?;
        for accept in ["a", "b"] {
            let varies = case.get(&format!("/varies{query}")).header("accept", accept);
            all &= case.answers(varies, "/varies").await?;
        }
        Ok(all)
    };
    ask("?b=1&a=2").await?;
    let (before, asked) = (case.session.settings(), case.origin.count());
    case.session.update_settings(|settings| settings.matching(Matching::default().sort_query(true)))?;
    let rekeyed = case.session.cache().rekey(&before).await?;
    ensure_eq!((rekeyed.moved, rekeyed.skipped), (4, 0), "responses that were moved, and that were left");
    ensure!(ask("?a=2&b=1").await?, "what was stored before is not found");
    ensure_eq!(case.origin.count(), asked, "requests that reached the origin");
    ensure_eq!(case.session.cache().count(Filter::new()).await?, 4, "responses that are stored");
    let old = builder(harness, &case.cache).build()?;
    ensure!(!case.answers(old.get(case.origin.url("/plain?b=1&a=2")), "/plain").await?, "the old place is not empty");
    Ok(Verdict::Kept)
}

/// What is stored under some options of matching is never found under others, and is still there under its own.
pub(super) async fn session_other_options_of_matching_find_nothing(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.origin.on("/", Answer::ok("answer"));
    let default = Matching::default;
    let all = [
        default(),
        default().sort_query(true),
        default().ignored_params(["x"]),
        default().ignored_headers(["x"]),
        default().match_headers(["x"]),
        default().separate_credentials(false),
        default().key_fn("one", |_| Some(b"/?a=1".to_vec())),
        default().key_fn("two", |_| Some(b"/?a=1".to_vec())),
    ];
    for round in 0..2 {
        for matching in &all {
            let request = case.get("/?a=1").matching(matching.clone());
            ensure_eq!(
                case.answers(request, "answer").await?,
                round == 1,
                "whether it is cached under {matching:?} in round {round}"
            );
        }
    }
    Ok(Verdict::Kept)
}

/// Feature 47, case 72: what was fetched from a server that was not verified is not found by who verifies.
pub(super) async fn session_what_was_fetched_under_another_trust_is_not_found(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let origin = Origin::builder().tls().start().await;
    origin.on("/one", Answer::ok("/one").header("cache-control", "max-age=600"));
    let Some(root) = origin.root_certificate_der() else {
        return Err(Violation::new("an origin without a certificate"));
    };
    let lax = || builder(harness, &case.cache).danger_accept_invalid_certs(true);
    let strict = || builder(harness, &case.cache).root_certificate(root);
    let fetch = async |builder: SessionBuilder| case.answers(builder.build()?.get(origin.url("/one")), "/one").await;
    ensure!(!fetch(lax()).await? && fetch(lax()).await?, "what a lax session fetched is not stored");
    ensure!(!fetch(strict()).await?, "what a lax session fetched is served to one that verifies");
    ensure!(fetch(strict()).await? && fetch(lax()).await?, "what was fetched under the same trust is not found");
    ensure_eq!(
        case.session.get(origin.url("/one")).send().await.is_err(),
        true,
        "whether who trusts nobody is refused"
    );
    Ok(Verdict::Kept)
}

/// Feature 46: a HEAD is answered by the GET that is stored, head and announced length; what a HEAD brought answers no
/// GET.
pub(super) async fn session_a_head_is_answered_by_a_stored_get_and_not_the_other_way(
    harness: &dyn CacheHarness,
) -> Outcome {
    let case = Case::new(harness).await?;
    for path in ["/one", "/two"] {
        case.serve(path, &[("x-thing", "5"), ("cache-control", "max-age=60"), ("etag", "\"1\"")]);
    }
    let head = |path: &str| case.session.head(case.origin.url(path));
    case.hits("/one").await?;
    let response = case.send(head("/one")).await?;
    ensure!(response.from_cache(), "a HEAD is not answered by the stored GET");
    ensure_eq!(response.content_length(), Some(4), "the length that is announced");
    ensure!(response.headers().contains_key("x-thing"), "a header line of the stored GET is missing");
    ensure_eq!(response.bytes().await?.len(), 0, "the length of the body of a HEAD");
    ensure!(!case.answers(head("/two"), "").await? && case.answers(head("/two"), "").await?, "a HEAD is not stored");
    ensure!(!case.hits("/two").await?, "a GET is answered by a stored HEAD");
    harness.clock().advance(std::time::Duration::from_secs(60));
    ensure!(!case.answers(head("/one"), "").await?, "a HEAD is answered by a GET that is over");
    Ok(Verdict::Kept)
}

/// A session that stores answers to POST and QUERY too, over an origin that has one answer to all.
async fn storing(
    harness: &dyn CacheHarness,
    configure: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Result<Case, Violation> {
    let methods = [Method::GET, Method::POST, query()];
    let case = Case::with(harness, |builder| configure(builder.allowed_methods(methods))).await?;
    case.origin.on("/", Answer::ok("answer"));
    Ok(case)
}

fn query() -> Method {
    Method::from_bytes(b"QUERY").unwrap_or_default()
}
