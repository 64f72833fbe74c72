//! The bus: who makes events and who hears of them know nothing of each other.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filters::event::{Event, EventId, EventKind};
use filters::mcp::{Level, Watched};
use filters::names::{AgentId, Namespace};
use futures_channel::mpsc;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::outbox::{EVENT, Outbox, Post, SESSION};
use super::sessions::{SessionChange, Sessions, TooMany};
use super::sync::{Mutex, MutexGuard};
use crate::random;
use crate::telemetry::{Metrics, Record, Sink};

/// Events that are kept, so that who was away is told of them.
pub(super) const KEPT: usize = 1024;
/// Events that may wait for one stream; one that is slower is cut off.
pub(super) const QUEUE: usize = 256;
/// Milliseconds by which the clocks of gates may differ.
const SKEW: u64 = 5_000;

/// An event as it is told, on this gate and on others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its id.
    pub id: EventId,
    /// The event.
    pub event: Event,
}

/// Takes events, and gives each to the streams of those whom it may concern.
pub struct Bus {
    state: Mutex<State>,
    /// The events that other gates are to hear of.
    pub(super) outbox: Outbox,
    pub(super) sessions: Sessions,
    /// Streams that are told of what changes nothing, too.
    curious: AtomicUsize,
    metrics: Arc<Metrics>,
}

struct State {
    last: EventId,
    /// The events of this gate and of others, in the order in which they arrived.
    recent: VecDeque<Arc<Told>>,
    streams: HashMap<AgentId, Vec<Stream>>,
    /// The number of the stream that was opened last.
    opened: u64,
}

struct Stream {
    number: u64,
    sender: mpsc::Sender<Heard>,
}

/// A stream's place on the bus; given up when it is dropped.
pub struct Subscription {
    bus: Arc<Bus>,
    agent: AgentId,
    number: u64,
    curious: bool,
    backlog: VecDeque<Heard>,
    receiver: mpsc::Receiver<Heard>,
}

/// A stream, as answers are addressed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAddress {
    gate: u32,
    number: u64,
}

/// The next thing that a stream hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// An event.
    Event(Arc<Told>),
    /// The answer to a message that its client sent elsewhere.
    Answer(Arc<str>),
    /// Events that it may have missed, which are kept no longer.
    Gap,
    /// The stream was read too slowly: its queue was full, and it gets no more events.
    TooSlow,
}

