//! A role for a policy of Vault's, which gives no more than the policy does.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use filters::pattern::{AbsolutePattern, BadPattern};
use filters::scope::{Scope, Scopes};
use filters::secret::Digest;
use filters::vault::Layout;
use serde_json::Value;

use super::reading::Stanza;

/// Capabilities that grants have, in the order in which they are written, and the scope of each.
const CAPABILITIES: [(&str, Scope); 6] = [
    ("create", Scope::Write),
    ("read", Scope::Read),
    ("update", Scope::Write),
    ("patch", Scope::Write),
    ("delete", Scope::Delete),
    ("list", Scope::List),
];
const DENY: &str = "deny";

/// Longest name of a role, in bytes.
const NAME: usize = 63;

/// The role that is proposed for one policy.
#[derive(Debug)]
pub(super) struct Proposal {
    policy: String,
    role: String,
    paths: Vec<Path>,
}

/// One path of the policy.
#[derive(Debug)]
struct Path {
    written: String,
    /// As a grant has it, or why none can.
    pattern: Result<AbsolutePattern, BadPattern>,
    /// The places in [`CAPABILITIES`] of those that a grant has too.
    may: BTreeSet<usize>,
    denies: bool,
    /// True where Vault holds it to more than its capabilities.
    bounded: bool,
    fate: Fate,
    /// What is not carried over of it.
    lost: Vec<String>,
}

/// What becomes of a path.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is a grant, or a deny.
    Taken,
    /// It is denied, because the less specific path that is named would give it.
    Denied(String),
    /// It is told alone.
    Left,
}

impl Proposal {
    /// The proposal for the policy of that name. `names` are those of other roles, and gets its own.
    #[must_use]
    pub(super) fn new(policy: &str, stanzas: &[Stanza], names: &mut BTreeSet<String>) -> Self {
        let role = role_name(policy, names);
        names.insert(role.clone());
        let mut paths: Vec<Path> = merged(stanzas).iter().map(Path::of).collect();
        withhold_what_templates_decide(&mut paths);
        deny_what_others_would_give(&mut paths);
        Self { policy: policy.to_owned(), role, paths }
    }

    /// The name of the role, where it is not the policy's.
    #[must_use]
    pub(super) fn renamed(&self) -> Option<&str> {
        (self.role != self.policy).then_some(&self.role)
    }

    /// The number of its paths of which something is not carried over, and of all.
    #[must_use]
    pub(super) fn lost(&self) -> (usize, usize) {
        (self.paths.iter().filter(|path| !path.lost.is_empty()).count(), self.paths.len())
    }

    /// The role as a part of a configuration; what it leaves out stands there as comments.
    #[must_use]
    pub(super) fn toml(&self, layout: &Layout) -> String {
        let mut text = format!("# Policy {:?}.\n", self.policy);
        let taken = self.paths.iter().any(|path| path.fate != Fate::Left);
        if !taken {
            text.push_str("# Nothing of it can be granted.\n");
        }
        let name = if self.role.contains('.') { format!("\"{}\"", self.role) } else { self.role.clone() };
        let needed: Scopes = self.paths.iter().flat_map(Path::scopes).collect();
        let scopes = Scope::ALL.into_iter().filter(|scope| needed.contains(*scope));
        let scopes: Vec<_> = scopes.map(|scope| format!("\"{}\"", scope.name())).collect();
        let begin = if taken { "" } else { "# " };
        let _ = writeln!(text, "{begin}[roles.{name}]\n{begin}scopes = [{}]\n{begin}vault = [", scopes.join(", "));
        self.paths.iter().for_each(|path| path.write(layout, &mut text));
        let _ = writeln!(text, "{begin}]");
        text
    }
}

