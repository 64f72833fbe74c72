//! Tokens of one namespace are not those of another.

use super::*;
use crate::config::{ChildPolicies, ChildTokens, VaultIdentity};
use filters::secret::Secret;

/// The same agent in each of two namespaces.
fn moved() -> [Agent; 2] {
    ["team-a", "team-b"].map(|namespace| Agent {
        id: AgentId::parse("alice").unwrap(),
        generation: 1,
        namespace: Namespace::parse(namespace).unwrap(),
        roles_policy: "".into(),
        tally: Arc::default(),
        roles: Vec::new(),
        limit: None,
        operations: Vec::new(),
        terms: filters::quota::Terms::default(),
    })
}

fn profile() -> Profile {
    let settings = ChildTokens {
        enabled: true,
        ttl: 90,
        entity_alias: false,
        policies: ChildPolicies::PerAgent("mcp-agent-".into()),
        role: "portcullis".into(),
        batch: true,
        capacity: 1,
    };
    Profile::new(VaultIdentity::Child, settings)
}

#[test]
fn a_token_of_one_namespace_is_not_that_of_another() {
    let (profile, bearer) = (profile(), Bearer { token: Secret::new("t".into()), issuer: 0, expires: 0 });
    let jwt_login = Arc::new(TokenLogin { mount: "jwt".into(), role: None });
    let login = Arc::new(GateLogin { token: Secret::new("g".into()), generation: 1 });
    for source in [TokenSource::Mint(login), TokenSource::JwtLogin(&bearer, &jwt_login)] {
        let [here, there] = moved().map(|agent| source.key(&agent, &profile));
        assert!(here != there);
    }
    let [here, there] = moved().map(|agent| profile.child_token(&agent, true, 90).namespace);
    assert!(here != there);
}
