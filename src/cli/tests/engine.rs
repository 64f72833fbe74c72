//! An engine that is made up here is found wherever engines are: in the configuration, what verbs
//! tell, what is written for Vault, and the surfaces.

use std::sync::LazyLock;

use filters::catalog::{CATALOG, Catalog};
use filters::grants::{Engine, EngineSpec, GrantNames, Holds, Resource, Service};
use filters::mcp::{ToolNames, Tools};
use filters::names::AgentId;
use filters::operation::{About, Annotations, Describe, Entry, OperationSpec, Plan, Reach, Touched};
use filters::refusal::Refusal;
use filters::rest::Routes;
use filters::scope::Scope;
use filters::shape::Shape;
use filters::{openapi, reference};

use super::super::{Command, Once, diff, explain, policy};
use super::read;
use crate::config::{self, Environment, Flags, Report, Settings, Table};

const WHEEL: Engine = Engine::of(&EngineSpec {
    name: "wheel",
    title: "wheel",
    about: "Wheels that turn.",
    holds: Holds::Names(GrantNames { several: "axles", example: "front-*", ..GrantNames::PLAIN }),
    service: Service::Vault("wheelhouse"),
    bounds_ttl: true,
    ..EngineSpec::VAULT
});

struct Turn;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Turns {
    /// The axle.
    #[expect(dead_code)]
    axle: String,
}

impl Describe for Turn {
    type Arguments<'a> = Turns;
    const SHAPE: &'static Shape = &Shape::DONE;
    const SPEC: OperationSpec = OperationSpec {
        name: "wheel.turn",
        title: "Turn a wheel",
        summary: "Turns a wheel.",
        scope: Some(Scope::Write),
        engine: Some(WHEEL),
        touch: Some(axle),
        annotations: Annotations { read_only: false, destructive: false, idempotent: false },
        template: "/wheels/{axle}:turn",
        reach: Reach::update(&["turn"]),
        ..OperationSpec::POST
    };

    fn plan(_: Turns) -> Result<Plan, Refusal> {
        Err(Refusal::Internal)
    }
}

fn axle(about: About<'_>) -> Result<Touched, Refusal> {
    Ok(Resource::Key(WHEEL, about.name.into()).into())
}

static TURNS: [Entry; 1] = [Entry::of::<Turn>()];
static MADE_UP: LazyLock<Catalog> = LazyLock::new(|| {
    let engines = [CATALOG.engines, &[(WHEEL, &TURNS)]].concat();
    Catalog { engines: engines.leak(), others: CATALOG.others }
});
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::of(&MADE_UP));

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, Report> {
    let environment = Environment {
        variable: &|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
        read: &|_, _| Ok(text.to_owned()),
        table: &TABLE,
        ..Environment::of_process()
    };
    config::load_from(&Flags { config: Some("c.toml".into()), ..Flags::default() }, &environment)
}

fn loaded(text: &str) -> Settings {
    load(text, &[]).unwrap_or_else(|report| panic!("{report}"))
}

const DRIVER: &str = "[roles.driver]\nscopes = [\"write\"]\nmax_ttl = \"1m\"\nwheel = [\"front\"]\n\
                      [agents.bob]\nroles = [\"driver\"]\n[wheel]\nmount = \"garage/wheels\"\n";

#[test]
fn it_is_configured() {
    let settings = loaded(DRIVER);
    assert_eq!(settings.layout.mount(WHEEL), Some("garage/wheels"));
    assert_eq!(loaded("").layout.mount(WHEEL), Some("wheelhouse"));
    assert_eq!(settings.roles[1].names(WHEEL).len(), 1);
    let by_variable = load("", &[("DEFAULT_ROLE_WHEEL", "front,rear-*")]).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(by_variable.roles[0].names(WHEEL).len(), 2);
    assert!(by_variable.warnings.join("\n").contains("DEFAULT_ROLE_WHEEL"), "{:?}", by_variable.warnings);
    for (wrong, told) in [
        ("[wheel]\nmount = \"transit\"\n", "`wheel.mount` is the same as `transit.mount`"),
        ("[wheel]\nmout = \"x\"\n", "did you mean `mount`?"),
        ("[roles.r]\nscopes = [\"read\"]\nwheel = [\"a*b\"]\n", "`roles.*.wheel` holds an invalid pattern"),
    ] {
        let report = load(wrong, &[]).expect_err(wrong).to_string();
        assert!(report.contains(told), "{report}");
    }
}

