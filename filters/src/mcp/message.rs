//! From a body to calls. Everything is borrowed: arguments stay the bytes
//! they came as until the operation reads them.

use std::borrow::Cow;

use base64::Engine as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::subscription::Filter;
use super::{Failure, Features, Input, Level, Params as ParamHeaders, Revision, Vault, complete, prompts};
use crate::json::text;
use crate::trace::{TraceContext, TraceParent, trace_state};

/// Longest id, in bytes of JSON.
const MAX_ID: usize = 256;
/// The message for a cursor that was not given out, or not to this caller.
pub(super) const NO_CURSOR: &str = "There is no such cursor";
/// Most bytes of a revision that are named back to the caller.
const MAX_VERSION: usize = 256;

/// The headers that say what is in the body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// `Mcp-Method`.
    pub method: Option<&'a str>,
    /// `Mcp-Name`.
    pub name: Option<&'a str>,
    /// `Mcp-Param-*`.
    pub params: ParamHeaders<'a>,
}

/// The messages of a body.
#[derive(Debug)]
pub enum Body<'a> {
    /// One message.
    One(Message<'a>),
    /// Several, as the revisions before 2025-06-18 have it.
    Batch(Vec<Message<'a>>),
}

/// One JSON-RPC message, not understood yet.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    /// `null` too, where it is given.
    #[serde(borrow, default, deserialize_with = "given")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "text")]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// A message that is to be answered, about features of `F`.
#[derive(Debug)]
pub struct Call<'a, F: Features = Vault> {
    /// Its id, as it stood there.
    pub id: &'a RawValue,
    /// The revision that its answer speaks.
    pub revision: Revision,
    /// The request.
    pub request: Request<'a, F>,
    /// The span that it says it belongs to.
    pub trace: Option<TraceContext>,
    /// The token by which its client wants to be told that it goes on, in JSON.
    pub progress: Option<&'a RawValue>,
    /// The least severity of the records of it that its client wants, where the revision has that in the
    /// call itself.
    pub level: Option<Level>,
    /// The answers that it brings, and whether its client can be asked.
    pub input: Input<'a>,
}

/// The request of a call.
#[derive(Debug)]
pub enum Request<'a, F: Features = Vault> {
    /// The handshake of the revisions before 2026-07-28.
    Initialize,
    /// A description of the gate, since revision 2026-07-28.
    Discover,
    /// Nothing but an answer.
    Ping,
    /// An older bridge's goodbye; there is no session to end.
    Shutdown,
    /// Which tools the caller may use.
    ListTools,
    /// A page of the caller's secrets.
    ListResources {
        /// Where the page before ended.
        cursor: Option<Cow<'a, str>>,
    },
    /// The templates of the URIs of the caller's secrets.
    ListTemplates,
    /// The resource that a URI names.
    ReadResource {
        /// The URI.
        uri: Cow<'a, str>,
    },
    /// Which prompts there are.
    ListPrompts,
    /// A prompt, filled in.
    GetPrompt(F::Prompt),
    /// A resource that the session is told of from now on, before revision 2026-07-28.
    Subscribe {
        /// Its URI.
        uri: Cow<'a, str>,
    },
    /// A resource that the session is told of no longer.
    Unsubscribe {
        /// Its URI.
        uri: Cow<'a, str>,
    },
    /// A stream of what the client wants to be told of, since revision 2026-07-28.
    Listen(Filter),
    /// Values for an argument of a prompt or a template.
    Complete(F::Completing),
    /// The least severity of records that the session wants.
    SetLevel(Level),
    /// The call of a tool.
    CallTool {
        /// Which.
        kind: F::Tool,
        /// Its arguments, a JSON object.
        arguments: &'a [u8],
    },
}

