//! The gate against real servers. The list of modules is the list of features.
//!
//! One Vault serves all tests that do not harm it; what is started here is
//! ended here, so that the list is run by hand and not by the usual harness.

mod gate {
    pub mod absolute;
    pub mod access;
    pub mod agents;
    pub mod audit;
    pub mod audit_collector;
    pub mod audit_disk;
    pub mod audit_join;
    pub mod audit_transit;
    pub mod balancers;
    pub mod canary;
    pub mod certificates;
    pub mod clients;
    pub mod conditions;
    pub mod confirmations;
    pub mod configuration;
    pub mod conformance;
    pub mod docs;
    pub mod documents;
    pub mod dpop;
    pub mod engines;
    pub mod event_streams;
    pub mod events;
    pub mod files;
    pub mod floods;
    pub mod folders;
    pub mod http;
    pub mod inputs;
    pub mod isolation;
    pub mod issuers;
    pub mod jwt;
    pub mod kms;
    pub mod layout;
    pub mod leftovers;
    pub mod listings;
    pub mod limits;
    pub mod lockout;
    pub mod logins;
    pub mod logs;
    pub mod looks;
    pub mod mcp;
    pub mod mcp_http;
    pub mod mcp_methods;
    pub mod metrics;
    pub mod moving;
    pub mod names;
    pub mod namespaces;
    pub mod notices;
    pub mod operations;
    pub mod pem;
    pub mod policy;
    pub mod preflight;
    pub mod provisioning;
    pub mod records;
    pub mod reference;
    pub mod resources;
    pub mod revocation;
    pub mod schemas;
    pub mod schemathesis;
    pub mod servers;
    pub mod service;
    pub mod sight;
    pub mod sessions;
    pub mod shared_limits;
    pub mod stdio;
    pub mod streaming;
    pub mod suspension;
    pub mod suggestions;
    pub mod tokens;
    pub mod tools;
    pub mod traces;
    pub mod upgrade;
    pub mod top;
    pub mod trust_domains;
    pub mod upstream;
    pub mod vault_api;
    pub mod vault_clients;
    pub mod vault_identity;
    pub mod verbs;
    pub mod wire;
    pub mod wrapping;
}

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Trial};
use tests::servers::{Kms, Postgres, Sshd};
use tests::{Gate, Plan, World};

/// Started when the first test asks, ended when the last one is done.
#[derive(Default)]
pub struct Shared {
    world: OnceLock<World>,
    gate: OnceLock<Gate>,
    postgres: OnceLock<Postgres>,
    sshd: OnceLock<Sshd>,
    kms: OnceLock<Kms>,
}

impl Shared {
    /// A Vault that no test harms.
    pub fn world(&self) -> &World {
        self.world.get_or_init(|| World::start(false))
    }

    /// A gate with the agents of [`tests::process::AGENTS`] and no rate limit.
    pub fn gate(&self) -> &Gate {
        self.gate.get_or_init(|| Gate::start(self.world(), &Plan::default()))
    }

    /// A PostgreSQL server that the world's Vault makes logins of.
    pub fn postgres(&self) -> &Postgres {
        self.postgres.get_or_init(|| {
            let server = Postgres::start();
            server.introduce(self.world());
            server
        })
    }

    /// An OpenSSH server that trusts the world's Vault.
    pub fn sshd(&self) -> &Sshd {
        self.sshd.get_or_init(|| {
            let (status, answer) = self.world().ask("GET", "ssh/config/ca", &serde_json::Value::Null);
            assert_eq!(status, 200, "{answer}");
            Sshd::start(answer["data"]["public_key"].as_str().expect("a key"))
        })
    }

    /// AWS KMS, for all who make their own keys in it.
    pub fn kms(&self) -> &Kms {
        self.kms.get_or_init(Kms::start)
    }
}

/// Tests of what is slow to fetch: `make vault-clients` runs them.
const SLOW: &str = "slow_vault_clients";

