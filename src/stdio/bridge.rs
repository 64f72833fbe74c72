//! Carries a client's messages to a gate and the gate's back, until either side ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use filters::mcp::Failure;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::gate::{Answer, Gate};
use super::lines::{Input, LONGEST, Line, Output};
use super::message::{Id, Message};
use super::session::Session;
use super::trouble::Trouble;

/// Most requests of the client that wait for an answer at once; the next lines are not read until then.
const AT_ONCE: usize = 64;
/// Most subscriptions at once.
const STREAMS: usize = 32;
/// Longest time for what the gate was asked to be answered once the client asks no more.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time to end the session.
const FAREWELL: Duration = Duration::from_secs(2);
/// The notification that the client is ready.
pub(super) const READY: &str = "notifications/initialized";

/// One client, and the gate it speaks to.
pub struct Bridge<G> {
    pub(super) gate: G,
    pub(super) session: Session,
    pub(super) out: Output,
    places: Arc<Semaphore>,
}

/// Why a bridge has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client sends nothing more.
    Input,
    /// The client reads nothing more.
    Output,
    /// It was told to.
    Told,
}

/// Everything that is under way.
#[derive(Default)]
struct Work {
    requests: JoinSet<()>,
    streams: JoinSet<()>,
    /// The stream of what is said unasked.
    hearing: Option<AbortHandle>,
    /// Requests by id, for those that are cancelled.
    by_id: HashMap<String, AbortHandle>,
}

/// An answer, as far as it is read.
#[derive(Deserialize)]
struct Envelope<'a> {
    /// There in every message of the protocol.
    #[serde(rename = "jsonrpc")]
    _version: &'a str,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// An error to which its id is added.
#[derive(Serialize)]
struct Completed<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    error: &'a RawValue,
}

impl<G: Gate> Bridge<G> {
    /// A client that has sent nothing yet.
    #[must_use]
    pub fn new(gate: G, out: Output) -> Self {
        Self { gate, session: Session::default(), out, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Serves the client until its input ends, it reads no more, or `told` is over. What was asked
    /// before the input ended is answered.
    pub async fn run(self, mut input: Input, told: impl Future<Output = ()>) -> Ended {
        let (bridge, mut work) = (Arc::new(self), Work::default());
        let served = async {
            bridge.serve_all(&mut input, &mut work).await;
            let answered = async { while work.requests.join_next().await.is_some() {} };
            // A client that has gone waits for nothing.
            let _ = timeout(PATIENCE, answered).await;
        };
        let ended = tokio::select! {
            () = served => Ended::Input,
            () = bridge.out.closed() => Ended::Output,
            () = told => Ended::Told,
        };
        drop(work);
        let _ = timeout(FAREWELL, bridge.end_session()).await;
        ended
    }

    async fn serve_all(self: &Arc<Self>, input: &mut Input, work: &mut Work) {
        while let Some(line) = input.next().await {
            work.tidy();
            let message = match line {
                Line::Whole(text) => Message::read(text),
                Line::TooLong => {
                    tracing::warn!(bytes = LONGEST, "a line of the client's is too long, and was passed over");
                    Err(Failure::Invalid("The line is longer than 16 MiB"))
                }
            };
            match message {
                Ok(message) => self.begin(message, work).await,
                Err(failure) => {
                    let mut told = Vec::new();
                    failure.write(None, self.session.current().revision(), &mut told);
                    self.out.send(told).await;
                }
            }
        }
    }

    /// Begins to serve a message. The handshake is over before anything else is sent.
    async fn begin(self: &Arc<Self>, message: Message, work: &mut Work) {
        match message.method.as_str() {
            "initialize" => self.serve(&message).await,
            READY => {
                self.serve(&message).await;
                if work.hearing.as_ref().is_none_or(AbortHandle::is_finished) {
                    let bridge = Arc::clone(self);
                    work.hearing = Some(work.streams.spawn(async move { bridge.hear().await }));
                }
            }
            "notifications/cancelled" => {
                let running = message.cancels.as_ref().and_then(|id| work.by_id.remove(id.get()));
                if message.own_headers().is_some() {
                    // Without a handshake a closed connection says it (MCP 2026-07-28, Cancellation).
                    running.iter().for_each(AbortHandle::abort);
                    return;
                }
                let bridge = Arc::clone(self);
                work.requests.spawn(async move {
                    // The gate is told while it still has the request.
                    bridge.serve(&message).await;
                    running.iter().for_each(AbortHandle::abort);
                });
            }
            "subscriptions/listen" if work.streams.len() > STREAMS => {
                self.fail(&message, &Trouble::TooManyStreams).await
            }
            "subscriptions/listen" => {
                let (bridge, id) = (Arc::clone(self), message.ids.first().cloned());
                let task = work.streams.spawn(async move { bridge.listen(&message).await });
                work.note(id, task);
            }
            _ => self.spawn(message, work).await,
        }
    }

    async fn spawn(self: &Arc<Self>, message: Message, work: &mut Work) {
        // It is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (bridge, id) = (Arc::clone(self), message.ids.first().cloned());
        let task = work.requests.spawn(async move {
            bridge.serve(&message).await;
            drop(place);
        });
        work.note(id, task);
    }

    /// Has one message answered.
    async fn serve(&self, message: &Message) {
        match self.ask(message).await {
            Ok(mut answer) if answer.is_stream() => self.relay(message, &mut answer).await,
            Ok(answer) => self.answer(message, answer).await,
            Err(trouble) => self.fail(message, &trouble).await,
        }
    }

    /// Asks the gate; once more in a new session where it has forgotten this one.
    async fn ask(&self, message: &Message) -> Result<Answer, Trouble> {
        let alone = (message.method == "initialize").then(HeaderMap::new);
        if let Some(headers) = message.own_headers().or(alone) {
            return self.gate.send(Method::POST, headers, message.text.clone()).await;
        }
        let current = self.session.current();
        let answer = self.gate.send(Method::POST, current.headers(), message.text.clone()).await?;
        let forgotten = answer.status == StatusCode::NOT_FOUND && current.is_kept();
        if !forgotten || !self.renew(current.number).await {
            return Ok(answer);
        }
        self.gate.send(Method::POST, self.session.current().headers(), message.text.clone()).await
    }

    /// Begins the session anew, with the client's own words, where it is still the one of that number.
    /// False where there is none.
    pub(super) async fn renew(&self, number: u64) -> bool {
        let _renewing = self.session.renewing.lock().await;
        if self.session.current().number != number {
            return true;
        }
        let Some(hello) = self.session.hello() else { return false };
        let Ok(mut answer) = self.gate.send(Method::POST, HeaderMap::new(), hello.clone()).await else {
            return false;
        };
        let Ok(body) = answer.whole().await else { return false };
        if !self.session.begin(&hello, &answer.headers, &body) {
            return false;
        }
        tracing::info!("the gate has forgotten the session; it is begun anew");
        let ready = Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"{READY}"}}"#));
        let _ = self.gate.send(Method::POST, self.session.current().headers(), ready).await;
        self.subscribe_again().await;
        true
    }

