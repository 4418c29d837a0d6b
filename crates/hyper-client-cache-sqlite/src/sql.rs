//! The statements, as text that is built once and shared, so that each connection prepares it once.
//!
//! Statements over many rows exist in sizes of powers of two: a shorter list is padded with NULL, which matches and
//! inserts nothing. So a few prepared statements serve lists of any length.

use std::sync::{Arc, LazyLock};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

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

/// What is read of a row. A blob's length is in the row's header: an absurd one is not read.
fn row() -> String {
    format!("block, CASE WHEN length(block) + length(body) <= {MAX_ROW_LEN} THEN body END AS body")
}

/// Reads the rows under one key of responses and of redirects, the latter with a `TRUE` behind them.
pub(crate) fn read_both() -> SqlStr {
    static TEXT: LazyLock<SqlStr> = LazyLock::new(|| {
        let of =
            |table: Table, is_redirect| format!("SELECT {}, {is_redirect} FROM {} WHERE key = ?1", row(), table.name());
        shared(format!("{} UNION ALL {}", of(Table::Responses, "FALSE"), of(Table::Redirects, "TRUE")))
    });
    TEXT.clone()
}

struct Texts {
    read: SqlStr,
    read_many: Sizes,
    upsert: Sizes,
    upsert_and_commit: Sizes,
    delete: Sizes,
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
        let row = row();
        let live = "(retain_until IS NULL OR retain_until > ?)";
        let upsert = |rows: usize| {
            format!(
                "UPDATE usage SET entries = entries + ? - gone.rows, bytes = bytes + ? - gone.total \
                 FROM (SELECT count(*) AS rows, coalesce(sum(len), 0) AS total FROM {name} WHERE key IN ({keys})) \
                 AS gone WHERE store = '{name}'; \
                 INSERT INTO {name} (key, retain_until, len, used, block, body) \
                 SELECT column1, column2, column3, column4, column5, column6 FROM (VALUES {values}) \
                 WHERE column1 IS NOT NULL ON CONFLICT (key) DO UPDATE SET retain_until = excluded.retain_until, \
                 len = excluded.len, used = excluded.used, block = excluded.block, body = excluded.body",
                keys = list("?", rows),
                values = list("(?, ?, ?, ?, ?, ?)", rows),
            )
        };
        Self {
            read: shared(format!("SELECT {row} FROM {name} WHERE key = ?")),
            read_many: Sizes::new(|rows| format!("SELECT {row}, key FROM {name} WHERE key IN ({})", list("?", rows))),
            upsert: Sizes::new(upsert),
            upsert_and_commit: Sizes::new(|rows| format!("BEGIN IMMEDIATE; {}; COMMIT", upsert(rows))),
            delete: Sizes::new(|rows| {
                format!("DELETE FROM {name} WHERE key IN ({}) RETURNING len, retain_until, key", list("?", rows))
            }),
            touch: Sizes::new(|rows| {
                format!(
                    "UPDATE {name} SET used = seen.column2 FROM (VALUES {}) AS seen \
                     WHERE key = seen.column1 AND used < seen.column2",
                    list("(?, ?)", rows)
                )
            }),
            held: Sizes::new(|rows| {
                format!("SELECT count(*), coalesce(sum(len), 0) FROM {name} WHERE key IN ({})", list("?", rows))
            }),
            block: shared(format!("SELECT block FROM {name} WHERE key = ?")),
            keys: shared(format!("SELECT key FROM {name} WHERE key > ? AND {live} ORDER BY key LIMIT ?")),
            heads: shared(format!("SELECT key, block FROM {name} WHERE key > ? AND {live} ORDER BY key LIMIT ?")),
            size: shared(format!(
                "SELECT entries - (SELECT count(*) FROM {name} WHERE retain_until <= ?) FROM usage \
                 WHERE store = '{name}'"
            )),
            bytes: shared(format!(
                "SELECT bytes - (SELECT coalesce(sum(len), 0) FROM {name} WHERE retain_until <= ?) FROM usage \
                 WHERE store = '{name}'"
            )),
            look: shared(format!("SELECT len, substr(block, 1, 40) FROM {name} WHERE key = ? AND {live}")),
            refresh: shared(format!("UPDATE {name} SET retain_until = ?, len = ?, used = ?, block = ? WHERE key = ?")),
            clear: shared(format!(
                "DELETE FROM {name}; UPDATE usage SET entries = 0, bytes = 0 WHERE store = '{name}'"
            )),
            expire: shared(format!(
                "DELETE FROM {name} WHERE rowid IN \
                 (SELECT rowid FROM {name} WHERE retain_until <= ? LIMIT {MAX_ROWS}) RETURNING len"
            )),
            oldest: shared(format!("SELECT key, len, used, block FROM {name} ORDER BY used LIMIT ?")),
            delete_range: shared(format!("DELETE FROM {name} WHERE key > ? AND key < ? RETURNING len")),
            delete_damaged: shared(format!("DELETE FROM {name} WHERE key = ? AND block IS ? RETURNING len")),
            add: shared(format!("UPDATE usage SET entries = entries + ?, bytes = bytes + ? WHERE store = '{name}'")),
        }
    }
}

