//! Certificates made for one test, and clients that trust them.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::client::Client;
use super::{PATIENCE, Server};

/// What a client speaks over.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for `localhost` and its key.
pub struct Pair {
    pub made: CertifiedKey<KeyPair>,
}

impl Pair {
    pub fn new() -> Self {
        Self { made: generate_simple_self_signed(["localhost".to_owned()]).unwrap() }
    }

    pub fn certificate(&self) -> String {
        self.made.cert.pem()
    }

    pub fn key(&self) -> String {
        self.made.signing_key.serialize_pem()
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        self.made.cert.der()
    }

    /// Puts the two files there. Gives what the configuration says of them.
    pub fn write(&self, directory: &Path) -> Value {
        let (certificate, key) = (directory.join("fullchain.pem"), directory.join("privkey.pem"));
        std::fs::write(&certificate, self.certificate()).unwrap();
        std::fs::write(&key, self.key()).unwrap();
        json!({"certificate": certificate, "key": key})
    }
}

/// Connects with TLS, trusting these certificates and no others.
pub fn dial(server: &Server, trusted: &[&Pair]) -> Stream {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.der().clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = "localhost".try_into().unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    session.complete_io(&mut stream).unwrap();
    StreamOwned::new(session, stream)
}

impl Client<Stream> {
    /// Connects as pusher-js does with `forceTLS`, and hears the hello.
    pub fn connect_tls(server: &Server, trusted: &[&Pair]) -> Self {
        let path = "/app/app-key?protocol=7&client=js&version=8.6.0&flash=false";
        Self::upgrade_with(dial(server, trusted), server.address, path, &[]).greeted()
    }

    /// The certificate that the server has shown.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.socket.get_ref().conn.peer_certificates().unwrap()[0]
    }
}