/// A message that was understood.
#[derive(Debug)]
pub enum Understood<'a, F: Features = Vault> {
    /// A request, which is answered.
    Call(Call<'a, F>),
    /// A notification, which is not.
    Notification,
    /// A notification that the request of this id, in JSON, is cancelled.
    Cancelled(&'a RawValue),
}

/// Reads a body.
///
/// # Errors
/// [`Failure::Parse`] for what is not JSON, [`Failure::Invalid`] for what is
/// no message, or a batch where the revision has none,
/// [`Failure::UnsupportedVersion`] for a batch in none that is spoken.
pub fn read<'a>(body: &'a [u8], headers: &Headers<'_>, max_batch: usize) -> Result<Body<'a>, Failure> {
    let invalid = |error: serde_json::Error| {
        if error.is_data() { Failure::Invalid("The body is not a JSON-RPC 2.0 message") } else { Failure::Parse }
    };
    // Once for the whole body, instead of once for each text in it.
    let body = std::str::from_utf8(body).map_err(|_| Failure::Parse)?;
    if !body.trim_ascii_start().starts_with('[') {
        return serde_json::from_str(body).map(Body::One).map_err(invalid);
    }
    if !revision_of(headers.version)?.has_batches() {
        return Err(Failure::Invalid("This revision has no batches"));
    }
    let messages: Vec<Message<'a>> = serde_json::from_str(body).map_err(invalid)?;
    match messages.len() {
        0 => Err(Failure::Invalid("The batch is empty")),
        length if length > max_batch => Err(Failure::Invalid("The batch has too many messages")),
        _ => Ok(Body::Batch(messages)),
    }
}

/// A member that is there, be it `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<Meta<'a>>,
    #[serde(borrow, default, rename = "protocolVersion", deserialize_with = "text")]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "text")]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    notifications: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "ref")]
    reference: Option<&'a RawValue>,
    #[serde(borrow, default)]
    argument: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "text")]
    level: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "requestId")]
    cancelled: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestState", deserialize_with = "text")]
    state: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "inputResponses")]
    responses: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion", deserialize_with = "text")]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<&'a RawValue>,
    /// In JSON: one that is not valid is no reason to refuse the request.
    #[serde(borrow, default)]
    traceparent: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tracestate: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken")]
    progress: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel", deserialize_with = "text")]
    level: Option<Cow<'a, str>>,
}

impl<'a> Meta<'a> {
    fn trace(&self) -> Option<TraceContext> {
        let parent = TraceParent::parse(self.traceparent?.get().strip_prefix('"')?.strip_suffix('"')?)?;
        let state = self.tracestate.and_then(|state| serde_json::from_str::<String>(state.get()).ok());
        Some(TraceContext { parent, state: trace_state(state.as_deref()) })
    }
}

impl<'a> Message<'a> {
    /// The id, where it is one that may be repeated in an answer.
    #[must_use]
    pub fn id(&self) -> Option<&'a RawValue> {
        self.id.filter(|id| is_name(id))
    }
}

/// True for what may name a request or its progress, and be repeated: a short text or an integer.
fn is_name(raw: &RawValue) -> bool {
    let text = raw.get();
    (text.starts_with('"') || serde_json::from_str::<i64>(text).is_ok()) && text.len() <= MAX_ID
}

/// Understands one message about features of `F`, by its headers and by itself. The revision is told in either case:
/// the failure is answered in it.
pub fn understand<'a, F: Features>(
    message: &Message<'a>,
    headers: &Headers<'_>,
) -> (Revision, Result<Understood<'a, F>, Failure>) {
    let params = match parameters(message) {
        Ok(params) => params,
        Err(failure) => return (spoken(headers), Err(failure)),
    };
    let revision = match revision(message, headers, &params) {
        Ok(revision) => revision,
        Err(failure) => return (Revision::V2026_07_28, Err(failure)),
    };
    let Some(method) = message.method.as_deref() else {
        // An answer to a question that was never asked: nothing to do with it.
        let failure = Failure::Invalid("The gate asks no client anything");
        return (revision, Err(failure));
    };
    // With `null` for an id it is a request, and a wrong one.
    if message.id.is_none() {
        let cancelled = params.cancelled.filter(|_| method == "notifications/cancelled");
        return (revision, Ok(cancelled.map_or(Understood::Notification, Understood::Cancelled)));
    }
    let Some(id) = message.id() else {
        return (revision, Err(Failure::Invalid("The id must be a short string or an integer, and not null")));
    };
    let request =
        if revision.is_stateless() { stateless(method, headers, &params) } else { handshaken(method, &params) };
    let meta = params.meta.as_ref();
    let trace = meta.and_then(Meta::trace);
    let progress = meta.and_then(|meta| meta.progress).filter(|token| is_name(token));
    let level = match meta.and_then(|meta| meta.level.as_deref()).filter(|_| revision.is_stateless()) {
        Some(level) => Level::parse(Some(level)).map(Some),
        None => Ok(None),
    };
    let capabilities = meta.and_then(|meta| meta.capabilities);
    let input = Input { capabilities, state: params.state, responses: params.responses };
    let call = |(request, level)| Understood::Call(Call { id, revision, request, trace, progress, level, input });
    (revision, request.and_then(|request| Ok((request, level?))).map(call))
}

