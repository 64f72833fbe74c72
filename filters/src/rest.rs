//! The REST surface: from method, path, query and body to an [`Operation`].
//!
//! A request becomes the same JSON object of arguments that the operation's
//! MCP tool takes: the template's parameter, the query's parameters and the
//! body's members, so that one schema judges both.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::catalog::{CATALOG, Catalog};
use crate::json::Bounds;
use crate::operation::{Entry, Kind, Operation, OperationSpec};
use crate::path;
use crate::refusal::{Misfit, Refusal};

/// A route that matched, with its parameter as it stood in the path.
#[derive(Debug)]
pub struct Match<'a> {
    /// The operation.
    pub kind: &'static Entry,
    /// Its name and its raw value.
    parameter: Option<(&'static str, &'a str)>,
}

/// The routes of a catalog.
pub struct Routes(Vec<Route>);

struct Route {
    kind: &'static Entry,
    /// The part before the parameter; the whole path where there is none.
    before: &'static str,
    parameter: Option<(&'static str, &'static str)>,
}

static ROUTES: LazyLock<Routes> = LazyLock::new(|| Routes::of(&CATALOG));

impl Routes {
    /// Longest literal text first, so that `/secrets/{path}:undelete` is seen
    /// before `/secrets/{path}`.
    #[must_use]
    pub fn of(catalog: &Catalog) -> Self {
        let mut routes: Vec<Route> = catalog.iter().map(Route::of).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.kind.spec.template.len()));
        Self(routes)
    }

    /// Finds the operation of a method and a raw path without its query.
    ///
    /// A path that ends in a verb is that verb's alone: with another method it
    /// would be a name that no method of the verb's can be asked about.
    ///
    /// # Errors
    /// 404 for an unknown path, 405 for a known one with other methods.
    pub fn find<'a>(&self, method: &str, path: &'a str) -> Result<Match<'a>, Refusal> {
        let verb = self.0.iter().find_map(|route| route.verb().filter(|_| route.fits(path).is_some()));
        let fitting = self.0.iter().filter(|route| verb.is_none() || route.verb() == verb);
        let mut methods = Vec::new();
        for (route, parameter) in fitting.filter_map(|route| Some((route, route.fits(path)?))) {
            if route.kind.spec.method == method {
                return Ok(Match { kind: route.kind, parameter });
            }
            methods.push(route.kind.spec.method);
        }
        methods.sort_unstable();
        methods.dedup();
        Err(match (methods.is_empty(), verb) {
            (true, _) => Refusal::NotFound,
            (false, None) => Refusal::MethodNotAllowed(methods.join(", ")),
            (false, Some(_)) => Refusal::Verb(methods.join(", ")),
        })
    }
}

impl Route {
    fn of(kind: &'static Entry) -> Self {
        let template = kind.spec.template;
        let split = template.split_once('{').and_then(|(before, rest)| {
            let (name, after) = rest.split_once('}')?;
            Some((before, (name, after)))
        });
        match split {
            Some((before, parameter)) => Self { kind, before, parameter: Some(parameter) },
            None => Self { kind, before: template, parameter: None },
        }
    }

    /// The part after the parameter: `:metadata`.
    fn verb(&self) -> Option<&'static str> {
        self.parameter.map(|(_, after)| after).filter(|after| !after.is_empty())
    }

    fn fits<'a>(&self, path: &'a str) -> Option<Option<(&'static str, &'a str)>> {
        match self.parameter {
            None => (path == self.before).then_some(None),
            Some((name, after)) => Some(Some((name, path.strip_prefix(self.before)?.strip_suffix(after)?))),
        }
    }
}

/// Finds the operation of the catalog, as [`Routes::find`] does.
///
/// # Errors
/// 404 for an unknown path, 405 for a known one with other methods.
pub fn route<'a>(method: &str, path: &'a str) -> Result<Match<'a>, Refusal> {
    ROUTES.find(method, path)
}

/// The parts of a matched request beside its path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried<'a> {
    /// The raw query.
    pub query: &'a str,
    /// The body; empty stands for an empty object.
    pub body: &'a [u8],
    /// The header `X-Vault-Wrap-TTL`: the argument `wrap_ttl`.
    pub wrap_ttl: Option<&'a str>,
    /// Most of what the body may have.
    pub bounds: Bounds,
}

