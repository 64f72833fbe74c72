//! Principals that nothing maps.

use filters::identity::{Directory, Source as Origin, UnknownAgents};

use super::super::fields::{Fields, Sited};
use super::jwt::Issuers;

const NAMES: &str = "`cn`, `jwt`, or an issuer's name";

/// Decides if they are agents, and of which source. Whoever names agents, roles
/// or families means to name them all.
pub(super) fn agents(top: &Fields<'_>, fields: &Fields<'_>, common_names: bool, issuers: &Issuers) -> UnknownAgents {
    let named = top.given("agents") || top.given("roles") || fields.given("families");
    match fields.text("unknown_agents").map(|text| text.value).as_deref() {
        Some("own-namespace") => UnknownAgents::OwnNamespace(source(fields, common_names, issuers)),
        None if !named && !fields.given("unknown_agents") => {
            UnknownAgents::OwnNamespace(source(fields, common_names, issuers))
        }
        _ => {
            if fields.given("unknown_source") {
                let text = "`identity.unknown_source` is not used: unknown agents are refused";
                fields.source.findings.warning(&fields.place_of("unknown_source"), text);
            }
            UnknownAgents::Refuse
        }
    }
}

/// The one source whose principals have the names that they say.
fn source(fields: &Fields<'_>, common_names: bool, issuers: &Issuers) -> Option<Origin> {
    let subjects = (0..issuers.list.len()).map(Origin::Jwt);
    let mut able = common_names.then_some(Origin::CommonName).into_iter().chain(subjects);
    match (fields.text("unknown_source"), able.next(), able.next()) {
        (Some(given), ..) => named(fields, &given, issuers),
        (None, only, None) => only,
        (None, ..) => {
            let wrong = "is missing where common names and subjects of tokens, or those of several issuers, could \
                         become agents: two that are alike would be one agent";
            let mend =
                format!("say whose are, there or by UNKNOWN_SOURCE: {NAMES}; give all others entries or families");
            fields.problem("unknown_source", &fields.place_of("unknown_agents"), wrong, &mend);
            None
        }
    }
}

fn named(fields: &Fields<'_>, given: &Sited<String>, issuers: &Issuers) -> Option<Origin> {
    match given.value.as_str() {
        "cn" => return Some(Origin::CommonName),
        // That there is none at all is a warning, and another's.
        "jwt" if issuers.list.len() < 2 => return Some(Origin::Jwt(0)),
        _ => {}
    }
    let found = issuers.list.iter().position(|issuer| *issuer.rules.name == *given.value);
    if found.is_none() {
        let mend = format!("write {NAMES}; `jwt` where there is one only");
        fields.problem("unknown_source", &given.place, "names no source of agents", &mend);
    }
    found.map(Origin::Jwt)
}

/// Warns where no principal is left that could become an agent by itself.
pub(super) fn doubt(fields: &Fields<'_>, directory: &Directory) {
    let none_left = directory.families().iter().any(|family| family.gives_every_name());
    if none_left && matches!(directory.unknown(), UnknownAgents::OwnNamespace(_)) {
        let text = "unknown agents are refused all the same: one of `identity.families` could give any name";
        fields.source.findings.warning(&fields.place_of("unknown_agents"), text);
    }
}
