//! An issuer of tokens on loopback: its provider's configuration (OpenID
//! Connect Discovery 1.0) and its keys, over HTTP or TLS.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use certs::{Issued, Signer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// It runs until the tests end.
pub struct Provider {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Served>,
}

#[derive(Default)]
struct Served {
    documents: Mutex<HashMap<&'static str, String>>,
    form: Mutex<String>,
    requests: AtomicUsize,
    away: AtomicBool,
}

const CONFIGURATION: &str = "/.well-known/openid-configuration";
/// The same for OAuth clients (RFC 8414).
const SERVER: &str = "/.well-known/oauth-authorization-server";
const KEYS: &str = "/keys";
const TOKEN: &str = "/token";

impl Provider {
    /// One that publishes these keys; over TLS where it has a certificate.
    pub fn start(keys: &[&Signer], identity: Option<&Issued>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let scheme = if identity.is_some() { "https" } else { "http" };
        let provider = Self { address, scheme, shared: Arc::default() };
        let issuer = provider.issuer();
        let configuration = json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}{KEYS}"),
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}{TOKEN}"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        });
        provider.serve(CONFIGURATION, &configuration);
        provider.serve(SERVER, &configuration);
        provider.publish(keys);
        let (served, tls) = (Arc::clone(&provider.shared), identity.map(acceptor));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, tls) = (Arc::clone(&served), tls.clone());
                std::thread::spawn(move || accept(stream, &served, tls));
            }
        });
        provider
    }

    /// The name in `iss`.
    pub fn issuer(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    /// Where the keys are.
    pub fn keys_url(&self) -> String {
        self.issuer() + KEYS
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.serve(KEYS, &json!({ "keys": keys }));
    }

    /// Begins its documents with a byte order mark.
    pub fn mark(&self) {
        for document in self.shared.documents.lock().expect("no panic").values_mut() {
            document.insert(0, '\u{feff}');
        }
    }

    /// Says in its configuration that it is another.
    pub fn impersonate(&self, issuer: &str) {
        self.serve(CONFIGURATION, &json!({"issuer": issuer, "jwks_uri": self.keys_url()}));
    }

    fn serve(&self, path: &'static str, document: &Value) {
        self.shared.documents.lock().expect("no panic").insert(path, document.to_string());
    }

    /// Gives this token to whoever asks for one.
    pub fn give(&self, token: &str) {
        self.serve(TOKEN, &json!({"access_token": token, "token_type": "Bearer", "expires_in": 600}));
    }

    /// The form of the last request that had one.
    pub fn form(&self) -> String {
        self.shared.form.lock().expect("no panic").clone()
    }

    /// True where connections are closed unanswered.
    pub fn away(&self, away: bool) {
        self.shared.away.store(away, Ordering::SeqCst);
    }

    /// The number of requests that were answered.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

/// The TLS of a server with this certificate.
pub fn acceptor(identity: &Issued) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let builder = ServerConfig::builder().with_no_client_auth();
    Arc::new(builder.with_single_cert(chain.expect("PEM"), key).expect("an identity"))
}

fn accept(stream: TcpStream, served: &Served, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    if served.away.load(Ordering::SeqCst) {
        return Ok(());
    }
    match tls {
        None => answer(stream, served),
        Some(tls) => {
            let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
            answer(StreamOwned::new(connection, stream), served)
        }
    }
}

fn answer(mut stream: impl Read + Write, served: &Served) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut form = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut form)?;
    if !form.is_empty() {
        *served.form.lock().expect("no panic") = String::from_utf8_lossy(&form).into_owned();
    }
    let found = served.documents.lock().expect("no panic").get(path).cloned();
    served.requests.fetch_add(1, Ordering::SeqCst);
    let (status, body) = found.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.flush()
}
