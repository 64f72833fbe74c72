//! The mapping of principals to agents.

use super::*;

fn cn(value: &str) -> Principal {
    Principal { source: Source::CommonName, value: value.into() }
}

fn spiffe(value: &str) -> Principal {
    Principal { source: Source::Spiffe, value: value.into() }
}

#[test]
fn a_distinguished_name_gives_its_one_common_name() {
    for (name, value) in [
        ("CN=bob", Some("bob")),
        ("CN=bob,O=corp", Some("bob")),
        ("O=corp, CN=bob", Some("bob")),
        ("/O=corp/CN=bob", Some("bob")),
        ("O=corp", None),
        ("", None),
        ("CN=", None),
        ("CN=bob,CN=eve", None),
        ("CN=bob\\,CN=eve", None),
        ("CN=\"bob,CN=eve\"", None),
        ("CN=bob+OU=x", None),
        ("XCN=bob", None),
    ] {
        let found = Principal::of_distinguished_name(name, "CN=").map(|p| p.value);
        assert_eq!(found.as_deref(), value, "{name}");
    }
}

#[test]
fn a_family_maps_closed_names_only() {
    let mut directory = Directory::new(UnknownAgents::Refuse);
    let family = Family::parse(Source::Spiffe, "spiffe://corp/agent/{name}", "x-{name}").unwrap();
    let could_be = |name: &str| family.could_be(&AgentId::parse(name).unwrap());
    assert_eq!(
        ["x-ci", "ci", "x-", "x-.."].map(|name| AgentId::parse(name).is_some_and(|_| could_be(name))),
        [true, false, false, false]
    );
    directory.add_family(family).unwrap();
    let agent = |text: &str| directory.agent_of(&spiffe(text)).map(|a| a.to_string());
    assert_eq!(agent("spiffe://corp/agent/ci").as_deref(), Some("x-ci"));
    for bad in [
        "spiffe://corp/agent/",
        "spiffe://corp/agent/a/b",
        "spiffe://corp/agent/..",
        "spiffe://corp/agent/BOB",
        "spiffe://other/agent/ci",
    ] {
        assert_eq!(agent(bad), None, "{bad}");
    }
    assert_eq!(directory.agent_of(&cn("spiffe://corp/agent/ci")), None);
}

#[test]
fn one_principal_belongs_to_one_agent() {
    let mut directory = Directory::new(UnknownAgents::OwnNamespace(Some(Source::CommonName)));
    let bob = AgentId::parse("bob").unwrap();
    directory.add(cn("Robert"), bob.clone()).unwrap();
    assert_eq!(directory.add(cn("Robert"), AgentId::parse("eve").unwrap()), Err(Clash::Principal(bob.clone())));
    assert_eq!(directory.agent_of(&cn("Robert")), Some(bob));
    assert_eq!(directory.agent_of(&cn("bob")), None, "an agent with an entry is reached by that entry only");
    assert_eq!(directory.agent_of(&cn("eve")), AgentId::parse("eve"));
    for hostile in ["+", "*", "..", "a/b", "BOB", "bob\0x", ""] {
        assert_eq!(directory.agent_of(&cn(hostile)), None, "{hostile:?}");
    }
}

#[test]
fn a_subject_is_no_common_name() {
    let subject = |value: &str| Principal { source: Source::Jwt(0), value: value.into() };
    let mut directory = Directory::new(UnknownAgents::OwnNamespace(Some(Source::Jwt(0))));
    let bob = AgentId::parse("bob").unwrap();
    directory.add(subject("Robert"), bob.clone()).unwrap();
    assert_eq!(directory.agent_of(&subject("Robert")), Some(bob));
    assert_eq!(directory.agent_of(&cn("Robert")), None);
    assert_eq!(directory.agent_of(&subject("bob")), None, "an agent with an entry is reached by that entry only");
    assert_eq!(directory.agent_of(&subject("eve")), AgentId::parse("eve"));
    assert_eq!(directory.agent_of(&subject("../eve")), None);
}

#[test]
fn a_subject_is_its_issuers() {
    let subject = |issuer, value: &str| Principal { source: Source::Jwt(issuer), value: value.into() };
    let family = |issuer, agent| Family::parse(Source::Jwt(issuer), "{name}", agent).unwrap();
    let mut directory = Directory::new(UnknownAgents::OwnNamespace(Some(Source::Jwt(0))));
    let bob = AgentId::parse("bob").unwrap();
    directory.add(subject(1, "Robert"), bob.clone()).unwrap();
    assert_eq!(directory.agent_of(&subject(1, "Robert")), Some(bob));
    for (issuer, name) in [(2, "Robert"), (0, "bob"), (1, "bob"), (1, "eve")] {
        assert_eq!(directory.agent_of(&subject(issuer, name)), None, "{issuer} {name}");
    }
    assert_eq!(directory.agent_of(&subject(0, "eve")), AgentId::parse("eve"));
    directory.add_family(family(1, "one-{name}")).unwrap();
    assert_eq!(directory.add_family(family(2, "{name}")), Err(Clash::Families(0)), "two subjects for one agent");
    directory.add_family(family(2, "two-{name}")).unwrap();
    assert_eq!(directory.agent_of(&subject(1, "eve")), AgentId::parse("one-eve"));
    assert_eq!(directory.agent_of(&subject(2, "eve")), AgentId::parse("two-eve"));
}

