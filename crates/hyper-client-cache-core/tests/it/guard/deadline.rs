//! How long a call takes, whatever the store does.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use hyper_client_cache_core::ErrorKind;
use hyper_client_cache_core::storage::{Guard, GuardStats, Storage};
use tokio::time::Instant;

use super::guarded;
use crate::support::{entry, key};

const MS: Duration = Duration::from_millis(1);

/// Case 205: a store that never answers.
#[tokio::test(start_paused = true)]
async fn each_call_ends_at_its_deadline() {
    for detach in [true, false] {
        // Without a breaker, so that each call is made.
        let builder = Guard::builder().detach(detach).failures(u32::MAX);
        let (_, storage, faults) = guarded(builder.bulk_deadline(Duration::from_secs(7)));
        storage.write(&key("a"), entry("a")).await.unwrap();
        faults.hang();
        let a = key("a");
        let mut expected = 0;
        macro_rules! ends_after {
            ($after:expr, $call:expr) => {
                let began = Instant::now();
                let error = $call.await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                assert!(error.is_transient());
                assert_eq!(began.elapsed(), $after, stringify!($call));
                expected += 1;
                assert_eq!(storage.stats().guard.timed_out, expected, stringify!($call));
            };
        }
        ends_after!(100 * MS, storage.read(&a));
        ends_after!(100 * MS, storage.contains(&a));
        ends_after!(1000 * MS, storage.write(&a, entry("b")));
        ends_after!(1000 * MS, storage.refresh(&a, entry("b")));
        ends_after!(1000 * MS, storage.delete(&a));
        ends_after!(7000 * MS, storage.read_many(&[a]));
        ends_after!(7000 * MS, storage.write_many(vec![(a, entry("b"))]));
        ends_after!(7000 * MS, storage.delete_many(&[a]));
        ends_after!(7000 * MS, storage.delete_expired(SystemTime::UNIX_EPOCH));
        ends_after!(7000 * MS, storage.size());
        ends_after!(7000 * MS, storage.bytes());
        ends_after!(7000 * MS, storage.clear());
        ends_after!(100 * MS, storage.keys().try_next());
        ends_after!(100 * MS, storage.entries().try_next());
        ends_after!(100 * MS, storage.heads().try_next());
        ends_after!(5000 * MS, storage.close());
        let mut only_timed_out = GuardStats::new();
        only_timed_out.timed_out = expected;
        assert_eq!(storage.stats().guard, only_timed_out);
    }
}