/// One test: its name, and what it does.
pub type Case = (&'static str, fn(&Shared));

fn main() -> ExitCode {
    // With the whole workspace built, rustls has two providers to choose from.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut arguments = Arguments::from_args();
    // Each test is a process or two of its own, on few cores.
    arguments.test_threads.get_or_insert(2);
    let shared = Arc::new(Shared::default());
    let modules: &[(&str, &[Case])] = &[
        ("operations", gate::operations::CASES),
        ("inputs", gate::inputs::CASES),
        ("names", gate::names::CASES),
        ("engines", gate::engines::CASES),
        ("wrapping", gate::wrapping::CASES),
        ("kms", gate::kms::CASES),
        ("servers", gate::servers::CASES),
        ("streaming", gate::streaming::CASES),
        ("event_streams", gate::event_streams::CASES),
        ("events", gate::events::CASES),
        ("http", gate::http::CASES),
        ("wire", gate::wire::CASES),
        ("mcp", gate::mcp::CASES),
        ("mcp_http", gate::mcp_http::CASES),
        ("mcp_methods", gate::mcp_methods::CASES),
        ("tools", gate::tools::CASES),
        ("absolute", gate::absolute::CASES),
        ("access", gate::access::CASES),
        ("resources", gate::resources::CASES),
        ("clients", gate::clients::CASES),
        ("conformance", gate::conformance::CASES),
        ("stdio", gate::stdio::CASES),
        ("certificates", gate::certificates::CASES),
        ("revocation", gate::revocation::CASES),
        ("trust_domains", gate::trust_domains::CASES),
        ("pem", gate::pem::CASES),
        ("isolation", gate::isolation::CASES),
        ("vault_api", gate::vault_api::CASES),
        ("vault_clients", gate::vault_clients::CASES),
        (SLOW, gate::vault_clients::SLOW),
        ("service", gate::service::CASES),
        ("jwt", gate::jwt::CASES),
        ("issuers", gate::issuers::CASES),
        ("dpop", gate::dpop::CASES),
        ("limits", gate::limits::CASES),
        ("floods", gate::floods::CASES),
        ("suspension", gate::suspension::CASES),
        ("records", gate::records::CASES),
        ("looks", gate::looks::CASES),
        ("sessions", gate::sessions::CASES),
        ("shared_limits", gate::shared_limits::CASES),
        ("tokens", gate::tokens::CASES),
        ("namespaces", gate::namespaces::CASES),
        ("notices", gate::notices::CASES),
        ("vault_identity", gate::vault_identity::CASES),
        ("logins", gate::logins::CASES),
        ("lockout", gate::lockout::CASES),
        ("leftovers", gate::leftovers::CASES),
        ("listings", gate::listings::CASES),
        ("upgrade", gate::upgrade::CASES),
        ("upstream", gate::upstream::CASES),
        ("configuration", gate::configuration::CASES),
        ("preflight", gate::preflight::CASES),
        ("provisioning", gate::provisioning::CASES),
        ("files", gate::files::CASES),
        ("folders", gate::folders::CASES),
        ("conditions", gate::conditions::CASES),
        ("confirmations", gate::confirmations::CASES),
        ("balancers", gate::balancers::CASES),
        ("policy", gate::policy::CASES),
        ("verbs", gate::verbs::CASES),
        ("suggestions", gate::suggestions::CASES),
        ("sight", gate::sight::CASES),
        ("agents", gate::agents::CASES),
        ("top", gate::top::CASES),
        ("logs", gate::logs::CASES),
        ("metrics", gate::metrics::CASES),
        ("moving", gate::moving::CASES),
        ("traces", gate::traces::CASES),
        ("audit", gate::audit::CASES),
        ("audit_collector", gate::audit_collector::CASES),
        ("audit_disk", gate::audit_disk::CASES),
        ("audit_join", gate::audit_join::CASES),
        ("audit_transit", gate::audit_transit::CASES),
        ("canary", gate::canary::CASES),
        ("docs", gate::docs::CASES),
        ("schemas", gate::schemas::CASES),
        ("schemathesis", gate::schemathesis::CASES),
        ("layout", gate::layout::CASES),
        ("reference", gate::reference::CASES),
        ("documents", gate::documents::CASES),
    ];
    let mut trials = Vec::new();
    for &(module, cases) in modules {
        for &(name, case) in cases {
            let shared = Arc::clone(&shared);
            let trial = Trial::test(format!("{module}::{name}"), move || {
                case(&shared);
                Ok(())
            });
            trials.push(trial.with_ignored_flag(module == SLOW));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(shared);
    conclusion.exit_code()
}
