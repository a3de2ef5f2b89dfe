//! One attempt: a signed POST to an endpoint, and what came of it.
//!
//! Owns the HTTP client, its connections that are kept for the next request, whom it trusts, and the time that an
//! endpoint has. Redirects are not followed: Pusher does not, and a body that is signed for one address is not for
//! another. When to try again is [`super::deliver`]'s.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, InvalidHeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tracing::warn;

use super::Endpoint;
use crate::config::Secret;
use crate::pusher::signature;

/// How long a connection is kept for the next request. Common servers keep theirs for a minute or more; whoever
/// closes first must not be the one who is just being written to.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections that are kept for one host.
const KEEP_ALIVE_MAX: usize = 4;
/// What is read of an answer's body, so that its connection can be kept. Nobody looks at it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long that may take: the answer itself is here.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Why an attempt has failed.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The endpoint says so.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// It says nothing.
    #[error("it did not answer within {0:?} (webhook_timeout_ms)")]
    Silent(Duration),
    /// It cannot be reached, or the connection broke.
    #[error("{0}")]
    Connection(String),
    /// There is no such request.
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    /// TLS cannot be had at all.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl From<InvalidHeaderValue> for Failure {
    fn from(error: InvalidHeaderValue) -> Self {
        Self::Request(error.into())
    }
}

impl Failure {
    /// With the causes, of which the last one says what is the matter.
    fn connection(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self::Connection(text)
    }
}

/// Why the certificates of a file of authorities cannot be used.
#[derive(Debug, Error)]
pub enum CaError {
    /// The file cannot be read.
    #[error("cannot read {field} {path}: {source}; name a PEM file that the server's user may read")]
    Read {
        /// Who names it.
        field: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's answer, or what is wrong with the text.
        source: pem::Error,
    },
    /// There is none in it.
    #[error("expected certificates (-----BEGIN CERTIFICATE-----) in {field} {path}, but found none")]
    None {
        /// Who names it.
        field: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// One of them is not sound.
    #[error("expected certificates of authorities in {field} {path}, but found another: {source}")]
    Unsound {
        /// Who names it.
        field: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

/// The certificates of a file, which the configuration names in `field`.
///
/// # Errors
/// [`CaError`] says what is wrong with it.
pub(crate) fn read_authorities(
    path: &Path,
    field: &'static str,
) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let read = |source| CaError::Read { field, path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(read)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(read)?;
    if certificates.is_empty() {
        return Err(CaError::None { field, path: path.to_owned() });
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        let unsound = |source| CaError::Unsound { field, path: path.to_owned(), source };
        roots.add(certificate.clone()).map_err(unsound)?;
    }
    Ok(certificates)
}

type Requests<C> = Client<C, Full<Bytes>>;

/// The client.
#[derive(Debug)]
pub(super) struct Sender {
    plain: Requests<HttpConnector>,
    /// Made when it is needed: the system's authorities are a few hundred KiB and some milliseconds.
    encrypted: OnceCell<Requests<HttpsConnector<HttpConnector>>>,
    authorities: Vec<CertificateDer<'static>>,
    timeout: Duration,
}

/// Who signs, and to whom it goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) app_id: Arc<str>,
    pub(super) key: Arc<str>,
    pub(super) secret: Secret,
    pub(super) endpoint: Endpoint,
}

impl Sender {
    /// A client that trusts `authorities` beside those of the system, and waits for an answer for `timeout`.
    pub(super) fn new(authorities: Vec<CertificateDer<'static>>, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { plain: client(connector), encrypted: OnceCell::new(), authorities, timeout }
    }

    /// Makes one attempt. Only an answer of 200 to 299 is a success.
    ///
    /// # Errors
    /// [`Failure`]: the endpoint may nevertheless have heard all of it.
    pub(super) async fn post(&self, target: &Target, body: &str) -> Result<(), Failure> {
        let response = self.request(target, body)?;
        match timeout(self.timeout, response).await {
            Err(_) => Err(Failure::Silent(self.timeout)),
            Ok(Err(error)) => Err(Failure::connection(&error)),
            Ok(Ok(response)) => {
                let status = response.status();
                // Not to have read it all only costs the connection.
                let _ = timeout(ANSWER_TIMEOUT.min(self.timeout), read_to_end(response.into_body())).await;
                if status.is_success() { Ok(()) } else { Err(Failure::Status(status)) }
            }
        }
    }

    fn request(&self, target: &Target, body: &str) -> Result<ResponseFuture, Failure> {
        const AGENT: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));
        let Target { app_id: _, key, secret, endpoint } = target;
        let signature = signature::sign(secret, &[body]);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.url.uri().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .header("x-pusher-key", HeaderValue::from_str(key)?)
            .header("x-pusher-signature", HeaderValue::from_str(&signature)?);
        for header in &endpoint.headers {
            request = request.header(header.name.clone(), header.value.clone());
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        Ok(match endpoint.url.is_https() {
            true => self.encrypted()?.request(request),
            false => self.plain.request(request),
        })
    }

    fn encrypted(&self) -> Result<&Requests<HttpsConnector<HttpConnector>>, Failure> {
        if let Some(client) = self.encrypted.get() {
            return Ok(client);
        }
        let client = encrypted(&self.authorities)?;
        Ok(self.encrypted.get_or_init(|| client))
    }
}

fn client<C: Connect + Clone>(connector: C) -> Requests<C> {
    Client::builder(TokioExecutor::new())
        // pusher-http-php looks for X-Pusher-Key in what getallheaders() gives, which is as it was written.
        .http1_title_case_headers(true)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_ALIVE)
        .pool_max_idle_per_host(KEEP_ALIVE_MAX)
        .build(connector)
}

/// A client that checks certificates.
fn encrypted(
    authorities: &[CertificateDer<'static>],
) -> Result<Requests<HttpsConnector<HttpConnector>>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    // They were sound when the server started.
    roots.add_parsable_certificates(authorities.iter().cloned());
    if roots.is_empty() {
        let errors = native.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        warn!(
            errors,
            "no certificate authority is known, so that https webhooks fail; install ca-certificates or set webhook_ca_file"
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
    Ok(client(builder.wrap_connector(connector)))
}

async fn read_to_end(mut body: Incoming) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > ANSWER_BYTES_MAX {
            return;
        }
    }
}