#[test]
fn it_is_told_of() {
    let explained = |line: &str, text| {
        let words: Vec<&str> = ["explain", "--agent", "bob"].into_iter().chain(line.split(' ')).collect();
        let Command::Once(Once::Explain(asked)) = read(&words) else { panic!("{line}") };
        explain::answer(&asked, loaded(text)).map(|told| told.text("bob"))
    };
    let allowed = explained("--operation wheel.turn --resource front --ttl 1m", DRIVER).unwrap();
    assert!(allowed.contains("by role `driver`: scope `write` and `wheel = [\"front\"]`"), "{allowed}");
    let refused = explained("--operation wheel.turn --resource rear", DRIVER).unwrap();
    assert!(refused.contains("has nothing in `wheel` that covers it"), "{refused}");
    assert_eq!(
        explained("--operation wheel.turn --resource front --principal x", DRIVER).unwrap_err(),
        "--principal and --extension are for SSH only"
    );
    assert_eq!(
        explained("--operation kv.read --resource a --ttl 1m", DRIVER).unwrap_err(),
        "--ttl is for SSH and PKI and wheel only"
    );
    let wider = DRIVER.replace("\"front\"", "\"front\", \"rear\"");
    assert_eq!(diff::told(loaded(DRIVER), loaded(&wider)), "agent bob\n  + wheel \"rear\" (for 60s at most): write\n");
    let hcl = policy::vault_policy::of_agent(&loaded(DRIVER), &AgentId::parse("bob").unwrap()).unwrap();
    assert!(hcl.contains("path \"garage/wheels/turn/front\" {\n  capabilities = [\"update\"]\n}"), "{hcl}");
}

#[test]
fn it_is_documented_and_on_every_surface() {
    let schema = config::schema(&TABLE);
    assert_eq!(schema["properties"]["wheel"]["anyOf"][0]["$ref"], "#/$defs/wheel");
    assert_eq!(schema["properties"]["default_role_wheel"]["anyOf"][0]["type"], "array");
    assert_eq!(schema["$defs"]["wheel"]["properties"]["mount"]["default"], "wheelhouse");
    assert_eq!(schema["$defs"]["roles.*"]["properties"]["wheel"]["description"], "Wheel axles; a `*` may end a name.");
    let options = config::options_as_markdown(&TABLE);
    for row in [
        "| `DEFAULT_ROLE_WHEEL` | `default_role_wheel` | a list of texts |  | Wheel axles that agents without roles of \
         their own may use, such as `front-*`; none where absent. |\n",
        "## `[wheel]`\n\n| Key | Takes | Default | Meaning |\n| --- | --- | --- | --- |\n\
         | `mount` | a text | `wheelhouse` | Mount of the wheel engine. |\n",
        "| `wheel` | a list of texts or tables |  | Wheel axles; a `*` may end a name. |\n",
    ] {
        assert!(options.contains(row), "{row}{options}");
    }
    let row = "| `wheel.turn` | `POST /wheels/{axle}:turn` | `wheel.turn` | write | `{wheel}/turn/…`: update |";
    assert!(reference::operations(&MADE_UP).contains(row));
    assert_eq!(openapi::document(&MADE_UP)["paths"]["/wheels/{axle}:turn"]["post"]["tags"][0], "wheel");
    assert_eq!(Routes::of(&MADE_UP).find("POST", "/wheels/front:turn").unwrap().kind.spec.name, "wheel.turn");
    assert!(Tools::of(&MADE_UP, ToolNames::Dotted).iter().any(|(entry, _)| entry.spec.name == "wheel.turn"));
}
