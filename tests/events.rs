//! A stream of server-sent events, as a client reads it.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use certs::Issued;
use reqwest::blocking::{Client, ClientBuilder, Response};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::client::tls_config;
use crate::mcp::{STATELESS, meta, request};

/// The time that an event may take to be heard.
const PATIENCE: Duration = Duration::from_secs(20);

/// The comment that keeps a stream open.
const COMMENT: &str = ": keepalive";
/// The beginning of a message on a stream.
const DATA: &str = "data: ";

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// Every version of TLS with every version of HTTP.
pub const WAYS: [(&SupportedProtocolVersion, Http); 4] =
    [(&TLS12, Http::One), (&TLS12, Http::Two), (&TLS13, Http::One), (&TLS13, Http::Two)];

/// Prepares a client that shows a certificate.
pub fn builder(
    authority: &str,
    issued: Option<&Issued>,
    (version, http): (&'static SupportedProtocolVersion, Http),
) -> ClientBuilder {
    let mut tls = tls_config(authority, issued, &[version]);
    tls.alpn_protocols = vec![if http == Http::Two { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let builder = Client::builder().timeout(None).tls_backend_preconfigured(tls);
    if http == Http::Two { builder.http2_prior_knowledge() } else { builder.http1_only() }
}

/// Asks for a stream.
pub fn ask(client: &Client, url: &str, headers: &[(&str, &str)]) -> Response {
    let request = client.get(url).header("Accept", "text/event-stream");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().expect("an answer")
}

/// An open stream. Once dropped, its client goes with the next line.
pub struct Events {
    heard: Receiver<Heard>,
    gone: Arc<AtomicBool>,
    /// The head of the answer.
    pub header: reqwest::header::HeaderMap,
}

/// One event, as it was sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// Its name.
    pub event: String,
    /// Its id, where it has one.
    pub id: Option<String>,
    /// Its data: JSON, or a text.
    pub data: Value,
}

/// A line of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Line(String),
    /// It ended as a whole.
    End,
    /// It broke off.
    Broken,
}

impl Events {
    /// Opens one, and has heard the first comment on it.
    pub fn open(client: &Client, url: &str, headers: &[(&str, &str)]) -> Self {
        let events = Self::of(client, ask(client, url, headers));
        events.comments(1, "at first");
        events
    }

    /// Opens one for each way to connect, with a client of its own.
    pub fn everywhere(port: u16, authority: &str, issued: &Issued) -> [Self; 4] {
        WAYS.map(|way| {
            let client = builder(authority, Some(issued), way).build().expect("a client");
            Self::open(&client, &format!("https://localhost:{port}/mcp"), &[])
        })
    }

    /// Opens a subscription, which asks for these notifications; its acknowledgement is not read yet.
    pub fn subscribe(client: &Client, url: &str, notifications: &Value) -> Self {
        let message = request("subscriptions/listen", &json!({"_meta": meta(), "notifications": notifications}));
        let headers = [("MCP-Protocol-Version", STATELESS), ("Mcp-Method", "subscriptions/listen")];
        Self::post(client, url, &headers, &message)
    }

    /// Sends a message that is answered by a stream.
    pub fn post(client: &Client, url: &str, headers: &[(&str, impl AsRef<str>)], message: &Value) -> Self {
        Self::of(client, Self::asked(client, url, headers, message))
    }

    /// The answer to a message, be it a stream or not.
    pub fn asked(client: &Client, url: &str, headers: &[(&str, impl AsRef<str>)], message: &Value) -> Response {
        let own = headers.iter().any(|(name, _)| *name == "Accept");
        let both = ("Accept", "application/json, text/event-stream");
        let headers = headers.iter().map(|(name, value)| (*name, value.as_ref())).chain((!own).then_some(both));
        let request = client.post(url).json(message);
        headers.fold(request, |request, (name, value)| request.header(name, value)).send().expect("an answer")
    }

    fn of(client: &Client, response: Response) -> Self {
        assert_eq!(response.status(), 200, "{:?}", response.headers());
        let (sender, heard) = channel();
        let gone = Arc::new(AtomicBool::new(false));
        let (header, over, client) = (response.headers().clone(), Arc::clone(&gone), client.clone());
        thread::spawn(move || {
            let mut lines = BufReader::new(response).lines();
            while !over.load(Ordering::SeqCst) {
                let (heard, last) = match lines.next() {
                    Some(Ok(line)) => (Heard::Line(line), false),
                    Some(Err(_)) => (Heard::Broken, true),
                    None => (Heard::End, true),
                };
                if sender.send(heard).is_err() || last {
                    break;
                }
            }
            drop(client);
        });
        Self { heard, gone, header }
    }

    fn next(&self, deadline: Instant) -> Option<Heard> {
        match self.heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(heard) => Some(heard),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("its end was heard before"),
        }
    }

    /// The stream stays open from now on, and nothing but comments was said on it.
    pub fn is_kept_alive(&self, when: &str) {
        for heard in self.heard.try_iter() {
            assert!(matches!(&heard, Heard::Line(line) if line.is_empty() || line == COMMENT), "{when}: {heard:?}");
        }
        // The first may have been on its way.
        self.comments(2, when);
    }

    fn comments(&self, mut wanted: usize, when: &str) {
        let deadline = Instant::now() + PATIENCE;
        while wanted > 0 {
            match self.next(deadline) {
                Some(Heard::Line(line)) if line == COMMENT => wanted -= 1,
                Some(Heard::Line(line)) if line.is_empty() => {}
                other => panic!("{when}: {other:?} where a comment was due"),
            }
        }
    }

    /// The next message on it.
    pub fn message(&self) -> Value {
        let Sent { event, data, .. } = self.sent();
        assert_eq!(event, "message", "{data}");
        data
    }

    /// The next event on it.
    pub fn sent(&self) -> Sent {
        let deadline = Instant::now() + PATIENCE;
        let mut sent = Sent::default();
        loop {
            let Some(Heard::Line(line)) = self.next(deadline) else { panic!("no event, but {sent:?}") };
            match line.split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut sent.event),
                Some(("id", id)) => sent.id = Some(id.to_owned()),
                Some(("data", data)) => sent.data = serde_json::from_str(data).unwrap_or_else(|_| data.into()),
                None if line.is_empty() && !sent.event.is_empty() => return sent,
                _ => {}
            }
        }
    }

    /// It ends, and as a whole; nothing is said before.
    pub fn ends(&self, when: &str) {
        let said = self.rest(when);
        assert!(!said.iter().any(|line| line.starts_with(DATA)), "{when}: {said:?}");
    }

    /// The lines that are said until it ends, and as a whole.
    pub fn rest(&self, when: &str) -> Vec<String> {
        let (deadline, mut said) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            match self.next(deadline) {
                Some(Heard::Line(line)) => said.push(line),
                other => {
                    assert_eq!(other, Some(Heard::End), "{when}");
                    return said;
                }
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}
