//! Who may do it: the agents that have an entry of their own.

use filters::credential::KeyEntry;
use filters::identity::{Principal, Source as Origin};
use filters::names::AgentId;
use filters::secret::Digest;
use filters::spiffe::SpiffeId;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::fields::{Fields, Sited};
use super::super::sections as section;
use super::super::settings::AgentEntry;
use super::jwt::Issuers;
use super::keys::{AGENT_NAME, SitedKey};
use super::roles::{Roles, role_indices};
use super::{limits, namespaces};

/// The mend of a SPIFFE ID that is none.
pub(super) const SPIFFE_ID: &str = "write such as `spiffe://corp.example/agent/ci`: a trust domain in lower case and \
    a path of letters, digits, `.`, `-` and `_`, without a slash at its end";

/// An agent's entry and the principals that are its own.
pub(super) struct Found {
    pub(super) entry: AgentEntry,
    pub(super) principals: Vec<Sited<Principal>>,
}

/// The agents of the file, and their API keys.
pub(super) fn agents(top: &Fields<'_>, all_roles: &Roles, issuers: &Issuers) -> (Vec<Found>, Vec<SitedKey>) {
    let (mut agents, mut keys) = (Vec::new(), Vec::new());
    for (name, fields) in top.named("agents", &section::AGENT) {
        // The built-in role where none is named at all; none where the list is empty.
        let roles = if fields.given("roles") { role_indices(&fields, all_roles) } else { vec![0] };
        let namespace = namespaces::below(&fields, &all_roles.namespace);
        if namespace.is_none() {
            namespaces::agree(&fields, &all_roles.list, &roles, "give the agent a `namespace`, or the roles the same");
        }
        let (rate, concurrent) = (limits::rate(&fields, "rate"), fields.size("concurrent"));
        let generation = fields.number("generation").and_then(|number| u32::try_from(number).ok()).unwrap_or(1);
        let suspended = fields.flag("suspended").unwrap_or(false);
        let principals = principals(&fields, issuers);
        let own_keys: Vec<_> = fields.tables("api_keys", &section::API_KEY).iter().filter_map(key).collect();
        let Some(id) = AgentId::parse(name.value) else {
            top.problem("agents", &name.place, "has an invalid name", AGENT_NAME);
            continue;
        };
        keys.extend(
            own_keys.into_iter().map(|(place, digest, expires)| Sited {
                place,
                value: KeyEntry { digest, agent: id.clone(), expires },
            }),
        );
        let entry = AgentEntry { id, suspended, generation, roles, namespace, rate, concurrent };
        agents.push(Found { entry, principals });
    }
    (agents, keys)
}

fn principals(fields: &Fields<'_>, issuers: &Issuers) -> Vec<Sited<Principal>> {
    let mut found = Vec::new();
    for certificate in fields.tables("certificate", &section::PRINCIPAL) {
        if Origin::OF_CERTIFICATES.into_iter().all(|source| !certificate.given(source.name())) {
            let mend = "give one of `spiffe`, `uri`, `dns`, `email`, `cn`, `fingerprint`";
            fields.problem("certificate", &certificate.place, "names no principal", mend);
        }
        found.extend(Origin::OF_CERTIFICATES.into_iter().filter_map(|source| principal(&certificate, source)));
    }
    for token in fields.tables("jwt", &section::SUBJECT) {
        token.require("subject");
        let (Some(source), Some(subject)) = (issuers.origin(&token), token.text("subject")) else { continue };
        found.push(Sited { place: subject.place, value: Principal { source, value: subject.value } });
    }
    found
}

fn principal(fields: &Fields<'_>, source: Origin) -> Option<Sited<Principal>> {
    let Sited { place, value } = fields.text(source.name())?;
    let value = match source {
        Origin::Spiffe if SpiffeId::parse(&value).is_none() => {
            fields.problem(source.name(), &place, "is not a SPIFFE ID", SPIFFE_ID);
            return None;
        }
        Origin::Fingerprint => match Digest::from_hex(&value.replace(':', "")) {
            Some(digest) => digest.to_hex(),
            None => {
                fields.problem(source.name(), &place, "is not a SHA-256 fingerprint", "write 64 hexadecimal digits");
                return None;
            }
        },
        _ => value,
    };
    Some(Sited { place, value: Principal { source, value } })
}

fn key(fields: &Fields<'_>) -> Option<(super::super::report::Place, Digest, Option<i64>)> {
    fields.require("sha256");
    let expires = fields.text("expires").and_then(|text| {
        let time = OffsetDateTime::parse(&text.value, &Rfc3339).ok();
        if time.is_none() {
            fields.problem("expires", &text.place, "is not a time", "write such as `2030-01-31T12:00:00Z` (RFC 3339)");
        }
        time.map(OffsetDateTime::unix_timestamp)
    });
    let text = fields.text("sha256")?;
    let digest = Digest::from_hex(&text.value);
    if digest.is_none() {
        let mend = "write 64 hexadecimal digits, as `printf %s KEY | sha256sum` prints them; not the key itself";
        fields.problem("sha256", &text.place, "is not a SHA-256 digest", mend);
    }
    Some((text.place, digest?, expires))
}
