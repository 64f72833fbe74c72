//! Sinks: whatever keeps a record of what is asked. Each is told at two moments.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use filters::audit::Occurrence;
use filters::decide::Concern;
use filters::event::Event;
use filters::operation::Entry;
use filters::refusal::Refusal;
use filters::trace::TraceId;

/// Keeps records of operations: a log, metrics, an audit.
pub trait Sink: Send + Sync {
    /// Takes an operation that is permitted, before Vault is asked; gives what is to be waited for until then.
    ///
    /// # Errors
    /// The caller's answer where a record must be kept and cannot be: Vault is not asked then.
    fn admit(&self, _record: &Record<'_>) -> Result<Option<Kept>, Refusal> {
        Ok(None)
    }

    /// Takes an outcome: of a request, or of one message of a batch.
    fn finish(&self, record: &Record<'_>);

    /// Writes what waits: nothing more comes.
    fn close(&self) {}
    /// Takes something that no agent asked for.
    fn note(&self, _occurrence: &Occurrence<'_>) {}

    /// The reason why operations are refused for want of a record; `None` where they are not.
    fn problem(&self) -> Option<&'static str> {
        None
    }
}

/// Ends once a record is kept, or cannot be: with the caller's answer then.
pub type Kept = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// The record of one operation, or of a request without any. Of the caller's own text it holds the name of what
/// the operation is about, which was judged: the route is a template and ids are closed. The principal of a
/// refused login is a name that was proved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The gate's id of the request.
    pub request_id: &'a str,
    /// The correlation id.
    pub correlation_id: &'a str,
    /// The trace that the request is in, where it is in one.
    pub trace: Option<TraceId>,
    /// The place of a message in its batch.
    pub message: Option<usize>,
    /// The TCP peer.
    pub client: Option<IpAddr>,
    /// The HTTP method, one of a closed set.
    pub method: &'static str,
    /// The route's template.
    pub route: &'static str,
    /// The agent's name.
    pub agent: &'a str,
    /// Vault's namespace that it is in, where that is not the root.
    pub namespace: &'a str,
    /// The kind of proof of its identity.
    pub proof: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// `allow`, or the code of the refusal.
    pub decision: &'static str,
    /// The role that allowed.
    pub role: &'a str,
    /// The resource that it was about: of the first call, where several were made; `None` where none was judged.
    pub concern: Option<&'a Concern>,
    /// True where only a role that observes allowed it.
    pub observed: bool,
    /// The reason why a login or a call was refused, or what was observed would be.
    pub why: &'a str,
    /// The kind of credential of a refused login that did not hold; empty where none was judged.
    pub judged: &'static str,
    /// The principal of a refused login, where that was proved: at most 256 characters.
    pub principal: &'a str,
    /// First digits of the SHA-256 of a refused login's API key.
    pub key: &'a str,
    /// SHA-256 of a refused login's certificate.
    pub certificate: &'a str,
    /// Configured name of the issuer of a refused login's token.
    pub issuer: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// The time from head to answer.
    pub took: Duration,
    /// The calls that the service made for it; none before they are made.
    pub calls: Option<&'a Calls>,
}

/// A call of the service that has ended.
#[derive(Debug)]
pub struct Call {
    /// The operation.
    pub entry: &'static Entry,
    /// The resource that it was about.
    pub concern: Concern,
    /// The code of the refusal; `None` where it was served.
    pub refused: Option<&'static str>,
    /// The time that Vault took; `None` where it was not asked.
    pub upstream: Option<Duration>,
    /// The event that it made; `None` where it changed nothing.
    pub event: Option<Box<Event>>,
}

/// The calls of one outcome: mostly one, more where a listing is walked.
#[derive(Debug, Default)]
pub struct Calls {
    first: Option<Call>,
    others: Vec<Call>,
}

impl Calls {
    /// Adds a call.
    pub fn add(&mut self, call: Call) {
        match self.first {
            None => self.first = Some(call),
            Some(_) => self.others.push(call),
        }
    }

    /// Adds the calls of a part.
    pub fn append(&mut self, part: Self) {
        part.first.into_iter().chain(part.others).for_each(|call| self.add(call));
    }

    /// The time that Vault took for all of them.
    #[must_use]
    pub fn upstream(&self) -> Duration {
        self.iter().filter_map(|call| call.upstream).sum()
    }

    /// The calls, in the order in which they ended.
    pub fn iter(&self) -> impl Iterator<Item = &Call> {
        self.first.iter().chain(&self.others)
    }
}