/// What all tables hold together.
pub(crate) const TOTALS: &str = "SELECT sum(entries), sum(bytes) FROM usage";

/// The statements of one table. Parameters are listed in order.
impl Table {
    /// key -> block, body
    pub(crate) fn read(self) -> SqlStr {
        self.texts().read.clone()
    }

    /// keys -> block, body, key
    pub(crate) fn read_many(self, rows: usize) -> SqlStr {
        self.texts().read_many.of(rows)
    }

    /// number of rows, their bytes, padded keys, then per row: key, deadline, length, use, block, body
    pub(crate) fn upsert(self, rows: usize) -> SqlStr {
        self.texts().upsert.of(rows)
    }

    /// As [`upsert`](Self::upsert), as a whole transaction in one trip to the connection's thread
    pub(crate) fn upsert_and_commit(self, rows: usize) -> SqlStr {
        self.texts().upsert_and_commit.of(rows)
    }

    /// keys -> length, deadline, key of each that was there
    pub(crate) fn delete(self, rows: usize) -> SqlStr {
        self.texts().delete.of(rows)
    }

    /// pairs of key and use
    pub(crate) fn touch(self, rows: usize) -> SqlStr {
        self.texts().touch.of(rows)
    }

    /// keys -> how many there are, their bytes
    pub(crate) fn held(self, rows: usize) -> SqlStr {
        self.texts().held.of(rows)
    }

    /// key -> block
    pub(crate) fn block(self) -> SqlStr {
        self.texts().block.clone()
    }

    /// key to begin after, now, limit -> key
    pub(crate) fn keys(self) -> SqlStr {
        self.texts().keys.clone()
    }

    /// key to begin after, now, limit -> key, block
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

    /// key, now -> length, fixed part of the block
    pub(crate) fn look(self) -> SqlStr {
        self.texts().look.clone()
    }

    /// deadline, length, use, block, key
    pub(crate) fn refresh(self) -> SqlStr {
        self.texts().refresh.clone()
    }

    /// Empties the table and its counters.
    pub(crate) fn clear(self) -> SqlStr {
        self.texts().clear.clone()
    }

    /// now -> length of each that went
    pub(crate) fn expire(self) -> SqlStr {
        self.texts().expire.clone()
    }

    /// limit -> key, length, use, block
    pub(crate) fn oldest(self) -> SqlStr {
        self.texts().oldest.clone()
    }

    /// two keys, both excluded -> length of each that went
    pub(crate) fn delete_range(self) -> SqlStr {
        self.texts().delete_range.clone()
    }

    /// key, block -> length of what went
    pub(crate) fn delete_damaged(self) -> SqlStr {
        self.texts().delete_damaged.clone()
    }

    /// change of the number of entries, of their bytes
    pub(crate) fn add(self) -> SqlStr {
        self.texts().add.clone()
    }
}

// The text is made of the table names and numbers above alone; whatever comes from outside is bound.
fn shared(text: String) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
}

fn list(item: &str, count: usize) -> String {
    vec![item; count].join(", ")
}
