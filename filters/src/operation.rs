//! Operations: the requests of every surface, and the one description of each kind from which every
//! surface is made.

mod arguments;
mod body;
mod plan;
mod redemption;
mod schema;

pub(crate) use arguments::misjudged;
pub use arguments::unfit;
pub use body::Body;
pub use plan::{About, Ask, Call, IssuedKind, Own, Passed, Plan, Touch, Touched};
pub use redemption::{Redeem, Redemption};

pub use crate::capability::Capability;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::Value;

use crate::grants::{Demand, Engine, Holds, Resource};
use crate::json::Bounds;
use crate::lifetime::WrapTtl;
use crate::notes::Notes;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Projection, Shape, Type};
use crate::vault::Method;

/// The member of an answer that stands for one that is wrapped.
pub const WRAPPED: &str = "wrapped";
/// The members of that member's object.
pub static STANDS_FOR: Shape = Shape {
    about: "Stands for the answer, which is given out once, over REST, for this handle.",
    members: &[
        Member::given("handle", Type::Text, "The handle."),
        Member::given("operation", Type::Text, "The operation whose answer it is."),
        Member::given("ttl", Type::Count, "Seconds until it is gone."),
    ],
};

/// The description of an operation, as far as it needs no arguments.
#[derive(Debug)]
pub struct OperationSpec {
    /// `kv.read`.
    pub name: &'static str,
    /// A few words for people.
    pub title: &'static str,
    /// One line for people and models.
    pub summary: &'static str,
    /// The scope that credential and role must carry; `None` where any agent may do it.
    pub scope: Option<Scope>,
    /// The engine, unless the gate answers itself.
    pub engine: Option<Engine>,
    /// Reads the resource it touches; `None` where the gate answers itself or only a handle says it.
    pub touch: Option<Touch>,
    /// True where it touches something that a grant must name.
    pub named: bool,
    /// Annotations for MCP clients.
    pub annotations: Annotations,
    /// The REST method.
    pub method: &'static str,
    /// The REST path, with at most one `{parameter}`.
    pub template: &'static str,
    /// Query parameters of the REST route.
    pub query: &'static [(&'static str, Kind)],
    /// True where the REST route takes a JSON body.
    pub takes_body: bool,
    /// The REST status of a success.
    pub success: u16,
    /// The meaning of a 404 of Vault.
    pub absent: Absent,
    /// The part of Vault's API it asks, and the capabilities that Vault's policy must allow there.
    pub reach: Reach,
    /// True where the answer is secret material, which may be wrapped.
    pub secret: bool,
    /// True where it is no tool: it is out of a language model's reach, or of no use to one.
    pub rest_only: bool,
}

impl OperationSpec {
    /// Defaults of an operation: `POST` with a JSON body, about
    /// something that has a name.
    pub const POST: Self = Self {
        name: "",
        title: "",
        summary: "",
        scope: None,
        engine: None,
        touch: None,
        named: true,
        annotations: Annotations { read_only: false, destructive: false, idempotent: false },
        method: "POST",
        template: "",
        query: &[],
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
        reach: Reach::NOWHERE,
        secret: false,
        rest_only: false,
    };

    /// The paths in Vault that it asks, as templates: `{kv}` stands for a mount, `…` for a resource. None where Vault
    /// is not asked, or for something that only a handle says.
    pub fn vault_paths(&self) -> impl Iterator<Item = String> {
        let below = self.engine.map(|engine| match engine.spec().holds {
            Holds::Paths => (engine.name(), "/{prefix}/{agent}/…"),
            Holds::Names(_) | Holds::Absolute => (engine.name(), "/…"),
        });
        below
            .into_iter()
            .flat_map(|(mount, below)| self.reach.apis.iter().map(move |api| format!("{{{mount}}}/{api}{below}")))
    }
}

/// The part of Vault's API that an operation asks with the agent's token.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// The method.
    pub method: Method,
    /// The part between mount and resource: `data`, `datakey/plaintext`.
    pub apis: &'static [&'static str],
    /// The capabilities that a policy must allow there.
    pub may: &'static [Capability],
    /// The argument that may stand behind the resource.
    pub behind: Option<&'static str>,
    /// Members of Vault's body that are arguments by another name; by an empty one, objects whose members are.
    pub aliases: &'static [(&'static str, &'static str)],
}

impl Reach {
    /// None of it.
    pub const NOWHERE: Self = Self { method: Method::Post, apis: &[], may: &[], behind: None, aliases: &[] };

    /// Paths that are posted to, where something is changed or computed.
    #[must_use]
    pub const fn update(apis: &'static [&'static str]) -> Self {
        Self { apis, may: &[Capability::Update], ..Self::NOWHERE }
    }
}

/// MCP tool annotations.
#[derive(Clone, Copy, Debug)]
pub struct Annotations {
    /// Changes nothing.
    pub read_only: bool,
    /// May destroy what was there.
    pub destructive: bool,
    /// Twice is as once.
    pub idempotent: bool,
}

/// The JSON type of a query parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As a string.
    Text,
    /// As a number or boolean.
    Plain,
}

/// The meaning of a 404 of Vault for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is nothing: 404.
    NotFound,
    /// There is no such secret or version, or the version is deleted or destroyed: a 404 that says which.
    Version {
        /// The text where there is none.
        none: &'static str,
        /// The text for a deleted version, which can be brought back.
        deleted: &'static str,
        /// The text for a destroyed version, which cannot.
        destroyed: &'static str,
    },
    /// An answer with nothing in it, as Vault would write it.
    Empty(&'static str),
}

