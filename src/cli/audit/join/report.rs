//! The words of a join: a line for each thing that was found, and a summary.

use std::fmt::Write as _;
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::path::Path;

use filters::audit::{HeardRequest, RecordedCall};
use serde_json::{Value, json};

use crate::cli::audit::criteria::at;

/// Something that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A record beside the request that it tells of.
    Joined,
    /// A request that the gate made for the same call.
    Beside,
    /// A request that is not what its record tells of.
    Differs,
    /// A request that no record tells of, and one should.
    Unrecorded,
    /// A request of somebody else's.
    Other,
    /// A record of what Vault was asked, of which Vault's audit has no request.
    Missing,
}

impl Finding {
    const fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Beside => "beside",
            Self::Differs => "differs",
            Self::Unrecorded => "unrecorded",
            Self::Other => "other client",
            Self::Missing => "not in Vault's",
        }
    }

    const fn fails(self) -> bool {
        matches!(self, Self::Differs | Self::Unrecorded | Self::Missing)
    }
}

/// Prints findings to standard output.
pub(super) struct Printer {
    json: bool,
    missing: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Printer {
    /// Prints lines for people, or of JSON; with `missing` only what fails.
    pub(super) fn new(json: bool, missing: bool) -> Self {
        Self { json, missing, out: BufWriter::new(io::stdout().lock()) }
    }

    /// Prints one finding, of which one side may be absent.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(super) fn print(
        &mut self,
        finding: Finding,
        call: Option<&RecordedCall>,
        heard: Option<&HeardRequest>,
        why: &str,
    ) -> io::Result<()> {
        if self.missing && !finding.fails() {
            return Ok(());
        }
        if self.json {
            let found = json!({
                "result": finding.name(), "why": why, "gate": call.map(recorded), "vault": heard.map(asked),
            });
            return writeln!(self.out, "{found}");
        }
        let time = heard.map(|heard| heard.time).or(call.map(|call| call.time)).unwrap_or_default();
        let id = call.map(|call| &*call.correlation).or(heard.and_then(|heard| heard.correlation.as_deref()));
        // Whatever stands in either audit may not control the terminal.
        let id = id.unwrap_or("no id").escape_debug();
        let mut text = format!("{:<14}  {}  {id}:", finding.name(), at(time));
        if let Some(call) = call {
            let RecordedCall { agent, operation, decision, record, .. } = call;
            let status = call.status.map(|status| format!(" {status}")).unwrap_or_default();
            let _ =
                write!(text, " {} {} {decision}{status} ({record})", agent.escape_debug(), operation.escape_debug());
        }
        if let Some(heard) = heard {
            let to = if call.is_some() { " =" } else { "" };
            let (operation, path) = (heard.operation.escape_debug(), heard.path.escape_debug());
            let _ = write!(text, "{to} {operation} {path}");
            if !heard.namespace.is_empty() {
                let _ = write!(text, " in {}", heard.namespace.escape_debug());
            }
            if finding != Finding::Joined && finding != Finding::Beside {
                let holder = if heard.holder.is_empty() { "nobody" } else { &heard.holder };
                let _ = write!(text, " by {} from {}", holder.escape_debug(), heard.address.escape_debug());
            }
            match &heard.error {
                Some(error) => _ = write!(text, ", refused: {}", error.trim().escape_debug()),
                None if !heard.answered => text.push_str(", without an answer"),
                None => {}
            }
        }
        if !why.is_empty() {
            let _ = write!(text, ": {why}");
        }
        writeln!(self.out, "{text}")
    }

    /// Prints the summary, and with it all that waits.
    pub(super) fn finish(&mut self, tally: &Tally) {
        let _ = if self.json {
            writeln!(self.out, "{}", json!({"summary": tally.to_json()}))
        } else {
            write!(self.out, "{}", tally.to_text())
        };
        let _ = self.out.flush();
    }
}

fn recorded(call: &RecordedCall) -> Value {
    json!({
        "record": call.record, "time": at(call.time), "correlation_id": call.correlation, "request_id": call.request.0,
        "agent": call.agent, "operation": call.operation, "decision": call.decision, "status": call.status,
        "names": call.named().collect::<Vec<_>>(),
    })
}

