//! How an entry lies in an item, and the expressions that ask about it.
//!
//! Head and body are attributes of their own, so that a head can be read and replaced without its body. What the table
//! itself must understand stands beside them: the deadline to the millisecond, the same for the table's own TTL, and
//! the shard under which the index of deadlines lists the item.

use std::collections::HashMap;
use std::time::SystemTime;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use hyper_client_cache_core::clock::to_millis;
use hyper_client_cache_core::storage::frame::{self, FrameError};
use hyper_client_cache_core::storage::{CacheKey, Entry};

/// An item as the driver has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// Over how many partitions the index of deadlines is spread, for each kind: a partition takes 1,000 writes a second.
///
/// Part of the stored format: a table written with another number would hide expired entries from a clean-up.
pub(crate) const SHARDS: u8 = 8;

/// Which of a cache's three storages an item belongs to: its sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Response,
    Redirect,
    Part,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Response, Self::Redirect, Self::Part];

    /// The sort key.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Redirect => "redirect",
            Self::Part => "part",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The partition of the index of deadlines with this number.
    pub(crate) fn shard(self, number: u8) -> String {
        format!("{}-{number}", self.name())
    }

    fn shard_of(self, key: &CacheKey) -> String {
        // FNV-1a: keys are digests or numbered, and any sum that mixes all places is even enough.
        let mix = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(16_777_619);
        let [.., high, _, _] = key.as_bytes().iter().fold(2_166_136_261, mix).to_le_bytes();
        self.shard(high.checked_rem(SHARDS).unwrap_or_default())
    }
}

/// What the attributes of an item are called, for tables that have names of their own.
///
/// ```
/// use hyper_client_cache_dynamodb::{DynamoDbAttributes, DynamoDbCache};
///
/// let names = DynamoDbAttributes::default().key("PK").kind("SK").ttl("expires_at");
/// let config = DynamoDbCache::builder("shared-table").attributes(names);
/// # drop(config);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoDbAttributes {
    /// The partition key, a string: the entry's key. Default: `pk`.
    pub key: String,
    /// The sort key, a string: `response`, `redirect` or `part`. Default: `sk`.
    pub kind: String,
    /// The head with its lengths and checksums, binary. Default: `head`.
    pub head: String,
    /// The body, binary. Default: `body`.
    pub body: String,
    /// The deadline in milliseconds since 1970, a number; absent where there is none. Sort key of the index.
    /// Default: `retain_until`.
    pub retain_until: String,
    /// The deadline in whole seconds since 1970, rounded up: the table's TTL attribute. Default: `ttl`.
    pub ttl: String,
    /// The partition key of the index of deadlines, a string; absent where there is no deadline. Default: `shard`.
    pub shard: String,
    /// How many bytes head and body have together, a number. Default: `len`.
    pub len: String,
    /// Length and checksum of the body, binary, so that a head is never put before another body. Default: `mark`.
    pub mark: String,
    /// The id of the parts that a large body is kept in, a string, so that no head hides the parts of another; absent
    /// where there are none. Default: `parts`.
    pub parts: String,
}

impl Default for DynamoDbAttributes {
    fn default() -> Self {
        Self {
            key: "pk".to_owned(),
            kind: "sk".to_owned(),
            head: "head".to_owned(),
            body: "body".to_owned(),
            retain_until: "retain_until".to_owned(),
            ttl: "ttl".to_owned(),
            shard: "shard".to_owned(),
            len: "len".to_owned(),
            mark: "mark".to_owned(),
            parts: "parts".to_owned(),
        }
    }
}

macro_rules! setters {
    ($($name:ident)*) => {
        impl DynamoDbAttributes {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, name: impl Into<String>) -> Self {
                    self.$name = name.into();
                    self
                }
            )*

            pub(crate) fn all(&self) -> [(&'static str, &str); 10] {
                [$((stringify!($name), &self.$name)),*]
            }
        }
    };
}

setters! { key kind head body retain_until ttl shard len mark parts }

impl DynamoDbAttributes {
    /// The primary key of an item.
    pub(crate) fn primary(&self, kind: Kind, key: &CacheKey) -> Item {
        Item::from([
            (self.key.clone(), AttributeValue::S(key.to_string())),
            (self.kind.clone(), AttributeValue::S(kind.name().to_owned())),
        ])
    }