/// Reads a request that matched. The body is looked at only where the route
/// takes one.
///
/// # Errors
/// 400 for what is not UTF-8, a plain path or a JSON object, and for a wrap
/// header where nothing can be wrapped; 422 for arguments that do not fit.
pub fn operation(matched: &Match<'_>, carried: Carried<'_>) -> Result<Operation, Refusal> {
    let Carried { query, body, wrap_ttl, bounds } = carried;
    let spec = matched.kind.spec;
    let mut json = Vec::with_capacity(body.len() + query.len() + 96);
    json.push(b'{');
    if let Some((name, raw)) = matched.parameter {
        let value = path::decode(raw.as_bytes())?;
        member(&mut json, name, &value, Kind::Text);
    }
    for pair in pairs(query) {
        let (name, value) = pair?;
        member(&mut json, &name, &value, kind_of(spec, &name, &value)?);
    }
    if let Some(text) = wrap_ttl {
        if !spec.secret {
            return Err(Refusal::Malformed("The answer of this route cannot be wrapped."));
        }
        member(&mut json, "wrap_ttl", text, Kind::Text);
    }
    if spec.takes_body && !body.is_empty() {
        splice(&mut json, body)?;
    }
    json.push(b'}');
    let size = if spec.takes_body { body.len() } else { 0 };
    Ok(Operation { size, ..matched.kind.parse_within(&json, &bounds)? })
}

/// A query parameter as it is written in JSON. One that the route does not
/// declare is refused, an argument of the body's too.
fn kind_of(spec: &OperationSpec, name: &str, value: &str) -> Result<Kind, Refusal> {
    let declared = spec.query.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    match declared {
        Some(Kind::Plain) if is_plain(value) => Ok(Kind::Plain),
        Some(_) => Ok(Kind::Text),
        None => {
            let known: Vec<_> = spec.query.iter().map(|(known, _)| format!("`{known}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let expected = format!("of query parameters {known}");
            Err(Refusal::Arguments(Misfit { pointer: String::new(), expected }))
        }
    }
}

/// True for a text that stands for a flag or a whole number.
pub(crate) fn is_plain(value: &str) -> bool {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    matches!(value, "true" | "false") || digits && (value == "0" || !value.starts_with('0'))
}

/// Adds a member to an object that has begun.
pub(crate) fn member(json: &mut Vec<u8>, name: &str, value: &str, kind: Kind) {
    if json.len() > 1 {
        json.push(b',');
    }
    // Writing text to a vector cannot fail.
    let _ = serde_json::to_writer(&mut *json, name);
    json.push(b':');
    match kind {
        Kind::Plain => json.extend_from_slice(value.as_bytes()),
        Kind::Text => {
            let _ = serde_json::to_writer(&mut *json, value);
        }
    }
}

/// The parameters of a query, decoded.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), Refusal>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((form(name)?, form(value)?))
    })
}

/// Decodes one part of a query (`application/x-www-form-urlencoded`).
fn form(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        return Ok(Cow::Owned(path::decode(spaced.as_bytes())?.into_owned()));
    }
    Ok(path::decode(raw.as_bytes())?)
}

