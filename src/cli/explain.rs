//! `portcullis explain`.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use filters::catalog::Catalog;
use filters::condition::{Circumstances, Conditions, Failed};
use filters::grants::{
    Agent, Allowed, Engine, EngineSpec, Extensions, Grant, Holds, Login, Mode, Resource, Role, Shortfall, Wrapping,
};
use filters::identity::{Identity, Proof};
use filters::lifetime::Lifetime;
use filters::mcp;
use filters::names::AgentId;
use filters::operation::Entry;
use filters::refusal::Refusal;
use filters::scope::Scopes;
use filters::verdict::{About, Denial, Question, Unaskable};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::common::{FAILED, Given, REFUSED, ScopeList, load_elsewhere, print, refuse, scopes};
use crate::config::{Settings, nearest_of};
use crate::snapshot::Snapshot;
use crate::vault::epoch_seconds;

pub(super) const AFTER: &str = "\
Reads the same file, environment and flags as `portcullis run` would, but does
not look for certificates and keys; connects to nothing, and decides as the gate
would of a request with a valid credential of this agent's. Rates, and what
Vault's own policies say, are not looked at.

Roles that hold from some networks only are judged by --source, those that hold
at some hours only by --at, which is now where it is left out.

--resource is the path of a secret, the prefix of a list, or the name of a key
or role; renewing and revoking are judged by what was issued.

Exit codes:
  0  allowed; the role and the grant are told
  1  refused; the rule is told, or what each role is short of
  2  the configuration or the question was refused

Examples:
  portcullis explain --agent ci --operation kv.read --resource apps/db
  portcullis explain --agent ci --operation kv.list --resource team --shared
  portcullis explain --agent ci --operation kv.write --resource x --scopes read
  portcullis explain --agent ci --operation ssh.sign --resource ops --principal deploy --ttl 1h
  portcullis explain --agent ci --operation kv.read --resource apps/db --source 10.1.2.3 --at 2026-07-18T02:30:00Z";

/// A question about an agent and an operation.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Explain {
    /// Who asks.
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// The operation, such as `kv.read`.
    #[arg(long, value_name = "NAME")]
    operation: String,
    /// With what: a path, or the name of a key or role.
    #[arg(long, value_name = "NAME", default_value = "")]
    resource: String,
    /// The path is below the shared prefix.
    #[arg(long)]
    shared: bool,
    /// Scopes that the credential carries, separated by commas or spaces; all four where absent.
    #[arg(long, value_parser = scopes, value_name = "SCOPES")]
    scopes: Option<ScopeList>,
    /// Time that the issued certificate or login is to live.
    #[arg(long, value_name = "DURATION")]
    ttl: Option<Lifetime>,
    /// Whom SSH is to log in as.
    #[arg(long = "principal", value_name = "NAME")]
    principals: Vec<String>,
    /// Extension that an SSH certificate is to carry.
    #[arg(long = "extension", value_name = "NAME")]
    extensions: Vec<String>,
    /// The address from which it is asked.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// When it is asked (RFC 3339); now where absent.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    at: Option<u64>,
    /// Tell it as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

pub(super) fn run(asked: Explain) -> ExitCode {
    let settings = match load_elsewhere(&asked.given.clone().into()) {
        Ok(settings) => settings,
        Err(report) => return refuse(&report),
    };
    match answer(&asked, settings) {
        Ok(told) => {
            print(&if asked.json { told.json(&asked) } else { told.text(&asked.agent) });
            if told.refusal.is_none() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(REFUSED)
        }
    }
}

/// The explanation of a decision.
pub(super) struct Told {
    /// The refusal that the gate would answer; none where it would go on.
    refusal: Option<Refusal>,
    /// The operation and what it touches, as it is configured.
    what: String,
    /// The rule that decides, or what each role is short of.
    rules: Vec<String>,
}

impl Told {
    pub(super) fn text(&self, agent: &str) -> String {
        let what = &self.what;
        let head = self.refusal.as_ref().map(Refusal::public).map_or_else(
            || format!("allowed: {agent} may do {what}\n"),
            |public| format!("refused: {agent} may not do {what}: {} {}\n", public.status.as_u16(), public.code),
        );
        head + &self.rules.iter().map(|rule| format!("  {rule}\n")).collect::<String>()
    }

    fn json(&self, asked: &Explain) -> String {
        let mut told = json!({
            "allowed": self.refusal.is_none(),
            "agent": asked.agent,
            "operation": asked.operation,
            "resource": asked.resource,
            "rules": self.rules,
        });
        if let (Some(refusal), Some(members)) = (&self.refusal, told.as_object_mut()) {
            let public = refusal.public();
            members.insert("status".to_owned(), public.status.as_u16().into());
            members.insert("error".to_owned(), public.code.into());
        }
        format!("{told}\n")
    }
}