    /// Makes the session's subscriptions again, which a gate that was away may have forgotten.
    pub(super) async fn subscribe_again(&self) {
        for message in self.session.subscriptions() {
            let answer = self.gate.send(Method::POST, self.session.current().headers(), message).await;
            if !answer.is_ok_and(|answer| answer.status.is_success()) {
                tracing::warn!("subscriptions could not be made again");
                return;
            }
        }
    }

    /// Passes on an answer that is no stream.
    pub(super) async fn answer(&self, message: &Message, mut answer: Answer) {
        let body = match answer.whole().await {
            Ok(body) => body,
            Err(trouble) => return self.fail(message, &trouble).await,
        };
        let accepted = answer.status.is_success();
        if accepted && message.is_silent {
            return;
        }
        let told = passable(message, &body).filter(|_| !message.is_silent);
        let Some(told) = told else {
            return self.fail(message, &Trouble::of(answer.status, &answer.headers, &body)).await;
        };
        if message.method == "initialize" {
            self.session.begin(&message.text, &answer.headers, &body);
        } else if accepted {
            self.session.note(message);
        }
        self.out.send(told).await;
    }

    /// Tells the client that its message is not answered; in the log, where it waits for nothing.
    pub(super) async fn fail(&self, message: &Message, trouble: &Trouble) {
        tracing::warn!(method = message.method, code = trouble.code(), why = %trouble, "a message is not answered");
        let mut errors = message.ids.iter().map(|id| trouble.to_message(id));
        if !message.is_batch {
            if let Some(error) = errors.next() {
                self.out.send(error).await;
            }
            return;
        }
        let errors: Vec<_> = errors.collect();
        if !errors.is_empty() {
            self.out.send([&b"["[..], &errors.join(&b","[..]), b"]"].concat()).await;
        }
    }

    /// Ends the session at the gate, where there is one.
    async fn end_session(&self) {
        let current = self.session.current();
        if current.is_kept() {
            let _ = self.gate.send(Method::DELETE, current.headers(), Bytes::new()).await;
        }
    }
}

impl Work {
    fn note(&mut self, id: Option<Id>, task: AbortHandle) {
        if let Some(id) = id {
            self.by_id.insert(id.get().to_owned(), task);
        }
    }

    /// Forgets what has ended.
    fn tidy(&mut self) {
        while self.requests.try_join_next().is_some() {}
        while self.streams.try_join_next().is_some() {}
        self.by_id.retain(|_, task| !task.is_finished());
    }
}

/// The messages of an answer, as they are passed on; `None` where it holds none.
fn passable(message: &Message, body: &[u8]) -> Option<Vec<u8>> {
    if body.trim_ascii_start().starts_with(b"[") {
        return serde_json::from_slice::<Vec<Envelope<'_>>>(body).ok().map(|_| body.to_vec());
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    // An error that names no request would leave the client waiting.
    if let (None, Some(error), [id]) = (envelope.id, envelope.error, message.ids.as_slice()) {
        return serde_json::to_vec(&Completed { jsonrpc: "2.0", id, error }).ok();
    }
    Some(body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_are_passed_on() {
        let message = Message::read(Bytes::from_static(br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#)).unwrap();
        let passed = |body: &str| passable(&message, body.as_bytes()).map(|told| String::from_utf8(told).unwrap());
        for body in [
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":8,"error":{"code":1}}"#,
            r#" [{"jsonrpc":"2.0","id":7,"result":{}}]"#,
        ] {
            assert_eq!(passed(body).as_deref(), Some(body));
        }
        for body in ["", "<html>", "{}", r#"{"error":"forbidden","detail":"No."}"#, r#"{"jsonrpc":"2.0""#, "[7]"] {
            assert_eq!(passed(body), None, "{body}");
        }
        for id in ["", r#""id":null,"#] {
            let body = format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":1}}}}"#);
            assert_eq!(passed(&body).as_deref(), Some(r#"{"jsonrpc":"2.0","id":7,"error":{"code":1}}"#));
        }
    }
}
