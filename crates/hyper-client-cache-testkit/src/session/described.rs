//! What a response says of itself and of its request, when it was fetched and out of the cache.

use super::support::Case;
use crate::contract::{CacheHarness, Outcome, Verdict, ensure, ensure_eq};
use crate::origin::Answer;

/// Seed lines 38, 41 to 43, 45, 47, 53 and 54: status, type, charset, length, text, links, disposition and the request,
/// the same both times.
pub(super) async fn session_a_stored_response_says_what_the_fetched_one_said(harness: &dyn CacheHarness) -> Outcome {
    let case = Case::new(harness).await?;
    let answer = Answer::status(404)
        .body(&b"caf\xe9"[..])
        .header("cache-control", "max-age=600")
        .header("content-type", "Text/Plain; charset=iso-8859-1")
        .header("content-disposition", "attachment; filename=\"a b.txt\"; size=4")
        .header("link", "</next?p=2>; rel=next");
    case.origin.on("/dir/gone", answer);
    case.serve("/fine", &[]);
    for round in 0..2 {
        let response = case.send(case.get("/dir/gone?q=1").header("x-mine", "1")).await?;
        ensure_eq!(response.from_cache(), round == 1, "whether the answer is cached in round {round}");
        ensure_eq!(response.status().as_u16(), 404, "the status in round {round}");
        ensure_eq!(response.method().as_str(), "GET", "the method in round {round}");
        ensure_eq!(response.url().to_string(), case.origin.url("/dir/gone?q=1"), "the URL in round {round}");
        let mine = response.request_headers().get("x-mine").map(|value| value.as_bytes());
        ensure_eq!(mine, Some(&b"1"[..]), "a header of the request in round {round}");
        ensure_eq!(response.content_type().as_deref(), Some("text/plain"), "the media type in round {round}");
        ensure_eq!(response.charset().as_deref(), Some("iso-8859-1"), "the charset in round {round}");
        ensure_eq!(response.content_length(), Some(4), "the length in round {round}");
        let disposition = response.content_disposition();
        let name = disposition.as_ref().and_then(|disposition| disposition.file_name());
        ensure_eq!(name.as_deref(), Some("a b.txt"), "the file name in round {round}");
        let links: Vec<_> = response.links().into_iter().map(|link| link.url.to_string()).collect();
        ensure_eq!(links, [case.origin.url("/next?p=2")], "the links in round {round}");
        ensure!(response.history().is_empty(), "there is a history without a redirect in round {round}");
        ensure_eq!(response.text().await?, "caf\u{e9}", "the text in round {round}");
        ensure_eq!(response.bytes().await?, &b"caf\xe9"[..], "the bytes in round {round}");
        ensure!(!response.is_success(), "a 404 is a success in round {round}");
        ensure!(response.error_for_status().is_err(), "a 404 is no error in round {round}");
        let fine = case.send(case.get("/fine")).await?.error_for_status()?;
        ensure!(fine.is_success(), "a 200 is no success in round {round}");
        fine.text().await?;
    }
    Ok(Verdict::Kept)
}