/// The answer by these settings, or why the question is none.
pub(super) fn answer(asked: &Explain, settings: Settings) -> Result<Told, String> {
    let known: Vec<AgentId> = settings.agents.iter().map(|agent| agent.id.clone()).collect();
    let catalog = settings.catalog;
    let snapshot = Snapshot::of_policy(settings);
    let question = question(asked, catalog, &snapshot)?;
    let what = what(asked, &question);
    let id =
        AgentId::parse(&asked.agent).ok_or("no agent can have that name: [a-z0-9][a-z0-9._-]{0,62} without `..`")?;
    let Some(agent) = snapshot.agents.find(&id) else {
        let near = nearest_of(id.as_str(), known.iter().map(AgentId::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let rule = format!("no agent of that name has an entry, and unknown agents are refused{near}");
        return Ok(Told { refusal: Some(Refusal::Unauthenticated), what, rules: vec![rule] });
    };
    if snapshot.agents.policy().suspended().contains(&id) {
        let rule = "the configuration suspends the agent".to_owned();
        return Ok(Told { refusal: Some(Refusal::Suspended), what, rules: vec![rule] });
    }
    let scopes = asked.scopes.as_ref().map_or(Scopes::ALL, |scopes| scopes.0.iter().copied().collect());
    let identity = Identity::new(agent, scopes, Proof::Certificate);
    let circumstances = Circumstances { client: asked.source, now: asked.at.unwrap_or_else(epoch_seconds) };
    Ok(match question.answer(&identity, &snapshot.vault.layout, circumstances) {
        Ok(allowed) => {
            let mut rules = allowing(&question, allowed.as_ref());
            let namespace = &identity.agent.namespace;
            if !namespace.is_root() && question.needs().is_some() {
                rules.push(format!("in Vault's namespace `{namespace}`"));
            }
            if !(question.kind.spec.rest_only || mcp::shows(&identity, question.kind)) {
                rules.push(
                    "MCP does not show its tool: no role that gives it has it in `tools`; calls are allowed".to_owned(),
                );
            }
            Told { refusal: None, what, rules }
        }
        Err(denial) => {
            let rules = refusing(&question, &identity.agent, denial, circumstances);
            Told { refusal: Some(denial.into()), what, rules }
        }
    })
}

/// Tells if flags fit an engine.
type Fits = fn(&EngineSpec) -> bool;

fn question(asked: &Explain, catalog: &Catalog, snapshot: &Snapshot) -> Result<Question, String> {
    let kind = operation(&asked.operation, catalog)?;
    let login = !(asked.principals.is_empty() && asked.extensions.is_empty());
    let flags: [(bool, &str, Fits); 3] = [
        (asked.shared, "--shared is", |spec| matches!(spec.holds, Holds::Paths)),
        (asked.ttl.is_some(), "--ttl is", |spec| spec.bounds_ttl),
        (login, "--principal and --extension are", |spec| spec.bounds_login),
    ];
    for (given, flags, fits) in flags {
        if given && !kind.spec.engine.map(Engine::spec).is_some_and(fits) {
            let fitting = catalog.engines().map(Engine::spec).filter(|spec| fits(spec));
            let named = fitting.map(|spec| if matches!(spec.holds, Holds::Paths) { "secrets" } else { spec.title });
            return Err(format!("{flags} for {} only", named.collect::<Vec<_>>().join(" and ")));
        }
    }
    let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    let extensions = match asked.extensions.as_slice() {
        [] => Extensions::Unsaid,
        names => Extensions::Named(boxed(names)),
    };
    let about = About {
        name: &asked.resource,
        shared: asked.shared,
        ttl: asked.ttl.map(Lifetime::seconds),
        login: Login { principals: boxed(&asked.principals), extensions },
    };
    Question::new(kind, about, &snapshot.vault.layout).map_err(|problem| match problem {
        Unaskable::Name(Refusal::Arguments(misfit)) => format!("--resource must be {}", misfit.expected),
        Unaskable::Name(refusal) => format!("--resource is refused: {}", refusal.public().detail),
        Unaskable::ByHandle => {
            format!("{} is allowed to whom the wrapped operation is: ask about that one", kind.spec.name)
        }
    })
}

fn operation(name: &str, catalog: &Catalog) -> Result<&'static Entry, String> {
    catalog.find(name).ok_or_else(|| {
        let near = nearest_of(name, catalog.iter().map(|entry| entry.spec.name));
        near.map_or_else(
            || "there is no such operation; docs/reference/operations.md lists them".to_owned(),
            |near| format!("there is no such operation; did you mean `{near}`?"),
        )
    })
}

/// The operation and what it touches, as it is configured.
fn what(asked: &Explain, question: &Question) -> String {
    let name = question.kind.spec.name;
    match question.needs() {
        None | Some((_, Resource::Nameless(_))) => name.to_owned(),
        Some((_, resource @ Resource::Key(_, key))) => format!("{name} with {} {key:?}", resource.key()),
        Some((_, resource)) => format!("{name} with {} {:?}", resource.key(), asked.resource),
    }
}

fn allowing(question: &Question, allowed: Option<&Allowed<'_>>) -> Vec<String> {
    let (Some(allowed), Some((scope, resource))) = (allowed, question.needs()) else {
        return vec!["any agent may".to_owned()];
    };
    let (role, _) = allowed.role;
    let grant = match allowed.grant {
        Grant::Path(pattern) => format!(" and `{} = [\"{pattern}\"]`", resource.key()),
        Grant::Name(pattern) => format!(" and `{} = [\"{}\"]`", resource.key(), pattern.to_vault()),
        Grant::Absolute(grant) => format!(" and `vault`: {grant}"),
        Grant::Nameless => String::new(),
    };
    let mut rules = vec![format!("by role `{}`: scope `{scope}`{grant}", role.name)];
    if role.mode == Mode::Observe {
        rules.push("it is only observed: without this role it would be refused".to_owned());
    }
    if question.kind.spec.secret && role.wrapping == Wrapping::Required {
        rules.push("its answer is wrapped: `wrap = \"required\"`".to_owned());
    }
    if role.confirm.contains(&question.kind.spec.name) {
        rules.push(format!("over MCP it is confirmed first: `confirm = [\"{}\"]`", question.kind.spec.name));
    }
    rules
        .extend(role.conditions.iter().flat_map(|conditions| conditions.told()).map(|told| format!("it holds {told}")));
    if let Some(bytes) = role.body.filter(|_| question.kind.spec.takes_body) {
        rules.push(format!("of {bytes} bytes at most: `body`"));
    }
    rules
}

fn refusing(question: &Question, agent: &Agent, denial: Denial<'_>, circumstances: Circumstances) -> Vec<String> {
    match denial {
        Denial::OfTheGate => {
            vec![
                "it is the gate's own, which no grant gives: a key behind handles or its audit, or its tokens"
                    .to_owned(),
            ]
        }
        Denial::Credential(scope) => vec![format!("the credential does not carry scope `{scope}`")],
        Denial::Denied(role, Grant::Absolute(grant)) => {
            vec![format!("role `{}`: `vault`: {grant} matches, and wins over every role", role.name)]
        }
        Denial::Denied(role, pattern) => {
            let pattern = pattern.written().unwrap_or_default();
            vec![format!("role `{}`: `deny = [\"{pattern}\"]` matches, and wins over every role", role.name)]
        }
        Denial::NoRole if agent.roles.is_empty() => vec!["it has no role".to_owned()],
        Denial::NoRole => {
            let short =
                |(role, shortfall): (&Role, _)| format!("role `{}` {}", role.name, short_of(role, shortfall, question));
            question.shortfalls(agent, circumstances).map(short).collect()
        }
    }
}

fn short_of(role: &Role, shortfall: Shortfall, question: &Question) -> String {
    let (scope, key) = question.needs().map_or(("", ""), |(scope, resource)| (scope.name(), resource.key()));
    match shortfall {
        Shortfall::Scope => format!("has no scope `{scope}`"),
        Shortfall::Resource => format!("has nothing in `{key}` that covers it"),
        Shortfall::Ttl => {
            format!("covers it, for {} seconds at most (`max_ttl`)", role.max_ttl.unwrap_or_default())
        }
        Shortfall::Principals => {
            "covers it, for other user names (`ssh_principals`); name one with --principal".to_owned()
        }
        Shortfall::Condition(failed) => {
            let conditions = role.conditions.as_deref().map(Conditions::told).into_iter().flatten();
            let told = conditions.collect::<Vec<_>>().join("; ");
            match failed {
                Failed::Sources => format!("covers it, from other addresses ({told}); name one with --source"),
                Failed::Hours => format!("covers it, at other times ({told}); name one with --at"),
            }
        }
        Shortfall::Extensions => {
            "covers it, with other extensions (`ssh_extensions`); name one with --extension".to_owned()
        }
    }
}

/// A time, in seconds since the epoch.
fn moment(text: &str) -> Result<u64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write such as `2030-01-31T12:00:00Z`".to_owned())?;
    u64::try_from(time.unix_timestamp()).map_err(|_| "that was before 1970".to_owned())
}