fn parameters<'a>(message: &Message<'a>) -> Result<Params<'a>, Failure> {
    if message.jsonrpc != "2.0" {
        return Err(Failure::Invalid("The member 'jsonrpc' must be \"2.0\""));
    }
    match message.params {
        None => Ok(Params::default()),
        Some(raw) if raw.get().starts_with('{') => {
            serde_json::from_str(raw.get()).map_err(|_| Failure::Parameters("The parameters do not fit the method"))
        }
        Some(_) => Err(Failure::Parameters("The parameters must be an object")),
    }
}

/// The revision of one message: the header's and the body's must be one. The handshake alone is in the one that
/// it settles on, whatever a header says: its client cannot know yet which that is. Without a revision that is
/// spoken and has a handshake, it settles on the newest that has one.
fn revision(message: &Message<'_>, headers: &Headers<'_>, params: &Params<'_>) -> Result<Revision, Failure> {
    let said = params.meta.as_ref().and_then(|meta| meta.version.as_deref());
    if message.method.as_deref() == Some("initialize") && (params.version.is_some() || said.is_none()) {
        let wanted = params.version.as_deref().and_then(Revision::parse).filter(|wanted| !wanted.is_stateless());
        return Ok(wanted.unwrap_or(Revision::V2025_11_25));
    }
    match (headers.version, said) {
        (Some(header), Some(said)) if header != said => {
            Err(Failure::HeaderMismatch("MCP-Protocol-Version does not match the revision in _meta"))
        }
        (None, Some(_)) => Err(Failure::HeaderMismatch("The header MCP-Protocol-Version is missing")),
        (version, _) => revision_of(version),
    }
}

/// The revision in which a body that cannot be understood is answered: the header's, else the newest.
#[must_use]
pub fn spoken(headers: &Headers<'_>) -> Revision {
    revision_of(headers.version).unwrap_or(Revision::V2026_07_28)
}

/// The revision in `MCP-Protocol-Version`; the first one did not have that header.
pub(super) fn revision_of(version: Option<&str>) -> Result<Revision, Failure> {
    let Some(version) = version else { return Ok(Revision::V2025_03_26) };
    Revision::parse(version).ok_or_else(|| Failure::UnsupportedVersion(shortened(version)))
}

fn shortened(version: &str) -> Box<str> {
    version.get(..version.floor_char_boundary(MAX_VERSION)).unwrap_or_default().into()
}

fn handshaken<'a, F: Features>(method: &str, params: &Params<'a>) -> Result<Request<'a, F>, Failure> {
    match method {
        "initialize" => Ok(Request::Initialize),
        "ping" => Ok(Request::Ping),
        "shutdown" => Ok(Request::Shutdown),
        "resources/subscribe" => Ok(Request::Subscribe { uri: uri(params)? }),
        "resources/unsubscribe" => Ok(Request::Unsubscribe { uri: uri(params)? }),
        "logging/setLevel" => Level::parse(params.level.as_deref()).map(Request::SetLevel),
        _ => lasting(method, params),
    }
}

