//! Every surface says the same of every operation, one of an engine it never saw included.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalog::{CATALOG, Catalog};
use crate::decide::{DecisionContext, Effect, decide};
use crate::grants::{Agent, Engine, EngineSpec, GrantNames, Holds, Resource, Role, Service};
use crate::handle::Keyring;
use crate::identity::{Identity, Proof};
use crate::mcp::{ToolNames, Tools};
use crate::names::{AgentId, Namespace};
use crate::openapi::document;
use crate::operation::{About, Annotations, Ask, Call, Describe, Entry, OperationSpec, Plan, Reach, Touched};
use crate::pattern::NamePattern;
use crate::quota::Terms;
use crate::reference::operations;
use crate::refusal::Refusal;
use crate::rest::{Carried, Routes, operation};
use crate::scope::{Scope, Scopes};
use crate::shape::{Member, Shape, Type};
use crate::vault::Layout;
use crate::vault_policy::{Own, Policy};
use crate::verdict::Question;

/// An engine that is made up.
const WHEELS: Engine = Engine::of(&EngineSpec {
    name: "wheel",
    title: "wheel",
    about: "Wheels that turn.",
    holds: Holds::Names(GrantNames { several: "wheels", ..GrantNames::PLAIN }),
    service: Service::Vault("wheelhouse"),
    ..EngineSpec::VAULT
});

/// Its operation.
struct Turn;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Turns {
    /// Which wheel.
    wheel: String,
    /// The number of turns.
    #[expect(dead_code)]
    times: u8,
}

impl Describe for Turn {
    type Arguments<'a> = Turns;
    const SPEC: OperationSpec = OperationSpec {
        name: "wheel.turn",
        title: "Turn a wheel",
        summary: "Turns a wheel that many times.",
        scope: Some(Scope::Write),
        engine: Some(WHEELS),
        touch: Some(wheel),
        annotations: Annotations { read_only: false, destructive: true, idempotent: false },
        method: "PUT",
        template: "/wheels/{wheel}:turn",
        success: 201,
        reach: Reach::update(&["turn"]),
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape =
        &Shape { about: "Where it stands.", members: &[Member::given("angle", Type::Count, "In degrees.")] };

    fn plan(turns: Turns) -> Result<Plan, Refusal> {
        let call = Call { api: "turn".into(), query: None, body: None, repeatable: false };
        Ok(Plan::about(wheel(About::named(&turns.wheel))?, Ask::Vault(call)))
    }
}

fn wheel(about: About<'_>) -> Result<Touched, Refusal> {
    Ok(Resource::Key(WHEELS, about.name.into()).into())
}

static TURNS: [Entry; 1] = [Entry::of::<Turn>()];
static MADE_UP: Catalog = Catalog { engines: &[(WHEELS, &TURNS)], others: &[] };

/// The description of one operation on a surface.
#[derive(Debug, PartialEq)]
struct Told {
    method: String,
    path: String,
    scope: Option<String>,
}

/// The document's description of each operation of the catalog.
fn documented(document: &Value) -> BTreeMap<String, (Told, Value)> {
    let mut all = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(scope) = operation.get("x-scope") else { continue };
            let scope = scope.as_str().map(str::to_owned);
            let told = Told { method: method.to_uppercase(), path: path.clone(), scope };
            all.insert(operation["operationId"].as_str().unwrap().to_owned(), (told, operation.clone()));
        }
    }
    all
}

/// The rows of the table, and for each true where it has a tool.
fn tabled(table: &str) -> BTreeMap<String, (Told, bool)> {
    let rows = table.lines().skip(2).map(|row| row.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])));
    rows.map(|mut cells| {
        let name = cells.next().unwrap().to_owned();
        let (method, path) = cells.next().unwrap().split_once(' ').unwrap();
        let tool = cells.next().unwrap() == name;
        let scope = cells.next().filter(|scope| *scope != "none").map(str::to_owned);
        let path = path.split('?').next().unwrap().to_owned();
        (name, (Told { method: method.to_owned(), path, scope }, tool))
    })
    .collect()
}

