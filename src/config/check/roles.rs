//! Roles and their grants.

use std::collections::{HashMap, HashSet};

use filters::character::prints;
use filters::condition::{Clock, Conditions, Days, Hours, Zone};
use filters::grants::{Engine, GrantNames, Mode, Role, Wrapping};
use filters::identity::UnknownAgents;
use filters::mcp;
use filters::names::Namespace;
use filters::pattern::{BadPattern, NamePattern, PathPattern};
use filters::scope::{Scope, Scopes};
use filters::vault::Layout;

use super::super::fields::{Fields, Sited};
use super::super::kind::Word;
use super::super::sections as section;
use super::super::settings::{AgentEntry, Identity};
use super::super::table::default_role as option_of;
use super::values::{is_plain_name, network, whole_seconds};
use super::{absolute, limits, namespaces};

const PATH: &str = "write literal segments, `*` for one whole segment, `**` at the end for the rest";
const NAME: &str = "write a name; a `*` may end it";
/// Most characters of a description.
const ABOUT: usize = 200;

/// Every role, the built-in one first.
pub(super) struct Roles {
    pub(super) list: Vec<Role>,
    pub(super) by_name: HashMap<Box<str>, usize>,
    /// The gate's own namespace.
    pub(super) namespace: Namespace,
}

/// The built-in role and those of the file.
pub(super) fn roles(top: &Fields<'_>, layout: &Layout) -> Roles {
    let builtin = default_role(top);
    let most = top.table("limits", &section::LIMITS).size("body").unwrap_or(usize::MAX);
    let by_name = HashMap::from([(builtin.name.clone(), 0)]);
    let mut roles = Roles { by_name, list: vec![builtin], namespace: namespaces::own(top) };
    for (name, fields) in top.named("roles", &top.source.table.role) {
        let role = role(&name, &fields, &roles.namespace, layout);
        if role.body.is_some_and(|body| body > most) {
            let mend = "keep to what every request is held to, or raise `limits.body`";
            fields.problem("body", &fields.place_of("body"), "is more than `limits.body`", mend);
        }
        if !is_plain_name(name.value) {
            let mend = "use letters, digits, `.`, `_` and `-`, at most 63 characters";
            top.problem("roles", &name.place, "has an invalid name", mend);
        } else if roles.by_name.insert(role.name.clone(), roles.list.len()).is_some() {
            top.problem("roles", &name.place, "has the name of the built-in role", "choose another name");
        }
        roles.list.push(role);
    }
    roles
}

/// The roles that `roles` names, as indices into [`Roles::list`].
pub(super) fn role_indices(fields: &Fields<'_>, roles: &Roles) -> Vec<usize> {
    let index = |word: Word| {
        let found = roles.by_name.get(word.text.as_str()).copied();
        if found.is_none() {
            fields.problem(
                "roles",
                &word.place,
                "names a role that is not defined",
                "define it in `[roles.NAME]`, or correct the name",
            );
        }
        found
    };
    fields.words("roles").into_iter().filter_map(index).collect()
}

/// The built-in role, with what variables grant beside the own namespace; that is said aloud.
fn default_role(top: &Fields<'_>) -> Role {
    let named = held(top, |engine, names| {
        let option = option_of(engine);
        if !top.words(&option).is_empty() {
            let text = format!("every agent without roles of its own may use what {} names", top.label(&option));
            top.source.findings.warning(&top.place_of(&option), text);
        }
        patterns(top, &option, names.mend, names.parse)
    });
    Role { named, ..Role::own_namespace() }
}

/// Warns where AWS KMS is on and none of the roles that somebody has grants a key of it.
pub(super) fn doubt_kms(top: &Fields<'_>, roles: &[Role], agents: &[AgentEntry], identity: &Identity) {
    let strangers = matches!(identity.directory.unknown(), UnknownAgents::OwnNamespace(_)).then_some(&0);
    let rules = identity.role_rules.iter().flatten().flatten();
    let mut held = agents.iter().flat_map(|agent| &agent.roles).chain(rules).chain(strangers);
    let grants =
        |index: &usize| roles.get(*index).is_some_and(|role| role.named.iter().any(|(engine, _)| engine.is_kms()));
    if top.flag("aws_kms_enabled") == Some(true) && !held.any(grants) {
        let text = "AWS KMS is enabled and nobody may use it: grant keys by `kms` in a role, or by DEFAULT_ROLE_KMS";
        top.source.findings.warning(&top.place_of("aws_kms_enabled"), text);
    }
}

