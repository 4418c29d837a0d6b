//! Look-ups that go to the server together: each gets its own answer or error, whatever becomes of the others.
//!
//! Two commands may be under way before look-ups wait; a server whose replies do not come through keeps them there.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use hyper_client_cache_core::cache::{Cache, Stored};
use hyper_client_cache_core::{ErrorKind, Result};
use hyper_client_cache_redis::RedisCache;
use hyper_client_cache_testkit::proxy::{Fault, Proxy};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::server::Server;
use crate::support::{cluster, is_own, key, patient, remove, standalone, stored, unique, until};

/// How many commands are under way before look-ups wait, and how many of them go together.
const UNDER_WAY: u64 = 2;
const GATHERED: u64 = 32;

async fn fill(cache: &RedisCache, count: u64) {
    for number in 0..count {
        cache.put(&key(number), stored(number), None).await.unwrap();
    }
}

type LookUp<'a> = Pin<Box<dyn Future<Output = (u64, Result<Option<Stored>>)> + Send + 'a>>;

/// Look-ups that have not begun yet.
fn look_ups(cache: &RedisCache, numbers: impl IntoIterator<Item = u64>) -> Vec<LookUp<'_>> {
    let look_up = |number| -> LookUp<'_> { Box::pin(async move { (number, cache.get(&key(number)).await) }) };
    numbers.into_iter().map(look_up).collect()
}

