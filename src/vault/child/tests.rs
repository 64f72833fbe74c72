//! Whose a token is.

use super::*;
use crate::config::ChildPolicies;

/// The same agent in each of two namespaces.
pub(in super::super) fn moved() -> [Agent; 2] {
    ["team-a", "team-b"].map(|namespace| Agent {
        id: AgentId::parse("alice").unwrap(),
        generation: 1,
        namespace: Namespace::parse(namespace).unwrap(),
        roles_policy: "".into(),
        roles: Vec::new(),
        limit: None,
        operations: Vec::new(),
        terms: filters::quota::Terms::default(),
    })
}

#[test]
fn a_token_of_one_namespace_is_not_that_of_another() {
    let settings = ChildTokens {
        enabled: true,
        ttl: 90,
        entity_alias: false,
        policies: ChildPolicies::PerAgent("mcp-agent-".into()),
        role: "portcullis".into(),
        batch: true,
        capacity: 1,
    };
    let profile = Profile::new(VaultIdentity::Child, settings);
    let [here, there] = moved().map(|agent| Key::new(&agent, &profile, 1));
    assert!(here != there);
    let [here, there] = moved().map(|agent| profile.settings.token(&agent, true, 90).namespace);
    assert!(here != there);
}
