//! The gate's login to Vault: by one method.

use super::super::fields::Fields;
use super::super::options::Section;
use super::super::report::Place;
use super::super::sections as section;
use super::super::settings::{Login, SignedToken, Upstream};
use super::values::plain_path;

/// One way to log in that is configured.
struct Method {
    /// The option that configures it, as it stands in problems.
    label: String,
    place: Place,
    login: Login,
}

/// The gate's login; AppRole goes before a token that happens to be exported.
pub(super) fn login(top: &Fields<'_>, upstream: &Upstream) -> Login {
    let approle = approle(top);
    let token = token(top, approle.is_some());
    let other = top.table("login", &section::LOGIN);
    let mut methods = [approle, token, token_file(top), kubernetes(&other), jwt(&other), certificate(&other, upstream)]
        .into_iter()
        .flatten();
    let Some(first) = methods.next() else { return nothing(top) };
    for other in methods {
        let wrong = format!("{} is a second way to log in to Vault, beside {}", other.label, first.label);
        let mend = format!("keep one of the two; {} is given at {}", first.label, first.place);
        top.source.findings.problem(&other.place, wrong, mend);
    }
    first.login
}

/// No login; anything that was given and wrong is noted already.
fn nothing(top: &Fields<'_>) -> Login {
    let credentials = ["vault_role_id", "vault_secret_id", "vault_token", "vault_token_file", "login"];
    if !credentials.into_iter().any(|name| top.given(name)) {
        let text = "no credentials for Vault: the gate starts and answers 503; set VAULT_ROLE_ID and VAULT_SECRET_ID";
        top.source.findings.warning(&Place::Nowhere, text);
    }
    Login::None
}

fn approle(top: &Fields<'_>) -> Option<Method> {
    let mount = plain_path(&top.table("approle", &section::APPROLE), "mount");
    let (role, secret) = (top.text("vault_role_id"), top.secret("vault_secret_id"));
    let (place, login) = match (role, secret) {
        (Some(role), Some(secret)) => {
            let mount = mount.map(|mount| mount.value).unwrap_or_default();
            (role.place, Login::AppRole { mount, role_id: role.value, secret_id: secret.value })
        }
        (Some(role), None) => (role.place.clone(), one_half(top, "vault_secret_id", &role.place)),
        (None, Some(secret)) => (secret.place.clone(), one_half(top, "vault_role_id", &secret.place)),
        (None, None) => return None,
    };
    Some(Method { label: "AppRole".to_owned(), place, login })
}

fn one_half(top: &Fields<'_>, missing: &str, place: &Place) -> Login {
    if !top.given(missing) {
        top.problem(
            missing,
            place,
            "is missing",
            "AppRole needs both VAULT_ROLE_ID and VAULT_SECRET_ID; give both or neither",
        );
    }
    Login::None
}

fn token(top: &Fields<'_>, is_approle: bool) -> Option<Method> {
    let token = top.secret("vault_token")?;
    if is_approle {
        let text = "`vault_token` is not used: the gate logs in by AppRole";
        top.source.findings.warning(&token.place, text);
        return None;
    }
    Some(Method { label: top.label("vault_token"), place: token.place, login: Login::Token(token.value) })
}

/// The file may still be missing: whoever writes it may start later.
fn token_file(top: &Fields<'_>) -> Option<Method> {
    let path = top.text("vault_token_file")?;
    Some(Method { label: top.label("vault_token_file"), place: path.place, login: Login::TokenFile(path.value.into()) })
}

fn jwt(other: &Fields<'_>) -> Option<Method> {
    method(other, "jwt", &section::LOGIN_JWT, |fields| {
        fields.require("token_file");
        Login::Jwt(signed_token(fields))
    })
}

fn kubernetes(other: &Fields<'_>) -> Option<Method> {
    method(other, "kubernetes", &section::LOGIN_KUBERNETES, |fields| {
        fields.require("role");
        Login::Kubernetes(signed_token(fields))
    })
}

fn signed_token(fields: &Fields<'_>) -> SignedToken {
    let text = |name| fields.text(name).map(|text| text.value);
    SignedToken {
        mount: plain_path(fields, "mount").map(|mount| mount.value).unwrap_or_default(),
        role: text("role"),
        file: text("token_file").unwrap_or_default().into(),
    }
}

fn certificate(other: &Fields<'_>, upstream: &Upstream) -> Option<Method> {
    method(other, "certificate", &section::LOGIN_CERTIFICATE, |fields| {
        if !upstream.tls || upstream.identity.is_none() {
            let mend = "give `upstream.client_certificate` and `upstream.client_key`, and an https VAULT_ADDR";
            other.problem("certificate", &fields.place, "has no certificate that Vault would be shown", mend);
        }
        let mount = plain_path(fields, "mount").map(|mount| mount.value).unwrap_or_default();
        Login::Certificate { mount, role: fields.text("role").map(|role| role.value) }
    })
}

/// The method that a table below `[login]` configures.
fn method(
    other: &Fields<'_>,
    name: &str,
    section: &'static Section,
    login: impl FnOnce(&Fields<'_>) -> Login,
) -> Option<Method> {
    other.structure(name)?;
    let mut fields = other.table(name, section);
    fields.place = other.place_of(name);
    Some(Method { label: other.label(name), place: fields.place.clone(), login: login(&fields) })
}
