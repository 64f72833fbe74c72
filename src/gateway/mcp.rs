//! The MCP surface: `POST /mcp` and, as older bridges have it, `POST /mcp/rpc`;
//! streams of events are a `GET`.

use std::time::Instant;

use filters::headers::{MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION};
use filters::mcp::{self, Body, Call, Failure, Headers, Message, Request as Wanted, Revision, Understood};
use filters::operation::Entry;
use filters::refusal::Refusal;
use http::{HeaderMap, Method};
use pingora_core::protocols::http::ServerSession;

use crate::service::{Called, Caller, Holds, Outcome, Outcomes};

use super::reply::Reply;
use super::resources::Listed;
use super::{Request, Served, body, head};

/// What one message is answered with.
struct Answered {
    status: u16,
    /// Empty for a notification.
    body: Vec<u8>,
}

/// The headers that a body must agree with, as text.
struct Said([Option<String>; 3]);

impl Said {
    fn of(headers: &HeaderMap) -> Self {
        Self([MCP_PROTOCOL_VERSION, MCP_METHOD, MCP_NAME].map(|name| head::text(headers, name).map(str::to_owned)))
    }

    fn borrowed(&self) -> Headers<'_> {
        let [version, method, name] = self.0.each_ref().map(Option::as_deref);
        Headers { version, method, name }
    }
}

/// What one message came to.
struct Told {
    answer: Result<Answered, Refusal>,
    outcome: Outcome,
}

impl Told {
    /// An answer that needs no operation.
    fn of(status: u16, body: Vec<u8>) -> Self {
        Self { answer: Ok(Answered { status, body }), outcome: Outcome::default() }
    }
}

