//! TLS for `rediss://` addresses: rustls on ring, whatever other providers the program has.

use std::sync::Arc;

use fred::types::config::{TlsConfig, TlsConnector};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{RedisError, Result};

/// A connection that trusts the authorities in `pem`, or the system's where none are given.
pub(crate) fn config(pem: Option<&[u8]>) -> Result<TlsConfig> {
    let setting = |what: &str, error: &dyn std::fmt::Display| RedisError::Setting(format!("{what}: {error}"));
    let mut roots = RootCertStore::empty();
    match pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| setting("`ca_certificates` is no PEM", &error))?;
                roots.add(certificate).map_err(|error| setting("a certificate in `ca_certificates`", &error))?;
            }
            if roots.is_empty() {
                return Err(RedisError::Setting("`ca_certificates` has no certificate in it".into()));
            }
        }
        None => {
            // What cannot be read is not trusted; the others are.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| setting("TLS", &error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConfig::from(TlsConnector::from(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = config(Some(pem.as_bytes())).unwrap_err();
            assert!(error.to_string().contains("ca_certificates"), "{error}");
        }
        assert!(config(None).is_ok());
    }
}
