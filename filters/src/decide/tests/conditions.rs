//! Roles that hold from some places and at some times only.

use super::*;
use crate::condition::{Clock, Conditions, Days, Hours, Zone};
use prop::sample::select;

/// Circumstances under which some of [`conditions`] hold.
pub(super) fn circumstances() -> impl Strategy<Value = (Option<IpAddr>, u64)> {
    let client = select(vec![None, Some("10.1.2.3"), Some("192.0.2.1"), Some("::ffff:10.1.2.3")]);
    (client.prop_map(|client| client.map(|client| client.parse().unwrap())), 0..=14 * 86_400u64)
}

/// No conditions, some that often hold, and some that rarely do.
pub(super) fn conditions() -> impl Strategy<Value = Option<Box<Conditions>>> {
    let hours = |from, to| Hours::new(Clock::parse(from)?, Clock::parse(to)?, Days::ALL, Zone::named("Asia/Tokyo")?);
    let hours = select(vec![None, hours("08:00", "18:00"), hours("18:00", "08:00"), hours("00:00", "00:01")]);
    let sources = select(vec![Vec::new(), vec!["10.0.0.0/8".parse().unwrap()], vec!["2001:db8::/32".parse().unwrap()]]);
    let given = (sources, hours).prop_map(|(sources, hours)| Some(Box::new(Conditions { sources, hours })));
    prop_oneof![Just(None), given]
}

fn decided(who: &Identity, name: &str, arguments: &str, at: (Option<IpAddr>, u64)) -> Result<usize, Refusal> {
    let (layout, keyring) = (CATALOG.layout(), Keyring::default());
    let operation = catalog::find(name).unwrap().parse(arguments.as_bytes())?;
    let ground = DecisionContext { layout: &layout, keyring: &keyring, client: at.0, now: at.1 };
    let permit = decide(who, operation, ground)?;
    let (role, _) = permit.role.unwrap();
    Ok(who.agent.roles.iter().position(|(other, _)| Arc::ptr_eq(&role, other)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The same as where its roles give nothing, but for what they deny.
    #[test]
    fn a_role_that_does_not_hold_is_passed_over(
        given in prop::collection::vec((conditions(), select(vec!["**", "a/**", "b"]), select(vec![None, Some("a/b")])), 0..4),
        path in select(vec!["a", "a/b", "b", "c"]),
        (client, now) in circumstances(),
    ) {
        let at = Circumstances { client, now };
        let roles = |apply: bool| given.iter().map(|(conditions, kv, deny)| {
            let holds = conditions.as_ref().is_none_or(|conditions| conditions.hold(at).is_ok());
            let scopes: &[Scope] = if apply || holds { &[Scope::Read] } else { &[] };
            let conditions = conditions.clone().filter(|_| apply);
            Role { conditions, ..role(scopes, &[kv], &[], deny.as_slice()) }
        }).collect();
        let arguments = format!("{{\"path\":{path:?}}}");
        let conditional = decided(&identity(Scopes::ALL, roles(true)), "kv.read", &arguments, (client, now));
        let plain = decided(&identity(Scopes::ALL, roles(false)), "kv.read", &arguments, (client, now));
        prop_assert_eq!(&conditional, &plain);
        prop_assert!(matches!(conditional, Ok(_) | Err(Refusal::Forbidden)), "{:?}", conditional);
    }
}

#[test]
fn a_request_is_as_large_as_the_role_that_allows_it_says() {
    let sized = |kv: &str, body| Role { body, ..role(&[Scope::Write], &[kv], &[], &[]) };
    let who = identity(Scopes::ALL, vec![sized("a", Some(40)), sized("**", None)]);
    let written = |path: &str, value: usize| {
        let arguments = format!("{{\"path\":{path:?},\"data\":{{\"v\":\"{}\"}}}}", "x".repeat(value));
        (arguments.len(), decided(&who, "kv.write", &arguments, (None, 0)))
    };
    let (rest, _) = written("a", 0);
    assert_eq!(written("a", 40 - rest), (40, Ok(0)));
    assert_eq!(
        written("a", 41 - rest),
        (41, Err(Refusal::BodyTooLarge)),
        "the first role allows it, not so much of it"
    );
    assert_eq!(written("b", 41 - rest), (41, Ok(1)));
}