impl Path {
    fn of(stanza: &Stanza) -> Self {
        let place = |name: &String| CAPABILITIES.iter().position(|(known, _)| known == name);
        let may: BTreeSet<usize> = stanza.capabilities.iter().filter_map(place).collect();
        let denies = stanza.capabilities.iter().any(|name| name == DENY) || stanza.capabilities.is_empty();
        let pattern = AbsolutePattern::parse(&stanza.path);
        let mut lost = Vec::new();
        if let Err(BadPattern(why)) = pattern {
            lost.push(format!("No grant has such a path: {why}."));
        }
        let more = stanza.capabilities.iter().filter(|name| place(name).is_none() && *name != DENY);
        let more: BTreeSet<_> = more.map(|name| format!("`{}`", name.escape_debug())).collect();
        if !(more.is_empty() || denies) {
            let more = more.into_iter().collect::<Vec<_>>().join(", ");
            lost.push(format!("No grant has the capability {more}."));
        }
        let bounded = !(stanza.bounds.is_empty() || denies);
        if bounded {
            let bounds: Vec<_> = stanza.bounds.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
            lost.push(format!("Vault bounds it by {}, which no grant does.", bounds.join(", ")));
        }
        let taken = pattern.is_ok() && (denies || !bounded && !may.is_empty());
        let fate = if taken { Fate::Taken } else { Fate::Left };
        Self { written: stanza.path.clone(), pattern, may, denies, bounded, fate, lost }
    }

    /// True where it gives something.
    fn gives(&self) -> bool {
        self.fate == Fate::Taken && !self.denies
    }

    /// The scopes that its capabilities need.
    fn scopes(&self) -> impl Iterator<Item = Scope> {
        let given = self.may.iter().filter(|_| self.gives());
        given.filter_map(|place| CAPABILITIES.get(*place)).map(|(_, scope)| *scope)
    }

    /// All paths that one which no grant has may be about; `None` where the gate takes none of them.
    fn around(&self) -> Option<AbsolutePattern> {
        let end = ["{{", "*", "+"].iter().filter_map(|begin| self.written.find(begin)).min();
        let begin = self.written.get(..end.unwrap_or(self.written.len()))?;
        AbsolutePattern::parse(&format!("{begin}*")).ok()
    }

    fn write(&self, layout: &Layout, text: &mut String) {
        for lost in &self.lost {
            let _ = writeln!(text, "  # {lost}");
        }
        if let Fate::Denied(giving) = &self.fate {
            let _ = writeln!(text, "  # It is denied, since {giving:?} would give it.");
        }
        let denies = self.denies || matches!(self.fate, Fate::Denied(_));
        let names = CAPABILITIES.iter().enumerate().filter(|(place, _)| self.may.contains(place));
        let names: Vec<_> = names.map(|(_, (name, _))| format!("\"{name}\"")).collect();
        let names = if denies { format!("\"{DENY}\"") } else { names.join(", ") };
        let dangerous = !denies && self.pattern.as_ref().is_ok_and(|pattern| layout.danger(pattern).is_some());
        let dangerous = if dangerous { ", dangerous = true" } else { "" };
        let begin = if self.fate == Fate::Left { "# " } else { "" };
        // As a text of TOML too: what a comment may not hold is escaped.
        let path = Value::from(self.written.as_str()).to_string().replace('\u{7f}', "\\u007f");
        let _ = writeln!(text, "  {begin}{{ path = {path}, capabilities = [{names}]{dangerous} }},");
    }
}

/// The stanzas, with those of one path as one: Vault takes them together, and denies where one of them does.
fn merged(stanzas: &[Stanza]) -> Vec<Stanza> {
    let mut all: Vec<Stanza> = Vec::new();
    for stanza in stanzas {
        match all.iter_mut().find(|other| other.path == stanza.path) {
            Some(other) => {
                other.capabilities.extend(stanza.capabilities.iter().cloned());
                other.bounds.extend(stanza.bounds.iter().cloned());
            }
            None => all.push(stanza.clone()),
        }
    }
    all
}

