//! Whom TLS trusts, and as whom it speaks.
//!
//! Whatever is not the default makes a [policy id](TlsOptions::policy_id): what was fetched under one policy is not
//! served under another (case 72).

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// What TLS is told; all of it is checked by [`build`](Self::build).
#[derive(Clone, Debug, Default)]
pub(super) struct TlsOptions {
    roots: Vec<CertificateDer<'static>>,
    only_own_roots: bool,
    identity: Option<Identity>,
    accept_invalid_certs: bool,
    accept_invalid_hostnames: bool,
    problem: Option<&'static str>,
}

/// The two configurations of a transport.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) to_origin: Arc<ClientConfig>,
    /// Speaks HTTP/1.1 only, and shows no client certificate.
    pub(super) to_proxy: Arc<ClientConfig>,
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl TlsOptions {
    pub(super) fn add_root_der(&mut self, der: Vec<u8>) {
        self.roots.push(CertificateDer::from(der));
    }

    pub(super) fn add_roots_pem(&mut self, pem: &[u8]) {
        match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
            Ok(roots) if !roots.is_empty() => self.roots.extend(roots),
            _ => self.problem = Some("`root_certificates_pem` holds no certificate in PEM form"),
        }
    }

    pub(super) fn set_only_own_roots(&mut self, on: bool) {
        self.only_own_roots = on;
    }

    pub(super) fn set_identity_pem(&mut self, chain: &[u8], key: &[u8]) {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain).filter_map(Result::ok).collect();
        match PrivateKeyDer::from_pem_slice(key) {
            Ok(key) if !chain.is_empty() => self.identity = Some(Identity { chain, key }),
            Ok(_) => self.problem = Some("`client_certificate_pem` holds no certificate in PEM form"),
            Err(_) => self.problem = Some("`client_certificate_pem` holds no private key in PEM form"),
        }
    }

    pub(super) fn set_accept_invalid_certs(&mut self, on: bool) {
        self.accept_invalid_certs = on;
    }

    pub(super) fn set_accept_invalid_hostnames(&mut self, on: bool) {
        self.accept_invalid_hostnames = on;
    }

    /// What tells this policy from others; `None` for the default. Holds no secret: of an identity only what is public.
    pub(super) fn policy_id(&self) -> Option<[u8; 32]> {
        let Self { roots, only_own_roots, identity, accept_invalid_certs, accept_invalid_hostnames, problem: _ } = self;
        let flags = [*only_own_roots, *accept_invalid_certs, *accept_invalid_hostnames];
        if roots.is_empty() && identity.is_none() && flags == [false; 3] {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(b"tls-1");
        hash.update(flags.map(u8::from));
        // In which order they were given makes no difference to what is trusted.
        let mut roots: Vec<&[u8]> = roots.iter().map(|root| &root[..]).collect();
        roots.sort_unstable();
        roots.dedup();
        let chain = identity.iter().flat_map(|identity| &identity.chain).map(|certificate| &certificate[..]);
        for certificates in [roots, chain.collect()] {
            hash.update((certificates.len() as u64).to_be_bytes());
            for certificate in certificates {
                hash.update((certificate.len() as u64).to_be_bytes());
                hash.update(certificate);
            }
        }
        Some(hash.finalize().into())
    }

    pub(super) fn build(&self, http2_only: bool) -> Result<Tls> {
        if let Some(problem) = self.problem {
            return Err(Error::new(ErrorKind::Config, problem));
        }
        if self.only_own_roots && self.roots.is_empty() && !self.accept_invalid_certs {
            let problem = "`only_own_root_certificates` is on and there are none, so that no server could be trusted";
            return Err(Error::new(ErrorKind::Config, problem));
        }
        let http2 = b"h2".to_vec();
        let offers = if http2_only { vec![http2] } else { vec![http2, b"http/1.1".to_vec()] };
        let to_proxy = self.config(None, vec![b"http/1.1".to_vec()])?;
        Ok(Tls { to_origin: self.config(self.identity.as_ref(), offers)?, to_proxy })
    }

    fn config(&self, identity: Option<&Identity>, offers: Vec<Vec<u8>>) -> Result<Arc<ClientConfig>> {
        let broken = |error: TlsError| Error::new(ErrorKind::Config, "TLS cannot be set up").with_source(error);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(broken)?;
        let roots = Arc::new(self.trusted()?);
        let builder = if self.accept_invalid_certs || self.accept_invalid_hostnames {
            let strict = (!self.accept_invalid_certs)
                .then(|| WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build())
                .transpose()
                .map_err(|error| Error::new(ErrorKind::Config, "TLS cannot be set up").with_source(error))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { strict, provider }))
        } else {
            builder.with_root_certificates(roots)
        };
        let mut config = match identity {
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|error| {
                    let problem = "`client_certificate_pem`: the key is of no known kind or not the certificate's";
                    Error::new(ErrorKind::Config, problem).with_source(error)
                })?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = offers;
        Ok(Arc::new(config))
    }

    fn trusted(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if !self.only_own_roots {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for root in &self.roots {
            roots.add(root.clone()).map_err(|error| {
                Error::new(ErrorKind::Config, "a `root_certificate` is no certificate authority in DER form")
                    .with_source(error)
            })?;
        }
        Ok(roots)
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

// The key is a secret.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.chain.len())
    }
}

/// Verifies less than it should, as the caller asked for: without `strict` nothing but that the peer has the key of the
/// certificate that it shows; with it, all but the name.
#[derive(Debug)]
struct Lenient {
    strict: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(strict) = &self.strict else { return Ok(ServerCertVerified::assertion()) };
        match strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 72: each option that changes trust makes another policy; the order of certificates does not.
    #[test]
    fn what_changes_trust_changes_the_policy() {
        let with = |change: fn(&mut TlsOptions)| {
            let mut options = TlsOptions::default();
            change(&mut options);
            options.policy_id()
        };
        let all = [
            with(|_| {}),
            with(|options| options.set_accept_invalid_certs(true)),
            with(|options| options.set_accept_invalid_hostnames(true)),
            with(|options| options.set_only_own_roots(true)),
            with(|options| options.add_root_der(vec![1])),
            with(|options| options.add_root_der(vec![2])),
            with(|options| options.identity = Some(identity())),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{at}");
        }
        assert_eq!(all[0], None, "entries of the default policy keep their keys");
        let two = |first, second| {
            let mut options = TlsOptions::default();
            options.add_root_der(vec![first]);
            options.add_root_der(vec![second]);
            options.policy_id()
        };
        assert_eq!(two(1, 2), two(2, 1));
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        let mut options = TlsOptions::default();
        options.add_roots_pem(b"canary");
        assert!(options.build(false).unwrap_err().to_string().contains("root_certificates_pem"));
        let mut options = TlsOptions::default();
        options.set_identity_pem(b"canary", b"canary");
        let error = options.build(false).unwrap_err();
        assert!(error.to_string().contains("client_certificate_pem") && !format!("{error:?}").contains("canary"));
        let mut options = TlsOptions::default();
        options.set_only_own_roots(true);
        assert!(options.build(false).unwrap_err().to_string().contains("only_own_root_certificates"));
    }

    fn identity() -> Identity {
        let key = PrivateKeyDer::from(rustls::pki_types::PrivatePkcs8KeyDer::from(vec![0]));
        Identity { chain: vec![CertificateDer::from(vec![3])], key }
    }
}
