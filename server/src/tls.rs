//! TLS on the clients' port: what is in the files of certificate and key.
//!
//! Owns reading them, at the start and again later, and what is said about them: both files' mistakes at once,
//! each with its path. Leaves to others when they are read ([`crate::lifecycle`]), the handshake
//! ([`crate::http`]) and the encrypted socket ([`crate::shard`]). Nothing here shows what is in a key.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig};

use crate::config::{self, Mistake};

/// Far more than any chain of certificates, and less than what a wrong file might be.
const FILE_BYTES_MAX: u64 = 1 << 20;

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";

/// Reads certificate and key, and makes of them what a handshake needs.
///
/// # Errors
/// Every mistake that was found in the two files.
pub fn read(files: &config::Tls) -> Result<Arc<ServerConfig>, Vec<Mistake>> {
    let provider = Arc::new(ring::default_provider());
    let certificates = read_certificates(&files.certificate);
    let key = read_key(&files.key, &provider);
    let (certificates, key) = match (certificates, key) {
        (Ok(certificates), Ok(key)) => (certificates, key),
        (certificates, key) => return Err(certificates.err().into_iter().chain(key.err()).collect()),
    };
    let certified = CertifiedKey::new(certificates, key);
    match certified.keys_match() {
        // A key that does not know its public half cannot be compared; the first handshake tells.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            let expected = format!("the key of the first certificate in {}", files.certificate.display());
            let found = format!("the key of another in {}", files.key.display());
            let advice = "name two files that belong together; the server's own certificate comes first";
            return Err(vec![Mistake::new(KEY, &expected, found, advice)]);
        }
        Err(error) => return Err(vec![not_a_certificate(&files.certificate, &error)]),
    }
    let refused = |error: Error| {
        let found = format!("one that the TLS library refuses ({error})");
        vec![Mistake::new(CERTIFICATE, "a certificate for TLS 1.2 or 1.3", found, "issue another one")]
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Tickets make the handshake of a client that comes back cheap, and mostly many come back at once. Without
    // random bytes for them every handshake is a whole one.
    if let Ok(ticketer) = ring::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(Arc::new(config))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    const EXPECTED: &str = "a PEM file with the server's certificate and those that lead to its authority";
    let bytes = read_file(CERTIFICATE, EXPECTED, path)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => {
            let advice = "name the file with BEGIN CERTIFICATE, which is mostly called fullchain.pem";
            Err(Mistake::new(CERTIFICATE, EXPECTED, contents(path, &bytes), advice))
        }
        Err(error) => {
            let found = format!("{} with broken PEM ({error})", path.display());
            Err(Mistake::new(CERTIFICATE, EXPECTED, found, "copy the file again, whole"))
        }
    }
}

fn not_a_certificate(path: &Path, error: &Error) -> Mistake {
    let found = format!("{}, in which the first one cannot be read ({error})", path.display());
    Mistake::new(CERTIFICATE, "an X.509 certificate", found, "issue another one")
}

fn read_key(path: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, Mistake> {
    const EXPECTED: &str = "a PEM file with the certificate's private key";
    let bytes = read_file(KEY, EXPECTED, path)?;
    let encrypted = |label: &str| label.starts_with("ENCRYPTED");
    if labels(&bytes).any(encrypted) || bytes.windows(10).any(|bytes| bytes == b",ENCRYPTED") {
        let found = format!("{} with a key that a passphrase encrypts", path.display());
        let advice = "decrypt it (openssl pkey), and let nobody but the server's user read the file";
        return Err(Mistake::new(KEY, EXPECTED, found, advice));
    }
    let keys = PrivateKeyDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let mut keys = keys.map_err(|error| {
        let found = format!("{} with broken PEM ({error})", path.display());
        Mistake::new(KEY, EXPECTED, found, "copy the file again, whole")
    })?;
    let key = match (keys.pop(), keys.len()) {
        (Some(key), 0) => key,
        (Some(_), others) => {
            let found = format!("{} with {} keys", path.display(), others + 1);
            return Err(Mistake::new(KEY, "one private key", found, "leave the certificate's own"));
        }
        (None, _) => {
            let advice = "name the file with BEGIN PRIVATE KEY, which is mostly called privkey.pem";
            return Err(Mistake::new(KEY, EXPECTED, contents(path, &bytes), advice));
        }
    };
    provider.key_provider.load_private_key(key).map_err(|error| {
        let expected = "an RSA, ECDSA (P-256, P-384) or Ed25519 key";
        let found = format!("another kind in {} ({error})", path.display());
        Mistake::new(KEY, expected, found, "issue a certificate for such a key")
    })
}

fn read_file(field: &str, expected: &str, path: &Path) -> Result<Vec<u8>, Mistake> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| {
        let found = format!("{} ({error})", path.display());
        let advice = "correct the path, and let the server's user read the file and enter its directories";
        Mistake::new(field, expected, found, advice)
    })
}

/// What a file has instead of what it should have.
fn contents(path: &Path, bytes: &[u8]) -> String {
    let labels: Vec<&str> = labels(bytes).collect();
    let labels = if labels.is_empty() { "nothing in PEM".to_owned() } else { labels.join(", ") };
    format!("{} with {labels}", path.display())
}

/// What the sections of a PEM file are called.
fn labels(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
}
