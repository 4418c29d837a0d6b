//! The statements, as text that is built once and shared, so that each connection prepares it once.
//!
//! Statements over many rows exist in sizes of powers of two: a shorter list is padded with NULL, which matches and
//! inserts nothing. So a few prepared statements serve lists of any length.

use std::sync::{Arc, LazyLock};

use hyper_client_cache_core::storage::{CacheKey, frame};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use twox_hash::XxHash3_64;

use crate::places::{held, ids, place, removed, settle, upsert};

/// One of the three tables of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    Responses,
    Redirects,
    Bodies,
}

impl Table {
    pub(crate) const ALL: [Self; 3] = [Self::Responses, Self::Redirects, Self::Bodies];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Redirects => "redirects",
            Self::Bodies => "bodies",
        }
    }

    fn texts(self) -> &'static Texts {
        static TEXTS: LazyLock<[Texts; 3]> = LazyLock::new(|| Table::ALL.map(Texts::new));
        let [responses, redirects, bodies] = &*TEXTS;
        match self {
            Self::Responses => responses,
            Self::Redirects => redirects,
            Self::Bodies => bodies,
        }
    }
}

/// The most rows in one statement. More would hold the writer for long: a thousand deletions take tens of milliseconds.
pub(crate) const MAX_ROWS: usize = 128;

/// The number of parameters for a list of `len`: the next power of two.
pub(crate) fn padded(len: usize) -> usize {
    len.clamp(1, MAX_ROWS).next_power_of_two()
}

/// The most bytes of a row that are read: what is over it is not ours (the largest entry is far smaller).
pub(crate) const MAX_ROW_LEN: u64 = 80 * 1024 * 1024;

/// The most bytes of a head that are written or read: many rows' are read at once.
pub(crate) const MAX_HEAD_LEN: u64 = 1024 * 1024;

/// What is read of a row. A blob's length is in the row's header: an absurd one is not read.
fn row() -> String {
    format!("{}, CASE WHEN length(body) <= {MAX_ROW_LEN} THEN body END AS body", block())
}

/// What is read of a row's block; the empty one, which is damaged, in place of one of an absurd length.
fn block() -> String {
    let most = MAX_HEAD_LEN.saturating_add(frame::PREFIX_LEN as u64);
    format!("CASE WHEN length(block) <= {most} THEN block ELSE x'' END")
}

/// Where the row of a key is: one place per number, so that of two keys with the same one the later stays.
///
/// That is no loss to a cache, and needs some billions of entries or of attempts. Part of the stored format.
pub(crate) fn hash_of(key: &CacheKey) -> i64 {
    XxHash3_64::oneshot(key.as_bytes()).cast_signed()
}

/// Reads the rows under one key of responses and of redirects, the latter with a `TRUE` behind them. Hash, key -> block,
/// body, whether it is a redirect
pub(crate) fn read_both() -> SqlStr {
    static TEXT: LazyLock<SqlStr> = LazyLock::new(|| {
        let of = |table: Table, is_redirect| {
            let (name, row) = (table.name(), row());
            format!("SELECT {row}, {is_redirect} FROM {name} WHERE id = {} AND key = ?2", place(name, "?1"))
        };
        shared(format!("{} UNION ALL {}", of(Table::Responses, "FALSE"), of(Table::Redirects, "TRUE")))
    });
    TEXT.clone()
}

struct Texts {
    read: SqlStr,
    read_many: Sizes,
    upsert: Sizes,
    upsert_and_commit: Sizes,
    settle: SqlStr,
    delete: Sizes,
    evict: Sizes,
    removed: Sizes,
    touch: Sizes,
    held: Sizes,
    block: SqlStr,
    keys: SqlStr,
    heads: SqlStr,
    size: SqlStr,
    bytes: SqlStr,
    look: SqlStr,
    refresh: SqlStr,
    clear: SqlStr,
    expire: SqlStr,
    oldest: SqlStr,
    delete_range: SqlStr,
    delete_damaged: SqlStr,
    add: SqlStr,
    hashes: SqlStr,
    last: SqlStr,
    after: SqlStr,
}

/// One text for each power of two up to [`MAX_ROWS`].
struct Sizes(Vec<SqlStr>);