/// Requests that every revision has.
fn lasting<'a, F: Features>(method: &str, params: &Params<'a>) -> Result<Request<'a, F>, Failure> {
    match method {
        "tools/list" => one_page(params, Request::ListTools),
        "tools/call" => tool(params),
        "resources/list" => Ok(Request::ListResources { cursor: params.cursor.clone() }),
        "resources/templates/list" => one_page(params, Request::ListTemplates),
        "resources/read" | "resources/get" => Ok(Request::ReadResource { uri: uri(params)? }),
        "prompts/list" => one_page(params, Request::ListPrompts),
        "prompts/get" => {
            let name = params.name.as_deref().ok_or(Failure::Parameters("The prompt's name is missing"))?;
            prompts::read::<F>(name, params.arguments).map(Request::GetPrompt)
        }
        "completion/complete" => complete::read::<F>(params.reference, params.argument).map(Request::Complete),
        _ => Err(Failure::UnknownMethod),
    }
}

fn uri<'a>(params: &Params<'a>) -> Result<Cow<'a, str>, Failure> {
    params.uri.clone().ok_or(Failure::Parameters("The resource's uri is missing"))
}

/// A list that is one page gives out no cursors.
fn one_page<'a, F: Features>(params: &Params<'_>, request: Request<'a, F>) -> Result<Request<'a, F>, Failure> {
    match params.cursor {
        None => Ok(request),
        Some(_) => Err(Failure::Parameters(NO_CURSOR)),
    }
}

fn stateless<'a, F: Features>(
    method: &str,
    headers: &Headers<'_>,
    params: &Params<'a>,
) -> Result<Request<'a, F>, Failure> {
    match headers.method {
        None => return Err(Failure::HeaderMismatch("The header Mcp-Method is missing")),
        Some(header) if header != method => {
            return Err(Failure::HeaderMismatch("Mcp-Method does not match the method in the body"));
        }
        Some(_) => {}
    }
    let meta = params.meta.as_ref().ok_or(Failure::Parameters("_meta is missing"))?;
    if meta.version.is_none() || !meta.capabilities.is_some_and(|c| c.get().starts_with('{')) {
        return Err(Failure::Parameters("_meta must hold protocolVersion and clientCapabilities"));
    }
    match method {
        "tools/call" | "prompts/get" => check_name(headers, params.name.as_deref())?,
        "resources/read" | "resources/get" => check_name(headers, params.uri.as_deref())?,
        _ => {}
    }
    let request = match method {
        "server/discover" => Request::Discover,
        "subscriptions/listen" => Filter::read(params.notifications).map(Request::Listen)?,
        _ => lasting(method, params)?,
    };
    if let Request::CallTool { kind, arguments } = &request {
        F::check(*kind, arguments, &headers.params)?;
    }
    Ok(request)
}

/// The header must say what the body names.
fn check_name(headers: &Headers<'_>, named: Option<&str>) -> Result<(), Failure> {
    let header = headers.name.ok_or(Failure::HeaderMismatch("The header Mcp-Name is missing"))?;
    let decoded = decoded(header);
    if decoded.is_some() && decoded.as_deref() == named {
        return Ok(());
    }
    Err(Failure::HeaderMismatch("Mcp-Name does not match the name in the body"))
}

/// The value of a header that repeats one of the body's: as it stands, or base64 where it could not stand there.
pub(super) fn decoded(header: &str) -> Option<Cow<'_, str>> {
    match header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Some(Cow::Borrowed(header)),
        Some(encoded) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
            String::from_utf8(bytes).ok().map(Cow::Owned)
        }
    }
}

fn tool<'a, F: Features>(params: &Params<'a>) -> Result<Request<'a, F>, Failure> {
    let name = params.name.as_deref().ok_or(Failure::Parameters("The tool's name is missing"))?;
    let kind = F::tool(name).ok_or(Failure::Parameters("There is no such tool"))?;
    let arguments = params.arguments.map_or(&b"{}"[..], |raw| raw.get().as_bytes());
    if arguments.first() != Some(&b'{') {
        return Err(Failure::Parameters("The arguments must be an object"));
    }
    Ok(Request::CallTool { kind, arguments })
}
