//! A gate within the process of one client: the service and the duties beside it, and no listener.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use filters::credential::Offered;
use filters::identity::Proof;
use filters::names::AgentId;
use filters::refusal::Refusal;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::{sleep, timeout};

use crate::config::{self, Fixed, Flags};
use crate::http::request_id;
use crate::reload::{self, Reload};
use crate::service::{Context, Offer, Outcomes, Rejected, Target};
use crate::state::State;
use crate::stdio::{Answer, Body, Gate, Trouble};
use crate::surfaces::{self, Asked, Reply, mcp};
use crate::telemetry::{self, Record, RequestLog};
use crate::vault::Parcel;

use super::{assemble, duties};

/// The route that records name.
const ROUTE: &str = "stdio";
/// Longest time that the first message waits for the gate to be ready.
const READY: Duration = Duration::from_secs(15);
/// Pause between two looks at that.
const LOOK: Duration = Duration::from_millis(20);
/// Longest time to give everything back to Vault at the end.
const REVOKE: Duration = Duration::from_secs(3);

/// A gate that one agent speaks to without a network.
pub struct Inside {
    state: Arc<State>,
    agent: AgentId,
    log: Option<Arc<RequestLog>>,
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
        telemetry::start_server_log(settings.logging.level);
        settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let prepared = reload::prepare(&settings, None)?;
        let watched = settings.server.reload.then(|| settings.files.clone());
        let fixed = Fixed::of(&settings);
        let (state, log) = assemble::state(settings, prepared, files)?;
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
        Ok(Self { state, agent, log })
    }

    /// Drops the agent's tokens, and closes the log.
    pub async fn end(&self) {
        self.state.drain();
        let layout = self.state.snapshot().vault.layout.clone();
        self.state.vault.leave(&layout, REVOKE).await;
        if let Some(log) = &self.log {
            log.close();
        }
    }

    /// Serves the messages of one line, as the HTTP surface serves a body.
    async fn serve(&self, headers: &HeaderMap, body: Bytes) -> Reply {
        let (started, id) = (Instant::now(), request_id());
        let snapshot = Arc::clone(&self.state.snapshot());
        let context = Context { state: &self.state, snapshot, parcel: Parcel::new(&self.state.vault.returns) };
        let mut outcomes = Outcomes::default();
        let served = Box::pin(self.call(&context, headers, body, &id, &mut outcomes)).await;
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

    async fn call(
        &self,
        context: &Context<'_>,
        headers: &HeaderMap,
        body: Bytes,
        id: &str,
        outcomes: &mut Outcomes,
    ) -> Result<Reply, Refusal> {
        if body.len() > context.snapshot.limits.bounds.body {
            return Err(Refusal::BodyTooLarge);
        }
        let offer = Offer {
            credential: Offered::Process(self.agent.clone()),
            peer: None,
            proxy: None,
            client: None,
            target: Target { method: "POST", base: String::new(), path: "" },
            request_id: id,
            correlation_id: id,
        };
        let caller = context.admit(&offer, |_| Ok(())).await.map_err(|Rejected { refusal, .. }| refusal)?;
        let asked = Asked { context, caller: &caller, headers, query: "", wrap_ttl: None, body };
        let served = mcp::serve(&asked).await;
        *outcomes = served.outcomes;
        let (_, settled) = caller.settle().await;
        settled.and(served.reply)
    }
}

impl Gate for Arc<Inside> {
    async fn send(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<Answer, Trouble> {
        let reply = match method {
            Method::POST => self.serve(&headers, body).await,
            _ => Reply::empty(StatusCode::METHOD_NOT_ALLOWED.as_u16()),
        };
        let Reply { status, media, body, headers } = reply;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = match body {
            surfaces::Body::Whole(body) => body,
            // Neither is asked for by a message.
            surfaces::Body::Streaming(_) | surfaces::Body::Events(_) => Bytes::new(),
        };
        let media = [(CONTENT_TYPE, HeaderValue::from_static(media))];
        Ok(Answer { status, headers: headers.into_iter().chain(media).collect(), body: Body::Whole(body) })
    }
}
