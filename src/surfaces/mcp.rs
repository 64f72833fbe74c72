//! The MCP surface: `POST /mcp` and, as older bridges have it, `POST /mcp/rpc`;
//! streams of events are a `GET`.

use std::sync::LazyLock;
use std::time::Instant;

use filters::headers::{MCP_METHOD, MCP_NAME, MCP_PARAMS, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use filters::mcp::{
    self, Body, Call, CallRecord, Failure, Filter, Headers, Level, Message, Request as Wanted, Revision, Session,
    Understood, Vault,
};
use filters::operation::{Entry, Operation};
use filters::refusal::Refusal;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::service::{Called, Confirm, Outcome, Outcomes};

use super::resources::Listed;
use super::{Asked, Json, Reply, Served, accepts_json, listen, lists_events, sessions};

/// The answer to one message.
struct Answered {
    status: u16,
    /// Empty for a notification.
    body: Vec<u8>,
    /// The answer instead, where it is a stream of events.
    events: Option<Box<Reply>>,
    /// The id of the session that it begins.
    session: Option<String>,
    /// The records of calls that the client wants beside it, as messages.
    records: Vec<String>,
}

impl Answered {
    fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, body, events: None, session: None, records: Vec::new() }
    }

    /// The answer to a whole request; where its client `hears` already how it goes on, the rest of that.
    fn reply(self, hears: bool) -> Reply {
        let Self { status, body, events, session, records } = self;
        if let Some(events) = events {
            return *events;
        }
        let mut reply = if hears || !records.is_empty() {
            let body = String::from_utf8_lossy(&body);
            let messages = records.iter().map(String::as_str).chain((!body.is_empty()).then_some(&*body));
            Reply::told(messages.map(mcp::message_event).collect())
        } else if body.is_empty() {
            Reply::empty(status)
        } else {
            Reply::json(status, body)
        };
        let session = session.and_then(|id| HeaderValue::try_from(id).ok());
        reply.headers.extend(session.map(|id| (MCP_SESSION_ID, id)));
        reply
    }
}

/// The words of a head about its messages.
struct Said<'a> {
    headers: Headers<'a>,
    /// The session that they are in.
    session: Option<Session>,
    /// True where they are answered on another request's stream.
    is_bridged: bool,
}

/// The answer to one message, and its outcome.
struct Told {
    answer: Result<Answered, Refusal>,
    outcome: Outcome,
}

impl Told {
    /// An answer that needs no operation.
    fn of(status: u16, body: Vec<u8>) -> Self {
        Self { answer: Ok(Answered::new(status, body)), outcome: Outcome::default() }
    }
}

/// Tells whether a `POST` can be served, before its body is read.
///
/// # Errors
/// [`Refusal::NotAcceptable`] where the caller takes no JSON, and where the head asks for wrapping.
pub fn check(headers: &HeaderMap, wrap_ttl: Option<&str>) -> Result<(), Refusal> {
    if !accepts_json(headers) {
        return Err(Refusal::NotAcceptable);
    }
    match wrap_ttl {
        Some(_) => Err(Refusal::Malformed("A tool is asked to wrap its answer by its argument wrap_ttl.")),
        None => Ok(()),
    }
}

/// Serves the messages of one `POST`.
pub async fn serve(asked: &Asked<'_>) -> Served {
    let (session, headers) = said(asked.headers);
    let session = match session.filter(|_| !is_stateless(headers.version)) {
        Some(id) => match sessions::open(asked.context, &asked.caller.identity, id) {
            Ok(session) => Some(session),
            Err(refusal) => return Served::refused("", refusal),
        },
        None => None,
    };
    let (answered, outcomes) = asked.messages(&Said { headers, session, is_bridged: false }).await;
    Served { reply: answered.map(|answered| answered.reply(asked.progress.has_begun())), outcomes }
}

/// Serves the messages of one `POST` of revision 2024-11-05, which are answered on a stream.
pub async fn serve_on_stream(asked: &Asked<'_>) -> Served {
    let address = match listen::named(asked) {
        Ok(address) => address,
        Err(refusal) => return Served::refused("", refusal),
    };
    let said = Said { headers: said(asked.headers).1, session: None, is_bridged: true };
    let (answered, outcomes) = asked.messages(&said).await;
    let reply = answered.and_then(|Answered { body, .. }| {
        let text = String::from_utf8(body).map_err(|_| Refusal::Internal)?;
        let sent = text.is_empty() || asked.context.state.events.answer(&asked.caller.agent().id, address, &text);
        if sent { Ok(Reply::empty(202)) } else { Err(Refusal::NoSession) }
    });
    Served { reply, outcomes }
}