impl Request<'_> {
    /// Serves one MCP request.
    pub(super) async fn mcp(&self, session: &mut ServerSession, caller: &Caller<'_>) -> Served {
        if self.head.method == Method::GET {
            return self.listen(session, caller);
        }
        let answered = match self.mcp_body(session, caller).await {
            Ok((body, said)) => self.messages(&body.bytes, &said.borrowed(), caller).await,
            Err(refusal) => (Err(refusal), Outcomes::default()),
        };
        let reply = answered.0.map(|answered| match answered.body.is_empty() {
            true => Reply::empty(answered.status),
            false => Reply::json(answered.status, answered.body),
        });
        Served { reply, outcomes: answered.1 }
    }

    /// The body of a `POST`, and what its headers say of it.
    async fn mcp_body(&self, session: &mut ServerSession, caller: &Caller<'_>) -> Result<(body::Body, Said), Refusal> {
        match (&self.head.method, self.head.is_sse()) {
            (&Method::POST, false) => {}
            (_, false) => return Err(Refusal::MethodNotAllowed("GET, POST".into())),
            (_, true) => return Err(Refusal::MethodNotAllowed("GET".into())),
        }
        let headers = &session.req_header().headers;
        if !head::accepts_json(headers) {
            return Err(Refusal::NotAcceptable);
        }
        if self.head.wrap_ttl.is_some() {
            return Err(Refusal::Malformed("A tool is asked to wrap its answer by its argument wrap_ttl."));
        }
        let said = Said::of(headers);
        Ok((self.body(session, caller.agent()).await?, said))
    }

    async fn messages(
        &self,
        body: &[u8],
        said: &Headers<'_>,
        caller: &Caller<'_>,
    ) -> (Result<Answered, Refusal>, Outcomes) {
        match mcp::read(body, said, self.context.snapshot.limits.batch) {
            Err(failure) => (Ok(fail(&failure, None, mcp::spoken(said))), Outcomes::default()),
            Ok(Body::One(message)) => {
                let told = self.message(&message, said, caller).await;
                (told.answer, told.outcome.into())
            }
            Ok(Body::Batch(messages)) => {
                let (answered, outcomes) = self.batch(&messages, said, caller).await;
                (Ok(answered), Outcomes::Each(outcomes))
            }
        }
    }

    /// Answers each message of a batch, each charged by itself. The first owes
    /// what the request does.
    async fn batch(
        &self,
        messages: &[Message<'_>],
        said: &Headers<'_>,
        caller: &Caller<'_>,
    ) -> (Answered, Vec<Outcome>) {
        let (mut body, mut outcomes) = (Vec::new(), Vec::with_capacity(messages.len()));
        for (place, message) in messages.iter().enumerate() {
            let started = Instant::now();
            let owes = if place == 0 { Ok(()) } else { caller.owe() };
            let Told { answer, mut outcome } = match owes {
                Ok(()) => self.message(message, said, caller).await,
                Err(refusal) => Told { outcome: Outcome::refused("", &refusal), answer: Err(refusal) },
            };
            let answer = caller.pay().await.and(answer).unwrap_or_else(|refusal| {
                outcome.decision = refusal.public().code;
                self.refused_message(message, said, &refusal)
            });
            outcome.took = started.elapsed();
            outcomes.push(outcome);
            if !answer.body.is_empty() {
                body.push(if body.is_empty() { b'[' } else { b',' });
                body.extend_from_slice(&answer.body);
            }
        }
        if body.is_empty() {
            return (Answered { status: 202, body }, outcomes);
        }
        body.push(b']');
        (Answered { status: 200, body }, outcomes)
    }

    /// Answers one message. What stands for the whole request, a missing scope
    /// or a limit, is an error of the request's own.
    async fn message(&self, message: &Message<'_>, said: &Headers<'_>, caller: &Caller<'_>) -> Told {
        let call = match mcp::understand(message, said) {
            (revision, Err(failure)) => {
                return Told { answer: Ok(fail(&failure, Some(message), revision)), outcome: Outcome::default() };
            }
            (_, Ok(Understood::Notification)) => return Told::of(202, Vec::new()),
            (_, Ok(Understood::Call(call))) => call,
        };
        let (identity, names) = (&caller.identity, self.context.snapshot.tool_names);
        let mut body = Vec::new();
        match &call.request {
            Wanted::Initialize => mcp::initialized(&call, &mut body),
            Wanted::Discover => mcp::discovered(&call, &mut body),
            Wanted::Ping | Wanted::Shutdown => mcp::done(&call, &mut body),
            Wanted::ListTools => mcp::listed(&call, identity, names, &mut body),
            Wanted::ListTemplates => mcp::listed_templates(&call, &identity.agent.id, &mut body),
            Wanted::ListPrompts => mcp::listed_prompts(&call, identity, &mut body),
            Wanted::GetPrompt(prompt) => mcp::prompted(&call, prompt, names, &mut body),
            Wanted::ListResources { cursor } => {
                let listed = Box::pin(self.list_resources(&call, cursor.as_deref(), caller)).await;
                return resource(&call, listed);
            }
            Wanted::ReadResource { uri } => {
                let read = Box::pin(self.read_resource(&call, uri, caller)).await;
                return resource(&call, read);
            }
            Wanted::CallTool { kind, arguments } => return self.tool(&call, kind, arguments, caller).await,
        }
        Told::of(200, body)
    }

    async fn tool(&self, call: &Call<'_>, kind: &'static Entry, arguments: &[u8], caller: &Caller<'_>) -> Told {
        let called = match kind.parse_within(arguments, &self.context.snapshot.limits.json) {
            Ok(operation) => self.context.call(caller, operation, Holds::Whole).await,
            Err(refusal) => Called::refused(kind.facts.name, refusal),
        };
        let (answer, outcome) = called.whole();
        let mut body = Vec::new();
        match answer.and_then(text) {
            Ok(json) => mcp::answer(call, &json, &mut body),
            Err(refusal @ (Refusal::InsufficientScope(_) | Refusal::RateLimited(_))) => {
                return Told { answer: Err(refusal), outcome };
            }
            Err(refusal @ Refusal::Arguments(_)) if call.revision < Revision::V2025_11_25 => {
                Failure::Arguments(refusal).write(Some(call.id), call.revision, &mut body);
            }
            Err(refusal) => mcp::refused(call, &refusal, &self.head.request_id, &mut body),
        }
        Told { answer: Ok(Answered { status: 200, body }), outcome }
    }

    /// A message of a batch that a limit or a missing scope stops.
    fn refused_message(&self, message: &Message<'_>, said: &Headers<'_>, refusal: &Refusal) -> Answered {
        let mut body = Vec::new();
        if let (_, Ok(Understood::Call(call))) = mcp::understand(message, said) {
            match call.request {
                Wanted::CallTool { .. } => mcp::refused(&call, refusal, &self.head.request_id, &mut body),
                _ => Failure::Refused(refusal.clone()).write(Some(call.id), call.revision, &mut body),
            }
        }
        Answered { status: 200, body }
    }
}

/// The result about resources, or an error where there is none.
fn resource(call: &Call<'_>, listed: Listed) -> Told {
    let Listed { result, outcome } = listed;
    let answer = match result {
        Ok(body) => Ok(Answered { status: 200, body }),
        Err(refusal @ (Refusal::InsufficientScope(_) | Refusal::RateLimited(_))) => Err(refusal),
        Err(refusal) => {
            let failure = Failure::of(refusal, call.revision);
            let mut body = Vec::new();
            failure.write(Some(call.id), call.revision, &mut body);
            Ok(Answered { status: failure.status(call.revision), body })
        }
    };
    Told { answer, outcome }
}

/// An answer of Vault's as text.
pub(super) fn text(json: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(json).map_err(|_| Refusal::UpstreamNonsense)
}

/// The answer to a request without a message.
pub(super) fn failed(failure: &Failure) -> Reply {
    let Answered { status, body } = fail(failure, None, Revision::V2025_11_25);
    Reply::json(status, body)
}

fn fail(failure: &Failure, message: Option<&Message<'_>>, revision: Revision) -> Answered {
    let mut body = Vec::new();
    failure.write(message.and_then(Message::id), revision, &mut body);
    Answered { status: failure.status(revision), body }
}
