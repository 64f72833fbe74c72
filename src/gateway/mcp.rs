//! The MCP surface: `POST /mcp` and, as older bridges have it, `POST /mcp/rpc`;
//! streams of events are a `GET`.

use filters::headers::{MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION};
use filters::identity::Identity;
use filters::mcp::{self, Body, Call, Failure, Headers, Message, Request as Wanted, Revision, Understood};
use filters::operation::Entry;
use filters::refusal::Refusal;
use http::Method;
use pingora_core::protocols::http::ServerSession;

use super::reply::Reply;
use super::{Outcome, Request, head};

/// What one message is answered with.
struct Answered {
    status: u16,
    /// Empty for a notification.
    body: Vec<u8>,
}

impl Request<'_> {
    /// Serves one MCP request.
    pub(super) async fn mcp(
        &self,
        session: &mut ServerSession,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Reply, Refusal> {
        match (&self.head.method, self.head.is_sse()) {
            (&Method::GET, _) => return self.listen(session, identity, outcome),
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
        let owned =
            [MCP_PROTOCOL_VERSION, MCP_METHOD, MCP_NAME].map(|name| head::text(headers, name).map(str::to_owned));
        let [version, method, name] = owned.each_ref().map(Option::as_deref);
        let said = Headers { version, method, name };
        let body = self.body(session, &identity.agent).await?;
        let answered = match mcp::read(&body.bytes, &said, self.snapshot.limits.batch) {
            Err(failure) => fail(&failure, None, mcp::spoken(&said)),
            Ok(Body::One(message)) => self.message(&message, &said, identity, outcome).await?,
            Ok(Body::Batch(messages)) => self.batch(&messages, &said, identity, outcome).await,
        };
        Ok(match answered.body.is_empty() {
            true => Reply::empty(answered.status),
            false => Reply::json(answered.status, answered.body),
        })
    }

    /// Answers each message of a batch, each charged by itself. The first owes
    /// what the request does.
    async fn batch(
        &self,
        messages: &[Message<'_>],
        said: &Headers<'_>,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Answered {
        let mut body = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            let owes = if place == 0 { Ok(()) } else { self.owe(identity, outcome) };
            let answered = match owes {
                Ok(()) => self.message(message, said, identity, outcome).await,
                Err(refusal) => Err(refusal),
            };
            let answered = self.settle(identity, outcome).await.and(answered);
            let answer = answered.unwrap_or_else(|refusal| self.refused_message(message, said, &refusal));
            if !answer.body.is_empty() {
                body.push(if body.is_empty() { b'[' } else { b',' });
                body.extend_from_slice(&answer.body);
            }
        }
        if body.is_empty() {
            return Answered { status: 202, body };
        }
        body.push(b']');
        Answered { status: 200, body }
    }

    /// Answers one message. What stands for the whole request, a missing scope
    /// or a limit, is an error of the request's own.
    async fn message(
        &self,
        message: &Message<'_>,
        said: &Headers<'_>,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Answered, Refusal> {
        let call = match mcp::understand(message, said) {
            (revision, Err(failure)) => return Ok(fail(&failure, Some(message), revision)),
            (_, Ok(Understood::Notification)) => return Ok(Answered { status: 202, body: Vec::new() }),
            (_, Ok(Understood::Call(call))) => call,
        };
        let mut body = Vec::new();
        match &call.request {
            Wanted::Initialize => mcp::initialized(&call, &mut body),
            Wanted::Discover => mcp::discovered(&call, &mut body),
            Wanted::Ping | Wanted::Shutdown => mcp::done(&call, &mut body),
            Wanted::ListTools => mcp::listed(&call, identity, self.snapshot.tool_names, &mut body),
            Wanted::ListTemplates => mcp::listed_templates(&call, &identity.agent.id, &mut body),
            Wanted::ListPrompts => mcp::listed_prompts(&call, identity, &mut body),
            Wanted::GetPrompt(prompt) => mcp::prompted(&call, prompt, self.snapshot.tool_names, &mut body),
            Wanted::ListResources { cursor } => {
                let listed = Box::pin(self.list_resources(&call, cursor.as_deref(), identity, outcome)).await;
                return self.resource(&call, listed, outcome);
            }
            Wanted::ReadResource { uri } => {
                let read = Box::pin(self.read_resource(&call, uri, identity, outcome)).await;
                return self.resource(&call, read, outcome);
            }
            Wanted::CallTool { kind, arguments } => {
                return self.tool(&call, kind, arguments, identity, outcome).await;
            }
        }
        Ok(Answered { status: 200, body })
    }

    async fn tool(
        &self,
        call: &Call<'_>,
        kind: &'static Entry,
        arguments: &[u8],
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Answered, Refusal> {
        outcome.operation = kind.facts.name;
        let result = match kind.parse_within(arguments, &self.snapshot.limits.json) {
            Ok(operation) => self.perform(identity, operation, outcome).await,
            Err(refusal) => Err(refusal),
        };
        let mut body = Vec::new();
        match result {
            Ok(json) => {
                let json = String::from_utf8(json).map_err(|_| Refusal::UpstreamNonsense)?;
                mcp::answer(call, &json, &mut body);
            }
            Err(refusal @ (Refusal::InsufficientScope(_) | Refusal::RateLimited(_))) => return Err(refusal),
            Err(refusal @ Refusal::Arguments(_)) if call.revision < Revision::V2025_11_25 => {
                outcome.decision = refusal.public().code;
                Failure::Arguments(refusal).write(Some(call.id), call.revision, &mut body);
            }
            Err(refusal) => {
                outcome.decision = refusal.public().code;
                mcp::refused(call, &refusal, &self.head.request_id, &mut body);
            }
        }
        Ok(Answered { status: 200, body })
    }

    /// The result about resources, or an error where there is none.
    fn resource(
        &self,
        call: &Call<'_>,
        result: Result<Vec<u8>, Refusal>,
        outcome: &mut Outcome,
    ) -> Result<Answered, Refusal> {
        match result {
            Ok(body) => Ok(Answered { status: 200, body }),
            Err(refusal @ (Refusal::InsufficientScope(_) | Refusal::RateLimited(_))) => Err(refusal),
            Err(refusal) => {
                outcome.decision = refusal.public().code;
                let failure = Failure::of(refusal, call.revision);
                let mut body = Vec::new();
                failure.write(Some(call.id), call.revision, &mut body);
                Ok(Answered { status: failure.status(call.revision), body })
            }
        }
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
