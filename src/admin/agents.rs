//! The page of agents: who is known, when each was seen last, and what became of its requests.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use filters::grants::Agent;
use filters::identity::Proof;
use filters::names::AgentId;
use filters::quota::Limit;
use filters::refusal::Refusal;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::service::Context;
use crate::surfaces::Reply;

use super::query::parameters;

/// Agents of a page that asks for no number of them, and most of any page.
const PAGE: (usize, usize) = (100, 1000);

const PARAMETERS: Refusal = Refusal::Malformed(
    "The query may have `name` and `cursor`, which are agents' names or parts of them, `seen_since`, a time as of \
     RFC 3339, and `limit`, a number from 1 to 1000; each once.",
);

/// The agents that are asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    /// A part of their names.
    name: Cow<'a, str>,
    /// The name after which they stand.
    cursor: Cow<'a, str>,
    /// The moment since which they were seen; all, where there is none.
    seen_since: Option<SystemTime>,
    /// Most of them.
    limit: usize,
}

impl<'a> Wanted<'a> {
    fn parse(query: &'a str) -> Result<Self, Refusal> {
        let mut wanted = Self { name: "".into(), cursor: "".into(), seen_since: None, limit: PAGE.0 };
        for (parameter, value) in parameters(query).ok_or(PARAMETERS)? {
            let is_name = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
            match parameter {
                "name" if is_name => wanted.name = value,
                "cursor" if is_name => wanted.cursor = value,
                "seen_since" => {
                    let time = OffsetDateTime::parse(&value, &Rfc3339);
                    wanted.seen_since = Some(time.map_err(|_| PARAMETERS)?.into());
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=PAGE.1).contains(limit));
                    wanted.limit = limit.ok_or(PARAMETERS)?;
                }
                _ => return Err(PARAMETERS),
            }
        }
        Ok(wanted)
    }
}

/// The agents of the running snapshot by name, as `query` asks for them: `name`, `cursor`, `seen_since`, `limit`.
/// An agent without an entry is among them once it has sent a request. Beside them are told the refused credentials
/// that are no agent's, the latest of them.
///
/// # Errors
/// [`Refusal::Malformed`] for any other query.
pub(super) fn page(context: &Context<'_>, query: &str) -> Result<Reply, Refusal> {
    let wanted = Wanted::parse(query)?;
    let (state, snapshot) = (context.state, &context.snapshot);
    let clock = Clock { now: state.now(), time: SystemTime::now() };
    let strangers = snapshot.agents.strangers();
    let since = wanted.seen_since.map(|time| clock.at(time));
    let is_wanted = |agent: &&Agent| {
        let (name, last) = (agent.id.as_str(), agent.tally.last());
        name > &*wanted.cursor && name.contains(&*wanted.name) && since.is_none_or(|since| last >= Some(since))
    };
    let entries = snapshot.agents.policy().entries().map(|agent| (agent, true));
    let others = strangers.iter().filter(|agent| agent.tally.last().is_some()).map(|agent| (&**agent, false));
    let mut agents: Vec<_> = entries.chain(others).filter(|(agent, _)| is_wanted(agent)).collect();
    agents.sort_unstable_by(|(one, _), (other, _)| one.id.cmp(&other.id));
    agents.dedup_by(|(one, _), (other, _)| one.id == other.id);
    let next = agents.get(wanted.limit).and_then(|_| agents.get(wanted.limit - 1)).map(|(agent, _)| agent.id.as_str());
    let keyed: HashSet<&AgentId> = snapshot.credentials.api_keys.entries().map(|key| &key.agent.id).collect();
    let told = agents.iter().take(wanted.limit).map(|(agent, has_entry)| {
        let key = keyed.contains(&agent.id).then_some(Proof::ApiKey);
        let proofs = snapshot.agents.policy().directory().proofs_of(&agent.id).chain(key);
        describe(context, (agent, *has_entry), proofs, &clock)
    });
    let body = json!({
        "now": text(clock.time),
        "snapshot": snapshot.about.version,
        "agents": told.collect::<Vec<_>>(),
        "next": next,
        "nobody": nobody(context),
    });
    Ok(Reply::json(200, body.to_string()))
}