/// Adds the members of the body, a JSON object, to those that are there.
fn splice(json: &mut Vec<u8>, body: &[u8]) -> Result<(), Refusal> {
    let inner = body
        .trim_ascii()
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"))
        .ok_or(Refusal::Malformed("The body must be a JSON object."))?;
    if inner.trim_ascii().is_empty() {
        return Ok(());
    }
    if json.len() > 1 {
        json.push(b',');
    }
    json.extend_from_slice(inner);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::{Resource, Space};
    use crate::path::SecretPath;

    fn resource(
        method: &str,
        path: &str,
        query: &str,
        body: &str,
    ) -> Result<(&'static str, Option<Resource>), Refusal> {
        let matched = route(method, path)?;
        let carried = Carried { query, body: body.as_bytes(), ..Carried::default() };
        let operation = operation(&matched, carried)?;
        Ok((operation.kind.spec.name, operation.resource))
    }

    fn secret(space: Space, path: &str) -> Option<Resource> {
        Some(Resource::Secret(space, SecretPath::parse(path).unwrap()))
    }

    #[test]
    fn each_route_becomes_its_operation() {
        for (method, path, query, body, name, expected) in [
            ("GET", "/secrets/a/b", "", "", "kv.read", secret(Space::Own, "a/b")),
            ("GET", "/secrets/a%20b", "version=2", "", "kv.read", secret(Space::Own, "a b")),
            ("GET", "/secrets/a%3Aundelete", "", "", "kv.read", secret(Space::Own, "a:undelete")),
            (
                "GET",
                "/secrets/a:metadata%3Ametadata:metadata",
                "",
                "",
                "kv.metadata",
                secret(Space::Own, "a:metadata:metadata"),
            ),
            ("GET", "/secrets/a:metadata/b", "", "", "kv.read", secret(Space::Own, "a:metadata/b")),
            ("GET", "/secrets/a", "shared=true", "", "kv.read", secret(Space::Shared, "a")),
            ("PUT", "/secrets/a", "", r#" {"data":{"x":"1"},"cas":0} "#, "kv.write", secret(Space::Own, "a")),
            ("DELETE", "/secrets/a", "", "", "kv.delete", secret(Space::Own, "a")),
            ("POST", "/secrets/a/b:delete", "", r#"{"versions":[1]}"#, "kv.delete_versions", secret(Space::Own, "a/b")),
            ("PUT", "/secrets/a:metadata", "", r#"{"max_versions":1}"#, "kv.write_metadata", secret(Space::Own, "a")),
            ("PATCH", "/secrets/a:metadata", "", "", "kv.patch_metadata", secret(Space::Own, "a")),
            ("POST", "/secrets/a/b:undelete", "", r#"{"versions":[1]}"#, "kv.undelete", secret(Space::Own, "a/b")),
            ("POST", "/secrets/a/b:destroy", "", r#"{"versions":[1]}"#, "kv.destroy", secret(Space::Own, "a/b")),
            (
                "GET",
                "/secrets",
                "prefix=12",
                "",
                "kv.list",
                Some(Resource::Names(Space::Own, SecretPath::parse("12").ok())),
            ),
            ("GET", "/secrets", "", "", "kv.list", Some(Resource::Names(Space::Own, None))),
            ("GET", "/whoami", "", "", "whoami", None),
            ("GET", "/access", "", "", "access.list", None),
        ] {
            assert_eq!(resource(method, path, query, body), Ok((name, expected)), "{method} {path}");
        }
    }

    #[test]
    fn what_has_no_route_is_told_apart_from_a_wrong_method() {
        assert_eq!(route("GET", "/nothing").unwrap_err(), Refusal::NotFound);
        assert_eq!(route("GET", "/secretsx").unwrap_err(), Refusal::NotFound);
        assert_eq!(
            route("POST", "/secrets/a").unwrap_err(),
            Refusal::MethodNotAllowed("DELETE, GET, PATCH, PUT".into())
        );
        assert_eq!(route("POST", "/whoami").unwrap_err(), Refusal::MethodNotAllowed("GET".into()));
        assert_eq!(route("get", "/whoami").unwrap_err(), Refusal::MethodNotAllowed("GET".into()));
    }

    #[test]
    fn a_path_that_ends_in_a_verb_is_the_verbs_alone() {
        let mut verbs = std::collections::BTreeMap::<_, std::collections::BTreeSet<_>>::new();
        for (verb, route) in ROUTES.0.iter().filter_map(|route| Some((route.verb()?, route))) {
            verbs.entry(verb).or_default().insert(route.kind.spec.method);
        }
        assert!(verbs.len() >= 4, "{verbs:?}");
        for (verb, meant) in verbs {
            let methods = meant.iter().copied().collect::<Vec<_>>().join(", ");
            let others = ["GET", "PUT", "PATCH", "POST", "DELETE", "TRACE"].into_iter();
            for method in others.filter(|other| !meant.contains(other)) {
                let refused = route(method, &format!("/secrets/ftp{verb}")).unwrap_err();
                assert_eq!(refused, Refusal::Verb(methods.clone()), "{method} {verb}");
                assert!(refused.public().detail.contains("%3A"));
            }
        }
    }

    #[test]
    fn path_query_and_body_cannot_contradict_each_other() {
        for (method, path, query, body) in [
            ("GET", "/secrets/a", "path=b", ""),
            ("GET", "/secrets/a", "version=1&version=2", ""),
            ("PUT", "/secrets/a", "", r#"{"path":"b","data":{}}"#),
            ("PUT", "/secrets/a", "", r#"{"data":{},"data":{}}"#),
            ("PUT", "/secrets/a", "shared=true", r#"{"data":{},"shared":false}"#),
            ("GET", "/secrets/a", "unknown=1", ""),
            ("GET", "/secrets/a", "wrap_ttl=5m", ""),
            ("POST", "/secrets/a:destroy", "versions=1", ""),
            ("GET", "/secrets/a", "version=01", ""),
            ("GET", "/secrets/a", "version=1,%22x%22:1", ""),
        ] {
            let refusal = resource(method, path, query, body).unwrap_err();
            assert!(matches!(refusal, Refusal::Arguments(_)), "{method} {path} {query} {body}: {refusal:?}");
        }
        let empty = resource("PUT", "/secrets/a", "", "").unwrap_err();
        assert!(matches!(empty, Refusal::Arguments(_)), "{empty:?}");
        for body in ["[]", "1", r#"{"data":{}},"#, r#"{"data":{}"#, r#"{"data":{}}}"#, r#"{"data":{}} {}"#] {
            let refusal = resource("PUT", "/secrets/a", "", body).unwrap_err();
            assert!(matches!(refusal, Refusal::Malformed(_)), "{body}: {refusal:?}");
        }
        for path in
            ["/secrets/", "/secrets/a/", "/secrets/../b", "/secrets/%2e%2e/b", "/secrets/a%252fb", "/secrets/%ff"]
        {
            assert!(matches!(resource("GET", path, "", ""), Err(Refusal::Path(_))), "{path}");
        }
    }
}
