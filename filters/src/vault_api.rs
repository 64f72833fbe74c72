//! Vault's own API as a surface: from Vault's method, path, query and body to an [`Operation`].
//!
//! An operation stands here where the gate itself asks Vault for it: below its engine's mount, as its description says.
//! A request becomes the same JSON object of arguments that the operation takes on the other surfaces.
//! Source: <https://developer.hashicorp.com/vault/api-docs>

mod absolute;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

pub use absolute::{is_absolute, may_know_mount, mount_at, passed};

use crate::catalog::{CATALOG, KV};
use crate::grants::Engine;
use crate::operation::{Entry, Kind, Operation, unfit};
use crate::path::below;
use crate::refusal::Refusal;
use crate::rest::{Carried, is_plain, member, pairs};
use crate::vault::{Layout, Method};

/// Where this surface begins.
pub const PREFIX: &str = "/v1/";

/// An operation that a request names, and what it is about.
#[derive(Debug)]
pub struct Match {
    route: &'static Route,
    /// The arguments that the path holds.
    subject: Option<(&'static str, Box<str>)>,
    behind: Option<(&'static str, Box<str>)>,
    is_shared: bool,
}

/// One operation, as Vault's API has it.
#[derive(Debug)]
struct Route {
    kind: &'static Entry,
    engine: Engine,
    api: &'static str,
    /// The argument that names what it is about.
    subject: Option<&'static str>,
    /// The arguments that are numbers or flags, or lists of them. Vault takes texts for these too, which is all that
    /// its command line sends.
    plain: Vec<(String, Plain)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    One,
    List,
}

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let asked = CATALOG.iter().filter_map(|kind| Some((kind, kind.spec.engine?)));
    asked.flat_map(|(kind, engine)| kind.spec.reach.apis.iter().map(move |api| Route::of(kind, engine, api))).collect()
});

impl Route {
    fn of(kind: &'static Entry, engine: Engine, api: &'static str) -> Self {
        let lists = kind.spec.reach.method == Method::List;
        let subject = kind.spec.named.then(|| if lists { "prefix" } else { engine.word() });
        let schema = kind.input_schema().to_value();
        let arguments = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let is_plain = |schema: &Value| matches!(schema["type"].as_str(), Some("integer" | "boolean" | "number"));
        let plain = |(name, schema): (&String, &Value)| match schema {
            schema if is_plain(schema) => Some((name.clone(), Plain::One)),
            schema if is_plain(&schema["items"]) => Some((name.clone(), Plain::List)),
            _ => None,
        };
        Self { kind, engine, api, subject, plain: arguments.filter_map(plain).collect() }
    }
}

impl Match {
    /// The kind of operation.
    #[must_use]
    pub fn kind(&self) -> &'static Entry {
        self.route.kind
    }

    /// The name of what it is about, and true where that is shared.
    #[must_use]
    pub fn about(&self) -> (&str, bool) {
        (self.subject.as_ref().map_or("", |(_, name)| name), self.is_shared)
    }

    /// True for a member of a body that says again what the path says, as some clients send it.
    fn is_said_by(&self, name: &str, value: &RawValue) -> bool {
        let again = |subject: &str| serde_json::from_str::<Cow<'_, str>>(value.get()).is_ok_and(|text| text == subject);
        matches!(name, "name" | "role") && self.subject.as_ref().is_some_and(|(_, subject)| again(subject))
    }
}

/// The method of Vault's API that a request has: `PUT` is `POST`, and `GET` with `list=true` or `list=1` is `LIST`.
#[must_use]
pub fn method(name: &str, query: &str) -> Option<Method> {
    Some(match name {
        "GET" if query.split('&').any(lists) => Method::List,
        "GET" => Method::Get,
        "LIST" => Method::List,
        "POST" | "PUT" => Method::Post,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => return None,
    })
}

/// True for the pair of a query that makes a list of a read, as clients write that.
fn lists(pair: &str) -> bool {
    matches!(pair.strip_prefix("list="), Some("1" | "t" | "T" | "true" | "True" | "TRUE"))
}

/// Finds the operation of a method and a path that is decoded, without its query and [`PREFIX`].
///
/// # Errors
/// [`Refusal::MethodNotAllowed`] for a path that is known with other
/// methods, and [`Refusal::Forbidden`] for any other, as Vault has it for what no policy names.
pub fn route(method: Option<Method>, path: &str, layout: &Layout) -> Result<Match, Refusal> {
    let of = |route: &Route| route.kind.spec.reach.method;
    let mut methods = Vec::new();
    for (route, rest) in at(path, layout) {
        if Some(of(route)) == method {
            return Ok(matched(route, rest, layout));
        }
        methods.push(of(route).name());
    }
    if methods.is_empty() { Err(Refusal::Forbidden) } else { Err(Refusal::MethodNotAllowed(methods.join(", "))) }
}

/// Every operation, one for each method, at a path that is decoded.
pub fn every(path: &str, layout: &Layout) -> impl Iterator<Item = Match> {
    at(path, layout).map(|(route, rest)| matched(route, rest, layout))
}

/// The engine that a path lies in, and the part of it below its mount. Of two mounts of which one lies in the other,
/// the inner one is meant.
#[must_use]
pub fn mount_of<'p>(path: &'p str, layout: &Layout) -> Option<(Engine, &'p str)> {
    let others = layout.mounts.iter().map(|(engine, mount)| (*engine, mount));
    let mounted = others.chain([(KV, &layout.kv_mount)]);
    let mounted = mounted.filter_map(|(engine, mount)| Some((engine, below(path, mount)?)));
    mounted.min_by_key(|(_, rest)| rest.len())
}

