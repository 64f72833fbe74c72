//! The users of an older bridge as agents: what its files say is read whole or
//! not at all, and told as TOML.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use filters::json;
use filters::names::AgentId;
use filters::secret::Digest;
use serde_json::{Map, Value};

/// Members of a user that need no remark: a token brings its own times.
const KNOWN: [&str; 4] = ["subject", "jwt_created_at", "jwt_expires_at", "jwt_ttl_seconds"];

/// Longest name of a member that is told, in bytes.
const WORD: usize = 32;

const FORMS: &str = "what is read is an object of subjects with an object each, or a list of objects that each name \
                     their `subject`; either by itself or as the only member, `users`, of an object";

/// The role of everybody: the built-in one, where it can be seen and changed.
const ROLE: &str = "\
# What the bridge gave everybody in the KV engine: all of the own namespace. What agents share, keys
# of transit, and roles of database, SSH and PKI are granted beside it.
[roles.bridge]
scopes = [\"read\", \"write\", \"delete\", \"list\"]
kv = [\"**\"]
# transit = [\"agents-*\"]
# kms = [\"alias/agents-*\"]
";

/// Users, each of which becomes an agent of its own.
#[derive(Debug)]
pub struct Users {
    agents: BTreeMap<AgentId, User>,
    /// Members of users that mean nothing here.
    unknown: BTreeSet<String>,
    /// The number of API keys that belong to none of these.
    strangers: usize,
}

#[derive(Debug)]
struct User {
    subject: String,
    keys: Vec<Digest>,
}

/// Why nothing is taken; of a file's values it tells subjects only.
#[derive(Debug, PartialEq, Eq)]
pub enum UsersProblem {
    /// It does not parse, or an object names a member twice.
    NotJson,
    /// It is in none of the forms.
    NotUsers,
    /// The object with `users` has other members.
    Ambiguous,
    /// One of them, by its place in a list from 1 on, is none, and why.
    User(Option<usize>, &'static str),
    /// Nobody is in there.
    Nobody,
    /// Users who would be one agent.
    Clash(BTreeMap<AgentId, Vec<String>>),
    /// It is no map from API key to agent.
    NotKeys,
}

impl Users {
    /// Reads an object whose members are subjects with an object each, or a
    /// list of objects that each name their `subject`; either by itself or as
    /// the only member, `users`, of an object.
    ///
    /// # Errors
    /// Why not all of them can be taken.
    pub fn read(text: &[u8]) -> Result<Self, UsersProblem> {
        let mut unknown = BTreeSet::new();
        let mut found: BTreeMap<AgentId, Vec<String>> = BTreeMap::new();
        for Entry { place, key, members } in entries(json::value(json::unmarked(text)).ok_or(UsersProblem::NotJson)?)? {
            let refused = |why| UsersProblem::User(place, why);
            let subject = subject(key, &members).map_err(refused)?;
            let agent = agent_of(&subject).ok_or(refused("has an empty subject, or one with a control character"))?;
            found.entry(agent).or_default().push(subject);
            unknown.extend(members.into_iter().map(|(name, _)| name).filter(|name| !KNOWN.contains(&name.as_str())));
        }
        let clashes: BTreeMap<_, _> = found.extract_if(.., |_, subjects| subjects.len() > 1).collect();
        if !clashes.is_empty() {
            return Err(UsersProblem::Clash(clashes));
        }
        let alone = |(agent, subjects): (AgentId, Vec<String>)| {
            subjects.into_iter().map(move |subject| (agent.clone(), User { subject, keys: Vec::new() }))
        };
        let agents: BTreeMap<_, _> = found.into_iter().flat_map(alone).collect();
        if agents.is_empty() { Err(UsersProblem::Nobody) } else { Ok(Self { agents, unknown, strangers: 0 }) }
    }

    /// Adds API keys, of which digests are kept, from a map from key to
    /// subject, as `API_KEYS_JSON` is one.
    ///
    /// # Errors
    /// It is none; some may have been added then.
    pub fn add_keys(&mut self, text: &[u8]) -> Result<(), UsersProblem> {
        for (key, subject) in json::object(json::unmarked(text)).ok_or(UsersProblem::NotKeys)? {
            let Value::String(subject) = subject else { return Err(UsersProblem::NotKeys) };
            let user = agent_of(&subject).and_then(|agent| self.agents.get_mut(&agent));
            match user.filter(|user| user.subject == subject) {
                Some(user) => user.keys.push(Digest::of(key.as_bytes())),
                None => self.strangers += 1,
            }
        }
        Ok(())
    }

    /// The agents and their role, as a part of a configuration.
    #[must_use]
    pub fn toml(&self) -> String {
        let mut text = ROLE.to_owned();
        for (agent, User { subject, keys }) in &self.agents {
            // Without control characters a text is written alike in JSON and in TOML.
            let subject = Value::from(subject.as_str());
            let _ = write!(text, "\n[agents.\"{agent}\"]\nroles = [\"bridge\"]\njwt = {{ subject = {subject} }}\n");
            if !keys.is_empty() {
                let keys: Vec<_> = keys.iter().map(|key| format!("{{ sha256 = \"{}\" }}", key.to_hex())).collect();
                let _ = writeln!(text, "api_keys = [{}]", keys.join(", "));
            }
        }
        text
    }

    /// The members that were taken, those that got another name, and those that were left: no value of
    /// a member, and no name of one that may be a key.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let keys: usize = self.agents.values().map(|user| user.keys.len()).sum();
        let mut remarks = vec![format!("users taken: {}; API keys taken: {keys}", self.agents.len())];
        let renamed = self.agents.iter().filter(|(agent, user)| agent.as_str() != user.subject);
        remarks.extend(renamed.map(|(agent, User { subject, .. })| {
            format!("{subject:?} becomes the agent `{agent}`: its secrets and its policy in Vault go by that name")
        }));
        if self.strangers > 0 {
            // In a map that is turned round, what should be a subject is a key.
            remarks.push(format!("not taken: API keys of others than these users: {}", self.strangers));
        }
        let (words, others): (Vec<_>, Vec<_>) = self.unknown.iter().partition(|name| is_word(name));
        remarks.extend(words.iter().map(|name| format!("not taken: the users' member `{name}`")));
        if !others.is_empty() {
            let count = others.len();
            remarks.push(format!("not taken: other members of the users, which may be keys by their names: {count}"));
        }
        remarks
    }
}

impl fmt::Display for UsersProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("it is not JSON, or an object names a member twice"),
            Self::NotUsers => write!(f, "it holds no users: {FORMS}"),
            Self::Ambiguous => write!(f, "`users` stands beside other members: {FORMS}"),
            Self::User(Some(place), why) => write!(f, "user {place} of the list {why}: {FORMS}"),
            Self::User(None, why) => write!(f, "a user {why}: {FORMS}"),
            Self::Nobody => f.write_str("nobody is in there"),
            Self::Clash(clashes) => {
                f.write_str("more than one user would be one agent; rename or take out all but one of each:")?;
                clashes.iter().try_for_each(|(agent, subjects)| write!(f, "\n  `{agent}`: {subjects:?}"))
            }
            Self::NotKeys => {
                f.write_str("it is no JSON map from API key to agent, `{\"<key>\": \"<agent>\"}`, or holds a key twice")
            }
        }
    }
}