/// Withholds patterns below which Vault lets a path decide that no grant has, unless they give no more than that.
fn withhold_what_templates_decide(paths: &mut [Path]) {
    let unsaid = paths.iter().filter(|path| path.pattern.is_err());
    let given = |path: &Path| if path.denies || path.bounded { BTreeSet::new() } else { path.may.clone() };
    let unsaid: Vec<_> = unsaid.filter_map(|path| Some((path.around()?, path.written.clone(), given(path)))).collect();
    for path in paths.iter_mut().filter(|path| path.gives()) {
        let Ok(pattern) = &path.pattern else { continue };
        // A path without wildcards is the most specific there is; two of one path are taken together.
        let wild = path.written.contains(['*', '+']);
        let decides = |(around, _, may): &&(AbsolutePattern, String, BTreeSet<usize>)| {
            around.touches(pattern) && !path.may.is_subset(may) && (wild || may.is_empty())
        };
        if let Some((_, written, _)) = unsaid.iter().find(decides) {
            path.lost.push(format!("Vault lets {written:?} decide a part of it, which no grant can."));
            path.fate = Fate::Left;
        }
    }
}

/// Denies a path that is left where a less specific one would give something there.
fn deny_what_others_would_give(paths: &mut [Path]) {
    let giving: Vec<_> = paths.iter().filter(|path| path.gives()).collect();
    let giving: Vec<_> =
        giving.into_iter().filter_map(|path| Some((path.pattern.clone().ok()?, path.written.clone()))).collect();
    for path in paths.iter_mut().filter(|path| path.fate == Fate::Left) {
        let Ok(pattern) = &path.pattern else { continue };
        let gives =
            |(other, _): &&(AbsolutePattern, String)| other.touches(pattern) && other.precedence(pattern).is_lt();
        if let Some((_, written)) = giving.iter().find(gives) {
            path.fate = Fate::Denied(written.clone());
        }
    }
}

