//! Explanations agree with decisions.

use super::conditions::{circumstances, conditions};
use super::*;
use crate::grants::{Extensions, Login};
use crate::verdict::{About, Denial, Question, Unaskable};
use prop::sample::{select, subsequence};

/// Each operation with the member that names what it touches, and the rest of
/// its least arguments.
const BY_NAME: [(&str, &str, &str); 29] = [
    ("kv.read", "path", ""),
    ("kv.write", "path", r#","data":{}"#),
    ("kv.patch", "path", r#","data":{}"#),
    ("kv.list", "prefix", ""),
    ("kv.metadata", "path", ""),
    ("kv.write_metadata", "path", ""),
    ("kv.patch_metadata", "path", ""),
    ("kv.delete", "path", ""),
    ("kv.delete_versions", "path", r#","versions":[1]"#),
    ("kv.undelete", "path", r#","versions":[1]"#),
    ("kv.destroy", "path", r#","versions":[1]"#),
    ("transit.encrypt", "key", r#","plaintext":"""#),
    ("transit.decrypt", "key", r#","ciphertext":"c""#),
    ("transit.rewrap", "key", r#","ciphertext":"c""#),
    ("transit.generate_data_key", "key", ""),
    ("transit.sign", "key", r#","input":"""#),
    ("transit.verify", "key", r#","input":"","hmac":"h""#),
    ("transit.hmac", "key", r#","input":"""#),
    ("db.issue_creds", "role", ""),
    ("ssh.sign", "role", r#","public_key":"x""#),
    ("ssh.otp", "role", r#","ip":"::1""#),
    ("pki.issue", "role", r#","common_name":"c""#),
    ("pki.sign", "role", r#","csr":"x""#),
    ("kms.encrypt", "key_id", r#","plaintext":"YQ==""#),
    ("kms.decrypt", "key_id", r#","ciphertext":"YQ==""#),
    ("kms.generate_data_key", "key_id", r#","key_spec":"AES_256""#),
    ("kms.sign", "key_id", r#","message":"YQ==","signing_algorithm":"ECDSA_SHA_256""#),
    ("kms.verify", "key_id", r#","message":"YQ==","signature":"YQ==","signing_algorithm":"ECDSA_SHA_256""#),
    ("transit.random", "", ""),
];

/// Each operation that a handle is given to, and what made it.
const BY_HANDLE: [(&str, &str, &str, Engine, Purpose); 4] = [
    ("db.lookup", "lease_id", "db.issue_creds", catalog::DATABASE, Purpose::Lease),
    ("db.renew", "lease_id", "db.issue_creds", catalog::DATABASE, Purpose::Lease),
    ("db.revoke", "lease_id", "db.issue_creds", catalog::DATABASE, Purpose::Lease),
    ("pki.revoke", "handle", "pki.issue", catalog::PKI, Purpose::Certificate),
];

/// The arguments of a request beside the name.
#[derive(Clone, Debug)]
struct Rest {
    shared: bool,
    ttl: Option<u32>,
    principal: &'static str,
    extension: Option<&'static str>,
}

fn arguments(operation: &str, member: &str, least: &str, name: &str, rest: &Rest) -> String {
    let named = if member.is_empty() { String::new() } else { format!("\"{member}\":\"{name}\"{least}") };
    let more = match operation {
        _ if operation.starts_with("kv.") => format!(",\"shared\":{}", rest.shared),
        "ssh.sign" => {
            let extension = rest.extension.map(|name| format!("\"{name}\":\"\"")).unwrap_or_default();
            format!(",\"valid_principals\":\"{}\",\"extensions\":{{{extension}}}", rest.principal)
        }
        "ssh.otp" => format!(",\"username\":\"{}\"", rest.principal),
        _ => String::new(),
    };
    let ttl = rest.ttl.filter(|_| matches!(operation, "ssh.sign" | "pki.issue" | "pki.sign"));
    let ttl = ttl.map(|ttl| format!(",\"ttl\":{ttl}")).unwrap_or_default();
    format!("{{{named}{more}{ttl}}}")
}

fn about<'a>(name: &'a str, rest: &Rest) -> About<'a> {
    let extensions = rest.extension.map_or(Extensions::Unsaid, |name| Extensions::Named(vec![name.into()]));
    let login = Login { principals: vec![rest.principal.into()], extensions };
    About { name, shared: rest.shared, ttl: rest.ttl, login }
}

/// The role that an explanation names.
fn told(
    who: &Identity,
    operation: &str,
    about: About<'_>,
    ground: DecisionContext<'_>,
) -> Result<Option<Arc<Role>>, Refusal> {
    let circumstances = Circumstances { client: ground.client, now: ground.now };
    let question = match Question::new(catalog::find(operation).unwrap(), about, ground.layout) {
        Err(Unaskable::Name(refusal)) => return Err(refusal),
        other => other.unwrap(),
    };
    let answer = question.answer(who, ground.layout, circumstances);
    let short = question.shortfalls(&who.agent, circumstances).count();
    match answer {
        Ok(Some(_)) => assert!(short < who.agent.roles.len()),
        Err(Denial::NoRole) => assert_eq!(short, who.agent.roles.len()),
        Ok(None) | Err(_) => {}
    }
    Ok(answer?.map(|allowed| Arc::clone(&allowed.role.0)))
}

/// The role that a decision names.
fn decided(
    who: &Identity,
    operation: &str,
    json: &str,
    ground: DecisionContext<'_>,
) -> Result<Option<Arc<Role>>, Refusal> {
    let operation = catalog::find(operation).unwrap().parse(json.as_bytes())?;
    let permit = decide(who, operation, ground)?;
    Ok(permit.role.map(|(role, _)| role))
}

fn same(told: &Result<Option<Arc<Role>>, Refusal>, decided: &Result<Option<Arc<Role>>, Refusal>) -> bool {
    match (told, decided) {
        (Ok(Some(one)), Ok(Some(other))) => Arc::ptr_eq(one, other),
        (Ok(None), Ok(None)) => true,
        (Err(one), Err(other)) => one == other,
        _ => false,
    }
}

fn scopes() -> impl Strategy<Value = Vec<Scope>> {
    subsequence(Scope::ALL.to_vec(), 0..=4)
}

fn roles() -> impl Strategy<Value = Vec<Role>> {
    let paths = || prop::collection::vec(select(vec!["**", "a/**", "a/*", "a", "*/b", "a/b"]), 0..3);
    let patterns = || subsequence(vec!["*", "a", "a*", "ab", "portcullis-*"], 0..3);
    let extensions =
        || select(vec![None, Some(vec![]), Some(names("permit-pty")), Some(names("permit-*")), Some(names("*"))]);
    let principals = || select(vec![None, Some("ops"), Some("*")]);
    let bounds = (principals(), extensions(), select(vec![None, Some(60), Some(600)]), conditions());
    let parts = (scopes(), paths(), paths(), subsequence(vec!["a/b", "a/**"], 0..2), patterns(), bounds);
    let one = parts.prop_map(|(scopes, kv, shared, deny, named, (principals, ssh_extensions, max_ttl, conditions))| {
        let patterns = || named.iter().map(|text| NamePattern::parse(text).unwrap()).collect::<Vec<_>>();
        Role {
            named: CATALOG.engines().map(|engine| (engine, patterns())).collect(),
            ssh_principals: principals.map(names),
            ssh_extensions,
            max_ttl,
            conditions,
            ..role(&scopes, &kv, &shared, &deny)
        }
    });
    prop::collection::vec(one, 0..4)
}

fn rest() -> impl Strategy<Value = Rest> {
    let ssh = (select(vec!["ops", "root"]), select(vec![None, Some("permit-pty"), Some("permit-X11-forwarding")]));
    let parts = (any::<bool>(), select(vec![None, Some(60), Some(61), Some(900)]), ssh);
    parts.prop_map(|(shared, ttl, (principal, extension))| Rest { shared, ttl, principal, extension })
}

fn layouts() -> impl Strategy<Value = Layout> {
    select(vec![None, Some("ab")]).prop_map(|key| Layout { kms_default_key: key.map(Into::into), ..CATALOG.layout() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_told_by_name_is_what_is_decided(
        roles in roles(),
        carried in scopes(),
        operation in select(BY_NAME.to_vec()),
        name in select(vec!["a", "ab", "a/b", "b", "a/b/c", "", "..", "a//b", "portcullis-handles"]),
        (rest, layout) in (rest(), layouts()),
        (client, now) in circumstances(),
    ) {
        let who = identity(carried.into_iter().collect(), roles);
        let (operation, member, least) = operation;
        // The name of no key is no name: a request leaves it out.
        let unnamed = name.is_empty() && member == "key_id";
        let json = arguments(operation, member, least, name, &rest);
        let json = if unnamed { json.replacen("\"key_id\":\"\",", "", 1) } else { json };
        let json = json.replacen("{,", "{", 1);
        let keyring = Keyring::default();
        let ground = DecisionContext { layout: &layout, keyring: &keyring, client, now };
        let decided = decided(&who, operation, &json, ground);
        let told = told(&who, operation, about(name, &rest), ground);
        prop_assert!(same(&told, &decided), "{operation} {json}: told {told:?}, decided {decided:?}");
    }

    #[test]
    fn what_is_told_of_a_handle_is_what_is_decided(
        roles in roles(),
        carried in scopes(),
        operation in select(BY_HANDLE.to_vec()),
        name in select(vec!["a", "ab", "b"]),
        rest in rest(),
        (client, now) in circumstances(),
    ) {
        let who = identity(carried.into_iter().collect(), roles);
        let (operation, member, issuer, engine, purpose) = operation;
        let stands_for = match purpose {
            Purpose::Certificate => StandsFor::Certificate { serial: "1".into() },
            _ => StandsFor::Lease { id: "l".into(), accessor: "a".into() },
        };
        let resource = Resource::Key(engine.name().into(), name.into());
        let claims = Claims { operation: issuer.into(), resource, expires: u64::MAX, stands_for };
        let keyring = Keyring::new([(1, [1; 32])]);
        let handle = keyring.seal(&claims, Binding { purpose, agent: &who.agent }).unwrap();
        let layout = CATALOG.layout();
        let ground = DecisionContext { layout: &layout, keyring: &keyring, client, now };
        let decided = decided(&who, operation, &format!("{{\"{member}\":\"{handle}\"}}"), ground);
        let told = told(&who, operation, about(name, &rest), ground);
        prop_assert!(same(&told, &decided), "{operation} {name}: told {told:?}, decided {decided:?}");
    }
}

#[test]
fn every_operation_is_told_of() {
    let layout = CATALOG.layout();
    for entry in CATALOG.iter() {
        let name = entry.spec.name;
        let listed = BY_NAME.iter().any(|row| row.0 == name) || BY_HANDLE.iter().any(|row| row.0 == name);
        match Question::new(entry, About { name: "a", ..About::default() }, &layout) {
            Ok(question) => assert_eq!(question.needs().is_some(), listed, "{name}"),
            Err(problem) => {
                assert_eq!(
                    (problem, name.split_once('.').map(|(group, _)| group)),
                    (Unaskable::ByHandle, Some("wrap"))
                );
            }
        }
    }
}

#[test]
fn a_question_reads_the_resource_and_the_bounds_as_a_request_does() {
    for (operation, member, least) in BY_NAME {
        let kind = catalog::find(operation).unwrap();
        let name = if operation.starts_with("kv.") { "a/b" } else { "a" };
        for (shared, ttl, principal, extension) in
            [(false, None, "ops", None), (true, Some(60), "root", Some("permit-pty")), (false, Some(61), "u", None)]
        {
            let rest = Rest { shared, ttl, principal, extension };
            let json = arguments(operation, member, least, name, &rest).replacen("{,", "{", 1);
            let parsed = kind.parse(json.as_bytes()).unwrap();
            let touched = kind.spec.touch.unwrap()(about(name, &rest)).unwrap();
            assert_eq!((parsed.resource, parsed.demand), (Some(touched.resource), touched.demand), "{json}");
        }
    }
}