/// The routes at a path, and the part of it behind each.
fn at<'p>(path: &'p str, layout: &Layout) -> impl Iterator<Item = (&'static Route, &'p str)> {
    mount_of(path, layout).into_iter().flat_map(|(mounted, rest)| {
        let here = ROUTES.iter().filter(move |route| route.engine == mounted);
        here.filter_map(move |route| Some((route, below(rest, route.api)?)))
    })
}

fn matched(route: &'static Route, rest: &str, layout: &Layout) -> Match {
    let behind = route.kind.spec.reach.behind;
    let (name, behind) = match (route.subject, behind) {
        (Some(_), Some(behind)) => match rest.split_once('/') {
            Some((name, value)) => (name, Some((behind, value))),
            None => (rest, None),
        },
        (None, Some(behind)) if !rest.is_empty() => ("", Some((behind, rest))),
        _ => (rest, None),
    };
    let shared = route.engine.names().is_none().then(|| below(name, &layout.shared_prefix)).flatten();
    Match {
        route,
        subject: route.subject.map(|subject| (subject, shared.unwrap_or(name).into())),
        behind: behind.map(|(argument, value)| (argument, value.into())),
        is_shared: shared.is_some(),
    }
}

/// Reads a request that matched.
///
/// # Errors
/// As [`rest::operation`](crate::rest::operation) has them. A member of the body that Vault would pass over is refused:
/// it may have been meant to bound what is done.
pub fn operation(matched: &Match, carried: Carried<'_>) -> Result<Operation, Refusal> {
    let Carried { query, body, wrap_ttl, bounds } = carried;
    let route = matched.route;
    let mut json = Vec::with_capacity(body.len() + query.len() + 96);
    json.push(b'{');
    for (name, value) in matched.subject.iter().chain(&matched.behind) {
        route.write(name, Given::Text(value), &mut json);
    }
    if matched.is_shared {
        member(&mut json, "shared", "true", Kind::Plain);
    }
    if let Some(ttl) = wrap_ttl {
        if !route.kind.spec.secret {
            return Err(Refusal::Malformed("The answer of this operation cannot be wrapped."));
        }
        member(&mut json, "wrap_ttl", ttl, Kind::Text);
    }
    for pair in pairs(query) {
        let (name, value) = pair?;
        if name != "list" {
            route.take(&name, Given::Text(&value), &mut json)?;
        }
    }
    // Some clients write `null` for nothing.
    if !matches!(body.trim_ascii(), [] | b"null") {
        let Members(members) = serde_json::from_slice(body)
            .map_err(|_| Refusal::Malformed("The body must be a JSON object that names each member once."))?;
        for (name, value) in members {
            if !matched.is_said_by(&name, value) {
                route.take(&name, Given::Json(value.get()), &mut json)?;
            }
        }
    }
    json.push(b'}');
    Ok(Operation { size: body.len(), ..route.kind.parse_within(&json, &bounds)? })
}

/// The value of a member, as it came.
#[derive(Clone, Copy)]
enum Given<'a> {
    Text(&'a str),
    Json(&'a str),
}

impl Route {
    /// Writes a member of a request as the argument that it is.
    fn take(&self, name: &str, value: Given<'_>, json: &mut Vec<u8>) -> Result<(), Refusal> {
        let known = self.kind.spec.reach.aliases.iter().find(|(vaults, _)| *vaults == name);
        match (known, value) {
            // Of an object whose members are arguments.
            (Some((_, "")), Given::Json(object)) => {
                let Members(members) = serde_json::from_str(object).map_err(|_| unfit("", "an object of options"))?;
                members.into_iter().try_for_each(|(name, value)| self.take(&name, Given::Json(value.get()), json))
            }
            (Some((_, argument)), value) => {
                self.write(argument, value, json);
                Ok(())
            }
            // These are the gate's own, or stand in the path.
            (None, _) if self.subject == Some(name) || matches!(name, "shared" | "wrap_ttl") => {
                Err(unfit("", "no member that the path says, and neither shared nor wrap_ttl"))
            }
            (None, value) => {
                self.write(name, value, json);
                Ok(())
            }
        }
    }

    fn write(&self, name: &str, value: Given<'_>, json: &mut Vec<u8>) {
        let plain = self.plain.iter().find(|(known, _)| known == name).map(|(_, plain)| *plain);
        let text = match value {
            Given::Text(text) => Some(Cow::Borrowed(text)),
            Given::Json(json) if plain.is_some() && json.starts_with('"') => serde_json::from_str(json).ok(),
            Given::Json(_) => None,
        };
        match (plain, text, value) {
            (Some(Plain::One), Some(text), _) if is_plain(&text) => member(json, name, &text, Kind::Plain),
            (Some(Plain::List), Some(text), _) if text.split(',').all(is_plain) => {
                member(json, name, &format!("[{text}]"), Kind::Plain);
            }
            (_, Some(text), _) => member(json, name, &text, Kind::Text),
            (Some(Plain::List), None, Given::Json(list)) => {
                let texts: Vec<Cow<'_, str>> = serde_json::from_str(list).unwrap_or_default();
                if !texts.is_empty() && texts.iter().all(|text| is_plain(text)) {
                    return member(json, name, &format!("[{}]", texts.join(",")), Kind::Plain);
                }
                member(json, name, list, Kind::Plain);
            }
            (_, None, Given::Json(value) | Given::Text(value)) => member(json, name, value, Kind::Plain),
        }
    }
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Reader).map(Self)
    }
}
