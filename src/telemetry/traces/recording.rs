//! The notes of one request, of which its trace is made.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use filters::operation::Entry;
use filters::refusal::Refusal;
use filters::trace::{Sampler, SpanId, TraceId, TraceParent};

/// Most steps of one request that are noted.
const MOST: usize = 512;

/// The notes of one request.
pub struct Recording {
    sampler: Sampler,
    /// All ids but the trace's follow from it.
    seed: u64,
    pub(super) protocol: Protocol,
    /// The same moment by both clocks.
    began: (SystemTime, Instant),
    parent: OnceLock<(TraceParent, Box<str>)>,
    trace: OnceLock<Trace>,
    notes: Mutex<Notes>,
}

/// The protocol that a request came by.
#[derive(Clone, Copy)]
pub(super) struct Protocol {
    pub(super) version: http::Version,
    pub(super) secure: bool,
}

/// The trace that the request is in, which is settled when somebody first has to know.
#[derive(Clone, Copy)]
struct Trace {
    id: TraceId,
    sampled: bool,
}

#[derive(Default)]
struct Notes {
    steps: Vec<Note>,
    /// The message that is being answered.
    message: Option<SpanId>,
}

/// A step, and when it was done.
pub(super) struct Note {
    pub(super) step: Step,
    pub(super) id: SpanId,
    pub(super) parent: SpanId,
    pub(super) from: Instant,
    pub(super) to: Option<Instant>,
    /// The HTTP status of an answer; 0 for none.
    pub(super) status: u16,
    /// The code of a refusal; empty for none.
    pub(super) refused: &'static str,
}

/// A step of a request. Steps are done one after the other or beside each other, in the request or in one of its
/// messages.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The TLS handshake before the first request of a connection.
    Handshake,
    /// The caller is found out and let in.
    Authenticate,
    /// The operation waits for its turn, is decided, charged and told to the sinks.
    Decide,
    /// The agent's token is found or made.
    Token,
    /// Vault is asked.
    Exchange {
        /// The HTTP method.
        method: &'static str,
        /// The operation that it is asked for; `None` for what the gate asks for itself.
        entry: Option<&'static Entry>,
    },
    /// AWS KMS is asked.
    Kms,
    /// A message of MCP is answered.
    Message {
        /// Its method.
        method: &'static str,
        /// The tool that it calls.
        tool: Option<&'static Entry>,
        /// The revision that it speaks.
        revision: &'static str,
        /// The span that it says it belongs to.
        parent: Option<TraceParent>,
    },
}

impl Recording {
    /// Begins now.
    pub(super) fn begin(sampler: Sampler, protocol: Protocol) -> Self {
        Self {
            sampler,
            seed: crate::random::u64(),
            protocol,
            began: (SystemTime::now(), Instant::now()),
            parent: OnceLock::new(),
            trace: OnceLock::new(),
            notes: Mutex::default(),
        }
    }

    /// Notes the span that the request belongs to, and its `tracestate`; the first one counts, where it comes before
    /// anybody had to know the trace.
    pub fn belongs_to(&self, parent: TraceParent, state: &str) {
        if self.trace.get().is_none() {
            self.parent.get_or_init(|| (parent, state.into()));
        }
    }

    fn trace(&self) -> Trace {
        *self.trace.get_or_init(|| {
            let parent = self.parent().map(|(parent, _)| parent);
            let new = || TraceId::of([self.seed, crate::random::u64()]);
            let id = parent.map_or_else(new, |parent| parent.trace);
            Trace { id, sampled: self.sampler.samples(parent, &id) }
        })
    }