impl Sizes {
    fn new(text: impl Fn(usize) -> String) -> Self {
        let sizes = std::iter::successors(Some(1_usize), |size| size.checked_mul(2));
        Self(sizes.take_while(|size| *size <= MAX_ROWS).map(|size| shared(text(size))).collect())
    }

    fn of(&self, len: usize) -> SqlStr {
        let at = padded(len).trailing_zeros() as usize;
        self.0.get(at).cloned().unwrap_or_else(|| SqlStr::from_static(""))
    }
}

impl Texts {
    fn new(table: Table) -> Self {
        let name = table.name();
        let (row, block) = (row(), block());
        let live = "(retain_until IS NULL OR retain_until > ?)";
        let named = format!("id = {} AND key = ?2", place(name, "?1"));
        let gone = "len, hash, retain_until, key";
        let seen = "id, hash, substr(block, 1, 40)";
        Self {
            read: shared(format!("SELECT {row} FROM {name} WHERE {named}")),
            read_many: Sizes::new(|rows| format!("SELECT {row}, key FROM {name} WHERE id IN ({})", ids(name, rows))),
            upsert: Sizes::new(|rows| upsert(name, rows)),
            upsert_and_commit: Sizes::new(|rows| format!("BEGIN IMMEDIATE; {}; COMMIT", upsert(name, rows))),
            settle: shared(settle(name)),
            delete: Sizes::new(|rows| format!("DELETE FROM {name} WHERE id IN ({}) RETURNING {gone}", ids(name, rows))),
            evict: Sizes::new(|rows| format!("DELETE FROM {name} WHERE id IN ({}) RETURNING {gone}", list("?", rows))),
            removed: Sizes::new(|rows| removed(name, rows)),
            touch: Sizes::new(|rows| {
                format!(
                    "UPDATE {name} SET used = seen.column2 FROM (VALUES {}) AS seen \
                     WHERE id = {} AND used < seen.column2",
                    list("(?, ?)", rows),
                    place(name, "seen.column1")
                )
            }),
            held: Sizes::new(|rows| format!("SELECT {}", held(name, rows))),
            block: shared(format!("SELECT {block} FROM {name} WHERE {named}")),
            keys: shared(format!("SELECT id, key FROM {name} WHERE id > ? AND {live} ORDER BY id LIMIT ?")),
            heads: shared(format!("SELECT id, key, {block} FROM {name} WHERE id > ? AND {live} ORDER BY id LIMIT ?")),
            size: shared(format!(
                "SELECT entries - (SELECT count(*) FROM {name} WHERE retain_until <= ?) FROM usage \
                 WHERE store = '{name}'"
            )),
            bytes: shared(format!(
                "SELECT bytes - (SELECT coalesce(sum(len), 0) FROM {name} WHERE retain_until <= ?) FROM usage \
                 WHERE store = '{name}'"
            )),
            look: shared(format!(
                "SELECT len, substr(block, 1, 40) FROM {name} WHERE {named} \
                 AND (retain_until IS NULL OR retain_until > ?3)"
            )),
            refresh: shared(format!(
                "UPDATE {name} SET retain_until = ?3, len = ?4, used = ?5, block = ?6 WHERE {named}"
            )),
            clear: shared(format!(
                "DELETE FROM {name}; DELETE FROM {name}_recent; DELETE FROM {name}_places; \
                 UPDATE usage SET entries = 0, bytes = 0, settled = last WHERE store = '{name}'"
            )),
            expire: shared(format!(
                "DELETE FROM {name} WHERE id IN \
                 (SELECT id FROM {name} WHERE retain_until <= ? LIMIT {MAX_ROWS}) RETURNING {gone}"
            )),
            oldest: shared(format!("SELECT id, len, used, {block}, key FROM {name} ORDER BY used LIMIT ?")),
            delete_range: shared(format!("DELETE FROM {name} WHERE key > ? AND key < ? RETURNING {gone}")),
            delete_damaged: shared(format!("DELETE FROM {name} WHERE {named} AND {block} IS ?3 RETURNING {gone}")),
            add: shared(format!("UPDATE usage SET bytes = bytes + ? WHERE store = '{name}'")),
            hashes: shared(format!(
                "SELECT group_concat(hash, ' ') FROM (SELECT hash FROM {name}_places WHERE hash >= ?1 \
                 UNION ALL SELECT hash FROM {name}_recent WHERE hash >= ?1 ORDER BY hash LIMIT ?2)"
            )),
            last: shared(format!("SELECT {seen} FROM {name} ORDER BY id DESC LIMIT ?")),
            after: shared(format!("SELECT {seen} FROM {name} WHERE id >= ? ORDER BY id LIMIT ?")),
        }
    }
}

