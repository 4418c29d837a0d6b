//! From options to a client of the driver: what the user said, else the environment, else our defaults.

use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, Credentials, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::config::{DynamoDbConfig, Source};
use crate::error::{DynamoDbError, Result};

/// A server nearby answers within a few milliseconds. The driver's own default is 3.1 seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// DynamoDB forgives within milliseconds. The driver's own default begins at a second.
const INITIAL_BACKOFF: Duration = Duration::from_millis(25);
const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// The client that the options describe. Connects to nothing.
pub(crate) fn client(config: &DynamoDbConfig) -> Result<Client> {
    let mut builder = match &config.source {
        Source::Client(client) => return Ok(client.clone()),
        Source::Options(options) => (**options).clone().behavior_version(behavior()),
        Source::Sdk(sdk) => match sdk.behavior_version() {
            Some(_) => Builder::from(&**sdk),
            None => Builder::from(&**sdk).behavior_version(behavior()),
        },
        Source::Own => Config::builder().behavior_version(behavior()),
    };
    // Finished once, because only what is finished can be asked what is set.
    let given = builder.clone().build();
    let endpoint = config.endpoint_url.clone().or_else(|| match config.source {
        Source::Own => variable("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| variable("AWS_ENDPOINT_URL")),
        _ => None,
    });
    if let Some(endpoint) = &endpoint {
        builder.set_endpoint_url(Some(endpoint.clone()));
    }
    if let Some(region) = &config.region {
        builder = builder.region(Region::new(region.clone()));
    } else if given.region().is_none() {
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.ok_or_else(|| {
            setting("no region is given: set `region`, an `sdk_config` that has one, or AWS_REGION in the environment")
        })?;
        builder = builder.region(Region::new(region));
    }
    if let Some(credentials) = &config.credentials {
        builder.set_credentials_provider(Some(credentials.clone()));
    } else if has_no_credentials(&config.source) {
        builder = builder.credentials_provider(from_environment()?);
    }
    if given.http_client().is_none() {
        builder.set_http_client(Some(http_client(endpoint.as_deref())));
    }
    if given.retry_config().is_none() {
        let retries = RetryConfig::standard().with_initial_backoff(INITIAL_BACKOFF).with_max_backoff(MAX_BACKOFF);
        builder.set_retry_config(Some(retries));
    }
    if given.stalled_stream_protection().is_none() {
        // Answers are short and read whole, within the time-out of the operation.
        builder.set_stalled_stream_protection(Some(StalledStreamProtectionConfig::disabled()));
    }
    if config.operation_timeout.is_some() || given.timeout_config().is_none() {
        let limit = config.operation_timeout.unwrap_or(DynamoDbConfig::DEFAULT_OPERATION_TIMEOUT);
        let mut timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT.min(limit));
        if let Some(given) = given.timeout_config() {
            timeouts = given.to_builder();
        }
        builder.set_timeout_config(Some(timeouts.operation_timeout(limit).build()));
    }
    Ok(Client::from_conf(builder.build()))
}

/// The driver's own options cannot be asked: what they have counts.
fn has_no_credentials(source: &Source) -> bool {
    match source {
        Source::Own => true,
        Source::Sdk(sdk) => sdk.credentials_provider().is_none(),
        Source::Options(_) | Source::Client(_) => false,
    }
}

/// The version of the driver's defaults that this crate was written for.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// The driver's client, with ring for TLS; without TLS, and without reading the system's certificates, where the endpoint
/// has none.
fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        return builder.build_http();
    }
    builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// What containers, functions and command lines set. Profiles and instance roles are what the crate `aws-config` is for.
fn from_environment() -> Result<Credentials> {
    let pair = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
    let (id, secret) = pair.ok_or_else(|| {
        setting(
            "no credentials are given: set `sdk_config` (from the crate `aws-config`), `credentials_provider` or \
             `client`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
        )
    })?;
    Ok(Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn setting(why: &str) -> DynamoDbError {
    DynamoDbError::Setting(why.to_owned())
}
