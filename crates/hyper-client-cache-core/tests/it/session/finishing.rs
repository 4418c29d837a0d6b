//! Bodies that are dropped when they are nearly there (case 178).

use hyper_client_cache_core::CachedSession;
use hyper_client_cache_core::policy::Outcome;
use hyper_client_cache_testkit::ManualClock;
use hyper_client_cache_testkit::origin::{Answer, Gate, Origin};

use super::{builder, entries, eventually, flushed, text};

const LEN: u64 = 400_000;

/// An answer of which all but 100 bytes come, and those when the gate is opened.
fn nearly(gate: &Gate) -> Answer {
    let first = "x".repeat(LEN as usize - 100);
    Answer::ok(first).gate(gate).chunk("y".repeat(100)).header("cache-control", "max-age=60").content_length(LEN)
}

fn session(limit: impl Into<Option<u64>>) -> CachedSession {
    builder(&ManualClock::new()).finish_dropped(limit).build().unwrap()
}

/// Reads all that has come, and drops the rest.
async fn drop_nearly_read(session: &CachedSession, url: &str, gate: &Gate) {
    let mut response = session.get(url).send().await.unwrap();
    let mut read = 0;
    while read < LEN as usize - 100 {
        read += response.chunk().await.unwrap().unwrap().len();
    }
    gate.arrived(1).await;
}

async fn quiet(session: &CachedSession) {
    eventually("no flight", || session.layer().in_flight() == 0).await;
    flushed(session).await;
}

/// Case 178: what little is missing is fetched in the background where that is wanted, whether the body is kept inline or
/// in parts, and whoever asks meanwhile shares it.
#[tokio::test]
async fn what_is_nearly_there_is_stored() {
    for (limit, is_stored) in [(None, false), (Some(99), false), (Some(100), true), (Some(u64::MAX), true)] {
        let (origin, gate) = (Origin::scripted().await, Gate::new());
        origin.on("/", nearly(&gate));
        let session = session(limit);
        drop_nearly_read(&session, &origin.url("/"), &gate).await;
        gate.open();
        quiet(&session).await;
        let (outcome, text) = text(&session, &origin.url("/")).await;
        assert_eq!(outcome == Outcome::Hit, is_stored, "{limit:?}");
        assert_eq!(text.len() as u64, LEN);
        quiet(&session).await;
        assert_eq!(session.cache().bodies().unwrap().size().await.unwrap(), 2, "no parts but those of what is stored");
    }
}

/// Case 178: how much is missing of a body whose length nobody knows is known for no limit but none.
#[tokio::test]
async fn a_body_of_unknown_length_is_read_on_only_without_a_limit() {
    for (limit, is_stored) in [(u64::MAX - 1, false), (u64::MAX, true)] {
        let (origin, gate) = (Origin::scripted().await, Gate::new());
        origin.on("/", nearly(&gate).chunked());
        let session = session(limit);
        drop_nearly_read(&session, &origin.url("/"), &gate).await;
        gate.open();
        quiet(&session).await;
        assert_eq!(text(&session, &origin.url("/")).await.0 == Outcome::Hit, is_stored);
    }
}

/// Case 178: who takes too long is given up.
#[tokio::test]
async fn an_origin_that_does_not_go_on_is_given_up() {
    let (origin, gate) = (Origin::scripted().await, Gate::new());
    origin.on("/", nearly(&gate));
    let session = session(u64::MAX);
    drop_nearly_read(&session, &origin.url("/"), &gate).await;
    assert_eq!((session.layer().in_flight(), origin.open_connections()), (1, 1), "it is read on");
    tokio::time::pause();
    origin.disconnected(1).await;
    tokio::time::resume();
    quiet(&session).await;
    assert!(entries(&**session.cache()).await.is_empty());
}

/// Case 178: closing the session, or dropping its last handle, ends it.
#[tokio::test]
async fn it_ends_with_the_session() {
    for closes in [true, false] {
        let (origin, gate) = (Origin::scripted().await, Gate::new());
        origin.on("/", nearly(&gate));
        let session = session(u64::MAX);
        drop_nearly_read(&session, &origin.url("/"), &gate).await;
        if closes {
            session.close().await.unwrap();
        }
        drop(session);
        origin.disconnected(1).await;
    }
}