/// What all tables hold together.
pub(crate) const TOTALS: &str = "SELECT sum(entries), sum(bytes) FROM usage";

/// Whether the counters are right where there are neither responses nor redirects.
pub(crate) const AGREES: &str = "SELECT count(*) = (SELECT sum(entries) FROM usage) \
     AND coalesce(sum(len), 0) = (SELECT sum(bytes) FROM usage) FROM bodies";

/// The entries of responses and redirects together.
pub(crate) const ENTRIES: &str = "SELECT sum(entries) FROM usage WHERE store <> 'bodies'";

/// The statements of one table. Parameters are listed in order.
impl Table {
    /// hash, key -> block, body
    pub(crate) fn read(self) -> SqlStr {
        self.texts().read.clone()
    }

    /// hashes -> block, body, key
    pub(crate) fn read_many(self, rows: usize) -> SqlStr {
        self.texts().read_many.of(rows)
    }

    /// number of rows, their bytes, padded hashes, then per row: hash, key, deadline, length, use, block, body -> how many
    /// places are recent
    pub(crate) fn upsert(self, rows: usize) -> SqlStr {
        self.texts().upsert.of(rows)
    }

    /// As [`upsert`](Self::upsert), as a whole transaction in one trip to the connection's thread
    pub(crate) fn upsert_and_commit(self, rows: usize) -> SqlStr {
        self.texts().upsert_and_commit.of(rows)
    }

    /// Puts the recent places to the others, as a whole transaction.
    pub(crate) fn settle(self) -> SqlStr {
        self.texts().settle.clone()
    }

    /// hashes -> what went: length, hash, deadline, key of each
    pub(crate) fn delete(self, rows: usize) -> SqlStr {
        self.texts().delete.of(rows)
    }

    /// rows -> what went, as of [`delete`](Self::delete)
    pub(crate) fn evict(self, rows: usize) -> SqlStr {
        self.texts().evict.of(rows)
    }

    /// number of rows that went, their bytes, their padded hashes twice
    pub(crate) fn removed(self, rows: usize) -> SqlStr {
        self.texts().removed.of(rows)
    }

    /// pairs of hash and use
    pub(crate) fn touch(self, rows: usize) -> SqlStr {
        self.texts().touch.of(rows)
    }

    /// hashes -> how many there are, their bytes
    pub(crate) fn held(self, rows: usize) -> SqlStr {
        self.texts().held.of(rows)
    }

    /// hash, key -> block
    pub(crate) fn block(self) -> SqlStr {
        self.texts().block.clone()
    }

    /// row to begin after, now, limit -> row, key
    pub(crate) fn keys(self) -> SqlStr {
        self.texts().keys.clone()
    }

    /// row to begin after, now, limit -> row, key, block
    pub(crate) fn heads(self) -> SqlStr {
        self.texts().heads.clone()
    }

    /// now -> number of live entries
    pub(crate) fn size(self) -> SqlStr {
        self.texts().size.clone()
    }

    /// now -> bytes of live entries
    pub(crate) fn bytes(self) -> SqlStr {
        self.texts().bytes.clone()
    }

    /// hash, key, now -> length, fixed part of the block
    pub(crate) fn look(self) -> SqlStr {
        self.texts().look.clone()
    }

    /// hash, key, deadline, length, use, block
    pub(crate) fn refresh(self) -> SqlStr {
        self.texts().refresh.clone()
    }

    /// Empties the table and its counters.
    pub(crate) fn clear(self) -> SqlStr {
        self.texts().clear.clone()
    }

    /// now -> what went, as of [`delete`](Self::delete)
    pub(crate) fn expire(self) -> SqlStr {
        self.texts().expire.clone()
    }

    /// limit -> row, length, use, block, key
    pub(crate) fn oldest(self) -> SqlStr {
        self.texts().oldest.clone()
    }

