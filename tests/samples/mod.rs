//! A server of the features that the conformance suite of MCP brings samples for, on the gate's own layer of
//! messages. Its tools, resources and prompts are there for the suite alone.

mod input;
mod prompts;
mod resources;
mod tools;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use filters::mcp::{
    self, Body, Call, Failure, Features, Feed, Headers, Level, Params, PromptArguments, Reference, Request, Revision,
    Understood,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::front::{Message, read_message};

use input::Seal;
use prompts::{PROMPTS, Prompt};
use tools::{TOOLS, Tool};

/// A running server; it takes no more connections when dropped.
pub struct Samples {
    port: u16,
    shared: Arc<Shared>,
}

/// The state that its connections have in common.
#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    seal: Seal,
    /// The least severity of records, as the last client set it.
    level: Mutex<Option<Level>>,
    /// The open streams, each told when a list has changed.
    streams: Mutex<Vec<Sender<()>>>,
}

impl Samples {
    /// Starts it on a port of its own.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.ended.load(Ordering::Relaxed) {
                    return;
                }
                let theirs = Arc::clone(&theirs);
                thread::spawn(move || theirs.speak(stream));
            }
        });
        Self { port, shared }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.streams.lock().expect("streams").clear();
        // The listener notices when it is asked once more.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// The features of the samples.
#[derive(Debug)]
enum Sampled {}

impl Features for Sampled {
    type Tool = &'static Tool;
    type Prompt = Prompted;
    /// No values are known of any argument.
    type Completing = ();

    fn tool(name: &str) -> Option<&'static Tool> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    fn check(_: &'static Tool, _: &[u8], _: &Params<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn prompt(name: &str, arguments: &PromptArguments<'_>) -> Result<Prompted, Failure> {
        let prompt = prompt(name)?;
        let given = |name: &&'static str| Some((*name, arguments.get(*name)?.as_deref()?.to_owned()));
        let filled: BTreeMap<_, _> = prompt.arguments.iter().filter_map(given).collect();
        if filled.len() < prompt.arguments.len() {
            return Err(Failure::Parameters("An argument of the prompt is missing"));
        }
        Ok(Prompted { prompt, arguments: filled })
    }

    fn completing(reference: &Reference<'_>, argument: &str, _: &str) -> Result<(), Failure> {
        let is_known = match reference {
            Reference::Prompt { name } => prompt(name)?.arguments.contains(&argument),
            Reference::Resource { uri } => uri == resources::TEMPLATE && argument == "id",
        };
        is_known.then_some(()).ok_or(Failure::Parameters("There is no such argument"))
    }
}

fn prompt(name: &str) -> Result<&'static Prompt, Failure> {
    PROMPTS.iter().find(|prompt| prompt.name == name).ok_or(Failure::Parameters("There is no such prompt"))
}

/// A prompt with its arguments.
#[derive(Debug)]
struct Prompted {
    prompt: &'static Prompt,
    arguments: BTreeMap<&'static str, String>,
}

/// A call of a sample.
struct Asked<'a> {
    call: &'a Call<'a, Sampled>,
    shared: &'a Shared,
}

/// The answer of a sample.
enum Answer {
    /// A result's own members.
    Complete(Value),
    /// The same, after these notifications.
    After(Vec<String>, Value),
    /// The questions that come before it.
    InputRequired(Value),
    /// An error.
    Failed(Failure),
}

/// The answer to a request.
enum Reply {
    /// A status, and a body.
    Whole(u16, Vec<u8>),
    /// Messages on a stream that ends with them.
    Messages(String),
    /// A stream.
    Events(Feed),
}

impl Reply {
    fn failed(failure: &Failure, id: Option<&RawValue>, revision: Revision) -> Self {
        let mut body = Vec::new();
        failure.write(id, revision, &mut body);
        Self::Whole(failure.status(revision), body)
    }
}

