//! Grants as policies of Vault's (HCL), so that Vault holds an agent's token to
//! what the gate would allow.
//!
//! Vault lets only the *most specific* path of a token's policies decide. So
//! wherever patterns overlap, what they have in common is a path of its own,
//! and each path has the capabilities of every grant that covers it.
//! Source: <https://developer.hashicorp.com/vault/docs/concepts/policies#priority-matching>

mod absolute;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::catalog::Catalog;
use crate::grants::{Capabilities, Mode, Role, Service, Space, Wrapping};
use crate::names::AgentId;
use crate::operation::{Capability, OperationSpec};
use crate::pattern::{AbsolutePattern, NamePattern, PathPattern};
use crate::secret::Digest;
use crate::vault::{HANDLES, Layout};

use absolute::Source;

/// Most paths of one policy.
const MOST: usize = 2_000;

/// The first line of every policy that is written here.
pub const MARK: &str = "# Written by `portcullis policy`: what is changed here is lost.";

/// The agent whose own namespace a policy is about.
#[derive(Clone, Copy, Debug)]
pub enum Own<'a> {
    /// This agent's.
    Agent(&'a AgentId),
    /// Whoever holds the token: by its entity's alias, for tokens made at the
    /// token method of this accessor.
    Templated(&'a str),
    /// Nobody's: it stands in another policy of the same token.
    Elsewhere,
}

/// Why grants are no policy of Vault's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unprintable {
    /// Their patterns overlap in more ways than a policy can say.
    TooManyPaths,
    /// These two of Vault's own paths overlap, and in what they have in common Vault would not do what the roles say.
    Unsayable(String, String),
}

/// The prefix of the name of a policy of roles.
pub const ROLES: &str = "portcullis-roles-";

/// The name of the policy of these roles, beside the templated one. Vault
/// folds the case of policies' names: what would be another's name has a
/// digest at its end.
#[must_use]
pub fn roles_policy<'a>(roles: impl Iterator<Item = &'a str>) -> String {
    let joined = roles.collect::<Vec<_>>().join(":");
    let folded = joined.to_ascii_lowercase();
    if folded == joined {
        return format!("{ROLES}{joined}");
    }
    let digest = Digest::of(joined.as_bytes()).to_hex();
    format!("{ROLES}{folded}:{}", digest.get(..16).unwrap_or_default())
}

/// One policy of Vault's.
#[derive(Debug, Default)]
pub struct Policy {
    paths: BTreeMap<String, Capabilities>,
    remarks: Vec<String>,
}

/// The grants below one prefix of Vault's paths.
#[derive(Default)]
struct Granted {
    paths: Vec<(PathPattern, Capability)>,
    names: Vec<(NamePattern, Capability)>,
    /// Names are listed below it.
    lists: bool,
}

impl Policy {
    /// The policy of an agent with these roles, for the operations of the catalog.
    ///
    /// # Errors
    /// [`Unprintable`].
    pub fn of(catalog: &Catalog, roles: &[&Role], own: Own<'_>, layout: &Layout) -> Result<Self, Unprintable> {
        let mut granted = BTreeMap::<String, Granted>::new();
        let mut policy = Self::default();
        for role in roles {
            for spec in catalog.iter().map(|entry| entry.spec) {
                if spec.scope.is_some_and(|scope| role.scopes.contains(scope)) {
                    grant(&mut granted, role, spec, own, layout);
                }
            }
            remark(&mut policy.remarks, role);
        }
        for (prefix, granted) in granted {
            let patterns = closed(&granted)?;
            if granted.lists && granted.has_any() {
                for folder in folders(&patterns)? {
                    let path = format!("{}/", folder.below_prefix(&prefix));
                    policy.paths.insert(path, granted.capabilities(&folder));
                }
            }
            for pattern in patterns {
                policy.paths.insert(pattern.below_prefix(&prefix), granted.capabilities(&pattern));
            }
            let transit = prefix.strip_prefix(layout.mount_of(HANDLES)).is_some_and(|rest| rest.starts_with('/'));
            let covered = |key: &&str| transit && granted.names.iter().any(|(name, _)| name.covers(key));
            let shut: Vec<&str> = layout.own_keys().filter(covered).collect();
            for (name, _) in &granted.names {
                let covers = granted.names.iter().filter(|(other, _)| other.contains(name));
                let capabilities = covers.map(|(_, capability)| *capability).collect();
                policy.paths.insert(format!("{prefix}/{}", name.to_vault()), capabilities);
            }
            for key in shut {
                // It is the gate's alone, whatever covers it.
                policy.paths.insert(format!("{prefix}/{key}/*"), Capabilities::new());
                policy.paths.insert(format!("{prefix}/{key}"), Capabilities::new());
            }
        }
        if roles.iter().any(|role| !role.vault.is_empty()) {
            let own_view = std::mem::take(&mut policy.paths).into_iter();
            let own_view = own_view.map(|(path, may)| (path, Some(may).filter(|may| !may.is_empty())));
            let own_view = Source::new(own_view.map(|(path, may)| (AbsolutePattern::of_policy(&path), may)));
            let grants = || roles.iter().flat_map(|role| role.vault.iter());
            let own_keys = own_keys(layout).filter(|key| grants().any(|grant| grant.pattern.touches(key)));
            let own_keys = Source::new(own_keys.map(|key| (key, None)));
            let roles = roles.iter().map(|role| of_role(role));
            policy.paths = absolute::united(&[own_view, own_keys].into_iter().chain(roles).collect::<Vec<_>>())?;
        }
        if policy.paths.len() > MOST { Err(Unprintable::TooManyPaths) } else { Ok(policy) }
    }

