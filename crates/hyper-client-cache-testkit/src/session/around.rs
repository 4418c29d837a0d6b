//! What is around the cache and beneath it: other clients, other sessions, redirects, what is sent.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower_layer::Layer;
use tower_service::Service;

use super::support::{Case, builder};
use crate::bytes::Bytes;
use crate::contract::{CacheHarness, Outcome, Verdict, Violation, ensure, ensure_eq};
use crate::core::key::Matching;
use crate::core::layer::CacheLayer;
use crate::core::policy::{CacheControl, CacheInfo, Mode, Outcome as Decided, Settings};
use crate::core::session::RedirectPolicy;
use crate::origin::Answer;

/// Features 3, 5 and 23: whatever service is given in place of the session's client, a limit of rate or another client,
/// is asked on misses only.
pub(super) async fn session_what_is_beneath_the_cache_sees_misses_only(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let beneath = Counting::default();
    let session = builder(harness, &case.cache).service(beneath.clone()).build()?;
    for round in 0..3 {
        for url in ["http://one.example/", "http://two.example/"] {
            ensure_eq!(
                case.answers(session.get(url), "counted").await?,
                round > 0,
                "whether {url} is cached in round {round}"
            );
        }
    }
    ensure_eq!(beneath.calls(), 2, "requests that reached the service");
    Ok(Verdict::Kept)
}

/// Feature 2: the layer around a service of any kind answers from the cache, and shares it with sessions.
pub(super) async fn session_a_layer_and_a_session_share_what_is_stored(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let (beneath, layer) = (Counting::default(), CacheLayer::builder_shared(case.cache.clone()));
    let layer = layer.clock(Arc::new(harness.clock())).build()?;
    let service = layer.layer(beneath.clone());
    let call = async |url: &str| -> Result<Decided, Violation> {
        let request = Request::get(url).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| Violation::new(error.to_string()))?;
        let response = service.clone().call(request).await?;
        let decided = response.extensions().get::<CacheInfo>().map(|info| info.outcome);
        let body = response.into_body().collect().await.map_err(|error| Violation::new(error.to_string()))?.to_bytes();
        ensure_eq!(body, "counted", "the body");
        decided.ok_or_else(|| Violation::new("the layer does not say what it did"))
    };
    for expected in [Decided::Miss, Decided::Hit] {
        ensure_eq!(call("http://one.example/").await?, expected, "what the layer did");
    }
    let session = builder(harness, &case.cache).service(beneath.clone()).build()?;
    ensure!(
        case.answers(session.get("http://one.example/"), "counted").await?,
        "a session does not find what a layer stored"
    );
    case.answers(session.get("http://two.example/"), "counted").await?;
    ensure_eq!(call("http://two.example/").await?, Decided::Hit, "what the layer did with what a session stored");
    ensure_eq!(beneath.calls(), 2, "requests that reached the service");
    Ok(Verdict::Kept)
}

/// Feature 6: a cache for several users stores nothing that is meant for one of them, and serves what is for all.
pub(super) async fn session_a_shared_cache_stores_what_is_for_all(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.settings(Settings::default().shared(true))).await?;
    for (path, cache_control, is_authorized, is_stored) in [
        ("/plain", "max-age=60", false, true),
        ("/private", "max-age=60, private", false, false),
        ("/authorized", "max-age=60", true, false),
        ("/public", "max-age=60, public", true, true),
        ("/s-maxage", "s-maxage=60, max-age=0", false, true),
    ] {
        case.serve(path, &[("cache-control", cache_control), ("set-cookie", "a=1")]);
        for round in 0..2 {
            let request = if is_authorized { case.get(path).header("authorization", "a") } else { case.get(path) };
            let response = case.send(request).await?;
            let hit = response.from_cache();
            ensure_eq!(hit, round == 1 && is_stored, "whether {path} is cached in round {round}");
            ensure_eq!(response.headers().contains_key("set-cookie"), !hit, "whether a cookie of {path} is there");
            response.bytes().await?;
        }
    }
    Ok(Verdict::Kept)
}

/// Feature 18: each hop is fetched once, whatever the policy by which it was followed or not.
pub(super) async fn session_every_policy_of_redirects_shares_the_hops(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    for (from, to) in [("/one", "/two"), ("/two", "/end")] {
        case.origin.on(from, Answer::redirect(301, to).header("cache-control", "max-age=600"));
    }
    case.serve("/end", &[]);
    for (policy, status, hops, fetched) in [
        (RedirectPolicy::none(), 301, 0, 1),
        (RedirectPolicy::limited(5), 200, 2, 3),
        (RedirectPolicy::same_origin(), 200, 2, 3),
        (RedirectPolicy::none(), 301, 0, 3),
    ] {
        let response = case.send(case.get("/one").redirects(policy)).await?;
        ensure_eq!(response.status().as_u16(), status, "the status");
        ensure_eq!(response.history().len(), hops, "hops");
        response.bytes().await?;
        ensure_eq!(case.origin.count(), fetched, "requests that reached the origin");
    }
    Ok(Verdict::Kept)
}

/// Feature 19: a relative URL is the absolute one that it means.
pub(super) async fn session_a_relative_url_is_the_one_that_it_means(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/api/one", &[]);
    let based = builder(harness, &case.cache).base_url(case.origin.url("/api/")).build()?;
    ensure!(!case.answers(based.get("one"), "/api/one").await?, "the first answer is cached");
    ensure!(case.answers(based.get("/api/one"), "/api/one").await?, "a path is another request");
    ensure!(case.hits("/api/one").await?, "the absolute URL is another request");
    ensure!(based.cache().has_url("one").await?, "a relative URL is not found in the cache");
    Ok(Verdict::Kept)
}

/// Feature 24: a request with every option of the cache is, to the origin, the one without any.
pub(super) async fn session_no_option_of_the_cache_is_sent(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    case.serve("/one", &[]);
    let with_all = case
        .get("/one")
        .expire_after(Duration::from_secs(5))
        .force_ttl(true)
        .mode(Mode::Reload)
        .cache_control(CacheControl::Ignore)
        .stale_if_error(true)
        .stale_while_revalidate(true)
        .matching(Matching::default().sort_query(true).ignored_params(["x"]).match_headers(["*"]))
        .partition("tenant");
    case.ask(case.get("/one").mode(Mode::NoStore)).await?;
    case.ask(with_all).await?;
    let sent = case.origin.requests();
    let [plain, with_all] = &sent[..] else { return Err(Violation::new(format!("{} requests", sent.len()))) };
    ensure_eq!(with_all.target, plain.target, "what is asked for");
    ensure_eq!(with_all.headers, plain.headers, "the header lines");
    Ok(Verdict::Kept)
}

/// A service that answers everything by itself, and counts.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Counting {
    fn calls(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B> Service<Request<B>> for Counting {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::new(Full::from("counted"))))
    }
}