/// The policy's name, where a role can have it, else what can be kept of it with a part of its digest.
fn role_name(policy: &str, names: &BTreeSet<String>) -> String {
    let plain = |name: &str| {
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        begins && name.len() <= NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if plain(policy) && !names.contains(policy) {
        return policy.to_owned();
    }
    let kept = policy.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' });
    let kept: String = kept.skip_while(|c| !c.is_ascii_alphanumeric()).take(NAME - 9).collect();
    let digest = Digest::of(policy.as_bytes()).to_hex();
    let begin = if kept.is_empty() { "policy" } else { &kept };
    format!("{begin}-{:.8}", digest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use filters::catalog::CATALOG;

    use super::super::reading::read;
    use super::*;

    fn proposed(policy: &str) -> String {
        let stanzas = read(policy).unwrap_or_else(|problem| panic!("{policy}: {problem}"));
        let text = Proposal::new("p", &stanzas, &mut BTreeSet::new()).toml(&CATALOG.layout());
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(table.len() <= 1, "{text}");
        text
    }

    /// The grants of a proposal, by their paths, with a mark at those that are dangerous.
    fn granted(policy: &str) -> BTreeMap<String, String> {
        let table: toml::Table = proposed(policy).parse().unwrap();
        let grants = table.get("roles").map(|roles| roles["p"]["vault"].as_array().unwrap().clone());
        let grant = |grant: toml::Value| {
            let names: Vec<_> = grant["capabilities"].as_array().unwrap().iter().filter_map(|c| c.as_str()).collect();
            let mark = if grant.get("dangerous").is_some() { "!" } else { "" };
            (grant["path"].as_str().unwrap().to_owned(), format!("{}{mark}", names.join(" ")))
        };
        grants.into_iter().flatten().map(grant).collect()
    }

    fn path(path: &str, rest: &str) -> String {
        format!("path \"{path}\" {{\n{rest}\n}}\n")
    }

    fn may(path_: &str, names: &str) -> String {
        let names: Vec<_> = names.split(' ').map(|name| format!("\"{name}\"")).collect();
        path(path_, &format!("capabilities = [{}]", names.join(", ")))
    }

    #[test]
    fn what_a_grant_can_say_is_carried_over() {
        let policy = [
            may("kv2/data/billing/*", "list read create"),
            may("kv2/data/billing/*", "update"),
            may("transit/encrypt/+", "update sudo"),
            may("kv2/data/billing/root", "read deny"),
            may("sys/mounts", "read"),
            path("cubbyhole/x", "policy = \"read\""),
        ];
        let expected = [
            ("kv2/data/billing/*", "create read update list"),
            ("transit/encrypt/+", "update"),
            ("kv2/data/billing/root", "deny"),
            ("sys/mounts", "read!"),
            ("cubbyhole/x", "read list"),
        ];
        let expected = expected.map(|(path, names)| (path.to_owned(), names.to_owned()));
        assert_eq!(granted(&policy.concat()), BTreeMap::from(expected));
        let text = proposed(&policy.concat());
        assert!(text.contains("scopes = [\"read\", \"write\", \"list\"]"), "{text}");
        assert!(text.contains("# No grant has the capability `sudo`.\n  { path = \"transit/encrypt/+\""), "{text}");
    }

    #[test]
    fn what_is_bounded_is_told_and_denied_where_another_path_would_give_it() {
        let bounded = path("kv2/data/x", "capabilities = [\"update\"]\ndenied_parameters = {}\nmax_wrapping_ttl = 60");
        let text = proposed(&bounded);
        for words in
            ["Nothing of it can be granted", "`denied_parameters`, `max_wrapping_ttl`", "  # { path = \"kv2/data/x\""]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        let wide = may("kv2/*", "read");
        let text = proposed(&format!("{bounded}{wide}"));
        assert!(
            text.contains("since \"kv2/*\" would give it.\n  { path = \"kv2/data/x\", capabilities = [\"deny\"]"),
            "{text}"
        );
        // More specific than it is, or elsewhere, or denied: none of these would give it.
        for other in [may("kv2/data/x", "read"), may("kv3/*", "read"), may("kv2/*", "deny")] {
            assert!(!proposed(&format!("{bounded}{other}")).contains("would give"), "{other}");
        }
    }

    #[test]
    fn nothing_is_given_where_vault_lets_a_template_decide() {
        let template = may("kv2/data/{{identity.entity.name}}/*", "read list");
        for (other, stays) in [
            (may("kv2/*", "read"), true),
            (may("kv2/*", "read delete"), false),
            (may("kv2/data/team/+", "update"), false),
            (may("kv2/data/team/x", "update"), true),
            (format!("{}{}", may("kv2/data/team/x", "update"), may("kv2/data/{{x}}/x", "deny")), false),
            (may("kv2/metadata/*", "delete"), true),
        ] {
            let gives = granted(&format!("{template}{other}")).values().any(|names| names != "deny");
            assert_eq!(gives, stays, "{other}");
        }
        // A path that is withheld still decides.
        let two = format!("{template}{}{}", may("kv2/data/team/+", "update"), may("kv2/+/team/*", "read"));
        assert_eq!(granted(&two).get("kv2/data/team/+").map(String::as_str), Some("deny"));
        let text = proposed(&template);
        assert!(
            text.contains("# { path = \"kv2/data/{{identity.entity.name}}/*\", capabilities = [\"read\", \"list\"] }"),
            "{text}"
        );
    }

    #[test]
    fn a_path_that_no_grant_has_stays_a_comment() {
        for path in ["kv2/+*", "kv2/a*b", "kv2//x", "kv2/../x", "kv2/\\n[roles.x]", "kv2/\\u007f", ""] {
            assert!(granted(&may(path, "read")).is_empty(), "{path}");
        }
    }

    #[test]
    fn a_role_has_a_name_that_roles_can_have() {
        let mut names = BTreeSet::from(["own-namespace".to_owned()]);
        let long = "x".repeat(80);
        for (policy, begin) in [
            ("billing", "billing"),
            ("team/a b", "team-a-b-"),
            ("own-namespace", "own-namespace-"),
            ("é", "policy-"),
            (&long, "xxx"),
        ] {
            let proposal = Proposal::new(policy, &[], &mut names);
            assert!(proposal.role.starts_with(begin) && proposal.role.len() <= NAME, "{}", proposal.role);
            assert_eq!(proposal.renamed().is_some(), policy != "billing");
        }
        assert_eq!(names.len(), 6);
    }
}