/// The names that `read` finds of each engine, in the catalog's order, where there are some.
fn held(
    fields: &Fields<'_>,
    mut read: impl FnMut(Engine, &GrantNames) -> Vec<NamePattern>,
) -> Vec<(Engine, Vec<NamePattern>)> {
    let all = fields.source.table.named().map(|(engine, names)| (engine, read(engine, names)));
    all.filter(|(_, names)| !names.is_empty()).collect()
}

fn role(name: &Sited<&str>, fields: &Fields<'_>, own: &Namespace, layout: &Layout) -> Role {
    fields.require("scopes");
    let scopes = scopes(fields, "scopes");
    let bounded = |name| fields.given(name).then(|| patterns(fields, name, NAME, NamePattern::parse));
    let mut abouts = HashMap::new();
    let mut paths = |key| grants(fields, key, PATH, PathPattern::parse, &mut abouts);
    let (kv, shared) = (paths("kv"), paths("shared"));
    let named = held(fields, |engine, names| grants(fields, engine.name(), names.mend, names.parse, &mut abouts));
    Role {
        name: name.value.into(),
        scopes,
        vault: absolute::grants(fields, scopes, layout),
        kv,
        shared,
        named,
        ssh_principals: bounded("ssh_principals"),
        ssh_extensions: bounded("ssh_extensions"),
        max_ttl: fields.given("max_ttl").then(|| whole_seconds(fields, "max_ttl")),
        wrapping: match fields.text("wrap").as_ref().map(|word| word.value.as_str()) {
            Some("required") => Wrapping::Required,
            _ => Wrapping::Optional,
        },
        mode: mode(name.value, fields),
        confirm: confirmed(fields),
        observe: fields.flag("observe").unwrap_or(false),
        deny: patterns(fields, "deny", PATH, PathPattern::parse),
        tools: tools(fields),
        rate: limits::rate(fields, "rate"),
        body: fields.given("body").then(|| fields.size("body")).flatten(),
        conditions: conditions(fields).map(Box::new),
        namespace: namespaces::below(fields, own),
        about: about(fields),
        abouts,
    }
}

/// The weight of what the role allows; said aloud where that is observed.
fn mode(role: &str, fields: &Fields<'_>) -> Mode {
    if fields.text("mode").is_none_or(|word| word.value != "observe") {
        return Mode::Enforce;
    }
    let text =
        format!("what only the role `{role}` allows is let through and recorded, and would be refused without it");
    fields.source.findings.warning(&fields.place_of("mode"), text);
    Mode::Observe
}

