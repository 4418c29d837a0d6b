//! The self-signed certificate of one origin.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// A certificate for `localhost` and `127.0.0.1`, and what serves it.
pub(super) struct Identity {
    certificate: CertificateDer<'static>,
    config: Arc<ServerConfig>,
    client: Option<(String, String)>,
}

impl Identity {
    /// A fresh certificate; the flags say what is offered by ALPN, and whether only a client with the one certificate is
    /// let in that is made here too.
    #[allow(clippy::expect_used)] // without a certificate a test cannot go on
    pub(super) fn new(http2: bool, http1: bool, asks_client: bool) -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a self-signed certificate");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        // Named, because a process in which two providers are compiled has no default.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider's protocol versions");
        let client = asks_client
            .then(|| rcgen::generate_simple_self_signed(["client".to_owned()]).expect("a self-signed certificate"));
        let builder = match &client {
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.cert.der().clone()).expect("a certificate that was just made");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .expect("a certificate to verify with");
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config =
            builder.with_single_cert(vec![certificate.clone()], key).expect("a key that belongs to its certificate");
        let offers = [(http2, &b"h2"[..]), (http1, b"http/1.1")];
        config.alpn_protocols = offers.iter().filter(|(on, _)| *on).map(|(_, name)| name.to_vec()).collect();
        let client = client.map(|client| (client.cert.pem(), client.signing_key.serialize_pem()));
        Self { certificate, config: Arc::new(config), client }
    }

    pub(super) fn client(&self) -> Option<(&str, &str)> {
        self.client.as_ref().map(|(certificate, key)| (certificate.as_str(), key.as_str()))
    }

    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

// The private key shall not show, not even one that nobody needs.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}
