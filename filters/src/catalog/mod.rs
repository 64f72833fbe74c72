//! Everything that may be asked, each described once. Adding an engine is one
//! file here, which has all that is particular to it, and its row in [`CATALOG`].

pub mod absolute;
mod access;
mod database;
mod gate;
mod kms;
mod kv;
mod pki;
mod ssh;
mod text;
mod transit;
mod wrap;

pub use database::DATABASE;
pub use kms::KMS;
pub use kv::KV;
pub use pki::PKI;
pub use ssh::SSH;
pub use transit::TRANSIT;

use serde::Serialize;

use crate::grants::{Engine, Resource};
use crate::operation::{Body, Call, Entry, Touched};
use crate::path;
use crate::refusal::Refusal;
use crate::vault::Layout;

/// Engines with their operations, and the operations that are of no engine.
#[derive(Debug)]
pub struct Catalog {
    /// The table of engines, in the order in which surfaces and documents show them.
    pub engines: &'static [(Engine, &'static [Entry])],
    /// Operations of no engine, which stand behind all others.
    pub others: &'static [Entry],
}

/// The catalog of the gate.
pub static CATALOG: Catalog = Catalog {
    engines: &[
        (KV, &kv::OPERATIONS),
        (TRANSIT, &transit::OPERATIONS),
        (DATABASE, &database::OPERATIONS),
        (SSH, &ssh::OPERATIONS),
        (PKI, &pki::OPERATIONS),
        (KMS, &kms::OPERATIONS),
    ],
    others: &gate::OPERATIONS,
};

impl Catalog {
    /// Every engine, in the order of the table.
    pub fn engines(&self) -> impl Iterator<Item = Engine> + use<> {
        self.engines.iter().map(|(engine, _)| *engine)
    }

    /// Every operation, in the order in which surfaces show them.
    pub fn iter(&self) -> impl Iterator<Item = &'static Entry> + use<> {
        self.engines.iter().flat_map(|(_, operations)| *operations).chain(self.others)
    }

    /// Every operation, those at Vault's own paths too, which are on no surface but Vault's API.
    pub fn all(&self) -> impl Iterator<Item = &'static Entry> + use<> {
        self.iter().chain(&absolute::ABSOLUTE)
    }

    /// The operation of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Entry> {
        self.all().find(|entry| entry.spec.name == name)
    }

    /// The layout in Vault that the options' defaults have.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::of(self.engines())
    }
}

/// The operation of that name in the gate's catalog.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    CATALOG.find(name)
}

/// Something of an engine's that has a name.
fn named(engine: Engine, name: &str) -> Result<Touched, Refusal> {
    path::judge(name)?;
    Ok(Resource::Key(engine, name.into()).into())
}

/// Something asked of Vault with a JSON body.
fn post(api: &'static str, body: &impl Serialize, repeatable: bool) -> Result<Call, Refusal> {
    let body = serde_json::to_vec(body).map_err(|_| Refusal::Internal)?;
    Ok(posted(api, Body::Whole(body.into()), repeatable))
}

