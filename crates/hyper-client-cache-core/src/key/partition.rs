//! Who is kept apart from whom: the partition of a request, and what stands for a credential where it selects a variant.

use http::{HeaderMap, HeaderName, header};

use super::fields::Fields;
use super::{Keyer, Partition, hash_secret, lines};

impl Keyer<'_> {
    /// Which partition a request belongs to; `None` for the common one.
    ///
    /// In a private cache, requests with an `Authorization` or `Cookie` field each have a partition by their values
    /// (cases 4, 5, 7). In a shared cache the response's directives decide (RFC 9111 section 3.5), so those do not
    /// separate there. Other credentials, for which no directive is known, and a partition set by hand separate in both
    /// (case 6).
    #[must_use]
    pub fn partition(&self, headers: &HeaderMap) -> Option<Partition> {
        let separates = self.matching.options().separate_credentials.unwrap_or(true);
        let by_hand = self.matching.options().partition.as_deref().or(self.separation.by_hand);
        let has_cookies = match self.separation.cookies {
            Some(lines) => !lines.is_empty(),
            None => headers.contains_key(header::COOKIE),
        };
        let has_credentials =
            separates && self.separation.by_credentials && (headers.contains_key(header::AUTHORIZATION) || has_cookies);
        let is_other = |name: &&HeaderName| {
            **name != header::AUTHORIZATION && **name != header::COOKIE && self.matching.is_secret_header(name.as_str())
        };
        let has_others = separates && headers.keys().any(|name| is_other(&name));
        if by_hand.is_none() && !has_credentials && !has_others {
            return self.separation.apart.copied();
        }
        let mut hash = Fields::new(if has_others { b"partition-2" } else { b"partition-1" });
        hash.field(self.separation.secret);
        hash.number(u64::from(by_hand.is_some()));
        hash.field(by_hand.unwrap_or_default().as_bytes());
        if has_credentials {
            lines(&mut hash, headers, &header::AUTHORIZATION);
            match self.separation.cookies {
                Some(lines) => {
                    hash.number(lines.len() as u64);
                    lines.iter().for_each(|line| hash.field(line.as_bytes()));
                }
                None => lines(&mut hash, headers, &header::COOKIE),
            }
        }
        if has_others {
            hash.number(u64::from(has_credentials));
            hash.number(u64::from(self.separation.apart.is_some()));
            let mut others: Vec<_> = headers.keys().filter(is_other).collect();
            others.sort_unstable_by_key(|name| name.as_str());
            for name in others {
                hash.field(name.as_str().as_bytes());
                lines(&mut hash, headers, name);
            }
        }
        if let Some(apart) = self.separation.apart {
            hash.field(apart);
        }
        Some(hash.digest())
    }

    /// The keyed hash that stands for the value of a header field where it selects a variant, if the field is a
    /// credential (case 8).
    #[must_use]
    pub fn hash_secret(&self, name: &str, value: &[u8]) -> Option<Vec<u8>> {
        self.matching.is_secret_header(name).then(|| hash_secret(self.separation.secret, name, value))
    }
}