/// A user as it stands in the file.
struct Entry {
    /// Its place in a list.
    place: Option<usize>,
    /// Its name in an object.
    key: Option<String>,
    members: Map<String, Value>,
}

fn entries(value: Value) -> Result<Vec<Entry>, UsersProblem> {
    let value = match value {
        Value::Object(mut members) => match members.remove("users") {
            Some(users) if members.is_empty() => users,
            Some(_) => return Err(UsersProblem::Ambiguous),
            None => Value::Object(members),
        },
        value => value,
    };
    let entry = |place, key, value| match value {
        Value::Object(members) => Ok(Entry { place, key, members }),
        _ => Err(UsersProblem::User(place, "is not an object")),
    };
    match value {
        Value::Object(users) => users.into_iter().map(|(key, user)| entry(None, Some(key), user)).collect(),
        Value::Array(users) => (1..).zip(users).map(|(place, user)| entry(Some(place), None, user)).collect(),
        _ => Err(UsersProblem::NotUsers),
    }
}

fn subject(key: Option<String>, members: &Map<String, Value>) -> Result<String, &'static str> {
    match (key, members.get("subject")) {
        (Some(key), None) => Ok(key),
        (Some(key), Some(Value::String(inside))) if key == *inside => Ok(key),
        (Some(_), Some(_)) => Err("has another `subject` inside"),
        (None, Some(Value::String(inside))) => Ok(inside.clone()),
        (None, _) => Err("names no `subject`"),
    }
}

/// The subject itself where an agent can have that name, else what can be kept
/// of it, else a part of its digest. `None` where no configuration takes it.
fn agent_of(subject: &str) -> Option<AgentId> {
    if subject.is_empty() || subject.chars().any(char::is_control) {
        return None;
    }
    let digest = || Digest::of(subject.as_bytes()).to_hex();
    AgentId::parse(subject)
        .or_else(|| AgentId::parse(&kept(subject)))
        .or_else(|| AgentId::parse(&format!("user-{:.12}", digest())))
}

