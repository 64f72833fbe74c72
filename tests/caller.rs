//! One certificate, shown on every kind of connection there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certs::Issued;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, SupportedProtocolVersion};

use crate::Client;
use crate::client::{Stream, tls_config};

/// One holder of a certificate, on every kind of connection in one version of TLS.
pub struct Caller {
    port: u16,
    authority: String,
    issued: Issued,
    version: &'static SupportedProtocolVersion,
    /// Resumes its sessions.
    client: Client,
    open: Box<dyn Stream>,
    http2: reqwest::blocking::Client,
    /// The times that `http2` has shown its certificate.
    shown: Arc<Shown>,
}

impl Caller {
    /// Connects, and is let in on every kind of connection.
    pub fn new(port: u16, authority: &str, issued: &Issued, version: &'static SupportedProtocolVersion) -> Self {
        let config = || tls_config(authority, Some(issued), &[version]);
        let client = Client::over(port, config());
        let open = client.connect().expect("a connection");
        let mut multiplexed = config();
        let shown = Arc::new(Shown::new(issued));
        multiplexed.client_auth_cert_resolver = Arc::clone(&shown) as _;
        multiplexed.resumption = Resumption::disabled();
        multiplexed.alpn_protocols = vec![b"h2".to_vec()];
        let http2 = reqwest::blocking::Client::builder().tls_backend_preconfigured(multiplexed);
        let http2 = http2.http2_prior_knowledge().timeout(Duration::from_secs(30)).build();
        let http2 = http2.expect("a client");
        let (authority, issued) = (authority.to_owned(), issued.clone());
        let mut caller = Self { port, authority, issued, version, client, open, http2, shown };
        caller.holds("at first");
        caller
    }

    /// The status of a request on the connection that was open already.
    pub fn on_open(&mut self) -> u16 {
        let answer = self.client.exchange(&mut self.open, "GET", "/whoami", &[], b"");
        answer.expect("the connection stays").status
    }

    fn on_http2(&self) -> u16 {
        let answer = self.http2.get(format!("https://localhost:{}/whoami", self.port)).send().expect("an answer");
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert_eq!(self.shown.times.load(Ordering::Relaxed), 1, "it is the first connection still");
        answer.status().as_u16()
    }

    /// The status on a session of before, taken up again.
    fn on_resumed(&self) -> u16 {
        let mut stream = self.client.connect().expect("a connection");
        let close = [("Connection", "close")];
        let answer = self.client.exchange(&mut stream, "GET", "/whoami", &close, b"").expect("an answer");
        assert!(stream.is_resumed(), "{:?}: the session is not resumed", self.version.version);
        answer.status
    }

    /// The status after a handshake of its own, where it comes to an end.
    fn on_fresh(&self) -> Option<u16> {
        let config = tls_config(&self.authority, Some(&self.issued), &[self.version]);
        let answer = Client::over(self.port, config).try_send("GET", "/whoami", &[], b"");
        answer.ok().map(|response| response.status)
    }

    /// The status on the open connection, over HTTP/2, on a resumed session and on a fresh one.
    pub fn everywhere(&mut self) -> [Option<u16>; 4] {
        [Some(self.on_open()), Some(self.on_http2()), Some(self.on_resumed()), self.on_fresh()]
    }

    /// It is let in, whatever the connection.
    pub fn holds(&mut self, when: &str) {
        let version = self.version.version;
        assert_eq!(self.everywhere(), [Some(200); 4], "{version:?}, {when}: open, HTTP/2, resumed, fresh");
    }

    /// It is refused, whatever the connection; a new one is refused with `fresh`.
    pub fn refused(&mut self, fresh: Option<u16>, when: &str) {
        let version = self.version.version;
        let expected = [Some(401), Some(401), Some(401), fresh];
        assert_eq!(self.everywhere(), expected, "{version:?}, {when}: open, HTTP/2, resumed, fresh");
    }
}

/// A certificate that counts how often it is shown.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    times: AtomicUsize,
}

impl Shown {
    fn new(issued: &Issued) -> Self {
        let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
        let provider = rustls::crypto::CryptoProvider::get_default().expect("a provider");
        let key = CertifiedKey::from_der(chain.expect("PEM"), key, provider).expect("a pair");
        Self { key: Arc::new(key), times: AtomicUsize::new(0) }
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&self.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
