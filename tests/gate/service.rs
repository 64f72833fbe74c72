//! The service without a socket: a caller is admitted by what it offers, and calls, over a real Vault.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use filters::audit::ChainId;
use filters::catalog;
use filters::credential::Offered;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::secret::Secret;
use portcullis::config::{self, Flags};
use portcullis::events::Bus;
use portcullis::service::{Caller, Context, Offer, Outcome, Rejected, Target};
use portcullis::snapshot::Snapshot;
use portcullis::state::{Host, State};
use portcullis::surfaces::Json;
use portcullis::telemetry::{Kept, Metrics, Record, Sink, Sinks, VaultKeys};
use portcullis::vault::{Parcel, Vault};
use serde_json::{Value, json};
use tests::{API_KEY, World};
use tokio::time::sleep;

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_caller_is_admitted_and_calls", calls),
    ("who_is_not_admitted_is_told_why", rejections),
    ("who_goes_without_an_answer_is_charged", debts),
    ("vault_is_not_asked_for_what_a_sink_does_not_take", sinks),
];

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Refuses operations while it is told to, as an audit that cannot be written would.
#[derive(Default)]
struct Reluctant {
    refuses: AtomicBool,
    admitted: Mutex<Vec<(String, &'static str)>>,
}

impl Sink for Reluctant {
    fn admit(&self, record: &Record<'_>) -> Result<Option<Kept>, Refusal> {
        self.admitted.lock().expect("a lock").push((record.agent.to_owned(), record.operation));
        if self.refuses.load(Ordering::Relaxed) { Err(Refusal::Overloaded) } else { Ok(None) }
    }

    fn finish(&self, _: &Record<'_>) {}
}

/// The state of a gate that listens nowhere.
fn state(world: &World, more: &str) -> Arc<State> {
    state_with(world, more, Sinks::default())
}

fn state_with(world: &World, more: &str, sinks: Sinks) -> Arc<State> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    let (address, role, secret) = (world.vault_address(), world.role_id(), world.secret_id());
    let key = Secret::new(API_KEY.to_owned()).digest().to_hex();
    let text = format!(
        "vault_addr = \"{address}\"\nvault_role_id = \"{role}\"\nvault_secret_id = \"{secret}\"\n{more}\n\
         [roles.own]\nscopes = [\"read\", \"write\"]\nkv = [\"**\"]\n\
         [agents.agent_api]\nroles = [\"own\"]\napi_keys = [{{ sha256 = \"{key}\" }}]\n"
    );
    std::fs::write(&file, text).expect("a file");
    let settings = config::load(&Flags { config: Some(file), ..Flags::default() }, &|_| None);
    let settings = settings.unwrap_or_else(|report| panic!("{report}"));
    let metrics = Arc::new(Metrics::new(Vec::new()).expect("metrics"));
    let vault = Vault::new(&settings, Arc::clone(&metrics), ChainId::new(1), VaultKeys::default());
    let vault = vault.expect("a way to Vault");
    let events = Arc::new(Bus::new(Arc::clone(&metrics)));
    Arc::new(State::new(
        Snapshot::of_policy(settings),
        vault,
        None,
        metrics,
        sinks,
        events,
        Host { files: 1024, logs: None },
    ))
}

/// Runs `test` when the gate is logged in and knows who is suspended.
fn run(state: &Arc<State>, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let theirs = Arc::clone(state);
        tokio::spawn(async move {
            let vault = &theirs.vault;
            let layout = || theirs.snapshot().vault.layout.clone();
            let suspensions = vault.suspensions.run(&vault.tokens, &vault.leases, layout);
            tokio::join!(vault.login.run(), vault.monitor.run(), suspensions);
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while !state.vault.suspensions.are_known() {
            assert!(Instant::now() < deadline, "not logged in: {}", state.vault.login.detail());
            sleep(Duration::from_millis(20)).await;
        }
        test.await;
    });
}

fn context(state: &State) -> Context<'_> {
    Context {
        state,
        snapshot: Arc::clone(&state.snapshot()),
        parcel: Parcel::new(&state.vault.returns),
        recording: None,
    }
}

fn offer(credential: Offered) -> Offer<'static> {
    let target = Target { method: "GET", base: String::new(), path: "/" };
    Offer {
        of_token: None,
        credential,
        peer: None,
        proxy: None,
        client: Some(CLIENT),
        target,
        request_id: "1",
        correlation_id: "by-hand",
    }
}

async fn admit<'c>(context: &'c Context<'_>, key: &str) -> Result<Caller<'c>, Rejected> {
    context.admit(&offer(Offered::ApiKey(Secret::new(key.to_owned()))), |_| Ok(())).await
}