    /// The id of its trace.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace().id
    }

    /// True where it is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.trace().sampled
    }

    pub(super) fn parent(&self) -> Option<(&TraceParent, &str)> {
        self.parent.get().map(|(parent, state)| (parent, &**state))
    }

    /// The span of the request itself.
    pub(super) const fn id(&self) -> SpanId {
        self.id_of(0)
    }

    const fn id_of(&self, place: u64) -> SpanId {
        SpanId::of(crate::random::derived(self.seed, place))
    }

    /// Notes a step that was done before.
    pub fn done(&self, step: Step, from: Instant, to: Instant) {
        self.note(step, from, Some(to));
    }

    /// Notes a step; gives its place and its span, where there is room.
    fn note(&self, step: Step, from: Instant, to: Option<Instant>) -> Option<(usize, SpanId)> {
        let mut notes = self.notes();
        let place = notes.steps.len();
        if place >= MOST {
            return None;
        }
        let (id, parent) = (self.id_of(place as u64 + 1), notes.message.unwrap_or(self.id()));
        if matches!(step, Step::Message { .. }) {
            notes.message = Some(id);
        }
        notes.steps.push(Note { step, id, parent, from, to, status: 0, refused: "" });
        Some((place, id))
    }

    /// Its steps so far; none are kept.
    pub(super) fn steps(&self) -> Vec<Note> {
        std::mem::take(&mut self.notes().steps)
    }

    /// A moment by the wall clock, in nanoseconds since the epoch.
    pub(super) fn nanoseconds(&self, at: Instant) -> u64 {
        let (wall, began) = self.began;
        let wall = match at.checked_duration_since(began) {
            Some(later) => wall.checked_add(later),
            None => wall.checked_sub(began.duration_since(at)),
        };
        let since = wall.and_then(|wall| wall.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) const fn began(&self) -> Instant {
        self.began.1
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that goes on until this is dropped.
pub struct Timed<'a>(Option<Open<'a>>);

struct Open<'a> {
    recording: &'a Recording,
    id: SpanId,
    /// Its place among the notes; `None` where it is not noted.
    place: Option<usize>,
}

impl<'a> Timed<'a> {
    /// Begins a step now; where there is no recording, nothing is done.
    #[must_use]
    pub fn begin(recording: Option<&'a Recording>, step: Step) -> Self {
        let Some(recording) = recording else { return Self(None) };
        // Before it is known whether the request is recorded, it may be.
        if recording.trace.get().is_some_and(|trace| !trace.sampled) {
            return Self(Some(Open { recording, id: recording.id(), place: None }));
        }
        let noted = recording.note(step, Instant::now(), None);
        let (place, id) = noted.map_or((None, recording.id()), |(place, id)| (Some(place), id));
        Self(Some(Open { recording, id, place }))
    }

    /// The span that whoever is asked in this step belongs to, and its `tracestate`.
    #[must_use]
    pub fn context(&self) -> Option<(TraceParent, &str)> {
        let Open { recording, id, .. } = self.0.as_ref()?;
        let Trace { id: trace, sampled } = recording.trace();
        let state = recording.parent().map_or("", |(_, state)| state);
        Some((TraceParent { trace, span: *id, sampled }, state))
    }

    /// Notes the HTTP status of an answer.
    pub fn answered(&self, status: u16) {
        self.change(|note| note.status = status);
    }

    /// Ends the step with its result, of whose error the refusal is noted.
    pub fn over<T, E>(self, result: Result<T, E>, refusal: impl FnOnce(&E) -> &Refusal) -> Result<T, E> {
        result.inspect_err(|error| self.refused(refusal(error)))
    }

    /// Notes a decision: `allow`, or the code of the refusal; empty for none.
    pub fn decided(&self, decision: &'static str) {
        self.change(|note| note.refused = if decision == "allow" { "" } else { decision });
    }

    /// Notes a refusal.
    pub fn refused(&self, refusal: &Refusal) {
        self.change(|note| note.refused = refusal.public().code);
    }

    fn change(&self, change: impl FnOnce(&mut Note)) {
        if let Some(Open { recording, place: Some(place), .. }) = &self.0
            && let Some(note) = recording.notes().steps.get_mut(*place)
        {
            change(note);
        }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.change(|note| note.to = Some(Instant::now()));
        if let Some(Open { recording, id, place: Some(_) }) = &self.0 {
            let mut notes = recording.notes();
            if notes.message == Some(*id) {
                notes.message = None;
            }
        }
    }
}
