//! A gate within the process of one client: the service and the duties beside it, and no listener.

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use filters::credential::Offered;
use filters::identity::Proof;
use filters::names::AgentId;
use filters::refusal::Refusal;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::config::{self, Fixed, Flags};
use crate::http::request_id;
use crate::reload::{self, Reload};
use crate::service::{Context, Offer, Outcomes, Rejected, Target};
use crate::state::State;
use crate::stdio::{Answer, Body, Gate, Trouble};
use crate::surfaces::events::{Attention, Events};
use crate::surfaces::listen::{self, Stream};
use crate::surfaces::progress::{self, Progress, Waiting};
use crate::surfaces::{self, Asked, Reply, Served, mcp, sessions};
use crate::telemetry::{self, Record};
use crate::vault::Parcel;

use super::{assemble, duties};

/// The route that records name.
const ROUTE: &str = "stdio";
/// Longest time that the first message waits for the gate to be ready.
const READY: Duration = Duration::from_secs(15);
/// Pause between two looks at that.
const LOOK: Duration = Duration::from_millis(20);
/// Most texts that wait for whoever hears a stream.
const QUEUE: usize = 16;
/// Longest time to give everything back to Vault at the end.
const REVOKE: Duration = Duration::from_secs(3);

/// A gate that one agent speaks to without a network.
pub struct Inside {
    state: Arc<State>,
    agent: AgentId,
}

/// Who waits for the answer to one request.
enum Client {
    /// The client has nothing of the answer yet.
    Waits(oneshot::Sender<Answer>),
    /// The client was given a stream of events; the last of them will be the answer.
    Hears(Sender<Bytes>),
}

impl Inside {
    /// Begins a gate by the configuration, and waits until it serves, but not for ever: from then on
    /// its answers say what is wrong. To be called on a runtime, with the provider of cryptography
    /// installed.
    ///
    /// # Errors
    /// The configuration is refused, or has no agent of that name: why, for people.
    pub async fn start(flags: Flags, agent: AgentId, files: usize) -> Result<Self, String> {
        let source: reload::Source = Box::new(move || config::load(&flags, &config::variable));
        let settings = source().map_err(|report| report.to_string())?;
        if settings.audit.as_ref().is_some_and(|audit| audit.stdout) {
            return Err("audit.stdout: standard output is the client's here; give audit.file instead".to_owned());
        }
        telemetry::start_server_log(settings.logging.level);
        settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let prepared = reload::prepare(&settings, None)?;
        let watched = settings.server.reload.then(|| settings.files.clone());
        let fixed = Fixed::of(&settings);
        let state = assemble::state(settings, prepared, files)?;
        if state.snapshot().agents.find(&agent).is_none() {
            return Err(format!("no agent of the configuration is called `{agent}`"));
        }
        duties::begin(&state, Reload::new(source, Arc::clone(&state), fixed, watched));
        let ready = async {
            while !state.is_ready() {
                sleep(LOOK).await;
            }
        };
        if timeout(READY, ready).await.is_err() {
            tracing::error!(detail = state.vault.login.detail(), "the gate is not ready; it goes on trying");
        }
        Ok(Self { state, agent })
    }

    /// Drops the agent's tokens, and closes the logs.
    pub async fn end(&self) {
        self.state.drain();
        self.state.close_sinks().await;
        let layout = self.state.snapshot().vault.layout.clone();
        self.state.vault.leave(&layout, REVOKE).await;
        telemetry::close_server_log();
    }

    /// Serves one request, as the HTTP surface serves it.
    async fn serve(&self, method: &Method, headers: &HeaderMap, body: Bytes, client: &mut Client) -> Reply {
        let (started, id) = (Instant::now(), request_id());
        let context = self.context();
        let mut outcomes = Outcomes::default();
        let served = Box::pin(self.call(&context, (method, headers, body), &id, client)).await;
        let served = served.and_then(|(served, settled)| {
            outcomes = served.outcomes;
            settled.and(served.reply)
        });
        let reply = served.unwrap_or_else(|refusal| {
            if let Outcomes::One(outcome) = &mut outcomes {
                outcome.decision = refusal.public().code;
            }
            context.parcel.give_back(0);
            Reply::refused(&refusal, &id)
        });
        context.parcel.handed_over();
        let agent = context.snapshot.agents.find(&self.agent);
        let record = Record {
            request_id: &id,
            correlation_id: &id,
            route: ROUTE,
            agent: self.agent.as_str(),
            namespace: agent.as_ref().map_or("", |agent| agent.namespace.as_str()),
            proof: Proof::Process.name(),
            status: reply.status,
            took: started.elapsed(),
            ..Record::default()
        };
        outcomes.finish(&record, &self.state.sinks);
        reply
    }

