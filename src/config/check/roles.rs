//! What may be done.

use std::collections::HashMap;

use filters::grants::{Role, Wrapping};
use filters::pattern::{BadPattern, NamePattern, PathPattern};
use filters::scope::{Scope, Scopes};

use super::super::fields::{Fields, Sited};
use super::super::sections as section;
use super::{is_plain_name, limits, whole_seconds};

const PATH: &str = "write literal segments, `*` for one whole segment, `**` at the end for the rest";
const NAME: &str = "write a name; a `*` may end it";
const KEY: &str = "write a key's id, its ARN or `alias/NAME`; a `*` may end it";

/// Every role, the built-in one first.
pub(super) struct Roles {
    pub(super) list: Vec<Role>,
    pub(super) by_name: HashMap<Box<str>, usize>,
}

/// The built-in role and those of the file.
pub(super) fn roles(top: &Fields<'_>) -> Roles {
    let builtin = Role::own_namespace();
    let mut roles = Roles { by_name: HashMap::from([(builtin.name.clone(), 0)]), list: vec![builtin] };
    for (name, fields) in top.named("roles", &section::ROLE) {
        let role = role(&name, &fields);
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

fn role(name: &Sited<&str>, fields: &Fields<'_>) -> Role {
    fields.require("scopes");
    let names = |name| patterns(fields, name, NAME, NamePattern::parse);
    let bounded = |name| fields.given(name).then(|| names(name));
    Role {
        name: name.value.into(),
        scopes: scopes(fields, "scopes"),
        kv: patterns(fields, "kv", PATH, PathPattern::parse),
        shared: patterns(fields, "shared", PATH, PathPattern::parse),
        transit: names("transit"),
        database: names("database"),
        ssh: names("ssh"),
        pki: names("pki"),
        kms: patterns(fields, "kms", KEY, kms_key),
        ssh_principals: bounded("ssh_principals"),
        ssh_extensions: bounded("ssh_extensions"),
        max_ttl: fields.given("max_ttl").then(|| whole_seconds(fields, "max_ttl")),
        wrapping: match fields.text("wrap").as_ref().map(|word| word.value.as_str()) {
            Some("required") => Wrapping::Required,
            _ => Wrapping::Optional,
        },
        deny: patterns(fields, "deny", PATH, PathPattern::parse),
        rate: limits::rate(fields, "rate"),
    }
}

/// The scopes that stand in `name`.
pub(super) fn scopes(fields: &Fields<'_>, name: &str) -> Scopes {
    let scope = |word: super::super::kind::Word| {
        let found = Scope::ALL.into_iter().find(|scope| scope.name() == word.text);
        if found.is_none() {
            fields.problem(name, &word.place, "holds an unknown scope", "use `read`, `write`, `delete`, `list`");
        }
        found
    };
    fields.words(name).into_iter().filter_map(scope).collect()
}

fn patterns<P>(fields: &Fields<'_>, name: &str, mend: &str, parse: fn(&str) -> Result<P, BadPattern>) -> Vec<P> {
    let pattern = |word: super::super::kind::Word| match parse(&word.text) {
        Ok(pattern) => Some(pattern),
        Err(BadPattern(why)) => {
            fields.problem(name, &word.place, &format!("holds an invalid pattern: {why}"), mend);
            None
        }
    };
    fields.words(name).into_iter().filter_map(pattern).collect()
}

/// A key's id, ARN or `alias/…`; a `*` may end it.
fn kms_key(text: &str) -> Result<NamePattern, BadPattern> {
    let stem = text.strip_suffix('*').unwrap_or(text);
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/_-:".contains(&b);
    if !stem.bytes().all(fits) || text.len() > 2048 {
        return Err(BadPattern("a character that no key's name has"));
    }
    NamePattern::parse_slashed(text)
}
