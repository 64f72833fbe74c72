//! A handle opens for its holder alone, for its purpose alone, and never after its end.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::grants::Resource;
use crate::names::{AgentId, Namespace};
use crate::quota::Terms;

fn agent(name: &str, generation: u32) -> Agent {
    agent_in("", name, generation)
}

fn agent_in(namespace: &str, name: &str, generation: u32) -> Agent {
    Agent {
        id: AgentId::parse(name).unwrap(),
        generation,
        namespace: Namespace::parse(namespace).unwrap_or_default(),
        roles_policy: "".into(),
        tally: Arc::default(),
        roles: Vec::new(),
        limit: None,
        operations: Vec::new(),
        terms: Terms::default(),
    }
}

fn claims(secret: &str) -> Claims {
    Claims {
        operation: "db.issue_creds".into(),
        resource: Resource::Key("database".into(), "readonly".into()),
        expires: 100,
        stands_for: StandsFor::Lease { id: secret.into(), accessor: "a".into() },
    }
}

/// Who, for what, in which namespace.
#[derive(Clone, Debug, PartialEq)]
struct Holder {
    name: &'static str,
    generation: u32,
    purpose: Purpose,
    namespace: &'static str,
}

impl Holder {
    fn binding<'a>(&self, agent: &'a Agent) -> Binding<'a> {
        Binding { purpose: self.purpose, agent }
    }
}

fn holder() -> impl Strategy<Value = Holder> {
    let names = prop_oneof![Just("alice"), Just("alice.1"), Just("bob")];
    // What is bound stands in lines: one field must never pass for another.
    let namespaces = prop_oneof![Just(""), Just("1"), Just("team"), Just("team/a")];
    (names, 1..4_u32, 0..Purpose::ALL.len(), namespaces).prop_map(|(name, generation, purpose, namespace)| Holder {
        name,
        generation,
        purpose: Purpose::ALL[purpose],
        namespace,
    })
}

proptest! {
    #[test]
    fn only_the_holder_opens_a_handle(theirs in holder(), others in holder(), secret in "[a-z/]{0,40}") {
        let keyring = Keyring::new([(1, [7; 32])]);
        let of = |holder: &Holder| agent_in(holder.namespace, holder.name, holder.generation);
        let (owner, other) = (of(&theirs), of(&others));
        let handle = keyring.seal(&claims(&secret), theirs.binding(&owner)).unwrap();
        let opened = keyring.open::<Claims>(&handle, others.binding(&other));
        let expected = if theirs == others { Ok(claims(&secret)) } else { Err(Closed::Foreign) };
        prop_assert_eq!(opened, expected);
    }

    #[test]
    fn a_changed_bit_opens_nothing(place in any::<prop::sample::Index>(), bit in 0..8_u8, cut in 0..40_usize) {
        let keyring = Keyring::new([(1, [7; 32])]);
        let alice = agent("alice", 1);
        let binding = Binding { purpose: Purpose::Lease, agent: &alice };
        let handle = keyring.seal(&claims("database/creds/readonly/x"), binding).unwrap();
        let mut bytes = BASE64.decode(handle.strip_prefix(PREFIX).unwrap()).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let changed = format!("{PREFIX}{}", BASE64.encode(&bytes));
        // In its first bytes it is of another version.
        prop_assert!(keyring.open::<Claims>(&changed, binding).is_err());
        let shorter = &handle[..handle.len().saturating_sub(cut + 1)];
        prop_assert_eq!(keyring.open::<Claims>(shorter, binding), Err(Closed::Foreign));
    }

    #[test]
    fn what_was_never_a_handle_opens_nothing(text in "(pch1_)?[A-Za-z0-9_-]{0,80}") {
        let keyring = Keyring::new([(1, [7; 32])]);
        let alice = agent("alice", 1);
        let binding = Binding { purpose: Purpose::Wrapped, agent: &alice };
        prop_assert!(keyring.open::<Claims>(&text, binding).is_err());
    }
}

#[test]
fn a_withdrawn_key_opens_nothing_and_an_old_one_still_does() {
    let alice = agent("alice", 1);
    let binding = Binding { purpose: Purpose::Wrapped, agent: &alice };
    let before = Keyring::new([(1, [1; 32])]);
    let old = before.seal(&claims("x"), binding).unwrap();
    let rotated = Keyring::new([(2, [2; 32]), (1, [1; 32])]);
    assert!(rotated.open::<Claims>(&old, binding).is_ok());
    let new = rotated.seal(&claims("x"), binding).unwrap();
    assert_eq!(before.open::<Claims>(&new, binding), Err(Closed::Later), "the first key seals");
    let withdrawn = Keyring::new([(2, [2; 32])]);
    assert_eq!(withdrawn.open::<Claims>(&old, binding), Err(Closed::Foreign), "an earlier version does not come back");
    assert!(withdrawn.open::<Claims>(&new, binding).is_ok());
    // The same number with other material is another key.
    assert_eq!(Keyring::new([(1, [9; 32])]).open::<Claims>(&old, binding), Err(Closed::Foreign));
    assert_eq!(Keyring::default().seal(&claims("x"), binding), Err(NoKey));
}

#[test]
fn a_handle_shows_nothing_of_what_it_stands_for() {
    let alice = agent("alice", 1);
    let binding = Binding { purpose: Purpose::Wrapped, agent: &alice };
    let keyring = Keyring::new([(1, [1; 32])]);
    let (one, two) = (keyring.seal(&claims("hvs.CANARY"), binding), keyring.seal(&claims("hvs.CANARY"), binding));
    assert_ne!(one, two);
    let bytes = BASE64.decode(one.unwrap().strip_prefix(PREFIX).unwrap()).unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"CANARY" || window == b"readon"));
    assert!(!format!("{:?}", claims("hvs.CANARY")).contains("CANARY"));
}
