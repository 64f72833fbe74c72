//! Where an operation begins and ends: a caller is admitted, and calls. No socket is known here, nor
//! the form in which a surface was asked.
//!
//! ```text
//! admit(what is offered) ─► Caller ─► call(&Caller, Operation) ─► Called { answer, outcome }
//! ```
#![deny(clippy::wildcard_enum_match_arm)]

mod authenticate;
mod call;
mod caller;
mod charge;
mod confirm;
mod form;
mod gate_token;
mod issue;
mod judge;
mod offer;
mod outcome;
mod pass;
mod peer;
mod refused_login;
mod streaming;

pub use call::Called;
pub use caller::{Caller, Held, place};
pub use confirm::Confirm;
pub use form::{Form, Formed, InParts, Unformed};
pub use gate_token::TokenOf;
pub use offer::{Offer, Target};
pub use outcome::{Outcome, Outcomes};
pub use peer::{Peer, Verdict};
pub use refused_login::{RefusedLogin, Rejected};
pub use streaming::{Performed, Streaming};

use std::sync::Arc;

use filters::operation::Entry;
use filters::trace::TraceContext;

use crate::snapshot::Snapshot;
use crate::state::State;
use crate::telemetry::{Recording, Step, Timed};
use crate::vault::Parcel;

/// Everything that one request may look at.
pub struct Context<'a> {
    /// The state that lives as long as the process.
    pub state: &'a State,
    /// The configuration as of the request's begin.
    pub snapshot: Arc<Snapshot>,
    /// Holds what Vault has given out for the request, until its caller has it.
    pub parcel: Parcel<'a>,
    /// The notes for its trace; `None` where traces are off.
    pub recording: Option<Box<Recording>>,
}

impl Context<'_> {
    /// Begins a step of the request, which is noted for its trace.
    #[must_use]
    pub fn timed(&self, step: Step) -> Timed<'_> {
        Timed::begin(self.recording.as_deref(), step)
    }

    /// Begins the answer to a message: its method, the tool that it calls, its revision, the span that it belongs to.
    /// Settles the trace of the request, which is known by then.
    #[must_use]
    pub fn answering(
        &self,
        (method, tool): (&'static str, Option<&'static Entry>),
        revision: &'static str,
        trace: Option<&TraceContext>,
    ) -> Timed<'_> {
        if let Some(recording) = &self.recording {
            recording.settle(trace.cloned());
        }
        let parent = trace.map(|trace| trace.parent);
        self.timed(Step::Message { method, tool, revision, parent })
    }
}
