//! How a row is found by its hash, and how the tables that say so are kept: the parts of statements that are about places.
//!
//! A place leads from a hash to the id of a row. The last few thousand of a table are in `<table>_recent`, all others in
//! `<table>_places`, and no hash is in both ([decision 17](../../../docs/decisions/0017-sqlite-rows.md)). In a damaged file
//! a place may lead nowhere or to another key's row, which is why the key is compared when a row is read.

use crate::sql::list;

/// The id of the row at a place, in a table of places or in that of recent ones; NULL where there is no such place.
///
/// The larger table comes first: most of what is found is there.
pub(crate) fn place(name: &str, hash: &str) -> String {
    let of = |kind| format!("(SELECT id FROM {name}_{kind} WHERE hash = {hash})");
    format!("coalesce({}, {})", of("places"), of("recent"))
}

/// The ids at the places of a number of hashes.
pub(crate) fn ids(name: &str, hashes: usize) -> String {
    format!("SELECT {} FROM (VALUES {})", place(name, "column1"), list("(?)", hashes))
}

/// Replaced rows stay where they are, new ones get numbers after all that there ever were, and only theirs are new places.
pub(crate) fn upsert(name: &str, rows: usize) -> String {
    let values: Vec<String> = (1..=rows).map(|row| format!("(?, ?, ?, ?, ?, ?, ?, {row})")).collect();
    let last = format!("(SELECT last FROM usage WHERE store = '{name}')");
    format!(
        "UPDATE usage SET entries = entries + ? - gone.rows, bytes = bytes + ? - gone.total \
         FROM (SELECT {held}) AS gone WHERE store = '{name}'; \
         INSERT INTO {name} (id, hash, key, retain_until, len, used, block, body) \
         SELECT coalesce({place}, {last} + column8), \
         column1, column2, column3, column4, column5, column6, column7 FROM (VALUES {values}) \
         WHERE column1 IS NOT NULL ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, key = excluded.key, \
         retain_until = excluded.retain_until, len = excluded.len, used = excluded.used, \
         block = excluded.block, body = excluded.body; \
         INSERT OR REPLACE INTO {name}_recent SELECT hash, id FROM {name} WHERE id > {last}; \
         UPDATE usage SET last = max(last, (SELECT max(id) FROM {name})) WHERE store = '{name}' \
         RETURNING last - settled",
        held = held(name, rows),
        place = place(name, "column1"),
        values = values.join(", "),
    )
}

/// What a select says of the rows at the places of a number of hashes: how many there are, their bytes.
pub(crate) fn held(name: &str, rows: usize) -> String {
    format!("count(*) AS rows, coalesce(sum(len), 0) AS total FROM {name} WHERE id IN ({})", ids(name, rows))
}

/// A place goes with its row, and only then: there may be others of the same hash in a damaged file.
pub(crate) fn removed(name: &str, rows: usize) -> String {
    let of = |kind| {
        let hashes = list("?", rows);
        format!(
            "DELETE FROM {name}_{kind} WHERE hash IN ({hashes}) \
             AND NOT EXISTS (SELECT 1 FROM {name} WHERE {name}.id = {name}_{kind}.id)"
        )
    };
    format!(
        "UPDATE usage SET entries = entries - ?, bytes = bytes - ? WHERE store = '{name}'; {}; {}",
        of("recent"),
        of("places")
    )
}

/// Puts the recent places to the others, in their order, so that all that come to one page change it once.
pub(crate) fn settle(name: &str) -> String {
    format!(
        "BEGIN IMMEDIATE; INSERT OR REPLACE INTO {name}_places SELECT hash, id FROM {name}_recent ORDER BY hash; \
         DELETE FROM {name}_recent; UPDATE usage SET settled = last WHERE store = '{name}'; COMMIT"
    )
}