fn tools(catalog: &Catalog) -> BTreeMap<String, Value> {
    let rendered = Tools::of(catalog, ToolNames::Dotted);
    let all = rendered.iter().map(|(entry, json)| (entry.spec.name.to_owned(), serde_json::from_str(json).unwrap()));
    all.collect()
}

/// The arguments as the document has them, put together again.
fn documented_arguments(operation: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for parameter in operation["parameters"].as_array().unwrap() {
        names.push(match parameter["name"].as_str().unwrap() {
            "X-Vault-Wrap-TTL" => "wrap_ttl".to_owned(),
            name => name.to_owned(),
        });
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
    names.extend(body.as_object().into_iter().flat_map(|members| members.keys().cloned()));
    names.sort();
    names.dedup();
    names
}

fn compare(catalog: &Catalog) {
    let document = document(catalog);
    let (documented, tabled, tools) = (documented(&document), tabled(&operations(catalog)), tools(catalog));
    let routes = Routes::of(catalog);
    assert_eq!([documented.len(), tabled.len()], [catalog.iter().count(); 2]);
    for entry in catalog.iter() {
        let spec = entry.spec;
        let (told, operation) = &documented[spec.name];
        let (row, has_tool) = &tabled[spec.name];
        assert_eq!(told, row, "{}", spec.name);
        assert_eq!(told.scope.as_deref(), spec.scope.map(|scope| scope.name()), "{}", spec.name);
        let path = told.path.replace("{", "x").replace("}", "x");
        assert!(std::ptr::eq(routes.find(&told.method, &path).unwrap().kind, entry), "{}", spec.name);
        let mut arguments: Vec<String> = Vec::new();
        let input = entry.input_schema().to_value();
        arguments.extend(input["properties"].as_object().into_iter().flat_map(|members| members.keys().cloned()));
        arguments.sort();
        assert_eq!(documented_arguments(operation), arguments, "{}", spec.name);
        let success = &operation["responses"][spec.success.to_string()];
        if spec.success != 204 {
            assert_eq!(success["content"]["application/json"]["schema"], entry.output_schema(), "{}", spec.name);
        }
        assert_eq!(*has_tool, !spec.rest_only);
        let tool = tools.get(spec.name);
        assert_eq!(tool.is_some(), !spec.rest_only, "{}", spec.name);
        if let Some(tool) = tool {
            let names = |schema: &Value| {
                schema["properties"].as_object().map(|members| members.keys().cloned().collect::<Vec<_>>())
            };
            assert_eq!(names(&tool["inputSchema"]), names(&input), "{}", spec.name);
            assert_eq!(tool["inputSchema"]["required"], input["required"], "{}", spec.name);
            assert_eq!(operation["description"], tool["description"]);
        }
    }
    assert_eq!(tools.len(), catalog.iter().filter(|entry| !entry.spec.rest_only).count());
}

#[test]
fn every_surface_says_the_same_of_the_catalog() {
    compare(&CATALOG);
}

#[test]
fn an_engine_that_is_added_is_on_every_surface() {
    compare(&MADE_UP);
    let tool = &tools(&MADE_UP)["wheel.turn"];
    assert_eq!(tool["inputSchema"]["required"], json!(["wheel", "times"]));
    let document = document(&MADE_UP);
    let route = &document["paths"]["/wheels/{wheel}:turn"]["put"];
    assert_eq!(route["parameters"][0]["name"], "wheel");
    let body = &route["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!((&body["required"], &body["additionalProperties"]), (&json!(["times"]), &json!(false)));
    assert!(body["properties"].get("wheel").is_none());
    assert_eq!(route["responses"]["201"]["content"]["application/json"]["schema"]["required"], json!(["angle"]));
    assert!(
        operations(&MADE_UP).contains(
            "| `wheel.turn` | `PUT /wheels/{wheel}:turn` | `wheel.turn` | write | `{wheel}/turn/…`: update |"
        )
    );
    let routes = Routes::of(&MADE_UP);
    let matched = routes.find("PUT", "/wheels/left:turn").unwrap();
    let asked = operation(&matched, Carried { body: b"{\"times\":3}", ..Carried::default() }).unwrap();
    assert_eq!(asked.kind.spec.name, "wheel.turn");
    assert_eq!(routes.find("GET", "/wheels/left:turn").unwrap_err(), Refusal::Verb("PUT".into()));
    assert_eq!(document["tags"][0], json!({"name": "wheel", "description": "Wheels that turn."}));
}

/// An agent with one role that grants the wheel `front`.
fn driver() -> Identity {
    let named = vec![(WHEELS, vec![NamePattern::parse("front").unwrap()])];
    let role = Role { name: "driver".into(), scopes: Scopes::ALL, named, ..Role::default() };
    let agent = Agent {
        id: AgentId::parse("bob").unwrap(),
        generation: 1,
        namespace: Namespace::default(),
        roles_policy: "".into(),
        tally: Arc::default(),
        roles: vec![(Arc::new(role), None)],
        limit: None,
        operations: Vec::new(),
        terms: Terms::default(),
    };
    Identity::new(Arc::new(agent), Scopes::ALL, Proof::Certificate)
}

#[test]
fn an_engine_that_is_added_is_granted_mounted_and_held_by_vault() {
    let (bob, keyring) = (driver(), Keyring::default());
    let asked = |layout: &Layout, wheel: &str| {
        let json = json!({"wheel": wheel, "times": 1}).to_string();
        let context = DecisionContext { layout, keyring: &keyring, client: None, now: 0 };
        let operation = TURNS[0].parse(json.as_bytes()).unwrap();
        decide(&bob, operation, context)?.into_permitted(layout, 60).map(|permitted| permitted.effect)
    };
    let layout = MADE_UP.layout();
    let other = Layout { mounts: vec![(WHEELS, "garage/wheels".into())], ..layout.clone() };
    for (layout, path) in [(&layout, "/v1/wheelhouse/turn/front"), (&other, "/v1/garage/wheels/turn/front")] {
        let Ok(Effect::Vault(request)) = asked(layout, "front") else { panic!("it is granted") };
        assert_eq!(request.rendered().path(), path);
    }
    assert_eq!(asked(&layout, "rear").unwrap_err().refusal, Refusal::Forbidden);
    let role = &bob.agent.roles[0].0;
    let hcl = Policy::of(&MADE_UP, &[role], Own::Agent(&bob.agent.id), &other).unwrap().to_hcl("");
    assert!(hcl.contains("path \"garage/wheels/turn/front\" {\n  capabilities = [\"update\"]"), "{hcl}");
    let about = About { name: "front", ..About::default() };
    let question = Question::new(&TURNS[0], about, &layout).unwrap();
    assert_eq!(question.needs(), Some(&(Scope::Write, Resource::Key(WHEELS, "front".into()))));
    let told: Vec<_> = role.grants().map(|(key, _, grant)| (key, grant.written().unwrap())).collect();
    assert_eq!(told, [("wheel", "front".into())]);
}

#[test]
fn every_refusal_of_the_document_is_one_form() {
    let document = document(&CATALOG);
    for response in document["components"]["responses"].as_object().unwrap().values() {
        assert_eq!(response["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Error");
    }
    let error = Refusal::Arguments(crate::refusal::Misfit { pointer: "/a".into(), expected: "b".into() });
    let body: Value = serde_json::from_slice(&error.body("r")).unwrap();
    let schema = &document["components"]["schemas"]["Error"];
    let known = |name: &String| schema["properties"].get(name).is_some();
    assert!(body.as_object().unwrap().keys().all(known));
}