    /// Has the caller admitted, and its request served; whether it is within its limits is told beside.
    async fn call(
        &self,
        context: &Context<'_>,
        (method, headers, body): (&Method, &HeaderMap, Bytes),
        id: &str,
        client: &mut Client,
    ) -> Result<(Served, Result<(), Refusal>), Refusal> {
        if body.len() > context.snapshot.limits.bounds.body {
            return Err(Refusal::BodyTooLarge);
        }
        let admitted = context.enter(&self.offer(id), |_| Ok(())).await;
        let caller = admitted.map_err(|Rejected { refusal, .. }| refusal)?;
        let served = match *method {
            Method::POST => {
                let progress = Progress::default();
                let asked =
                    Asked { context, caller: &caller, headers, path: "", query: "", wrap_ttl: None, body, progress };
                progress::attend(&asked.progress, &caller, pin!(mcp::serve(&asked)), client).await
            }
            _ => match caller.turn().await {
                Err(refusal) => Served::refused("", refusal),
                Ok(()) if *method == Method::GET => listen::serve(context, &caller, headers, Stream::Mcp),
                Ok(()) if *method == Method::DELETE => sessions::end(context, &caller, headers),
                Ok(()) => Served::refused("", Refusal::MethodNotAllowed("DELETE, GET, POST".into())),
            },
        };
        let (_, settled) = caller.settle().await;
        Ok((served, settled))
    }

    fn context(&self) -> Context<'_> {
        let snapshot = Arc::clone(&self.state.snapshot());
        Context { state: &self.state, snapshot, parcel: Parcel::new(&self.state.vault.returns), recording: None }
    }

    fn offer<'a>(&self, id: &'a str) -> Offer<'a> {
        Offer {
            of_token: None,
            credential: Offered::Process(self.agent.clone()),
            peer: None,
            proxy: None,
            client: None,
            target: Target { method: "POST", base: String::new(), path: "" },
            request_id: id,
            correlation_id: id,
        }
    }

    /// Tells on a stream that was granted what there is to be told, until it would not be granted any
    /// more. Ends early where nobody hears it.
    async fn tell(&self, events: &mut Events, hears: &Sender<Bytes>) -> Result<(), SendError<Bytes>> {
        let id = request_id();
        let offer = self.offer(&id);
        let mut attention = Attention::begin(&self.context());
        hears.send(events.opening().into()).await?;
        let mut heard = None;
        loop {
            match events.say(heard.take(), &self.context(), &offer) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => hears.send(text.into()).await?,
                Err(refusal) => {
                    events.end(refusal);
                    return hears.send(events.closing().into()).await;
                }
            }
            tokio::select! {
                next = attention.next(events) => heard = next,
                () = hears.closed() => return Ok(()),
            }
        }
    }

    /// The events of a stream that was granted, as they happen.
    fn attend(self: &Arc<Self>, mut events: Box<Events>) -> Receiver<Bytes> {
        let (hears, told) = channel(QUEUE);
        let inside = Arc::clone(self);
        tokio::spawn(async move {
            // Whoever hears no more is told nothing.
            let _ = inside.tell(&mut events, &hears).await;
        });
        told
    }
}

impl Waiting for Client {
    async fn gone(&mut self) {
        match self {
            Self::Waits(answer) => answer.closed().await,
            Self::Hears(hears) => hears.closed().await,
        }
    }

    async fn tell(&mut self, text: String) -> bool {
        if let Self::Waits(_) = self {
            let (hears, told) = channel(QUEUE);
            let answer = answer(Reply::told(String::new()), |_| Body::Told(told));
            mem::replace(self, Self::Hears(hears)).answer(answer).await;
        }
        match self {
            Self::Waits(_) => false,
            Self::Hears(hears) => hears.send(text.into()).await.is_ok(),
        }
    }
}

impl Client {
    /// Gives it the answer, or what is left of it. One that has gone gets nothing.
    async fn answer(self, answer: Answer) {
        match (self, answer.body) {
            (Self::Waits(waits), body) => drop(waits.send(Answer { body, ..answer })),
            (Self::Hears(hears), Body::Whole(last)) => drop(hears.send(last).await),
            (Self::Hears(_), Body::Told(_) | Body::Arriving(_)) => {}
        }
    }
}

/// The reply, its body carried on in this way.
fn answer(Reply { status, media, body, headers }: Reply, carried: impl FnOnce(surfaces::Body) -> Body) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media = [(CONTENT_TYPE, HeaderValue::from_static(media))];
    Answer { status, headers: headers.into_iter().chain(media).collect(), body: carried(body) }
}

impl Gate for Arc<Inside> {
    async fn send(&self, method: Method, mut headers: HeaderMap, body: Bytes) -> Result<Answer, Trouble> {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let (waits, answered) = oneshot::channel();
        let inside = Arc::clone(self);
        tokio::spawn(async move {
            let mut client = Client::Waits(waits);
            let reply = inside.serve(&method, &headers, body, &mut client).await;
            let carried = |body| match body {
                surfaces::Body::Whole(body) => Body::Whole(body),
                surfaces::Body::Events(events) => Body::Told(inside.attend(events)),
                // No message is answered so.
                surfaces::Body::Streaming(_) => Body::Whole(Bytes::new()),
            };
            client.answer(answer(reply, carried)).await;
        });
        answered.await.map_err(|_| Trouble::Unreachable("the gate has dropped the request".to_owned()))
    }
}
