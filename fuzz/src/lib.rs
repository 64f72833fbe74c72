//! Shared by the targets: an agent that may do anything within its own, and
//! what must hold of whatever it is permitted.

#![allow(clippy::expect_used, clippy::panic)]

use std::sync::{Arc, LazyLock};

use filters::catalog::CATALOG;
use filters::decide::{DecisionContext, Effect, decide};
use filters::grants::{Agent, Role};
use filters::handle::Keyring;
use filters::identity::{Identity, Proof};
use filters::names::{AgentId, Namespace};
use filters::operation::Operation;
use filters::pattern::{NamePattern, PathPattern};
use filters::quota::Terms;
use filters::scope::Scopes;
use filters::vault::{Layout, VaultRequest};

/// The agent that asks.
pub const AGENT: &str = "alice";

/// Where things lie in Vault.
pub static LAYOUT: LazyLock<Layout> = LazyLock::new(|| CATALOG.layout());

/// The keys that seal the agent's handles.
pub static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::new([(1, [7; 32])]));

/// The agent, with one role: its own secrets but `denied/**`, and each
/// engine's names that begin with `own-`.
pub static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let names = || vec![NamePattern::parse("own-*").expect("a pattern")];
    let keys = || vec![NamePattern::parse_slashed("alias/own-*").expect("a pattern")];
    let engines = CATALOG.engines().filter(|engine| engine.names().is_some());
    let named = engines.map(|engine| (engine, if engine.is_kms() { keys() } else { names() })).collect();
    let role = Role {
        name: "own".into(),
        scopes: Scopes::ALL,
        kv: vec![PathPattern::EVERYTHING],
        deny: vec![PathPattern::parse("denied/**").expect("a pattern")],
        named,
        ..Role::default()
    };
    let agent = Agent {
        id: AgentId::parse(AGENT).expect("a name"),
        generation: 1,
        namespace: Namespace::default(),
        roles_policy: "".into(),
        tally: Arc::default(),
        roles: vec![(Arc::new(role), None)],
        limit: None,
        operations: Vec::new(),
        terms: Terms::default(),
    };
    Identity::new(Arc::new(agent), Scopes::ALL, Proof::Certificate)
});

/// Decides the operation; what is permitted must stay within the agent's own.
///
/// # Panics
/// Where it does not.
pub fn judge(operation: Operation) {
    let ground = DecisionContext { layout: &LAYOUT, keyring: &KEYRING, client: None, now: 1_767_225_600 };
    let Ok(permit) = decide(&IDENTITY, operation, ground) else { return };
    match permit.into_permitted(&LAYOUT, 60).map(|permitted| permitted.effect) {
        Ok(Effect::Vault(request) | Effect::Issue(_, _, request)) => within_own(request.rendered()),
        Ok(Effect::Pass(_)) => panic!("a path of Vault's that no role grants"),
        Ok(Effect::Redeem(_)) => panic!("a handle that nobody has sealed"),
        Ok(Effect::Kms(request)) => {
            let (key, _) = request.into_parts();
            assert!(key.starts_with("alias/own-"), "{key}");
        }
        Ok(Effect::Own(_)) | Err(_) => {}
    }
}

/// The path has no segment that a server would read otherwise, and names
/// nothing that is not the agent's.
fn within_own(request: &VaultRequest) {
    let path = request.path();
    let told = || format!("{} {path}", request.method().name());
    let (bare, _) = path.split_once('?').unwrap_or((path, ""));
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{}", told());
    let lower = bare.to_ascii_lowercase();
    assert!(!["%2f", "%2e", "%5c", "%00"].iter().any(|hidden| lower.contains(hidden)), "{}", told());
    let segments: Vec<_> = bare.trim_end_matches('/').split('/').skip(1).collect();
    assert!(segments.iter().all(|segment| !["", ".", ".."].contains(segment)), "{}", told());
    let own = match segments.as_slice() {
        ["v1", "secret", _, "mcp", AGENT] => request.method().name() == "LIST",
        // A secret may bear the name of the folder that is denied; `**` is what lies in it.
        ["v1", "secret", _, "mcp", AGENT, "denied"] => request.method().name() != "LIST",
        ["v1", "secret", _, "mcp", AGENT, "denied", ..] => false,
        ["v1", "secret", _, "mcp", AGENT, ..] => true,
        ["v1", "transit", "random", ..] => true,
        ["v1", "transit", "datakey", "plaintext", name] => name.starts_with("own-"),
        ["v1", "transit" | "database" | "ssh" | "pki", _, name, ..] => name.starts_with("own-"),
        _ => false,
    };
    assert!(own, "{}", told());
}