/// The operations that are confirmed first. What changes nothing needs no confirmation, and can be read as a resource.
fn confirmed(fields: &Fields<'_>) -> Vec<&'static str> {
    let operation = |Word { place, text }: Word| {
        let found = fields.source.table.catalog.find(&text).map(|entry| entry.spec);
        let found = found.filter(|spec| !spec.annotations.read_only && !spec.rest_only && spec.engine.is_some());
        if found.is_none() {
            let mend = "name tools that change something, such as `kv.destroy` or `db.revoke`";
            fields.problem("confirm", &place, "holds no operation that can be confirmed", mend);
        }
        found.map(|spec| spec.name)
    };
    fields.words("confirm").into_iter().filter_map(operation).collect()
}

/// The descriptions of single grants, by their key and as they are written.
type Abouts = HashMap<(&'static str, Box<str>), Box<str>>;

/// The patterns of `key`; what is said of any of them is added to `abouts`.
fn grants<P>(
    fields: &Fields<'_>,
    key: &'static str,
    mend: &str,
    parse: fn(&str) -> Result<P, BadPattern>,
    abouts: &mut Abouts,
) -> Vec<P> {
    let grant = |(word, table): (Word, Option<Fields<'_>>)| {
        if let Some(about) = table.as_ref().and_then(about) {
            abouts.insert((key, word.text.as_str().into()), about);
        }
        pattern(fields, key, word, mend, parse)
    };
    fields.grants(key, &section::GRANT).into_iter().filter_map(grant).collect()
}

/// The operator's description, which models read.
fn about(fields: &Fields<'_>) -> Option<Box<str>> {
    let text = fields.text("about")?;
    if text.value.chars().count() > ABOUT || !text.value.chars().all(prints) {
        let wrong = "is long, or holds a character that does not print";
        fields.problem("about", &text.place, wrong, "write one line of at most 200 characters that can all be seen");
    }
    Some(text.value.into())
}

/// The operations whose tools the role shows, where it does not show all.
fn tools(fields: &Fields<'_>) -> Option<Box<[&'static str]>> {
    let catalog = fields.source.table.catalog;
    let named = |Word { place, text }: Word| {
        let found = mcp::matching(catalog, &text);
        if found.is_empty() {
            let mend = "write a tool's name, such as `kv_read` or `kv.read`; a `*` may end it";
            fields.problem("tools", &place, "holds what names no tool", mend);
        }
        found
    };
    let shown: HashSet<_> = fields.words("tools").into_iter().flat_map(named).collect();
    let names = catalog.iter().map(|entry| entry.spec.name);
    fields.given("tools").then(|| names.filter(|name| shown.contains(name)).collect())
}

/// When the role holds, where that is not always.
fn conditions(fields: &Fields<'_>) -> Option<Conditions> {
    let network = |Word { place, text }: Word| {
        let network = network(&text);
        if network.is_none() {
            let mend = "write such as `10.0.0.0/8`, `192.0.2.7` or `fd00::/8`";
            fields.problem("sources", &place, "holds something that is not a network", mend);
        }
        network
    };
    let sources: Vec<_> = fields.words("sources").into_iter().filter_map(network).collect();
    if fields.given("sources") && sources.is_empty() {
        let mend = "name the networks, or leave `sources` out";
        fields.problem("sources", &fields.place_of("sources"), "names no network", mend);
    }
    let hours = fields.given("hours").then(|| hours(&fields.table("hours", &section::HOURS))).flatten();
    (!sources.is_empty() || hours.is_some()).then_some(Conditions { sources, hours })
}

fn hours(fields: &Fields<'_>) -> Option<Hours> {
    fields.require("zone");
    let clock = |name| {
        let text = fields.text(name)?;
        let clock = Clock::parse(&text.value);
        if clock.is_none() {
            fields.problem(
                name,
                &text.place,
                "is not a time of the day",
                "write such as `\"08:00\"`, up to `\"24:00\"`",
            );
        }
        clock
    };
    let day = |Word { place, text }: Word| {
        let day = Days::parse(&text);
        if day.is_none() {
            let mend = "use `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`";
            fields.problem("days", &place, "holds an unknown day", mend);
        }
        day
    };
    let days: Vec<Days> = fields.words("days").into_iter().filter_map(day).collect();
    if fields.given("days") && days.is_empty() {
        fields.problem("days", &fields.place_of("days"), "names no day", "name the days, or leave `days` out");
    }
    let days = if days.is_empty() { Days::ALL } else { days.into_iter().collect() };
    let (from, to) = (clock("from"), clock("to"));
    let zone = zone(fields);
    let (from, to, zone) = (from?, to?, zone?);
    let hours = Hours::new(from, to, days, zone);
    if hours.is_none() {
        let mend = "let `to` be another time than `from`, and `from` be before 24:00";
        fields.problem("from", &fields.place_of("from"), "begins no range that ends", mend);
    }
    hours
}

fn zone(fields: &Fields<'_>) -> Option<Zone> {
    let text = fields.text("zone")?;
    let zone = Zone::named(&text.value);
    if zone.is_none() {
        let mend = "write its name in the tz database, such as `Europe/Berlin` or `UTC`";
        fields.problem("zone", &text.place, "is not a time zone", mend);
    }
    zone
}

/// The scopes that stand in `name`.
pub(super) fn scopes(fields: &Fields<'_>, name: &str) -> Scopes {
    let scope = |word: Word| {
        let found = Scope::ALL.into_iter().find(|scope| scope.name() == word.text);
        if found.is_none() {
            fields.problem(name, &word.place, "holds an unknown scope", "use `read`, `write`, `delete`, `list`");
        }
        found
    };
    fields.words(name).into_iter().filter_map(scope).collect()
}

fn patterns<P>(fields: &Fields<'_>, name: &str, mend: &str, parse: fn(&str) -> Result<P, BadPattern>) -> Vec<P> {
    fields.words(name).into_iter().filter_map(|word| pattern(fields, name, word, mend, parse)).collect()
}

fn pattern<P>(
    fields: &Fields<'_>,
    name: &str,
    word: Word,
    mend: &str,
    parse: fn(&str) -> Result<P, BadPattern>,
) -> Option<P> {
    let wrong = |BadPattern(why)| {
        fields.problem(name, &word.place, &format!("holds an invalid pattern: {why}"), mend);
    };
    parse(&word.text).map_err(wrong).ok()
}