impl Shared {
    fn speak(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let Message { head, body } = read_message(&mut stream, false)?;
            let head = String::from_utf8_lossy(&head);
            let reply =
                if head.starts_with("POST ") { self.reply(&head, &body) } else { Reply::Whole(405, Vec::new()) };
            match reply {
                Reply::Whole(status, body) => write(&mut stream, status, "application/json", &body)?,
                Reply::Messages(text) => write(&mut stream, 200, "text/event-stream", text.as_bytes())?,
                Reply::Events(feed) => {
                    let (told, changes) = channel();
                    self.streams.lock().expect("streams").push(told);
                    return tell(stream, &feed, &changes);
                }
            }
        }
    }

    fn reply(&self, head: &str, body: &[u8]) -> Reply {
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let [version, method, name] = ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"].map(header);
        let headers = Headers { version, method, name, ..Headers::default() };
        let message = match mcp::read(body, &headers, 1) {
            Ok(Body::One(message)) => message,
            Ok(Body::Batch(_)) => return Reply::failed(&Failure::Invalid("No batches"), None, mcp::spoken(&headers)),
            Err(failure) => return Reply::failed(&failure, None, mcp::spoken(&headers)),
        };
        match mcp::understand::<Sampled>(&message, &headers) {
            (revision, Err(failure)) => Reply::failed(&failure, message.id(), revision),
            (_, Ok(Understood::Notification | Understood::Cancelled(_))) => Reply::Whole(202, Vec::new()),
            (_, Ok(Understood::Call(call))) => self.answer(&call),
        }
    }

    fn answer(&self, call: &Call<'_, Sampled>) -> Reply {
        let asked = Asked { call, shared: self };
        let mut body = Vec::new();
        let out = &mut body;
        match &call.request {
            Request::Initialize => mcp::initialized(call, out),
            Request::Discover => mcp::discovered(call, out),
            Request::Ping | Request::Shutdown | Request::Subscribe { .. } | Request::Unsubscribe { .. } => {
                mcp::done(call, out);
            }
            Request::SetLevel(level) => {
                *self.level.lock().expect("a level") = Some(*level);
                mcp::done(call, out);
            }
            Request::Complete(()) => mcp::completed(call, &[], out),
            Request::ListTools => list(call, "tools", TOOLS.iter().map(Tool::listed), out),
            Request::ListPrompts => list(call, "prompts", PROMPTS.iter().map(Prompt::listed), out),
            Request::ListResources { .. } => list(call, "resources", resources::listed(), out),
            Request::ListTemplates => list(call, "resourceTemplates", [resources::template()], out),
            Request::ReadResource { uri } => match resources::read(uri) {
                Some(content) => list(call, "contents", [content], out),
                None => {
                    let failure = Failure::NoResource(call.revision, Some(uri.as_ref().into()));
                    return Reply::failed(&failure, Some(call.id), call.revision);
                }
            },
            Request::Listen(filter) => {
                let wanted = filter.grant(&self.seal.agent.id, |_| false);
                return Reply::Events(Feed::Subscription(call.id.to_owned(), wanted));
            }
            Request::CallTool { kind, .. } => return answered(call, (kind.call)(&asked)),
            Request::GetPrompt(Prompted { prompt, arguments }) => {
                return answered(call, (prompt.get)(&asked, arguments));
            }
        }
        Reply::Whole(200, body)
    }

    /// Tells every open stream that a list has changed.
    fn change(&self) {
        self.streams.lock().expect("streams").retain(|stream| stream.send(()).is_ok());
    }
}

fn answered(call: &Call<'_, Sampled>, answer: Answer) -> Reply {
    let mut body = Vec::new();
    match answer {
        Answer::Complete(own) => mcp::write(call, own, &mut body),
        Answer::After(notices, own) => {
            mcp::write(call, own, &mut body);
            let result = String::from_utf8(body).expect("text");
            let messages = notices.iter().chain([&result]);
            return Reply::Messages(messages.map(|message| mcp::message_event(message)).collect());
        }
        Answer::InputRequired(own) => mcp::write_input_required(call, own, &mut body),
        Answer::Failed(failure) => return Reply::failed(&failure, Some(call.id), call.revision),
    }
    Reply::Whole(200, body)
}

/// Writes a result of one member.
fn list(call: &Call<'_, Sampled>, member: &str, items: impl IntoIterator<Item = Value>, out: &mut Vec<u8>) {
    let items: Vec<Value> = items.into_iter().collect();
    mcp::write_kept(call, mcp::TTL, json!({member: items}), out);
}

fn write(stream: &mut TcpStream, status: u16, media: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())
}

/// Tells of changes until the reader or the server has gone.
fn tell(mut stream: TcpStream, feed: &Feed, changes: &Receiver<()>) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    stream.write_all((head.to_owned() + &feed.opening()).as_bytes())?;
    for () in changes {
        stream.write_all(feed.tools_changed().as_bytes())?;
    }
    Ok(())
}
