//! Open streams of events, open as long as they would be granted again.
//!
//! A stream's caller is judged against the state of the moment when a snapshot is published, when others are
//! suspended, and every second for what time alone ends.

use std::net::IpAddr;
use std::time::Duration;

use filters::grants::Agent;
use filters::identity::Identity;
use filters::mcp::{Feed, Session, Shown};
use filters::refusal::Refusal;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::events::{Heard, StreamAddress, Subscription};
use crate::limits::Share;
use crate::service::{Caller, Context, Offer};

/// Longest time in which what has ended by time alone goes on.
const LOOK: Duration = Duration::from_secs(1);

/// A stream that was granted.
pub struct Events {
    /// Its caller, as judged last.
    identity: Identity,
    client: Option<IpAddr>,
    feed: Feed,
    /// The tools that its client was last shown.
    shown: Shown,
    heard: Subscription,
    /// The session that it was opened in.
    session: Option<Session>,
    /// Why it goes on no longer.
    end: Option<Refusal>,
    _place: Share,
}

/// Tells when a stream has something to say, or is to be judged again.
pub struct Attention {
    snapshots: watch::Receiver<u64>,
    suspensions: watch::Receiver<()>,
    look: Interval,
}

impl Attention {
    /// Begins now.
    #[must_use]
    pub fn begin(Context { state, .. }: &Context<'_>) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { snapshots: state.publications(), suspensions: state.vault.suspensions.changes(), look }
    }

    /// Waits until there is something, and gives what the stream hears. Nothing is lost where the wait is
    /// given up.
    pub async fn next(&mut self, events: &mut Events) -> Option<Heard> {
        tokio::select! {
            heard = events.heard.next() => Some(heard),
            _ = self.snapshots.changed() => None,
            _ = self.suspensions.changed() => None,
            _ = self.look.tick() => None,
        }
    }
}

/// An agent without a role has nothing to be told of.
pub(super) fn may_listen(context: &Context<'_>, identity: &Identity) -> Result<(), Refusal> {
    context.check_suspension(&identity.agent.id)?;
    if identity.agent.roles.is_empty() { Err(Refusal::Forbidden) } else { Ok(()) }
}

impl Events {
    /// A stream of this caller's, which was shown these tools.
    pub(super) fn new(caller: &Caller<'_>, feed: Feed, shown: Shown, heard: Subscription, place: Share) -> Self {
        let (identity, client) = (caller.identity.clone(), caller.client);
        Self { identity, client, feed, shown, heard, session: None, end: None, _place: place }
    }

    /// It is told of what this session wants to be told of, and ends with it.
    pub(super) fn belongs_to(&mut self, session: Option<Session>) {
        self.session = session;
    }

    /// Where it is addressed.
    pub(super) fn address(&self) -> StreamAddress {
        self.heard.address()
    }

    /// Messages may be sent to this path, to be answered on it.
    pub(super) fn is_answered_at(&mut self, path: Option<String>) {
        self.feed = Feed::Bridge(path);
    }

    /// The first thing said on it.
    #[must_use]
    pub fn opening(&self) -> String {
        self.feed.opening()
    }

    /// The text that tells its client of what was heard, and of what has changed for it: nothing of what its
    /// agent may not see in this context; `offer` is what the stream was granted by. Mostly empty.
    ///
    /// # Errors
    /// Why the stream would not be granted any more; [`Refusal::TooSlow`] where no more is told.
    pub fn say(&mut self, heard: Option<Heard>, context: &Context<'_>, offer: &Offer<'_>) -> Result<String, Refusal> {
        let changed = self.judge(context, offer)?;
        match heard {
            None => Ok(changed),
            Some(heard) => Ok(changed + &self.told(&heard, context)?),
        }
    }

    /// Judges it, and gives what its client is to be told of that.
    fn judge(&mut self, context: &Context<'_>, offer: &Offer<'_>) -> Result<String, Refusal> {
        let identity = context.recognise(offer)?;
        let same = |agent: &Agent, other: &Agent| (&agent.id, agent.generation) == (&other.id, other.generation);
        if !same(&identity.agent, &self.identity.agent) {
            return Err(Refusal::Unauthenticated);
        }
        may_listen(context, &identity)?;
        if let Some(session) = &self.session {
            let events = &context.state.events;
            if !session.lasts(context.now(), identity.proof) || events.has_ended(session.number()) {
                return Err(Refusal::NoSession);
            }
            self.feed.watch(events.watched(session.number()));
        }
        let shown = Shown::to(&identity, context.snapshot.surfaces.tool_names);
        let changed = shown != self.shown;
        (self.shown, self.identity) = (shown, identity);
        Ok(if changed { self.feed.tools_changed() } else { String::new() })
    }

    fn told(&self, heard: &Heard, context: &Context<'_>) -> Result<String, Refusal> {
        match heard {
            Heard::Event(told) => {
                let seen = context.may_hear(&self.identity, self.client, &told.event);
                Ok(if seen { self.feed.told(told.id, &told.event, &self.identity.agent.id) } else { String::new() })
            }
            Heard::Answer(message) => Ok(self.feed.answered(message)),
            Heard::Gap => Ok(self.feed.gap()),
            Heard::TooSlow => Err(Refusal::TooSlow),
        }
    }

    /// Ends it for this reason.
    pub fn end(&mut self, refusal: Refusal) {
        self.end = Some(refusal);
    }

    /// The last thing said on it.
    #[must_use]
    pub fn closing(&self) -> String {
        self.feed.closing(self.end.as_ref().map_or("gate_ends", |refusal| refusal.public().code))
    }

    /// Why it has ended, where it would not go on any more.
    #[must_use]
    pub const fn ended_by(&self) -> Option<&Refusal> {
        self.end.as_ref()
    }
}