    /// two keys of parts, both excluded -> what went, as of [`delete`](Self::delete)
    pub(crate) fn delete_range(self) -> SqlStr {
        self.texts().delete_range.clone()
    }

    /// hash, key, block -> what went, as of [`delete`](Self::delete)
    pub(crate) fn delete_damaged(self) -> SqlStr {
        self.texts().delete_damaged.clone()
    }

    /// change of the bytes
    pub(crate) fn add(self) -> SqlStr {
        self.texts().add.clone()
    }

    /// hash to begin at, limit -> hashes in their order, as one text
    pub(crate) fn hashes(self) -> SqlStr {
        self.texts().hashes.clone()
    }

    /// limit -> row, hash, fixed part of the block of the last rows, backwards
    pub(crate) fn last(self) -> SqlStr {
        self.texts().last.clone()
    }

    /// row to begin at, limit -> row, hash, fixed part of the block
    pub(crate) fn after(self) -> SqlStr {
        self.texts().after.clone()
    }
}

// The text is made of the table names and numbers above alone; whatever comes from outside is bound.
fn shared(text: String) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
}

pub(crate) fn list(item: &str, count: usize) -> String {
    vec![item; count].join(", ")
}

#[cfg(test)]
mod tests {
    use hyper_client_cache_core::cache::Cache;
    use hyper_client_cache_core::storage::Entry;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Row};

    use super::*;
    use crate::SqliteCache;

    /// Cases 99 and 111: no statement gives out a head of an absurd length.
    #[tokio::test]
    async fn a_head_of_an_absurd_length_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.sqlite");
        let cache = SqliteCache::open(&path).await.unwrap();
        let (one, other) = (CacheKey::new("one").unwrap(), CacheKey::new("other").unwrap());
        let most = Entry::new(vec![b'h'; MAX_HEAD_LEN as usize], "body");
        for storage in [cache.responses(), cache.redirects(), cache.bodies().unwrap()] {
            storage.write(&one, most.clone()).await.unwrap();
            storage.write(&other, most.clone()).await.unwrap();
            assert_eq!(storage.read(&one).await.unwrap(), Some(most.clone()));
        }
        cache.close().await.unwrap();
        let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        for table in Table::ALL {
            let text = format!("UPDATE {} SET block = zeroblob(length(block) + 1) WHERE key = 'one'", table.name());
            sqlx::query(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
            let (hash, key) = (hash_of(&one), one.to_string());
            let lists = [sqlx::query(table.heads()).bind(0).bind(0).bind(9), sqlx::query(table.oldest()).bind(9)];
            let of_key = [
                sqlx::query(table.read()).bind(hash).bind(&key),
                sqlx::query(table.block()).bind(hash).bind(&key),
                sqlx::query(table.read_many(1)).bind(hash),
            ];
            let mut lens = Vec::new();
            for (query, column) in of_key.into_iter().zip([0, 0, 0]).chain(lists.into_iter().zip([2, 3])) {
                let rows = query.fetch_all(&mut connection).await.unwrap();
                lens.extend(rows.iter().map(|row| row.get::<Vec<u8>, _>(column).len()));
            }
            lens.sort_unstable();
            let whole = MAX_HEAD_LEN as usize + frame::PREFIX_LEN;
            assert_eq!(lens, [0, 0, 0, 0, 0, whole, whole], "{}", table.name());
        }
        drop(connection);
        // A miss, which is counted, and removed.
        let cache = SqliteCache::builder(&path).hot_tier(0).open().await.unwrap();
        for storage in [cache.responses(), cache.redirects()] {
            assert_eq!(storage.read(&one).await.unwrap(), None);
            assert_eq!(storage.stats().corrupt, 1);
            // After what was queued before it.
            storage.write(&CacheKey::new("third").unwrap(), Entry::new("head", "body")).await.unwrap();
            assert_eq!(storage.size().await.unwrap(), 2);
            let over = Entry::new(vec![b'h'; MAX_HEAD_LEN as usize + 1], "body");
            let error = storage.write(&other, over).await.unwrap_err();
            assert_eq!(error.kind(), hyper_client_cache_core::ErrorKind::TooLarge);
        }
    }
}
