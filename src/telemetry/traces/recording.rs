//! The notes of one request, of which its trace is made.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use filters::operation::Entry;
use filters::refusal::Refusal;
use filters::trace::{Sampler, SpanId, TraceContext, TraceId, TraceParent};
use smallvec::SmallVec;

/// Most steps of one request that are noted.
const MOST: usize = 512;

/// The notes of one request. Until its trace is settled they are few and take no memory of their own; once it is
/// settled that it is not recorded, nothing is noted.
pub struct Recording {
    sampler: Sampler,
    /// All ids but the trace's follow from it.
    seed: u64,
    pub(super) inbound: Inbound,
    trace: OnceLock<Trace>,
    notes: Mutex<Notes>,
}

/// The way a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Inbound {
    /// The version of HTTP.
    pub version: http::Version,
    /// True where it came over TLS.
    pub secure: bool,
    /// The number of its listener, in the order of the configuration.
    pub listener: usize,
    /// The moment at which it began.
    pub began: Instant,
    /// True where Vault is told of its trace.
    pub propagated: bool,
}

/// The trace that a request is in.
#[derive(Clone)]
pub(super) struct Trace {
    pub(super) id: TraceId,
    sampled: bool,
    /// The caller's span, of which the request is a part.
    pub(super) parent: Option<SpanId>,
    /// The caller's `tracestate`; empty for none.
    pub(super) state: Box<str>,
}

pub(super) type Steps = SmallVec<[Note; 2]>;

#[derive(Default)]
struct Notes {
    /// Before the trace is settled: the handshake, and how the caller was let in.
    steps: Steps,
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
    /// Begins.
    pub(super) fn begin(sampler: Sampler, inbound: Inbound) -> Self {
        let seed = crate::random::u64();
        Self { sampler, seed, inbound, trace: OnceLock::new(), notes: Mutex::default() }
    }

    /// Settles the trace, as a part of the caller's where there is one. The first time counts.
    pub fn settle(&self, caller: Option<TraceContext>) {
        self.trace.get_or_init(|| self.begun(caller));
    }

    /// The trace; where it is not settled, it is a new one from now on.
    pub(super) fn trace(&self) -> &Trace {
        self.trace.get_or_init(|| self.begun(None))
    }

    fn begun(&self, caller: Option<TraceContext>) -> Trace {
        let (parent, state) = caller.map(|TraceContext { parent, state }| (parent, state)).unzip();
        let new = || TraceId::of([self.seed, crate::random::u64()]);
        let id = parent.map_or_else(new, |parent| parent.trace);
        let sampled = self.sampler.samples(parent.as_ref(), &id);
        Trace { id, sampled, parent: parent.map(|parent| parent.span), state: state.unwrap_or_default() }
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

    /// True once it is settled that it is not recorded.
    fn is_left_out(&self) -> bool {
        self.trace.get().is_some_and(|trace| !trace.sampled)
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
        if !self.is_left_out() {
            self.note(step, from, Some(to));
        }
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
    pub(super) fn steps(&self) -> Steps {
        std::mem::take(&mut self.notes().steps)
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
        let noted = if recording.is_left_out() { None } else { recording.note(step, Instant::now(), None) };
        let (place, id) = noted.unzip();
        Self(Some(Open { recording, id: id.unwrap_or(recording.id()), place }))
    }

    /// The span that whoever is asked in this step belongs to, and its `tracestate`; `None` where nobody is told.
    #[must_use]
    pub fn context(&self) -> Option<(TraceParent, &str)> {
        let Open { recording, id, .. } = self.0.as_ref().filter(|open| open.recording.inbound.propagated)?;
        let Trace { id: trace, sampled, state, .. } = recording.trace();
        Some((TraceParent { trace: *trace, span: *id, sampled: *sampled }, state))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(sampler: &str) -> Recording {
        let version = http::Version::HTTP_11;
        let inbound = Inbound { version, secure: true, listener: 0, began: Instant::now(), propagated: true };
        Recording::begin(Sampler::named(sampler, 1.0).unwrap(), inbound)
    }

    fn caller(sampled: bool) -> Option<TraceContext> {
        let parent = TraceParent { trace: TraceId::of([1, 2]), span: SpanId::of(3), sampled };
        Some(TraceContext { parent, state: "a=1".into() })
    }

    #[test]
    fn nothing_is_noted_of_a_trace_that_is_not_recorded() {
        let recording = recording("parentbased_always_on");
        recording.settle(caller(false));
        recording.done(Step::Handshake, recording.inbound.began, Instant::now());
        let timed = Timed::begin(Some(&recording), Step::Token);
        let (parent, state) = timed.context().unwrap();
        assert_eq!((parent.trace, parent.span, parent.sampled), (TraceId::of([1, 2]), recording.id(), false));
        assert_eq!(state, "a=1");
        drop(timed);
        assert_eq!((recording.steps().len(), recording.is_sampled()), (0, false));
    }

    #[test]
    fn a_request_is_noted_without_memory_until_its_trace_is_settled() {
        for sampled in [true, false] {
            let recording = recording("parentbased_always_on");
            recording.done(Step::Handshake, recording.inbound.began, Instant::now());
            drop(Timed::begin(Some(&recording), Step::Authenticate));
            assert!(!recording.notes().steps.spilled() && recording.trace.get().is_none());
            recording.settle(caller(sampled));
            // It is settled for good.
            recording.settle(caller(!sampled));
            drop(Timed::begin(Some(&recording), Step::Decide));
            let steps = recording.steps().len();
            assert_eq!((recording.is_sampled(), steps), (sampled, if sampled { 3 } else { 2 }));
        }
    }
}