/// True where the revision that is named has no sessions.
fn is_stateless(version: Option<&str>) -> bool {
    version.and_then(Revision::parse).is_some_and(Revision::is_stateless)
}

/// The headers of MCP.
static HEADERS: LazyLock<[HeaderName; 7]> = LazyLock::new(|| {
    let [key, path, role] = MCP_PARAMS;
    [MCP_SESSION_ID, MCP_PROTOCOL_VERSION, MCP_METHOD, MCP_NAME, key, path, role]
});

/// The session's id, and the headers that a body must agree with. One that stands twice or is no text says
/// nothing that fits.
fn said(headers: &HeaderMap) -> (Option<&str>, Headers<'_>) {
    let mut found = [None; 7];
    // Once through all of them, of which there are few, is less than to look for each.
    for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("mcp-")) {
        if let Some((_, found)) = HEADERS.iter().zip(&mut found).find(|(known, _)| *known == name) {
            *found = Some(value.to_str().ok().filter(|_| found.is_none()).unwrap_or_default());
        }
    }
    let [session, version, method, name, key, path, role] = found;
    (session, Headers { version, method, name, params: [key, path, role] })
}

impl Said<'_> {
    /// The number of the session. It tells clients of one agent apart.
    fn session(&self) -> Option<u64> {
        self.session.as_ref().map(Session::number)
    }
}