    /// True where it allows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The policy as text, with `title` as its second line.
    #[must_use]
    pub fn to_hcl(&self, title: &str) -> String {
        let mut text = format!("{MARK}\n# {title}\n");
        if !self.remarks.is_empty() {
            text.push_str("#\n# Held by the gate alone:\n");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "#   {remark}");
        }
        for (path, capabilities) in &self.paths {
            let names: Vec<_> = capabilities.iter().map(|capability| format!("\"{}\"", capability.name())).collect();
            let names = if names.is_empty() { "\"deny\"".to_owned() } else { names.join(", ") };
            let path = serde_json::Value::from(path.as_str());
            let _ = write!(text, "\npath {path} {{\n  capabilities = [{names}]\n}}\n");
        }
        text
    }
}

/// The absolute grants of a role, as far as its scopes go.
fn of_role(role: &Role) -> Source {
    let rules = role.vault.iter().map(|grant| {
        let may = grant.may.iter().filter(|may| role.scopes.contains(may.scope())).copied().collect();
        (grant.pattern.clone(), (!grant.denies()).then_some(may))
    });
    Source::new(rules)
}

/// The gate's own transit keys, which are the gate's alone, whatever is asked of them.
fn own_keys(layout: &Layout) -> impl Iterator<Item = AbsolutePattern> {
    let mount = layout.mount_of(HANDLES);
    let places = ["+", "+/+"]
        .into_iter()
        .flat_map(move |above| layout.own_keys().map(move |key| format!("{mount}/{above}/{key}")));
    let patterns = places.flat_map(|place| [format!("{place}/*"), place]);
    patterns.map(|pattern| AbsolutePattern::of_policy(&pattern))
}

fn grant(all: &mut BTreeMap<String, Granted>, role: &Role, spec: &OperationSpec, own: Own<'_>, layout: &Layout) {
    let Some((engine, mount)) = spec.engine.and_then(|engine| Some((engine, layout.mount(engine)?))) else { return };
    for (api, capability) in spec.reach.apis.iter().flat_map(|api| spec.reach.may.iter().map(move |may| (api, *may))) {
        if engine.names().is_none() {
            for (space, patterns) in [(Space::Own, &role.kv), (Space::Shared, &role.shared)] {
                let Some(below) = space_prefix(space, own, layout) else { continue };
                let granted = all.entry(format!("{mount}/{api}/{below}")).or_default();
                for pattern in patterns {
                    if capability == Capability::List {
                        granted.list(pattern);
                    } else {
                        granted.paths.push((pattern.clone(), capability));
                    }
                }
            }
        } else if spec.named {
            let names = role.names(engine).iter().cloned().map(|name| (name, capability));
            all.entry(format!("{mount}/{api}")).or_default().names.extend(names);
        } else {
            let granted = all.entry(format!("{mount}/{api}")).or_default();
            granted.paths.push((PathPattern::EVERYTHING, capability));
        }
    }
}

fn space_prefix(space: Space, own: Own<'_>, layout: &Layout) -> Option<String> {
    let prefix = &layout.own_prefix;
    match (space, own) {
        (Space::Shared, _) => Some(layout.shared_prefix.to_string()),
        (Space::Own, Own::Agent(agent)) => Some(format!("{prefix}/{agent}")),
        (Space::Own, Own::Templated(accessor)) => {
            Some(format!("{prefix}/{{{{identity.entity.aliases.{accessor}.name}}}}"))
        }
        (Space::Own, Own::Elsewhere) => None,
    }
}