fn asked(heard: &HeardRequest) -> Value {
    json!({
        "request": heard.request, "time": at(heard.time), "correlation_id": heard.correlation,
        "operation": heard.operation, "path": heard.path, "namespace": heard.namespace, "agent": heard.agent,
        "holder": heard.holder, "address": heard.address, "error": heard.error, "answered": heard.answered,
    })
}

/// The numbers of a join.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Calls of the gate's that requests were found for.
    pub(super) calls: u64,
    /// Their requests.
    pub(super) joined: u64,
    /// Of those, requests whose paths could not be compared.
    pub(super) unproved: u64,
    pub(super) beside: u64,
    /// Requests of Vault's that are only there, with reasons.
    pub(super) own: u64,
    pub(super) commands: u64,
    pub(super) other_gates: u64,
    pub(super) others: u64,
    pub(super) outside: u64,
    pub(super) internal: u64,
    /// Requests whose ids are HMACs, and Vault was not asked for those.
    pub(super) hidden: u64,
    /// Requests that have a correlation id.
    pub(super) identified: u64,
    /// Records of the gate's that are only there, with reasons.
    pub(super) unasked: u64,
    pub(super) unfinished: u64,
    pub(super) later: u64,
    /// What fails.
    pub(super) unrecorded: u64,
    pub(super) differs: u64,
    pub(super) missing: u64,
    /// Lines that could not be read.
    pub(super) unread: Unread,
}

/// Most places that are named.
const PLACES: u64 = 10;

/// Lines that could not be read: their number, and the places of the first ones.
#[derive(Debug, Default)]
pub(super) struct Unread {
    count: u64,
    places: Vec<String>,
}

impl Unread {
    /// Notes a line.
    pub(super) fn note(&mut self, file: &Path, line: u64) {
        self.count += 1;
        if self.count <= PLACES {
            self.places.push(format!("{}:{line}", file.display()));
        }
    }
}

impl Tally {
    /// True where nothing is missing on either side.
    pub(super) const fn fits(&self) -> bool {
        self.unrecorded + self.differs + self.missing == 0
    }

    fn to_json(&self) -> Value {
        json!({
            "fits": self.fits(), "calls": self.calls, "joined": self.joined, "unproved": self.unproved,
            "beside": self.beside,
            "only_vault": {
                "own": self.own, "commands": self.commands, "other_gates": self.other_gates, "others": self.others,
                "internal": self.internal, "outside": self.outside, "hidden": self.hidden,
            },
            "only_gate": {"unasked": self.unasked, "unfinished": self.unfinished, "outside": self.later},
            "unrecorded": self.unrecorded, "differs": self.differs, "missing": self.missing,
            "unread": self.unread.count,
        })
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let Self { calls, joined, beside, own, commands, other_gates, others, internal, .. } = self;
        let Self { outside, unasked, unfinished, later, unrecorded, differs, missing, unproved, hidden, .. } = self;
        let _ = writeln!(
            text,
            "joined: {calls} calls with {joined} requests, and {beside} requests beside them, such as for tokens"
        );
        let _ = writeln!(
            text,
            "only Vault's: {own} of this gate's own, {commands} of commands, {other_gates} of other gates, {others} of \
             other clients, {internal} of Vault's own, {outside} before the gate's first record or still under way"
        );
        let _ = writeln!(
            text,
            "only the gate's: {unasked} refused or answered without Vault, {unfinished} without an end, {later} outside \
             the time of Vault's log"
        );
        let _ = writeln!(
            text,
            "amiss: {unrecorded} requests without a record, {missing} records without a request, {differs} that differ"
        );
        if *unproved > 0 {
            let _ = writeln!(text, "joined by their ids alone: {unproved}; --name-key has paths compared too");
        }
        if *hidden > 0 {
            let _ = writeln!(text, "requests whose ids are HMACs: {hidden}; --audit-hash DEVICE asks Vault for them");
        }
        if self.identified == 0 {
            text.push_str(
                "no request has a correlation id: have Vault write it down by `vault write \
                 sys/config/auditing/request-headers/X-Correlation-Id hmac=false`\n",
            );
        }
        let Unread { count, places } = &self.unread;
        if *count > 0 {
            let more = if *count > PLACES { ", …" } else { "" };
            let _ = writeln!(text, "lines that cannot be read: {count}: {}{more}", places.join(", "));
        }
        text
    }
}