fn posted(api: &'static str, body: Body, repeatable: bool) -> Call {
    Call { api: api.into(), query: None, body: Some(body), repeatable }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::grants::Space;
    use crate::refusal::Misfit;
    use crate::vault::{CERTIFICATES, HANDLES};

    /// Arguments that an operation takes, with all that it needs and nothing more.
    fn needed(entry: &Entry) -> Map<String, Value> {
        let schema = entry.input_schema().to_value();
        let needed = schema["required"].as_array().cloned().unwrap_or_default();
        let value = |name: &str| match name {
            "data" => json!({}),
            "versions" => json!([1]),
            "ip" => json!("192.0.2.1"),
            "signing_algorithm" => json!("ECDSA_SHA_256"),
            _ => json!("eA=="),
        };
        needed.iter().map(|name| (name.as_str().unwrap().to_owned(), value(name.as_str().unwrap()))).collect()
    }

    /// The operation that the arguments make, or the refusal.
    fn asked(entry: &'static Entry, arguments: &Map<String, Value>) -> String {
        told(entry, json!(arguments).to_string().as_bytes())
    }

    fn told(entry: &'static Entry, arguments: &[u8]) -> String {
        match entry.parse(arguments) {
            Ok(operation) => {
                format!("{:?} {:?} {:?} {:?}", operation.resource, operation.ask, operation.demand, operation.wrap)
            }
            Err(refusal) => format!("{refusal:?}"),
        }
    }

    #[test]
    fn null_is_as_good_as_absent_unless_it_is_needed() {
        for entry in CATALOG.iter() {
            let (name, needed) = (entry.spec.name, needed(entry));
            let schema = entry.input_schema().to_value();
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            let plain = asked(entry, &needed);
            let mut all = needed.clone();
            for (argument, takes) in properties {
                let with_null: Map<_, _> =
                    needed.clone().into_iter().chain([(argument.clone(), Value::Null)]).collect();
                if needed.contains_key(&argument) {
                    let refused = entry.parse(json!(with_null).to_string().as_bytes()).unwrap_err();
                    let Refusal::Arguments(Misfit { pointer, expected }) = refused else {
                        panic!("{name}: {refused:?}")
                    };
                    assert!(pointer == format!("/{argument}") && !expected.is_empty(), "{name}: {pointer} {expected}");
                    continue;
                }
                assert_eq!(asked(entry, &with_null), plain, "{name} {argument}");
                assert!(!takes.to_string().contains("null"), "the schema of {name} {argument}: {takes}");
                let Some(item) = takes.pointer("/items/properties").and_then(Value::as_object) else {
                    all.insert(argument, Value::Null);
                    continue;
                };
                // One item of a batch, without what may be left out and with `null` in its place.
                let required = |name: &String| takes["items"]["required"].as_array().unwrap().contains(&json!(name));
                let item = |absent: Option<Value>| {
                    let member = |name: &String| if required(name) { Some(json!("eA==")) } else { absent.clone() };
                    let members: Map<_, _> =
                        item.keys().filter_map(|name| Some((name.clone(), member(name)?))).collect();
                    let batch = json!({"key": "k", &*argument: [members]});
                    asked(entry, batch.as_object().unwrap())
                };
                assert_eq!(item(Some(Value::Null)), item(None), "{name} {argument}");
                assert!(item(None).contains("batch_input"), "{name}: {}", item(None));
                all.insert(argument, Value::Null);
            }
            assert_eq!(asked(entry, &all), plain, "{name}");
        }
    }

    /// The forms of a schema that are whole numbers, each with the way to write one as the argument: alone, or in
    /// a list.
    fn whole(takes: &Value) -> Option<(u64, &'static str)> {
        let forms = takes["anyOf"].as_array().cloned().unwrap_or_else(|| vec![takes.clone()]);
        let alone = forms.iter().find(|form| form["type"] == "integer").map(|form| (form, "_"));
        let listed = (takes["items"]["type"] == "integer").then(|| (&takes["items"], "[_]"));
        let (form, place) = alone.or(listed)?;
        let least = form["enum"][0].as_u64().or_else(|| form["minimum"].as_u64());
        Some((least.expect("a least number"), place))
    }

    #[test]
    fn a_whole_number_is_judged_by_its_value() {
        let mut tried = Vec::new();
        for entry in CATALOG.iter() {
            let (name, needed) = (entry.spec.name, needed(entry));
            let schema = entry.input_schema().to_value();
            for (argument, takes) in schema["properties"].as_object().into_iter().flatten() {
                let Some((least, place)) = whole(takes) else { continue };
                let with = |number: &str| {
                    let others: Map<_, _> = needed.clone().into_iter().filter(|(other, _)| other != argument).collect();
                    let others = json!(others).to_string();
                    let others = others.trim_start_matches('{').trim_end_matches('}');
                    let comma = if others.is_empty() { "" } else { "," };
                    let json = format!("{{{others}{comma}\"{argument}\":{}}}", place.replace('_', number));
                    told(entry, json.as_bytes())
                };
                let plain = with(&least.to_string());
                let pointer = format!("Arguments(Misfit {{ pointer: \"/{argument}");
                assert!(!plain.starts_with(&pointer), "{name} {argument}: {plain}");
                for same in [format!("{least}.0"), format!("{least}.00e0"), format!("{least}.0E-0")] {
                    assert_eq!(with(&same), plain, "{name} {argument} = {same}");
                }
                for other in [format!("{least}.5"), "-1".to_owned(), "-1.0".to_owned(), "1e300".to_owned()] {
                    let refused = with(&other);
                    assert!(refused.starts_with(&pointer), "{name} {argument} = {other}: {refused}");
                }
                tried.push(argument.clone());
            }
        }
        for argument in ["version", "cas", "versions", "key_version", "bits", "bytes", "port", "number_of_bytes", "ttl"]
        {
            assert!(tried.iter().any(|tried| tried == argument), "{argument} is not among {tried:?}");
        }
    }

    #[test]
    fn every_operation_is_described_whole() {
        let mut seen = std::collections::HashSet::new();
        for entry in CATALOG.iter() {
            let spec = entry.spec;
            assert!(seen.insert(spec.name) && seen.insert(spec.title));
            assert!(spec.summary.ends_with('.'), "{}", spec.name);
            for schema in [entry.input_schema().to_value(), entry.output_schema()] {
                assert_eq!(schema.get("type").and_then(|t| t.as_str()), Some("object"), "{}", spec.name);
            }
            assert_eq!(spec.engine.is_some(), spec.scope.is_some(), "{}", spec.name);
            assert_eq!(spec.engine.is_some(), spec.touch.is_some(), "{}", spec.name);
            assert_eq!(spec.reach.apis.is_empty(), spec.reach.may.is_empty(), "{}", spec.name);
            assert!(std::ptr::eq(find(spec.name).unwrap(), entry));
        }
    }

    #[test]
    fn every_engine_is_described_whole() {
        let mut seen = std::collections::HashSet::new();
        for (engine, operations) in CATALOG.engines {
            let spec = engine.spec();
            assert!(seen.insert(spec.name) && seen.insert(spec.about), "{engine:?}");
            assert!(spec.about.ends_with('.') && !spec.title.is_empty(), "{engine:?}");
            assert!(operations.iter().all(|entry| entry.spec.engine == Some(*engine)), "{engine:?}");
            assert_ne!(engine.default_mount(), Some(""), "{engine:?}");
        }
        assert!(CATALOG.others.iter().all(|entry| entry.spec.engine.is_none()));
        let of_paths: Vec<Engine> = CATALOG.engines().filter(|engine| engine.names().is_none()).collect();
        assert_eq!(of_paths, [KV], "there is one engine of paths");
        assert_eq!(KV.name(), Space::Own.key());
        for name in [HANDLES, CERTIFICATES] {
            assert!(!CATALOG.layout().mount_of(name).is_empty(), "{name}");
        }
    }
}