/// The paths of a policy that means the same: closed under what patterns have in common. With a `+`
/// about, Vault's order compares how many there are, so that only patterns of one length compare as
/// they should.
fn closed(granted: &Granted) -> Result<Vec<PathPattern>, Unprintable> {
    let depth = if granted.has_any() { granted.paths.iter().map(|(pattern, _)| pattern.depth()).max() } else { None };
    meets(granted.paths.iter().flat_map(|(pattern, _)| pattern.spread(depth.unwrap_or(0))))
}

/// The folders whose listings are judged by a path with a slash at its end, whatever else fits that:
/// with the nothing behind the slash a last `+` and an open end are both content.
fn folders(patterns: &[PathPattern]) -> Result<Vec<PathPattern>, Unprintable> {
    meets(patterns.iter().flat_map(|pattern| [Some(pattern.folder()), pattern.above()].into_iter().flatten()))
}

/// The patterns, and all that some of them have in common.
fn meets(given: impl Iterator<Item = PathPattern>) -> Result<Vec<PathPattern>, Unprintable> {
    let mut patterns: Vec<PathPattern> = Vec::new();
    for pattern in given {
        let mut found = vec![pattern];
        while let Some(pattern) = found.pop() {
            if patterns.contains(&pattern) {
                continue;
            }
            found.extend(patterns.iter().filter_map(|other| other.meet(&pattern)));
            patterns.push(pattern);
            if patterns.len() > MOST {
                return Err(Unprintable::TooManyPaths);
            }
        }
    }
    Ok(patterns)
}

impl Granted {
    /// True where a whole segment of some pattern may be anything.
    fn has_any(&self) -> bool {
        self.paths.iter().any(|(pattern, _)| pattern.has_any())
    }

    /// The capabilities of every grant that covers the pattern.
    fn capabilities(&self, pattern: &PathPattern) -> Capabilities {
        let covers = self.paths.iter().filter(|(other, _)| other.contains(pattern));
        covers.map(|(_, capability)| *capability).collect()
    }

    /// Lets names be listed. Vault judges a listing by the path without its slash, and only where
    /// nothing fits that, by the path with it; OpenBao so only where no `+` is about (2.7, tried).
    fn list(&mut self, pattern: &PathPattern) {
        self.lists = true;
        self.paths.extend(pattern.listings().into_iter().map(|prefix| (prefix, Capability::List)));
    }
}

/// Adds remarks about the bounds that the gate alone enforces.
fn remark(remarks: &mut Vec<String>, role: &Role) {
    let mut say = |text: String| remarks.push(format!("{}: {text}", role.name));
    if role.mode == Mode::Observe {
        say("only observes: what no other role grants is let through, and recorded".to_owned());
    }
    for pattern in &role.deny {
        say(format!("denies {pattern} of the own namespace"));
    }
    let names = |patterns: &[NamePattern]| patterns.iter().map(NamePattern::to_vault).collect::<Vec<_>>().join(", ");
    if let Some(principals) = &role.ssh_principals {
        say(format!("SSH logs in as {} only", names(principals)));
    }
    if let Some(extensions) = &role.ssh_extensions {
        say(format!("SSH certificates carry {} only", names(extensions)));
    }
    if let Some(seconds) = role.max_ttl {
        say(format!("SSH and PKI certificates last {seconds} s at most"));
    }
    if role.wrapping == Wrapping::Required {
        say("secrets are answered wrapped only".to_owned());
    }
    if !role.confirm.is_empty() {
        say(format!("over MCP, {} is confirmed first", role.confirm.join(", ")));
    }
    if role.observe {
        say("its agents may read the gate's logs".to_owned());
    }
    for condition in role.conditions.iter().flat_map(|conditions| conditions.told()) {
        say(format!("holds {condition} only"));
    }
    if let Some(bytes) = role.body {
        say(format!("requests have bodies of {bytes} bytes at most"));
    }
    if role.rate.is_some() {
        say("requests are limited".to_owned());
    }
    for (engine, held) in role.named.iter().filter(|(engine, held)| engine.is_kms() && !held.is_empty()) {
        let several = engine.names().map_or("names", |of| of.several);
        say(format!("{} {several} {}", Service::Kms.name(), names(held)));
    }
}