impl Bus {
    /// A bus that nobody listens to yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
        let gate = random::u64() as u32;
        let state = State {
            last: EventId::first(gate),
            recent: VecDeque::with_capacity(KEPT),
            streams: HashMap::new(),
            opened: 0,
        };
        Self {
            state: Mutex::new(state),
            outbox: Outbox::default(),
            sessions: Sessions::default(),
            curious: AtomicUsize::new(0),
            metrics,
        }
    }

    /// Tells of something that was done here, on every gate.
    pub fn publish(&self, event: Event) {
        self.metrics.events.made.inc();
        let mut state = self.lock();
        let told = state.tell(event, &self.metrics);
        // In the order in which they are told here.
        self.outbox.put(|| Post::of(EVENT, &*told), &self.metrics);
    }

    /// Tells of something on this gate alone: others know it by themselves, or need not.
    pub fn publish_here(&self, event: Event) {
        self.lock().tell(event, &self.metrics);
    }

    /// Tells of something that was done through another gate.
    pub(super) fn accept(&self, told: Told) {
        let mut state = self.lock();
        if told.id.gate() != state.last.gate() {
            state.deliver(&Arc::new(told), &self.metrics);
        }
    }

    /// True for a stream of `agent`'s that is open on this gate.
    #[must_use]
    pub fn has_stream(&self, agent: &AgentId, address: StreamAddress) -> bool {
        self.lock().stream(agent, address).is_some()
    }

    /// Sends an answer on a stream of `agent`'s; false where it cannot be sent.
    #[must_use]
    pub fn answer(&self, agent: &AgentId, address: StreamAddress, text: &str) -> bool {
        let heard = Heard::Answer(text.into());
        self.lock().stream(agent, address).is_some_and(|stream| stream.hear(heard))
    }

    /// A number for a session.
    #[must_use]
    pub fn session_number(&self) -> u64 {
        random::u64()
    }

    /// Makes a change of a session, on every gate.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn change_session(&self, change: SessionChange) -> Result<(), TooMany> {
        self.sessions.apply(&change)?;
        self.outbox.put(|| Post::of(SESSION, &change), &self.metrics);
        Ok(())
    }

    /// True for a session that was ended.
    #[must_use]
    pub fn has_ended(&self, session: u64) -> bool {
        self.sessions.has_ended(session)
    }

    /// The resources that a session wants to be told of.
    #[must_use]
    pub fn watched(&self, session: u64) -> Arc<[Watched]> {
        self.sessions.watched(session).unwrap_or_default()
    }

    /// The least severity of the records of its calls that a session wants; `None` where it wants none.
    #[must_use]
    pub fn level(&self, session: u64) -> Option<Level> {
        self.sessions.level(session)
    }

    /// Tells every stream that something may have been missed.
    pub(super) fn tell_gap(&self) {
        // One that is full ends when its stream has taken what waits, as in `deliver`.
        let tell = |streams: &mut Vec<Stream>| streams.retain_mut(|stream| stream.hear(Heard::Gap));
        self.lock().streams.values_mut().for_each(tell);
    }

    /// A place on the bus for a stream of `agent`'s. Where its client names the last event that it had, it
    /// is told of the later ones first. Who is `curious` is told of what changes nothing, too.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, agent: &AgentId, last: Option<EventId>, curious: bool) -> Subscription {
        // It has room for one more. Where nothing waits it holds next to nothing.
        let (sender, receiver) = mpsc::channel(QUEUE - 1);
        if curious {
            self.curious.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.lock();
        let backlog = last.map_or_else(VecDeque::new, |last| state.since(agent, last));
        state.opened += 1;
        let number = state.opened;
        state.streams.entry(agent.clone()).or_default().push(Stream { number, sender });
        drop(state);
        Subscription { bus: Arc::clone(self), agent: agent.clone(), number, curious, backlog, receiver }
    }

    /// The events that are kept and may concern `agent`, the oldest first.
    #[must_use]
    pub fn recent(&self, agent: &AgentId) -> Vec<Arc<Told>> {
        self.lock().recent.iter().filter(|told| concerns(told, agent)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True where `agent` may have to be told.
fn concerns(told: &Told, agent: &AgentId) -> bool {
    told.event.agent == *agent || told.event.is_shared()
}

impl Stream {
    /// Has it hear this; false where no more may wait.
    fn hear(&mut self, heard: Heard) -> bool {
        self.sender.try_send(heard).is_ok()
    }
}

impl State {
    fn tell(&mut self, event: Event, metrics: &Metrics) -> Arc<Told> {
        self.last = self.last.next(milliseconds());
        let told = Arc::new(Told { id: self.last, event });
        self.deliver(&told, metrics);
        told
    }

    /// Keeps the event, and gives it to the streams that it may concern.
    fn deliver(&mut self, told: &Arc<Told>, metrics: &Metrics) {
        if told.event.kind != EventKind::Completed {
            if self.recent.len() == KEPT {
                self.recent.pop_front();
            }
            self.recent.push_back(Arc::clone(told));
        }
        // One that is full ends when its stream has taken what waits.
        let send = |streams: &mut Vec<Stream>| {
            let before = streams.len();
            streams.retain_mut(|stream| stream.hear(Heard::Event(Arc::clone(told))));
            metrics.events.slow_streams.inc_by(u64::try_from(before - streams.len()).unwrap_or(0));
        };
        if told.event.is_shared() {
            self.streams.values_mut().for_each(send);
        } else if let Some(streams) = self.streams.get_mut(&told.event.agent) {
            send(streams);
        }
    }

    fn stream(&mut self, agent: &AgentId, address: StreamAddress) -> Option<&mut Stream> {
        let here = address.gate == self.last.gate();
        let mut streams = self.streams.get_mut(agent).filter(|_| here)?.iter_mut();
        streams.find(|stream| stream.number == address.number)
    }

    /// The events after `last` that may concern `agent`.
    fn since(&self, agent: &AgentId, last: EventId) -> VecDeque<Heard> {
        let place = self.recent.iter().position(|told| told.id == last);
        // Of another gate's, or gone: some may be told twice, none is left out.
        let later = |told: &Told| told.id.milliseconds() + SKEW > last.milliseconds();
        let missed = place.is_none() && self.recent.front().is_none_or(|oldest| later(oldest));
        let events = self.recent.iter().skip(place.map_or(0, |place| place + 1));
        let events = events.filter(|told| (place.is_some() || later(told)) && concerns(told, agent));
        missed.then_some(Heard::Gap).into_iter().chain(events.cloned().map(Heard::Event)).collect()
    }
}

impl Subscription {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> StreamAddress {
        StreamAddress { gate: self.bus.lock().last.gate(), number: self.number }
    }

    /// Waits for the next thing to hear of. Nothing is lost where the wait is given up.
    pub async fn next(&mut self) -> Heard {
        match self.backlog.pop_front() {
            Some(heard) => heard,
            None => {
                let heard = self.receiver.next().await.unwrap_or(Heard::TooSlow);
                if let Heard::Event(told) = &heard {
                    let lag = milliseconds().saturating_sub(told.id.milliseconds());
                    self.bus.metrics.events.lag.observe(Duration::from_millis(lag).as_secs_f64());
                }
                heard
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.curious {
            self.bus.curious.fetch_sub(1, Ordering::Relaxed);
        }
        let mut state = self.bus.lock();
        if let Some(streams) = state.streams.get_mut(&self.agent) {
            streams.retain(|stream| stream.number != self.number);
            if streams.is_empty() {
                state.streams.remove(&self.agent);
            }
        }
    }
}

impl Sink for Bus {
    fn finish(&self, record: &Record<'_>) {
        for call in record.calls.into_iter().flat_map(|calls| calls.iter()) {
            match &call.event {
                Some(event) => self.publish(Event::clone(event)),
                None if call.refused.is_none() && self.curious.load(Ordering::Relaxed) > 0 => {
                    let namespace = Namespace::parse(record.namespace).unwrap_or_default();
                    if let Some(agent) = AgentId::parse(record.agent) {
                        self.publish_here(Event::completed(agent, namespace, call.entry.spec.name));
                    }
                }
                None => {}
            }
        }
    }
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
