//! The servers that some rows need. Where they are is said by the same variables as in the tests; a row whose server is
//! nowhere is left out, and said to be.

use std::env;

/// A kind of server.
#[derive(Clone, Copy)]
pub(crate) enum Server {
    Redis,
    Mongo,
    DynamoDb,
}

impl Server {
    /// Its address; where there is none, says that `what` is left out.
    pub(crate) fn address(self, what: &str) -> Option<String> {
        let variable = match self {
            Self::Redis => "HCC_REDIS_URL",
            Self::Mongo => "HCC_MONGO_URL",
            Self::DynamoDb => "HCC_DYNAMODB_URL",
        };
        let address = env::var(variable).ok().filter(|address| !address.is_empty());
        if address.is_none() {
            eprintln!("{what} is left out: {variable} does not say where a server is");
        }
        address
    }
}

/// A name on a server that nobody else has: of a database, a table, or the beginning of keys.
pub(crate) fn unique_name() -> String {
    format!("hcc-bench-{:016x}", fastrand::u64(..))
}