/// One kind of operation: its arguments, its answer, and the way between.
pub trait Describe {
    /// The arguments of the caller.
    type Arguments<'a>: Deserialize<'a> + JsonSchema;
    /// The answer to the caller.
    const SHAPE: &'static Shape;
    /// The rest.
    const SPEC: OperationSpec;

    /// The resource that the arguments name, and the request they make.
    ///
    /// # Errors
    /// A value that the schema cannot refuse by itself.
    fn plan(arguments: Self::Arguments<'_>) -> Result<Plan, Refusal>;
}

/// One request of a caller's, on whichever surface it came.
#[derive(Debug)]
pub struct Operation {
    /// The kind of operation.
    pub kind: &'static Entry,
    /// The resource it touches; `None` where the gate answers itself, or a handle says it.
    pub resource: Option<Resource>,
    pub(crate) ask: Ask,
    pub(crate) demand: Demand,
    pub(crate) wrap: Option<WrapTtl>,
    /// Bytes of its body or arguments.
    pub(crate) size: usize,
    pub(crate) notes: Notes,
}

impl Operation {
    /// The version of the secret that is asked for.
    pub(crate) const fn version(&self) -> Option<u64> {
        match &self.ask {
            Ask::Vault(Call { query: Some((_, version)), .. }) => Some(*version),
            Ask::Vault(_) | Ask::Pass(_) | Ask::Issue(..) | Ask::Held(..) | Ask::Kms(_) | Ask::Own(_) => None,
        }
    }
}

/// A row of the catalog: a [`Describe`] whose types are forgotten.
pub struct Entry {
    /// The description, as far as it needs no arguments.
    pub spec: &'static OperationSpec,
    parse: fn(&'static Entry, &[u8]) -> Result<Operation, Refusal>,
    /// The answer to the caller.
    pub shape: &'static Shape,
    input: fn() -> Schema,
}

impl Entry {
    /// The row of one description.
    #[must_use]
    pub const fn of<D: Describe>() -> Self {
        Self { spec: &D::SPEC, parse: parse::<D>, shape: D::SHAPE, input: schema::of::<D::Arguments<'static>> }
    }

    /// The row of a description whose requests are Vault's own, with no arguments to be read.
    #[must_use]
    pub(crate) const fn passed(spec: &'static OperationSpec) -> Self {
        let parse = |_: &'static Self, _: &[u8]| Err(Refusal::Internal);
        Self { spec, parse, shape: &Shape::PASSED, input: schema::of::<()> }
    }

    /// Reads the arguments, a JSON object, within the bounds that are unless others are configured.
    ///
    /// # Errors
    /// 400 for what is not JSON, 422 for what does not fit.
    pub fn parse(&'static self, arguments: &[u8]) -> Result<Operation, Refusal> {
        self.parse_within(arguments, &Bounds::default())
    }

    /// Reads the arguments, a JSON object that is to be within `bounds`.
    ///
    /// # Errors
    /// 400 for what is not JSON, 422 for what does not fit.
    pub fn parse_within(&'static self, json: &[u8], bounds: &Bounds) -> Result<Operation, Refusal> {
        arguments::judge(self, json, bounds)?;
        (self.parse)(self, json)
    }

    /// True where a batch may be asked at once, each item with a result of its own.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.shape.members.iter().any(|member| member.name == "batch_results")
    }

    /// Writes the answer for a whole body of Vault's to `out`, with what the gate gives beside it in front, and gives
    /// its notes.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNonsense`] for what is not JSON or lacks a member.
    pub fn project(&self, body: &[u8], given: &[(&str, Value)], out: &mut Vec<u8>) -> Result<Notes, Refusal> {
        if given.is_empty() && self.shape.is_given() {
            out.extend_from_slice(b"{\"ok\":true}");
            return Ok(Notes::default());
        }
        let mut projection = Projection::new(self.shape).telling(self.shape);
        given.iter().for_each(|(name, value)| projection.give(name, value, out));
        projection.push(body, out)?;
        projection.finish(out)
    }

    /// The JSON Schema of the answer; where it may be wrapped, of that too.
    #[must_use]
    pub fn output_schema(&self) -> Value {
        let mut schema = self.shape.schema();
        if let (true, Some(members)) = (self.spec.secret, schema.as_object_mut()) {
            let required = members.remove("required").unwrap_or_else(|| serde_json::json!([]));
            members.insert("anyOf".into(), serde_json::json!([{"required": required}, {"required": [WRAPPED]}]));
            if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert(WRAPPED.into(), STANDS_FOR.schema());
            }
        }
        schema
    }

    /// The JSON Schema of the arguments.
    #[must_use]
    pub fn input_schema(&self) -> Schema {
        (self.input)()
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.spec.name)
    }
}

fn parse<D: Describe>(kind: &'static Entry, arguments: &[u8]) -> Result<Operation, Refusal> {
    let size = arguments.len();
    let arguments = arguments::read::<D::Arguments<'_>>(arguments)?;
    let Plan { touched, ask, wrap, notes } = D::plan(arguments)?;
    let (resource, demand) = match touched {
        Some(Touched { resource, demand }) => (Some(resource), demand),
        None => (None, Demand::default()),
    };
    Ok(Operation { kind, resource, ask, demand, wrap, size, notes })
}