/// Admits the agent, and calls once.
async fn call(state: &State, name: &str, arguments: Value) -> (Result<Value, Refusal>, Outcome) {
    let context = context(state);
    let caller = admit(&context, API_KEY).await.expect("admitted");
    let operation = catalog::find(name).expect(name).parse(arguments.to_string().as_bytes()).expect("arguments");
    let (answer, outcome) = context.call(&caller, operation, &Json::Whole).await.text();
    let (_, settled) = caller.settle().await;
    settled.expect("within its limits");
    (answer.map(|json| serde_json::from_str(&json).expect("JSON")), outcome)
}

fn calls(shared: &Shared) {
    let state = state(shared.world(), "");
    run(&state, async {
        let (written, outcome) = call(&state, "kv.write", json!({"path": "by/hand", "data": {"a": 1}})).await;
        assert_eq!(written.expect("written")["version"], 1);
        assert_eq!((outcome.operation, outcome.decision), ("kv.write", "allow"));
        assert_eq!(outcome.role.map(|role| role.name.to_string()).as_deref(), Some("own"));
        assert!(outcome.calls.upstream() > Duration::ZERO);
        let (read, _) = call(&state, "kv.read", json!({"path": "by/hand"})).await;
        assert_eq!(read.expect("read")["data"], json!({"a": 1}));
        // Vault is not asked for what no role allows.
        for (name, arguments, code) in [
            ("kv.delete", json!({"path": "by/hand"}), "forbidden"),
            ("transit.encrypt", json!({"key": "agents-key", "plaintext": "eA=="}), "forbidden"),
        ] {
            let (refused, outcome) = call(&state, name, arguments).await;
            assert_eq!((refused.expect_err("refused").public().code, outcome.decision), (code, code), "{name}");
            assert_eq!(outcome.calls.upstream(), Duration::ZERO, "{name}");
        }
    });
}

fn rejections(shared: &Shared) {
    let state = state(shared.world(), "");
    run(&state, async {
        let context = context(&state);
        let rejected = admit(&context, "another-key").await.err().expect("rejected");
        assert_eq!(rejected.refusal, Refusal::Unauthenticated);
        let login = rejected.login.expect("the login");
        assert!(login.why.contains("unknown") && login.key.len() == 8 && rejected.of.is_none(), "{login:?}");
        let anonymous = context.admit(&offer(Offered::Nothing), |_| Ok(())).await.err().expect("rejected");
        assert_eq!(anonymous.refusal, Refusal::Unauthenticated);
        // Known, and refused all the same.
        let key = || offer(Offered::ApiKey(Secret::new(API_KEY.to_owned())));
        let full = context.admit(&key(), |_| Err(Refusal::TooManyConnections)).await.err().expect("rejected");
        assert_eq!(full.refusal, Refusal::TooManyConnections);
        assert_eq!(full.of.expect("its agent").0.id.as_str(), "agent_api");
        state.vault.suspensions.configure(AgentId::parse("agent_api"));
        let suspended = context.admit(&key(), |_| Ok(())).await.err().expect("rejected");
        assert_eq!(suspended.refusal, Refusal::Suspended);
    });
}

fn debts(shared: &Shared) {
    let state = state(shared.world(), "rate_limit_requests = 2\n");
    run(&state, async {
        let context = context(&state);
        // One goes without a word, the other asks for nothing.
        drop(admit(&context, API_KEY).await.expect("admitted"));
        let (_, settled) = admit(&context, API_KEY).await.expect("admitted").settle().await;
        settled.expect("within the limit");
        let rejected = admit(&context, API_KEY).await.err().expect("rejected");
        assert!(matches!(rejected.refusal, Refusal::RateLimited(_)), "{:?}", rejected.refusal);
    });
}

fn sinks(shared: &Shared) {
    let sink = Arc::new(Reluctant::default());
    let told = Sinks::from_iter([Arc::clone(&sink) as Arc<dyn Sink>]);
    let state = state_with(shared.world(), "", told);
    run(&state, async {
        let path = json!({"path": "by/sinks"});
        sink.refuses.store(true, Ordering::Relaxed);
        let written = call(&state, "kv.write", json!({"path": "by/sinks", "data": {"a": 1}})).await;
        assert_eq!(
            (written.0.expect_err("refused"), written.1.calls.upstream()),
            (Refusal::Overloaded, Duration::ZERO)
        );
        assert_eq!(written.1.decision, Refusal::Overloaded.public().code);
        let (forbidden, _) = call(&state, "kv.delete", path.clone()).await;
        assert_eq!(forbidden.expect_err("forbidden").public().code, "forbidden");
        sink.refuses.store(false, Ordering::Relaxed);
        let (read, outcome) = call(&state, "kv.read", path).await;
        assert!(matches!(read, Err(Refusal::NotFound | Refusal::Absent(_))), "nothing was written: {read:?}");
        assert!(outcome.calls.upstream() > Duration::ZERO);
        let admitted = sink.admitted.lock().expect("a lock");
        let of = |operation| ("agent_api".to_owned(), operation);
        assert_eq!(*admitted, [of("kv.write"), of("kv.read")], "what is refused anyway is not admitted");
    });
}