/// Look-ups that have begun, and wait.
fn begun(cache: &RedisCache, numbers: impl IntoIterator<Item = u64>) -> Vec<LookUp<'_>> {
    let mut look_ups = look_ups(cache, numbers);
    for look_up in &mut look_ups {
        assert!(look_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    look_ups
}

/// A server whose replies can be held back, a cache with `count` entries, and as many look-ups under way as there may be.
struct Held {
    server: Server,
    proxy: Proxy,
    cache: RedisCache,
    before: Vec<JoinHandle<Result<Option<Stored>>>>,
}

impl Held {
    async fn new(count: u64, runtime: Option<&Runtime>) -> Self {
        let server = Server::start(&[]);
        let proxy = Proxy::to(([127, 0, 0, 1], server.port()).into()).await.unwrap();
        let config = RedisCache::builder(unique("held")).url(format!("redis://{}", proxy.addr()));
        let cache = patient(config).connect().await.unwrap();
        fill(&cache, count).await;
        proxy.set(Fault::Mute).await;
        let mut before = Vec::new();
        for number in 0..UNDER_WAY {
            let cache = cache.clone();
            let look_up = async move { cache.get(&key(number)).await };
            before.push(match runtime {
                Some(runtime) => runtime.spawn(look_up),
                None => tokio::spawn(look_up),
            });
        }
        let held = Self { server, proxy, cache, before };
        held.sent(UNDER_WAY).await;
        held
    }

    /// Waits until so many look-ups were sent.
    async fn sent(&self, count: u64) {
        until("they are sent", async || self.server.calls("mget") >= count).await;
        assert_eq!(self.server.calls("mget"), count);
    }

    async fn release(&mut self) {
        self.proxy.set(Fault::None).await;
        for (number, look_up) in (0..).zip(self.before.drain(..)) {
            if !look_up.is_finished() {
                assert!(is_own(number, &look_up.await.unwrap()));
            }
        }
    }
}

/// All at once, again and again, also for what is not there.
async fn each_gets_its_own(url: &str) {
    const THERE: u64 = 50;
    let name = unique("gathered");
    let cache = patient(RedisCache::builder(&name).url(url)).connect().await.unwrap();
    fill(&cache, THERE).await;
    let tasks: Vec<_> = (0..64_u64)
        .map(|task| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for turn in 0..50 {
                    let number = (task + turn * 7) % (THERE + 10);
                    let found = cache.get(&key(number)).await;
                    if number < THERE {
                        assert!(is_own(number, &found), "{number}: {found:?}");
                    } else {
                        assert!(found.unwrap().is_none());
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    cache.close().await.unwrap();
    remove(url, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_look_up_gets_its_own_answer() {
    each_gets_its_own(&standalone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_look_up_gets_its_own_answer_on_a_cluster() {
    each_gets_its_own(&cluster()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_that_wait_go_together_and_are_bounded() {
    const WAITING: u64 = 200;
    let mut held = Held::new(WAITING, None).await;
    let cache = held.cache.clone();
    let waiting = begun(&cache, 0..WAITING);
    held.sent(UNDER_WAY).await;
    held.release().await;
    for (number, found) in join_all(waiting).await {
        assert!(is_own(number, &found), "{number}: {found:?}");
    }
    held.sent(UNDER_WAY + WAITING.div_ceil(GATHERED)).await;
    // Nothing is under way any more: one that comes alone goes alone, at once.
    assert!(is_own(7, &cache.get(&key(7)).await));
    held.sent(UNDER_WAY + WAITING.div_ceil(GATHERED) + 1).await;
    cache.close().await.unwrap();
}

/// On a cluster the keys of several requests are no one command's.
#[tokio::test(flavor = "multi_thread")]
async fn each_look_up_goes_alone_on_a_cluster() {
    let server = Server::start_cluster();
    let cache = patient(RedisCache::builder(unique("alone")).url(server.cluster_url())).connect().await.unwrap();
    fill(&cache, 64).await;
    for (number, found) in join_all(look_ups(&cache, 0..64)).await {
        assert!(is_own(number, &found), "{number}: {found:?}");
    }
    assert_eq!(server.calls("mget"), 64);
    cache.close().await.unwrap();
}

/// Whoever leaves, before or after his look-up was sent, takes nothing from those who stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_is_dropped_disturbs_no_other() {
    let mut held = Held::new(20, None).await;
    let cache = held.cache.clone();
    let mut waiting = begun(&cache, 0..20);
    waiting.drain(3..6);
    // One that was sent by itself: its place is taken by those who wait.
    held.before[0].abort();
    held.sent(UNDER_WAY + 1).await;
    drop(waiting.remove(0));
    waiting.truncate(10);
    held.before.remove(0);
    assert!(!held.before[0].is_finished());
    held.proxy.set(Fault::None).await;
    assert!(is_own(1, &held.before.remove(0).await.unwrap()));
    for (number, found) in join_all(waiting).await {
        assert!(is_own(number, &found), "{number}: {found:?}");
    }
    held.sent(UNDER_WAY + 1).await;
    cache.close().await.unwrap();
}

/// Where all have left, nobody waits for what they asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_keeps_nobody_waiting() {
    let mut held = Held::new(20, None).await;
    let cache = held.cache.clone();
    let gone = begun(&cache, 0..5);
    held.before[0].abort();
    held.sent(UNDER_WAY + 1).await;
    let waiting = begun(&cache, 5..20);
    drop(gone);
    held.sent(UNDER_WAY + 2).await;
    held.before.remove(0);
    held.proxy.set(Fault::None).await;
    for (number, found) in join_all(waiting).await {
        assert!(is_own(number, &found), "{number}: {found:?}");
    }
    cache.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_server_is_that_of_each_look_up() {
    let mut held = Held::new(20, None).await;
    let cache = held.cache.clone();
    let waiting = begun(&cache, 0..20);
    assert_eq!(held.server.command(&["ACL", "SETUSER", "default", "-mget"]), "+OK");
    held.release().await;
    for (number, found) in join_all(waiting).await {
        let error = found.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{number}: {error:?}");
        assert!(error.to_string().contains("refuses"), "{number}: {error:?}");
    }
    assert_eq!(held.server.command(&["ACL", "SETUSER", "default", "+mget"]), "+OK");
    for (number, found) in join_all(look_ups(&cache, 0..20)).await {
        assert!(is_own(number, &found), "{number}: {found:?}");
    }
    cache.close().await.unwrap();
}

/// Whoever comes when it is lost is told so at once, and does not wait for those whose answers the driver still hopes for.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_is_an_error_of_all() {
    let mut server = Server::start(&[]);
    let config = RedisCache::builder(unique("lost")).url(server.url()).unguarded();
    let cache = config.command_timeout(Duration::from_secs(3)).connect().await.unwrap();
    fill(&cache, 100).await;
    server.freeze();
    let waiting = begun(&cache, 0..100);
    server.kill();
    until("the loss is noticed", async || {
        let mut look_up: LookUp<'_> = Box::pin(async { (0, cache.get(&key(0)).await) });
        match look_up.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready((_, found)) => found.unwrap_err().is_transient(),
            Poll::Pending => false,
        }
    })
    .await;
    for (number, found) in join_all(waiting).await {
        let error = found.unwrap_err();
        assert!(error.is_transient(), "{number}: {error:?}");
    }
    server.restart();
    for number in 0..100 {
        until("it is there again", async || cache.put(&key(number), stored(number), None).await.is_ok()).await;
    }
    until("all are found", async || {
        let found = join_all(look_ups(&cache, 0..100)).await;
        found.iter().all(|(number, found)| is_own(*number, found))
    })
    .await;
    cache.close().await.unwrap();
}

/// The time that a command may take includes the wait for others.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_ends_the_wait_of_all() {
    let server = Server::start(&[]);
    let config = RedisCache::builder(unique("silent")).url(server.url()).unguarded();
    let cache = config.command_timeout(Duration::from_millis(200)).open().await.unwrap();
    until("it is stored", async || cache.put(&key(0), stored(0), None).await.is_ok()).await;
    server.freeze();
    for (number, found) in join_all(begun(&cache, 0..100)).await {
        assert!(found.unwrap_err().is_transient(), "{number}");
    }
    server.thaw();
    until("it answers again", async || is_own(0, &cache.get(&key(0)).await)).await;
    cache.close().await.unwrap();
}

/// S11: those who wait when the cache is closed were not asked for yet.
#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_the_wait() {
    let mut held = Held::new(20, None).await;
    let cache = held.cache.clone();
    let waiting = begun(&cache, 0..20);
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.responses().close().await }
    });
    until("it is closed", async || cache.responses().size().await.is_err_and(|e| e.kind() == ErrorKind::Closed)).await;
    held.release().await;
    closing.await.unwrap().unwrap();
    for (number, found) in join_all(waiting).await {
        assert_eq!(found.unwrap_err().kind(), ErrorKind::Closed, "{number}");
    }
}

/// A cache that is used on two runtimes, of which one ends.
#[test]
fn a_runtime_that_ends_leaves_those_of_another_their_answers() {
    let (staying, ending) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    staying.block_on(async {
        let mut held = Held::new(100, Some(&ending)).await;
        let cache = held.cache.clone();
        let waiting = begun(&cache, 0..100);
        ending.shutdown_background();
        held.before.clear();
        held.proxy.set(Fault::None).await;
        for (number, found) in join_all(waiting).await {
            assert!(is_own(number, &found), "{number}: {found:?}");
        }
        cache.close().await.unwrap();
    });
}

/// Case 175: whoever begins look-ups and waits for another one before he goes on with them gets that other one.
///
/// On one thread, where no answer can be there before the first poll has ended.
#[tokio::test]
async fn look_ups_that_are_left_alone_do_not_hold_up_the_next() {
    let name = unique("left");
    let cache = patient(RedisCache::builder(&name).url(standalone())).connect().await.unwrap();
    fill(&cache, 10).await;
    let left = begun(&cache, 0..UNDER_WAY);
    let next = tokio::time::timeout(Duration::from_secs(20), join_all(look_ups(&cache, UNDER_WAY..10)));
    for (number, found) in next.await.unwrap() {
        assert!(is_own(number, &found), "{number}: {found:?}");
    }
    for (number, found) in join_all(left).await {
        assert!(is_own(number, &found), "{number}: {found:?}");
    }
    remove(&standalone(), &name).await;
}