/// An agent, and whether it has an entry, with the kinds of proof by which it may come.
fn describe(
    context: &Context<'_>,
    (agent, has_entry): (&Agent, bool),
    proofs: impl Iterator<Item = Proof>,
    clock: &Clock,
) -> Value {
    let (state, counts) = (context.state, agent.tally.counts());
    let limit = |limit: &Limit| {
        json!({
            "at_once": limit.rate.burst(),
            "per_minute": limit.rate.per_minute(),
            "left": limit.cell.left(&limit.rate, clock.now),
        })
    };
    let [turns, waiting] = context.snapshot.limits.concurrency.taken(&agent.id);
    json!({
        "name": agent.id.as_str(),
        "namespace": agent.namespace.as_str(),
        "roles": agent.roles.iter().map(|(role, _)| &*role.name).collect::<Vec<_>>(),
        "entry": has_entry,
        "credentials": proofs.map(Proof::name).collect::<Vec<_>>(),
        "suspended": state.vault.suspensions.hold(&agent.id),
        "last_seen": counts.last.map(|last| text(clock.time_of(last))),
        "allowed": counts.allowed,
        "refused": counts.refused.into_iter().collect::<BTreeMap<_, _>>(),
        "took_seconds": counts.took.as_secs_f64(),
        "rate_limit": agent.limit.as_ref().map(limit),
        "turns": {"taken": turns, "waiting": waiting, "most": agent.terms.concurrent},
        "streams": state.streams.held_by(&agent.id),
    })
}

fn nobody(context: &Context<'_>) -> Vec<Value> {
    let refused = context.state.refused_logins.all();
    let told = refused.into_iter().map(|login| {
        json!({
            "credential": login.judged,
            "why": login.why,
            "principal": login.principal,
            "key": login.key,
            "certificate": login.certificate,
            "issuer": login.issuer,
            "refused": login.count,
            "last_seen": text(login.last),
        })
    });
    told.collect()
}

/// One moment by both clocks.
struct Clock {
    /// Nanoseconds on the clock of the limits.
    now: u64,
    time: SystemTime,
}

impl Clock {
    /// The time of day of a moment on the clock of the limits.
    fn time_of(&self, moment: u64) -> SystemTime {
        let ago = Duration::from_nanos(self.now.saturating_sub(moment));
        self.time.checked_sub(ago).unwrap_or(self.time)
    }

    /// The moment of a time of day on the clock of the limits.
    fn at(&self, time: SystemTime) -> u64 {
        let ago = self.time.duration_since(time).unwrap_or_default();
        self.now.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The time as of RFC 3339, in UTC and whole seconds.
pub(super) fn text(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_known_parameters_once() {
        let wanted = Wanted::parse("name=ci&cursor=b.c&limit=1000&seen_since=2026-11-29T02%3A00:00Z").unwrap();
        let since = OffsetDateTime::from_unix_timestamp(1_795_917_600).unwrap().into();
        assert_eq!(wanted, Wanted { name: "ci".into(), cursor: "b.c".into(), seen_since: Some(since), limit: 1000 });
        assert_eq!(Wanted::parse("").unwrap().limit, 100);
        for query in
            ["limit=0", "limit=1001", "limit", "name=a/b", "name=a&name=b", "cursor=%2F", "else=1", "seen_since=x"]
        {
            assert!(Wanted::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn both_clocks_tell_of_one_moment() {
        let clock = Clock { now: 5_000_000_000, time: SystemTime::UNIX_EPOCH + Duration::from_secs(100) };
        let seen = clock.time_of(2_000_000_000);
        assert_eq!((text(seen).as_str(), clock.at(seen)), ("1970-01-01T00:01:37Z", 2_000_000_000));
        assert_eq!(clock.at(SystemTime::UNIX_EPOCH), 0, "before the gate's start");
        assert_eq!(clock.at(clock.time + Duration::from_secs(1)), clock.now, "from a clock that is ahead");
    }
}