    /// The whole item of an entry.
    pub(crate) fn item(&self, kind: Kind, key: &CacheKey, entry: Entry) -> Item {
        let mut item = self.primary(kind, key);
        let block = frame::block(&entry);
        item.extend(self.about(kind, key, &entry, &block));
        item.insert(self.head.clone(), binary(block));
        item.insert(self.body.clone(), binary(entry.body));
        item
    }

    /// What stands beside head and body; what must not be there has no value.
    pub(crate) fn about(
        &self,
        kind: Kind,
        key: &CacheKey,
        entry: &Entry,
        block: &[u8],
    ) -> Vec<(String, AttributeValue)> {
        let mut about = vec![
            (self.len.clone(), number(entry.len())),
            (self.mark.clone(), AttributeValue::B(Blob::new(mark(block)))),
        ];
        // The block has the deadline as it is kept: rounded up to a millisecond.
        let deadline = frame::unblock_head(&Bytes::copy_from_slice(block)).ok().and_then(|head| head.retain_until);
        if let Some(deadline) = deadline {
            about.push((self.retain_until.clone(), millis(deadline)));
            about.push((self.ttl.clone(), seconds(deadline)));
            about.push((self.shard.clone(), AttributeValue::S(kind.shard_of(key))));
        }
        about
    }

    /// Notes beside a head which parts it names.
    pub(crate) fn name_parts(&self, item: &mut Item, id: Option<&str>) {
        item.extend(id.map(|id| (self.parts.clone(), AttributeValue::S(id.to_owned()))));
    }

    /// The id of the parts that a head names, as it was noted beside it.
    pub(crate) fn named_parts<'a>(&self, item: &'a Item) -> Option<&'a str> {
        Some(item.get(&self.parts)?.as_s().ok()?.as_str())
    }

    /// The entry of an item that was read whole.
    pub(crate) fn read(&self, item: &mut Item) -> Result<Entry, Damaged> {
        let head = take(item, &self.head);
        let body = take(item, &self.body);
        match (&head, body) {
            (Some(block), Some(body)) => frame::unblock(block, body).map_err(|why| Damaged { why, head }),
            _ => Err(Damaged { why: FrameError::Foreign, head }),
        }
    }

    /// The entry of an item of which the head was read, without its body.
    pub(crate) fn read_head(&self, item: &mut Item) -> Result<Entry, Damaged> {
        let head = take(item, &self.head);
        match &head {
            Some(block) => frame::unblock_head(block).map_err(|why| Damaged { why, head }),
            None => Err(Damaged { why: FrameError::Foreign, head }),
        }
    }

    /// The key of an item, and its kind; `None` where they are not ours.
    pub(crate) fn place(&self, item: &Item) -> Option<(Kind, CacheKey)> {
        let key = item.get(&self.key)?.as_s().ok()?;
        let kind = item.get(&self.kind)?.as_s().ok()?;
        Some((Kind::named(kind)?, CacheKey::new(key).ok()?))
    }

    /// Whether the deadline that stands beside head and body has passed.
    pub(crate) fn is_dead(&self, item: &Item, now: SystemTime) -> bool {
        let deadline = item.get(&self.retain_until).and_then(|value| value.as_n().ok()?.parse::<i64>().ok());
        deadline.is_some_and(|deadline| deadline <= to_millis(now))
    }
}

/// An item whose bytes are no entry.
pub(crate) struct Damaged {
    pub(crate) why: FrameError,
    /// The head as it was found.
    pub(crate) head: Option<Bytes>,
}

/// Length and checksum of the body, out of a block. Same mark, same body.
pub(crate) fn mark(block: &[u8]) -> Vec<u8> {
    [block.get(8..16), block.get(32..40)].into_iter().flatten().flatten().copied().collect()
}

pub(crate) fn binary(bytes: Bytes) -> AttributeValue {
    AttributeValue::B(Blob::new(Vec::from(bytes)))
}

pub(crate) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A moment in milliseconds, rounded down: a deadline is kept in whole ones, and so is reached at the same moment.
pub(crate) fn millis(moment: SystemTime) -> AttributeValue {
    AttributeValue::N(to_millis(moment).to_string())
}

/// A deadline in seconds, rounded up: the table must not remove what is still alive.
fn seconds(deadline: SystemTime) -> AttributeValue {
    let millis = to_millis(deadline);
    let seconds = millis.div_euclid(1000).saturating_add(i64::from(millis.rem_euclid(1000) > 0));
    AttributeValue::N(seconds.to_string())
}

