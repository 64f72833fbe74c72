//! The part of a Kubernetes API server that Vault asks: it issues tokens of
//! service accounts, and reviews them (`authentication.k8s.io/v1`).

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use certs::{Authority, Leaf, Signer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::provider::acceptor;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// Whom a token of a service account is for unless told otherwise.
const AUDIENCE: &str = "https://kubernetes.default.svc";
/// The token of whoever may have tokens reviewed.
const REVIEWER: &str = "reviewer-of-tokens";

/// It runs until the tests end.
pub struct Kubernetes {
    address: SocketAddr,
    authority: Authority,
    key: Signer,
    accounts: Arc<Accounts>,
}

/// The user that each live token is of.
type Accounts = Mutex<HashMap<String, Value>>;

impl Kubernetes {
    /// Starts a cluster without a service account.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let authority = Authority::new("kubernetes").expect("an authority");
        let tls = acceptor(&authority.issue(&Leaf::server()).expect("a certificate"));
        let accounts = Arc::<Accounts>::default();
        let shared = Arc::clone(&accounts);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (accounts, tls) = (Arc::clone(&shared), Arc::clone(&tls));
                std::thread::spawn(move || serve(stream, tls, &accounts));
            }
        });
        Self { address, authority, key: Signer::rsa("kubernetes").expect("a key"), accounts }
    }

    /// The configuration of Vault's auth method.
    pub fn config(&self) -> Value {
        json!({
            "kubernetes_host": format!("https://{}", self.address),
            "kubernetes_ca_cert": self.authority.pem(),
            "token_reviewer_jwt": REVIEWER,
            "disable_local_ca_jwt": true,
        })
    }

    /// A token as it is projected into a pod of that service account.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        let uid = format!("uid-of-{namespace}-{account}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let mut live = self.accounts.lock().expect("no panic");
        let token = self.key.token(&json!({
            "aud": [AUDIENCE], "iss": AUDIENCE, "sub": user,
            "iat": now, "nbf": now, "exp": now + 3600, "jti": live.len().to_string(),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": uid}},
        }));
        let token = token.expect("a token");
        live.insert(token.clone(), json!({"username": user, "uid": uid, "groups": ["system:serviceaccounts"]}));
        token
    }

    /// Forgets every token issued so far, as when their pods are gone.
    pub fn forget(&self) {
        self.accounts.lock().expect("no panic").clear();
    }
}

fn serve(stream: TcpStream, tls: Arc<ServerConfig>, accounts: &Accounts) -> io::Result<()> {
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let length = header("content-length").and_then(|(_, text)| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let (status, answer) = match header("authorization") {
        Some((_, bearer)) if bearer.strip_prefix("Bearer ") == Some(REVIEWER) => {
            if head.starts_with(&format!("POST {REVIEWS} ")) {
                review(&body, accounts)
            } else {
                failure(404, "NotFound")
            }
        }
        _ => failure(401, "Unauthorized"),
    };
    let text = answer.to_string();
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {status} Done\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )?;
    stream.flush()
}

fn review(body: &[u8], accounts: &Accounts) -> (u16, Value) {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    // The path says what it is; the body need not.
    let fits = |name: &str, text: &str| asked[name].is_null() || asked[name] == text;
    let is_review = fits("kind", "TokenReview") && fits("apiVersion", "authentication.k8s.io/v1");
    let Some(token) = asked["spec"]["token"].as_str().filter(|_| is_review) else {
        return failure(400, "BadRequest");
    };
    let user = accounts.lock().expect("no panic").get(token).cloned();
    let wanted = asked["spec"]["audiences"].as_array().filter(|audiences| !audiences.is_empty());
    let fits = wanted.is_none_or(|audiences| audiences.iter().any(|audience| audience == AUDIENCE));
    let status = match user.filter(|_| fits) {
        Some(user) => json!({"authenticated": true, "user": user, "audiences": [AUDIENCE]}),
        None => json!({"user": {}, "error": "[invalid bearer token, token lookup failed]"}),
    };
    let answer = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "metadata": {"creationTimestamp": null}, "spec": asked["spec"], "status": status,
    });
    (201, answer)
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    });
    (code, status)
}