/// Every principal that is not mapped, by every source, against every way in which the
/// configuration may give a name.
#[test]
fn nobody_comes_to_a_name_that_somebody_else_may_have() {
    const SOURCES: [Source; 8] = [
        Source::Spiffe,
        Source::Uri,
        Source::Dns,
        Source::Email,
        Source::CommonName,
        Source::Fingerprint,
        Source::Jwt(0),
        Source::Jwt(1),
    ];
    let ann = AgentId::parse("ann").unwrap();
    let of = |source, value: &str| Principal { source, value: value.into() };
    for unknown in [None, Some(Source::CommonName), Some(Source::Jwt(0)), Some(Source::Jwt(1))] {
        let directory = |give: &dyn Fn(&mut Directory)| {
            let mut directory = Directory::new(UnknownAgents::OwnNamespace(unknown));
            give(&mut directory);
            directory
        };
        let named = directory(&|directory| directory.keep(ann.clone()));
        for source in SOURCES {
            assert_eq!(named.agent_of(&of(source, "ann")), None, "{source:?}: her entry names nobody");
            let free = named.agent_of(&of(source, "zed"));
            assert_eq!(free.is_some(), unknown == Some(source), "{source:?}: names are of one source alone");
            let mapped = directory(&|directory| directory.add(of(source, "x"), ann.clone()).unwrap());
            for other in SOURCES {
                assert_eq!(mapped.agent_of(&of(other, "ann")), None, "{other:?}: hers is {source:?}");
            }
            let family = Family::parse(source, "x-{name}", "a{name}").unwrap();
            let family = directory(&|directory| directory.add_family(family.clone()).unwrap());
            assert_eq!(family.agent_of(&of(source, "x-nn")), Some(ann.clone()));
            for other in SOURCES {
                assert_eq!(family.agent_of(&of(other, "ann")), None, "{other:?}: the family's is {source:?}");
                assert_eq!(family.agent_of(&of(other, "zed")).is_some(), unknown == Some(other));
            }
        }
    }
}

#[test]
fn families_that_could_meet_are_refused() {
    let family = |principal: &str, agent: &str| Family::parse(Source::Spiffe, principal, agent).unwrap();
    let mut directory = Directory::new(UnknownAgents::Refuse);
    directory.add_family(family("spiffe://a/{name}", "a-{name}")).unwrap();
    assert_eq!(directory.add_family(family("spiffe://b/{name}", "a-{name}")), Err(Clash::Families(0)));
    assert_eq!(directory.add_family(family("spiffe://a/x{name}", "b-{name}")), Err(Clash::Families(0)));
    assert_eq!(directory.add_family(family("spiffe://b/{name}", "b-{name}")), Ok(()));
    assert!(Family::parse(Source::Spiffe, "spiffe://a", "{name}").is_none());
}

#[test]
fn the_namespace_of_the_roles_goes_before_that_of_the_family() {
    let of = |text: &str| Namespace::parse(text);
    let mut directory = Directory::new(UnknownAgents::Refuse);
    let family = |source, agent: &str, namespace| {
        Family::parse(source, &format!("x/{agent}"), agent).unwrap().in_namespace(of(namespace))
    };
    let (ours, theirs) = (family(Source::Dns, "a-{name}", "a"), family(Source::Email, "{name}-b", "b"));
    assert!(ours.is_torn_from(&theirs), "a-b could come of both");
    assert!(!ours.is_torn_from(&family(Source::Email, "{name}-b", "a")) && !ours.is_torn_from(&ours));
    assert!(!ours.is_torn_from(&family(Source::Email, "{name}-b", "")), "it names none");
    assert!(!ours.is_torn_from(&family(Source::Email, "b-{name}", "b")));
    assert!(ours.to_string().ends_with(", namespace = \"a\""));
    directory.add_family(ours).unwrap();
    let id = |name: &str| AgentId::parse(name).unwrap();
    // Its own principal is of the family's source: the family does not give it.
    directory.add(Principal { source: Source::Dns, value: "own".into() }, id("a-own")).unwrap();
    directory.keep(id("a-kept"));
    let roles = [Role::default(), Role { namespace: of("r"), ..Role::default() }];
    let found = |name, roles: &[Role]| directory.namespace_of(&id(name), roles.iter()).cloned();
    assert_eq!(found("a-ci", &roles), of("r"));
    assert_eq!(found("a-ci", &roles[..1]), of("a"));
    assert_eq!(found("a-kept", &[]), of("a"));
    assert_eq!(found("a-own", &[]), None);
    assert_eq!(found("ci", &[]), None);
}
