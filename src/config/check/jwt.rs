//! The issuers whose bearer tokens are believed.

use std::sync::Arc;
use std::time::Duration;

use filters::identity::Source as Origin;
use filters::jwt::{self, Binding, KeySet, LEAST_SECRET, RoleRules};

use super::super::fields::{Fields, Sited};
use super::super::sections as section;
use super::super::settings::{Fetched, Issuer, KeyPlace, KeySource, TokenLogin};
use super::namespaces;
use super::roles::{Roles, role_indices, scopes};
use super::values::url;
use super::values::{authorities, plain_path, whole_seconds};

/// Where OpenID providers have their configuration, below their name.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The time that keys of the issuer of `JWT_*` are used while their server is away.
const KEEP: Duration = Duration::from_secs(86_400);

/// The issuers, and what their role rules give.
#[derive(Default)]
pub(super) struct Issuers {
    pub(super) list: Vec<Issuer>,
    pub(super) role_rules: Vec<Vec<Vec<usize>>>,
    /// Where Vault takes the tokens of each.
    pub(super) logins: Vec<Arc<TokenLogin>>,
}

/// The issuer of `JWT_*`, where it has keys, and those of the file; none where JWTs are off.
pub(super) fn issuers(top: &Fields<'_>, roles: &Roles, public_url: Option<&str>) -> Issuers {
    let mut issuers = Issuers::default();
    let login = Arc::new(token_login(top));
    if let Some(issuer) = of_variables(top) {
        issuers.list.push(issuer);
        issuers.role_rules.push(Vec::new());
        issuers.logins.push(Arc::clone(&login));
    }
    let identity = top.table("identity", &section::IDENTITY);
    let development = is_development(top);
    for fields in identity.tables("issuers", &section::ISSUER) {
        let login = token_login_of(&fields, &login);
        let Some((issuer, rules)) = of_file(&fields, roles, development) else { continue };
        if issuers.list.iter().any(|other| other.rules.name == issuer.rules.name) {
            fields.problem("name", &fields.place_of("name"), "names an issuer twice", "give each issuer one table");
        }
        issuers.list.push(issuer);
        issuers.role_rules.push(rules);
        issuers.logins.push(login);
    }
    // A token may name the resource that the metadata name (RFC 8707).
    let resources = public_url.map(|base| [Box::from(base), format!("{base}/mcp").into()]);
    for issuer in &mut issuers.list {
        issuer.rules.audiences.extend(resources.iter().flatten().cloned());
    }
    if top.flag("auth_jwt_enabled").unwrap_or(false) { issuers } else { Issuers::default() }
}

impl Issuers {
    /// The subjects of the issuer that `fields` names, or of the only one.
    pub(super) fn origin(&self, fields: &Fields<'_>) -> Option<Origin> {
        let position = |name: &str| self.list.iter().position(|issuer| &*issuer.rules.name == name);
        match fields.text("issuer") {
            // That there is none at all is a warning, and another's.
            _ if self.list.is_empty() => Some(Origin::Jwt(0)),
            None if self.list.len() == 1 => Some(Origin::Jwt(0)),
            None => {
                let mend = "name one of the issuers";
                fields.problem("issuer", &fields.place, "is missing where there are several issuers", mend);
                None
            }
            Some(name) => {
                let found = position(&name.value).map(Origin::Jwt);
                if found.is_none() {
                    let mend = "name JWT_ISSUER, or the `name` of one of `[[identity.issuers]]`";
                    fields.problem("issuer", &name.place, "names an issuer that is not configured", mend);
                }
                found
            }
        }
    }
}

/// Where Vault takes JWTs, where their issuer does not say.
fn token_login(top: &Fields<'_>) -> TokenLogin {
    let fields = top.table("vault", &section::VAULT).table("jwt", &section::VAULT_JWT);
    TokenLogin {
        mount: plain_path(&fields, "mount").map(|mount| mount.value).unwrap_or_default(),
        role: fields.text("role").map(|role| role.value),
    }
}

/// The same of one issuer. A mount of its own has roles of its own.
fn token_login_of(issuer: &Fields<'_>, common: &Arc<TokenLogin>) -> Arc<TokenLogin> {
    let mount = plain_path(issuer, "vault_mount").map(|mount| mount.value);
    let role = issuer.text("vault_role").map(|role| role.value);
    match (mount, role) {
        (None, None) => Arc::clone(common),
        (None, role) => Arc::new(TokenLogin { mount: common.mount.clone(), role }),
        (Some(mount), role) => Arc::new(TokenLogin { mount, role }),
    }
}

fn of_variables(top: &Fields<'_>) -> Option<Issuer> {
    let shared = shared_secret(top, "jwt_hs256_secret", is_development(top));
    if top.given("jwt_jwks_url") && top.given("jwt_jwks_file") {
        let mend = format!("keep one; the URL is at {}", top.place_of("jwt_jwks_url"));
        top.problem("jwt_jwks_file", &top.place_of("jwt_jwks_file"), "and `jwt_jwks_url` are both given", &mend);
    }
    let keys = match web(top, "jwt_jwks_url") {
        Some(url) => KeySource::Fetched(Fetched {
            place: KeyPlace::Jwks(url),
            shared,
            authorities: None,
            refresh: Duration::from_secs(top.number("jwt_jwks_cache_seconds")?),
            keep: KEEP,
        }),
        None => KeySource::Given(public_keys(top, "jwt_jwks_file", shared)),
    };
    let rules = jwt::Issuer {
        require_kid: top.flag("jwt_require_kid")?,
        validate_issuer: top.flag("jwt_validate_issuer")?,
        validate_audience: top.flag("jwt_validate_audience")?,
        default_scopes: scopes(top, "jwt_default_scopes"),
        ..jwt::Issuer::new(&top.text("jwt_issuer")?.value, &top.text("jwt_audience")?.value)
    };
    (!matches!(&keys, KeySource::Given(set) if set.is_empty())).then_some(Issuer { rules, keys })
}