fn take(item: &mut Item, name: &str) -> Option<Bytes> {
    match item.remove(name) {
        Some(AttributeValue::B(blob)) => Some(blob.into_inner().into()),
        _ => None,
    }
}

/// An expression's names and values. Names are always given apart, because half of all words are reserved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expression {
    pub(crate) text: String,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// An item is there and not past its deadline.
    pub(crate) fn live(attributes: &DynamoDbAttributes, now: SystemTime) -> Self {
        Self::default()
            .text("attribute_exists(#key) AND (attribute_not_exists(#until) OR #until > :now)")
            .name("#key", &attributes.key)
            .name("#until", &attributes.retain_until)
            .value(":now", millis(now))
    }

    /// An item is there.
    pub(crate) fn present(attributes: &DynamoDbAttributes) -> Self {
        Self::default().text("attribute_exists(#key)").name("#key", &attributes.key)
    }

    /// An item is there and past its deadline.
    pub(crate) fn dead(attributes: &DynamoDbAttributes, now: SystemTime) -> Self {
        Self::default().text("#until <= :now").name("#until", &attributes.retain_until).value(":now", millis(now))
    }

    /// An item is of one kind.
    pub(crate) fn kind(attributes: &DynamoDbAttributes, kind: Kind) -> Self {
        Self::default()
            .text("#kind = :kind")
            .name("#kind", &attributes.kind)
            .value(":kind", AttributeValue::S(kind.name().to_owned()))
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    pub(crate) fn name(mut self, alias: &str, name: &str) -> Self {
        self.names.insert(alias.to_owned(), name.to_owned());
        self
    }

    pub(crate) fn value(mut self, alias: &str, value: AttributeValue) -> Self {
        self.values.insert(alias.to_owned(), value);
        self
    }

    /// Both must hold.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.text = format!("{} AND ({})", self.text, other.text);
        self.names.extend(other.names);
        self.values.extend(other.values);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// The table must not take an entry a moment too early.
    #[test]
    fn the_ttl_is_rounded_up_to_whole_seconds() {
        for (millis, expected) in [(1_000, "1"), (1_001, "2"), (1_999, "2"), (-1, "0"), (-1_000, "-1")] {
            assert_eq!(seconds(hyper_client_cache_core::clock::from_millis(millis)).as_n().unwrap(), expected);
        }
    }

    #[test]
    fn an_entry_survives_its_item() {
        let names = DynamoDbAttributes::default();
        let key = CacheKey::new("some-key").unwrap();
        let until = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_000_001);
        let entry = Entry::new("head", "body").retain_until(until);
        let mut item = names.item(Kind::Part, &key, entry);
        assert_eq!(item[&names.retain_until].as_n().unwrap(), "1700000000124");
        assert_eq!(item[&names.ttl].as_n().unwrap(), "1700000001");
        assert_eq!(names.place(&item), Some((Kind::Part, key)));
        assert!(names.is_dead(&item, until + Duration::from_millis(1)) && !names.is_dead(&item, until));
        let read = names.read(&mut item).ok().unwrap();
        assert_eq!((&read.head[..], &read.body[..]), (&b"head"[..], &b"body"[..]));
    }

    #[test]
    fn an_entry_without_deadline_is_in_no_index_and_has_no_ttl() {
        let names = DynamoDbAttributes::default();
        let item = names.item(Kind::Response, &CacheKey::new("k").unwrap(), Entry::new("", ""));
        for name in [&names.retain_until, &names.ttl, &names.shard] {
            assert!(!item.contains_key(name), "{name}");
        }
    }

    #[test]
    fn keys_are_spread_over_all_shards() {
        let shards: std::collections::BTreeSet<_> =
            (0..200_u8).map(|number| Kind::Response.shard_of(&CacheKey::from_digest([number; 32]))).collect();
        assert!(shards.len() > usize::from(SHARDS) / 2, "{shards:?}");
        let numbered: std::collections::BTreeSet<_> =
            (0..200).map(|number| Kind::Response.shard_of(&CacheKey::new(&format!("key-{number}")).unwrap())).collect();
        assert_eq!(numbered.len(), usize::from(SHARDS));
    }
}