impl Asked<'_> {
    async fn messages(&self, said: &Said<'_>) -> (Result<Answered, Refusal>, Outcomes) {
        match mcp::read(&self.body, &said.headers, self.context.snapshot.limits.bounds.batch) {
            Err(failure) => (Ok(fail(&failure, None, mcp::spoken(&said.headers))), Outcomes::default()),
            Ok(Body::One(message)) => {
                if let Some(id) = message.id() {
                    self.caller.may_cancel(&self.context.state.running, said.session(), id.get());
                }
                let Told { answer, mut outcome } = self.message(&message, said).await;
                let answer = match answer {
                    // There is a head already, and it says 200.
                    Err(refusal) if self.progress.has_begun() => {
                        Ok(self.refused_message(&message, said, &refusal, &mut outcome.operation))
                    }
                    answer => answer,
                };
                (answer, outcome.into())
            }
            Ok(Body::Batch(messages)) => {
                if let Err(refusal) = self.caller.turn().await {
                    return (Err(refusal), Outcomes::default());
                }
                let (answered, outcomes) = self.batch(&messages, said).await;
                (Ok(answered), Outcomes::Each(outcomes))
            }
        }
    }

    /// Answers each message of a batch, each charged by itself. The first owes
    /// what the request does. Where none of them is a message that may be sent,
    /// neither is the batch.
    async fn batch(&self, messages: &[Message<'_>], said: &Said<'_>) -> (Answered, Vec<Outcome>) {
        let (mut body, mut records, mut outcomes) = (Vec::new(), Vec::new(), Vec::with_capacity(messages.len()));
        let mut status = 400;
        for (place, message) in messages.iter().enumerate() {
            let started = Instant::now();
            let owes = if place == 0 { Ok(()) } else { self.caller.owe() };
            let Told { answer, mut outcome } = match owes {
                Ok(()) => self.message(message, said).await,
                Err(refusal) => Told { outcome: Outcome::refused("", &refusal), answer: Err(refusal) },
            };
            let answer = self.caller.pay().await.and(answer).unwrap_or_else(|refusal| {
                outcome.decision = refusal.public().code;
                self.refused_message(message, said, &refusal, &mut outcome.operation)
            });
            outcome.took = started.elapsed();
            outcomes.push(outcome);
            if answer.status != 400 {
                status = 200;
            }
            records.extend(answer.records);
            if !answer.body.is_empty() {
                body.push(if body.is_empty() { b'[' } else { b',' });
                body.extend_from_slice(&answer.body);
            }
        }
        if body.is_empty() {
            return (Answered::new(202, body), outcomes);
        }
        body.push(b']');
        (Answered { records, ..Answered::new(status, body) }, outcomes)
    }

    /// Answers one message. What stands for the whole request, a missing scope
    /// or a limit, is an error of the request's own.
    async fn message(&self, message: &Message<'_>, said: &Said<'_>) -> Told {
        let call = match mcp::understand::<Vault>(message, &said.headers) {
            (revision, Err(failure)) => {
                return Told { answer: Ok(fail(&failure, Some(message), revision)), outcome: Outcome::default() };
            }
            (_, Ok(Understood::Notification)) => return Told::of(202, Vec::new()),
            (_, Ok(Understood::Cancelled(id))) => {
                self.caller.cancel(&self.context.state.running, said.session(), id.get());
                return Told::of(202, Vec::new());
            }
            (_, Ok(Understood::Call(call))) => call,
        };
        let trace = call.trace.as_ref().filter(|_| self.context.snapshot.surfaces.trace_context);
        if let Some(trace) = trace {
            self.caller.belongs_to(trace.parent);
        }
        let tool = if let Wanted::CallTool { kind, .. } = &call.request { Some(*kind) } else { None };
        let timed = self.context.answering((call.request.method(), tool), call.revision.name(), trace);
        if let Some(token) = call.progress.filter(|_| !said.is_bridged && lists_events(self.headers)) {
            self.progress.is_wanted(token);
        }
        if let Err(refusal) = self.turn().await {
            return Told { outcome: Outcome::refused("", &refusal), answer: Err(refusal) };
        }
        let mut told = self.answer(&call, said).await;
        self.record(&call, said, &mut told);
        timed.decided(told.outcome.decision);
        told
    }

    /// Waits for the caller's turn. Who is told of that has paid before: there is no other answer then.
    async fn turn(&self) -> Result<(), Refusal> {
        if !self.caller.has_turn() && self.progress.has_token() {
            self.caller.pay().await?;
        }
        self.caller.turn().await
    }

    /// Adds a record of the call to its answer, where the client wants one.
    fn record(&self, call: &Call<'_>, said: &Said<'_>, told: &mut Told) {
        let of_session = || self.context.state.events.level(said.session()?);
        let Some(least) = call.level.or_else(of_session).filter(|_| lists_events(self.headers)) else { return };
        let (Told { answer: Ok(answer), outcome }, request_id) = (told, self.caller.request_id) else { return };
        let Outcome { operation, decision, .. } = *outcome;
        let level = if decision == "allow" { Level::Info } else { Level::Warning };
        if level >= least && !operation.is_empty() {
            answer.records.push(mcp::record(level, &CallRecord { request_id, operation, decision }));
        }
    }

    async fn answer(&self, call: &Call<'_>, said: &Said<'_>) -> Told {
        let (identity, names) = (&self.caller.identity, self.context.snapshot.surfaces.tool_names);
        let mut body = Vec::new();
        match &call.request {
            Wanted::Initialize => {
                mcp::initialized(call, &mut body);
                let session = self.begin_session();
                let answer = Answered { session, ..Answered::new(200, body) };
                return Told { answer: Ok(answer), outcome: Outcome::default() };
            }
            Wanted::Discover => mcp::discovered(call, &mut body),
            Wanted::Ping | Wanted::Shutdown => mcp::done(call, &mut body),
            Wanted::SetLevel(level) => {
                self.set_level(said.session(), *level);
                mcp::done(call, &mut body);
            }
            Wanted::ListTools => mcp::listed(call, identity, names, &mut body),
            Wanted::ListTemplates => mcp::listed_templates(call, &identity.agent, &mut body),
            Wanted::ListPrompts => mcp::listed_prompts(call, identity, &mut body),
            Wanted::GetPrompt(prompt) => mcp::prompted(call, prompt, names, &mut body),
            Wanted::ListResources { cursor } => {
                let listed = Box::pin(self.list_resources(call, cursor.as_deref())).await;
                return resource(call, listed);
            }
            Wanted::ReadResource { uri } => {
                let read = Box::pin(self.read_resource(call, uri)).await;
                return resource(call, read);
            }
            Wanted::Subscribe { uri } => return self.subscription(call, uri, true),
            Wanted::Unsubscribe { uri } => return self.subscription(call, uri, false),
            Wanted::Listen(filter) => return self.listen(call, filter),
            Wanted::Complete(completing) => {
                let completed = Box::pin(self.complete(call, completing)).await;
                return resource(call, completed);
            }
            Wanted::CallTool { kind, arguments } => return self.tool(call, kind, arguments).await,
        }
        Told::of(200, body)
    }

    async fn tool(&self, call: &Call<'_>, kind: &'static Entry, arguments: &[u8]) -> Told {
        let called = match self.operation(kind, arguments) {
            Ok(operation) => {
                let confirm = Confirm { arguments, answer: call.input.answer() };
                self.context.call_confirmed(self.caller, operation, &Json::Whole, confirm).await
            }
            Err(refusal) => Called::refused(kind.spec.name, refusal),
        };
        let (answer, outcome) = called.text();
        let mut body = Vec::new();
        match answer {
            Ok(json) => mcp::answer(call, &json, &mut body),
            Err(refusal @ (Refusal::InsufficientScope(_) | Refusal::RateLimited(_))) => {
                return Told { answer: Err(refusal), outcome };
            }
            Err(Refusal::ConfirmationRequired) if call.revision.is_stateless() => {
                return Told { answer: Ok(self.question(call, kind, arguments)), outcome };
            }
            Err(refusal @ Refusal::Arguments(_)) if call.revision < Revision::V2025_11_25 => {
                Failure::Arguments(refusal).write(Some(call.id), call.revision, &mut body);
            }
            Err(refusal) => mcp::refused(call, &refusal, self.caller.request_id, &mut body),
        }
        Told { answer: Ok(Answered::new(200, body)), outcome }
    }

    /// Changes of which resources the session is told.
    fn subscription(&self, call: &Call<'_>, uri: &str, watch: bool) -> Told {
        let mut body = Vec::new();
        match self.watch(call, uri, watch) {
            Ok(()) => {
                mcp::done(call, &mut body);
                Told { answer: Ok(Answered::new(200, body)), outcome: Outcome::allowed() }
            }
            Err(failure) => {
                failure.write(Some(call.id), call.revision, &mut body);
                Told::of(failure.status(call.revision), body)
            }
        }
    }

    /// Opens a subscription.
    fn listen(&self, call: &Call<'_>, filter: &Filter) -> Told {
        match self.subscribe(call, filter) {
            Ok(events) => {
                let answer = Answered { events: Some(Box::new(events)), ..Answered::new(200, Vec::new()) };
                Told { answer: Ok(answer), outcome: Outcome::allowed() }
            }
            Err(refusal) => Told { outcome: Outcome::refused("", &refusal), answer: Err(refusal) },
        }
    }

    fn operation(&self, kind: &'static Entry, arguments: &[u8]) -> Result<Operation, Refusal> {
        kind.parse_within(arguments, &self.context.snapshot.limits.bounds.json)
    }

    /// Has the client ask its user if the call may be made.
    fn question(&self, call: &Call<'_>, kind: &'static Entry, arguments: &[u8]) -> Answered {
        if !call.input.elicits() {
            let mut body = Vec::new();
            Failure::NO_ELICITATION.write(Some(call.id), call.revision, &mut body);
            return Answered::new(Failure::NO_ELICITATION.status(call.revision), body);
        }
        let resource = self.operation(kind, arguments).ok().and_then(|operation| operation.resource);
        let mut body = Vec::new();
        match self.context.to_confirm(self.caller, kind, arguments) {
            Ok(state) => mcp::input_required(call, kind, resource.as_ref(), &state, &mut body),
            Err(refusal) => mcp::refused(call, &refusal, self.caller.request_id, &mut body),
        }
        Answered::new(200, body)
    }

    /// Answers a message of a batch that a limit or a missing scope stops, and names its operation.
    fn refused_message(
        &self,
        message: &Message<'_>,
        said: &Said<'_>,
        refusal: &Refusal,
        operation: &mut &'static str,
    ) -> Answered {
        let mut body = Vec::new();
        if let (_, Ok(Understood::Call(call))) = mcp::understand::<Vault>(message, &said.headers) {
            match call.request {
                Wanted::CallTool { kind, .. } => {
                    *operation = kind.spec.name;
                    mcp::refused(&call, refusal, self.caller.request_id, &mut body);
                }
                _ => Failure::Refused(refusal.clone()).write(Some(call.id), call.revision, &mut body),
            }
        }
        Answered::new(200, body)
    }
}

/// The result about resources, or an error where there is none.
fn resource(call: &Call<'_>, listed: Listed) -> Told {
    let Listed { result, outcome } = listed;
    let answer = match result {
        Ok(body) => Ok(Answered::new(200, body)),
        Err(refusal @ (Refusal::InsufficientScope(_) | Refusal::RateLimited(_))) => Err(refusal),
        Err(refusal) => {
            let failure = Failure::of(refusal, call);
            let mut body = Vec::new();
            failure.write(Some(call.id), call.revision, &mut body);
            Ok(Answered::new(failure.status(call.revision), body))
        }
    };
    Told { answer, outcome }
}

fn fail(failure: &Failure, message: Option<&Message<'_>>, revision: Revision) -> Answered {
    let mut body = Vec::new();
    failure.write(message.and_then(Message::id), revision, &mut body);
    Answered::new(failure.status(revision), body)
}