fn of_file(fields: &Fields<'_>, roles: &Roles, development: bool) -> Option<(Issuer, Vec<Vec<usize>>)> {
    fields.require("name");
    fields.require("audiences");
    let name = fields.text("name");
    let keys = keys(fields, name.as_ref(), development);
    let (values, lists) = rules(fields, roles);
    let rules = jwt::Issuer {
        name: name?.value.into(),
        audiences: fields.words("audiences").into_iter().map(|word| word.text.into()).collect(),
        leeway: whole_seconds(fields, "leeway").into(),
        require_kid: fields.flag("require_kid")?,
        validate_issuer: true,
        validate_audience: true,
        binding: binding(fields)?,
        default_scopes: scopes(fields, "default_scopes"),
        subject_claim: fields.text("subject_claim")?.value.into(),
        roles: RoleRules { claim: fields.text("roles_claim")?.value.into(), values },
    };
    Some((Issuer { rules, keys: keys? }, lists))
}

/// True where short secrets are taken.
fn is_development(top: &Fields<'_>) -> bool {
    top.text("environment").is_some_and(|environment| environment.value == "development")
}

fn binding(fields: &Fields<'_>) -> Option<Binding> {
    Some(match fields.text("binding")?.value.as_str() {
        "required" => Binding::Required,
        "certificate" => Binding::Certificate,
        "dpop" => Binding::Key,
        _ => Binding::Optional,
    })
}

/// The values of the role rules, and the roles that each gives.
fn rules(fields: &Fields<'_>, roles: &Roles) -> (Vec<Box<str>>, Vec<Vec<usize>>) {
    let rule = |rule: Fields<'_>| {
        rule.require("value");
        rule.require("roles");
        let list = role_indices(&rule, roles);
        namespaces::agree(&rule, &roles.list, &list, "give these roles the same `namespace`");
        Some((Box::from(rule.text("value")?.value), list))
    };
    fields.tables("roles", &section::ROLE_RULE).into_iter().filter_map(rule).unzip()
}

fn keys(fields: &Fields<'_>, name: Option<&Sited<String>>, development: bool) -> Option<KeySource> {
    const SOURCES: [&str; 4] = ["jwks_url", "jwks_file", "discovery", "hs256_secret"];
    let discovery = fields.flag("discovery")?;
    let given = |source: &&str| fields.given(source) && (*source != "discovery" || discovery);
    let given: Vec<_> = SOURCES.iter().filter(|source| given(source)).collect();
    let [source] = given.as_slice() else {
        let mend = "give one of `jwks_url`, `jwks_file`, `discovery = true`, `hs256_secret`";
        fields.source.findings.problem(&fields.place, "an issuer must have exactly one source of keys", mend);
        return None;
    };
    let place = match **source {
        "jwks_url" => KeyPlace::Jwks(web(fields, "jwks_url")?),
        "discovery" => {
            let issuer = name?.value.clone();
            web(fields, "name")?;
            KeyPlace::Discovery { url: format!("{}{DISCOVERY}", issuer.trim_end_matches('/')), issuer }
        }
        "jwks_file" => return Some(KeySource::Given(public_keys(fields, "jwks_file", KeySet::default()))),
        _ => return Some(KeySource::Given(shared_secret(fields, "hs256_secret", development))),
    };
    Some(KeySource::Fetched(Fetched {
        place,
        shared: KeySet::default(),
        authorities: authorities(fields, "ca"),
        refresh: fields.time("refresh"),
        keep: fields.time("keep"),
    }))
}

/// The URL of `name`, where it is one.
fn web(fields: &Fields<'_>, name: &str) -> Option<String> {
    let text = fields.text(name)?;
    if !url(fields, name) {
        return None;
    }
    let plain = text.value.starts_with("http:");
    if plain && !is_loopback(&text.value) {
        let wrong = format!("{} is plain HTTP: whoever is on the way can make tokens", fields.label(name));
        fields.source.findings.warning(&text.place, wrong);
    }
    Some(text.value)
}

fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The secret of HS256. In development a short one is a warning.
fn shared_secret(fields: &Fields<'_>, name: &str, development: bool) -> KeySet {
    let keys = KeySet::default();
    let Some(secret) = fields.secret(name) else { return keys };
    if let Some(keys) = keys.clone().with_secret(&secret.value, LEAST_SECRET) {
        return keys;
    }
    let wrong = format!("has fewer than {LEAST_SECRET} bytes");
    match keys.with_secret(&secret.value, 1).filter(|_| development) {
        Some(keys) => {
            let label = fields.label(name);
            let text = format!("{label} {wrong}: whoever sees a token can find it out; in production it is refused");
            fields.source.findings.warning(&secret.place, text);
            keys
        }
        None => {
            fields.problem(name, &secret.place, &wrong, "use a random one, such as `openssl rand -hex 32` prints");
            KeySet::default()
        }
    }
}

fn public_keys(fields: &Fields<'_>, name: &str, keys: KeySet) -> KeySet {
    let Some(path) = fields.text(name) else { return keys };
    let Some(text) = fields.source.text_of(&path.place, &fields.label(name), &path.value) else { return keys };
    keys.clone().with_jwks(text.as_bytes()).unwrap_or_else(|problem| {
        let wrong = format!("names a file that {problem}");
        fields.problem(name, &path.place, &wrong, "write the issuer's public keys to it (RFC 7517)");
        keys
    })
}
