//! What counts in a request: parameters, bodies, header lines, and what is told to be ignored.

use std::collections::BTreeMap;

use http::Method;

use super::support::Case;
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::core::session::{RequestBuilder, SessionBuilder};
use crate::origin::{Answer, Recorded};

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
const KINDS: [&str; 3] = ["query", "form", "json"];

/// Seed lines 21 and 72: with each method, in the query, in a form, in JSON; none is taken for another's, and each is
/// answered with what was said to it.
pub(super) async fn session_each_payload_is_a_request_of_its_own(harness: &dyn CacheHarness) -> Outcome {
    let case = echoing(harness, |builder| builder.allowed_methods(METHODS)).await?;
    let payloads = [[("name", "a")], [("name", "b")], [("other", "a")]];
    let mut sent: usize = 0;
    for method in METHODS {
        for kind in KINDS {
            for round in 0..2 {
                for payload in payloads {
                    let request = case.session.request(method.clone(), case.origin.url("/echo"));
                    let (response, said) =
                        (case.send(with(request, kind, &payload)).await?, said(&method, kind, &payload));
                    let what = format!("{method} with {payload:?} as {kind} in round {round}");
                    ensure_eq!(response.from_cache(), round == 1, "whether the answer is cached to {what}");
                    ensure_eq!(response.text().await?, said, "the answer to {what}");
                }
            }
            sent = sent.saturating_add(payloads.len());
        }
    }
    ensure_eq!(case.origin.count(), sent, "requests that reached the origin");
    Ok(Verdict::Kept)
}

/// Seed lines 15 and 73: where only what is ignored differs it is a hit, where anything else does it is none, whatever
/// was asked for in between.
pub(super) async fn session_what_is_ignored_does_not_count(harness: &dyn CacheHarness) -> Outcome {
    let case = echoing(harness, |builder| {
        builder
            .allowed_methods(METHODS)
            .ignored_params(["ignored"])
            .ignored_headers(["x-ignored"])
            .match_headers(["x-ignored", "x-counts"])
    })
    .await?;
    for method in METHODS {
        for kind in KINDS.into_iter().chain(["headers"]) {
            // A path for each, so that what is sent with one method makes nothing of another's invalid.
            let url = case.origin.url(&format!("/{method}/{kind}"));
            case.origin.on(&format!("/{method}/{kind}"), Answer::ok("answer"));
            let ask = async |ignored: &str, counts: &str| {
                let request = case.session.request(method.clone(), &url);
                let request = match kind {
                    "headers" => request.header("x-ignored", ignored).header("x-counts", counts),
                    _ => with(request, kind, &[("ignored", ignored), ("counts", counts)]),
                };
                case.answers(request, "answer").await
            };
            let what = format!("{method} with {kind}");
            ensure!(!ask("1", "1").await?, "the first {what} is a hit");
            case.serve("/unrelated", &[]);
            case.hits("/unrelated").await?;
            ensure!(ask("2", "1").await?, "what is ignored counts in {what}");
            ensure!(!ask("2", "2").await?, "what is not ignored does not count in {what}");
        }
    }
    let reached = case.origin.requests();
    let whole = reached.iter().any(|request| request.target.contains("ignored=1"));
    ensure!(whole, "what is ignored was not sent either");
    Ok(Verdict::Kept)
}

/// Seed lines 71 and 79: one more line is another request, the same again is a hit, absent and empty are two.
pub(super) async fn session_a_matched_header_counts(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::with(harness, |builder| builder.match_headers(["x-one", "accept"])).await?;
    case.serve("/one", &[]);
    for round in 0..2 {
        for value in [None, Some(""), Some("a"), Some("b")] {
            let request = match value {
                Some(value) => case.get("/one").header("x-one", value),
                None => case.get("/one"),
            };
            ensure_eq!(
                case.answers(request, "/one").await?,
                round == 1,
                "whether {value:?} is cached in round {round}"
            );
        }
    }
    let other = case.get("/one").header("x-other", "a");
    ensure!(case.answers(other, "/one").await?, "a header that nobody named counts");
    // What a session sends with each request counts like what one request sends.
    let next = super::support::builder(harness, &case.cache).match_headers(["x-one", "accept"]);
    let next = next.default_header("accept", "text/plain").build()?;
    ensure!(!case.answers(next.get(case.origin.url("/one")), "/one").await?, "a default header does not count");
    Ok(Verdict::Kept)
}

/// A session with these options, over an origin that says what it was asked.
async fn echoing(
    harness: &dyn CacheHarness,
    configure: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Result<Case, crate::contract::Violation> {
    let case = Case::with(harness, configure).await?;
    case.origin.on("/echo", |request: &Recorded| {
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        Answer::ok(format!("{} {query}{}", request.method, String::from_utf8_lossy(&request.body)))
    });
    Ok(case)
}

/// The payload in the query, as a form, or as JSON.
fn with(request: RequestBuilder, kind: &str, payload: &[(&str, &str)]) -> RequestBuilder {
    match kind {
        "query" => request.query(payload),
        "form" => request.form(payload),
        _ => request.json(&payload.iter().copied().collect::<BTreeMap<_, _>>()),
    }
}

/// What the origin answers to one name and value.
fn said(method: &Method, kind: &str, payload: &[(&str, &str); 1]) -> String {
    let [(name, value)] = payload;
    match kind {
        "json" => format!("{method} {{\"{name}\":\"{value}\"}}"),
        _ => format!("{method} {name}={value}"),
    }
}