/// The letters, digits and `_` of a subject, in lower case and with one `-` or `.` for what lies between them.
fn kept(subject: &str) -> String {
    let mut name = String::new();
    for c in subject.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || (c == '_' && !name.is_empty()) => name.push(c),
            _ if name.is_empty() || name.ends_with(['-', '.']) => {}
            '.' => name.push('.'),
            _ => name.push('-'),
        }
    }
    name.truncate(AgentId::MAX);
    name.truncate(name.trim_end_matches(['-', '.']).len());
    name
}

/// True where a name is one of a field rather than a key: letters and `_`.
fn is_word(name: &str) -> bool {
    name.len() <= WORD && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags, load_from};
    use filters::grants::Role;

    const CANARY: &str = "cnry7x";

    fn read(text: &str) -> Result<Users, UsersProblem> {
        Users::read(text.as_bytes())
    }

    /// Agents and their subjects.
    fn pairs(text: &str) -> Vec<(String, String)> {
        let users = read(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        users.agents.iter().map(|(agent, user)| (agent.to_string(), user.subject.clone())).collect()
    }

    #[test]
    fn four_forms_are_read() {
        for text in [
            r#"{"alice": {}, "Bob": {"jwt_ttl_seconds": 60}}"#,
            r#"{"users": {"alice": {"subject": "alice"}, "Bob": {"x": [{"y": null}]}}}"#,
            r#"[{"subject": "Bob"}, {"x": 1e4, "subject": "alice"}]"#,
            r#"{"users": [{"subject": "alice", "jwt_created_at": null}, {"subject": "\u0042ob"}]}"#,
        ] {
            let expected = [("alice", "alice"), ("bob", "Bob")].map(|(agent, subject)| (agent.into(), subject.into()));
            assert_eq!(pairs(text), expected, "{text}");
            assert_eq!(pairs(&format!("\u{feff}{text}")), expected, "{text}");
        }
    }

    #[test]
    fn what_is_in_none_of_them_is_refused_without_its_values() {
        let cases = [
            ("", "not JSON"),
            ("{}{}", "not JSON"),
            (r#"{"CANARY": {}, "CANARY": {}}"#, "a member twice"),
            (r#"{"a": {"CANARY": 1, "CANARY": 1}}"#, "a member twice"),
            (r#"{"a": {"jwt_created_at": 1, "jwt_created\u005fat": 2}}"#, "a member twice"),
            ("\"CANARY\"", "holds no users: what is read is"),
            ("null", "holds no users"),
            (r#"{"users": "CANARY"}"#, "holds no users"),
            (r#"{"users": {}, "CANARY": {}}"#, "`users` stands beside other members"),
            (r#"{"users": [], "version": 1}"#, "`users` stands beside other members"),
            (r#"{"CANARY": "alice"}"#, "a user is not an object"),
            (r#"{"users": {"CANARY": null}}"#, "a user is not an object"),
            (r#"{"users": {"users": []}}"#, "a user is not an object"),
            (r#"[{"subject": "a"}, ["CANARY"]]"#, "user 2 of the list is not an object"),
            (r#"[{"subject": "a"}, {"name": "CANARY"}]"#, "user 2 of the list names no `subject`"),
            (r#"[{"subject": ["CANARY"]}]"#, "names no `subject`"),
            (r#"{"a": {"subject": "CANARY"}}"#, "has another `subject` inside"),
            (r#"{"a": {"subject": null}}"#, "has another `subject` inside"),
            (r#"{"": {}}"#, "an empty subject"),
            (r#"{"CANARY\n[agents.x]": {}}"#, "a control character"),
            (r#"[{"subject": "CANARY\u007f"}]"#, "a control character"),
            ("{}", "nobody"),
            ("[]", "nobody"),
            (r#"{"users": {}}"#, "nobody"),
        ];
        for (text, told) in cases {
            let problem = read(&text.replace("CANARY", CANARY)).expect_err(text).to_string();
            assert!(problem.contains(told) && !problem.contains(CANARY), "{text}: {problem}");
        }
        assert_eq!(Users::read(b"{\"\xff\": {}}").err(), Some(UsersProblem::NotJson));
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).err(), Some(UsersProblem::NotJson));
    }

    #[test]
    fn a_subject_that_is_no_name_gets_one() {
        let long = "x".repeat(80);
        for (subject, name) in [
            ("ci-1.prod_x", "ci-1.prod_x"),
            ("agent-", "agent-"),
            ("Alice@Corp.example", "alice-corp.example"),
            ("spiffe://corp/ns/a", "spiffe-corp-ns-a"),
            ("../../sys", "sys"),
            ("a..b", "a.b"),
            ("a.-/.b", "a.b"),
            ("__x__", "x__"),
            ("+", "user-a318c24216de"),
            ("日本", "user-cf2abf0c5be3"),
            ("Zoë", "zo"),
            (&long, &long[..63]),
        ] {
            assert_eq!(agent_of(subject).unwrap().as_str(), name, "{subject}");
        }
    }

    #[test]
    fn two_users_are_never_one_agent() {
        for (text, told) in [
            (r#"{"alice": {}, "Alice": {}, "bob": {}}"#, "\n  `alice`: [\"Alice\", \"alice\"]"),
            (r#"{"a/b": {}, "a b": {}}"#, "\n  `a-b`: [\"a b\", \"a/b\"]"),
            (r#"[{"subject": "alice"}, {"subject": "alice"}]"#, "\n  `alice`: [\"alice\", \"alice\"]"),
        ] {
            let problem = read(text).expect_err(text).to_string();
            assert!(problem.ends_with(told), "{problem}");
        }
        let same = "x".repeat(63);
        assert!(matches!(read(&format!("{{\"{same}1\": {{}}, \"{same}2\": {{}}}}")), Err(UsersProblem::Clash(_))));
        // The name that another was proposed is nobody's by right, and his keys are not hers.
        let mut users = read(r#"{"Alice": {}}"#).unwrap();
        users.add_keys("\u{feff}{\"k\": \"alice\"}".as_bytes()).unwrap();
        assert!(!users.toml().contains("sha256") && users.remarks()[2].contains("of others than these users: 1"));
    }

    #[test]
    fn what_is_told_holds_names_and_no_values() {
        let text = format!(
            r#"{{"alice": {{"jwt_created_at": "{CANARY}", "scopes": ["{CANARY}"], "{CANARY}": 1, "token": "{CANARY}"}},
                "A\"b\\": {{"token": "{CANARY}"}}}}"#
        );
        let mut users = read(&text).unwrap();
        users
            .add_keys(
                format!(r#"{{"{CANARY}1": "alice", "{CANARY}2": "alice", "{CANARY}3": "eve", "alice": "{CANARY}4"}}"#)
                    .as_bytes(),
            )
            .unwrap();
        let told = users.remarks();
        assert_eq!(
            told,
            [
                "users taken: 2; API keys taken: 2",
                "\"A\\\"b\\\\\" becomes the agent `a-b`: its secrets and its policy in Vault go by that name",
                "not taken: API keys of others than these users: 2",
                "not taken: the users' member `scopes`",
                "not taken: the users' member `token`",
                "not taken: other members of the users, which may be keys by their names: 1",
            ]
        );
        let toml = users.toml();
        assert!(toml.contains(&Digest::of(format!("{CANARY}1").as_bytes()).to_hex()), "{toml}");
        assert!(!toml.contains(CANARY) && toml.matches("sha256").count() == 2, "{toml}");
        for bad in ["", "[]", r#"{"CANARY": 1}"#, r#"{"CANARY": "alice", "CANARY": "alice"}"#] {
            let problem = users.add_keys(bad.replace("CANARY", CANARY).as_bytes()).expect_err(bad);
            assert!(problem == UsersProblem::NotKeys && !problem.to_string().contains(CANARY), "{bad}");
        }
    }

    #[test]
    fn what_is_printed_is_a_configuration_that_gives_the_own_namespace() {
        let subjects = ["a.b", "Tom \"T\" O'Neil \\ 'x'", "\u{202e}[x]", "日本", "9", "{name}"];
        let users: Map<String, Value> = subjects.iter().map(|s| ((*s).to_owned(), Value::Object(Map::new()))).collect();
        let users = read(&Value::Object(users).to_string()).unwrap();
        let toml = users.toml();
        let environment = Environment {
            variable: &|name| (name == "JWT_HS256_SECRET").then(|| "x".repeat(32)),
            read: &|_, _| Ok(toml.clone()),
            ..Environment::of_process()
        };
        let flags = Flags { config: Some("c.toml".into()), ..Flags::default() };
        let settings = load_from(&flags, &environment).unwrap_or_else(|report| panic!("{report}{toml}"));
        let [_, role] = &settings.roles[..] else { panic!("{toml}") };
        let own = Role { name: "bridge".into(), ..Role::own_namespace() };
        assert_eq!(format!("{role:?}"), format!("{own:?}"));
        assert!(settings.agents.len() == subjects.len() && settings.agents.iter().all(|agent| agent.roles == [1]));
        let found =
            settings.identity.directory.principals().map(|(principal, agent)| (agent.to_string(), &*principal.value));
        let expected = users.agents.iter().map(|(agent, user)| (agent.to_string(), &*user.subject));
        assert_eq!(found.collect::<BTreeSet<_>>(), expected.collect());
    }
}
