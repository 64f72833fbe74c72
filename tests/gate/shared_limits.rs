//! Rate limits that gates share through a real Redis.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use filters::quota::{Exceeded, Limit, LimitKind, Rate, charge_all};
use portcullis::config;
use portcullis::limits::SharedLimits;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tests::servers::{REDIS_PASSWORD, Redis};
use tests::{Client, Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("gates_on_one_server_share_every_limit", shared),
    ("while_the_server_is_away_each_gate_counts_for_itself", away),
    ("a_server_that_does_not_answer_holds_nobody_up", slow),
    ("a_server_that_takes_no_writes_is_away", replica),
    ("a_key_that_is_no_limits_is_nobody_elses_trouble", foreign),
    ("a_reload_has_limits_shared_or_not", reloaded),
    ("a_server_is_reached_over_tls_and_only_where_its_certificate_holds", tls),
    ("a_password_that_does_not_hold_is_told_once_and_never_shown", password),
    ("the_script_says_what_the_core_says", agrees),
];

const AWAY: &str = "rate limits are not shared now";
const SHARED: &str = "rate limits are shared";

fn plan(url: String, requests: u32, more: &str) -> Plan {
    Plan {
        top: format!("rate_limit_requests = {requests}\nrate_limit_window_seconds = 3600\n"),
        sections: format!("{}\n[rate_limit]\nbackend = \"redis\"\ntimeout = \"2s\"\n{more}", tests::process::AGENTS),
        environment: vec![("REDIS_URL", url), ("REDIS_PASSWORD", REDIS_PASSWORD.to_owned())],
        ..Plan::default()
    }
}

fn start(shared: &Shared, plan: &Plan) -> Gate {
    let gate = Gate::start(shared.world(), plan);
    wait_for("limits are shared", 10, || is_shared(&gate));
    gate
}

fn is_shared(gate: &Gate) -> bool {
    gate.metric("portcullis_shared_limits_up") == 1.0
}

/// The number of requests that pass; the others are over the rate.
fn passed(client: &Client, requests: usize) -> usize {
    let pass = |_| match client.get("/whoami") {
        response if response.status == 200 => true,
        refused => {
            assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{refused:?}");
            false
        }
    };
    (0..requests).filter(|number| pass(*number)).count()
}

/// The number of writes that the server has refused.
fn refused_writes(redis: &Redis) -> u32 {
    let stats = redis.ask(&["INFO", "errorstats"]).expect("an answer");
    let count = stats.lines().find_map(|line| line.strip_prefix("errorstat_READONLY:count="));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn told(gate: &Gate, text: &str) -> usize {
    gate.stderr().lines().filter(|line| line.contains(text)).count()
}

fn shared(shared: &Shared) {
    let redis = Redis::start();
    let more = "[limits]\nrate = { requests = 9, per = \"1h\" }\n[limits.operations.\"kv.list\"]\nrequests = 2\nper = \"1h\"\n";
    let plan = plan(redis.url(), 5, more);
    let (one, other) = (start(shared, &plan), start(shared, &plan));
    let list = |gate: &Gate| gate.keyed().get("/secrets");
    assert_eq!((list(&one).status, list(&other).status), (200, 200));
    for refused in [list(&one), other.keyed().call("kv.list", &json!({}))] {
        assert_eq!((refused.status, refused.header("ratelimit-limit")), (429, Some("2")), "the operation's");
    }
    // What the operation's limit refuses is charged to no other.
    assert_eq!((passed(&one.keyed(), 2), passed(&other.keyed(), 2)), (2, 1), "the agent's own");
    let refused = other.keyed().get("/whoami");
    let seconds = |name: &str| refused.header(name).and_then(|value| value.parse::<u64>().ok());
    assert_eq!((seconds("ratelimit-limit"), seconds("ratelimit-remaining")), (Some(5), Some(0)));
    assert!(seconds("retry-after").is_some_and(|wait| (1..=720).contains(&wait)), "{refused:?}");
    assert!(seconds("ratelimit-reset").is_some_and(|reset| reset > 2800), "{refused:?}");
    let (mtls, jwt) = (one.agent("agent_mtls"), other.agent("agent_jwt"));
    assert_eq!((passed(&mtls, 2), passed(&jwt, 5)), (2, 2), "that of all agents");
    let ttl = redis.ask(&["TTL", "{portcullis}:agent:agent_api"]).expect("an answer");
    assert!(ttl.starts_with(':') && !ttl.starts_with(":-"), "what is over is forgotten: {ttl}");
    assert_eq!((told(&one, AWAY), told(&other, AWAY)), (0, 0));
}

fn away(shared: &Shared) {
    let mut redis = Redis::start();
    let plan = plan(redis.url(), 6, "");
    let (one, other) = (start(shared, &plan), start(shared, &plan));
    assert_eq!((passed(&one.keyed(), 3), passed(&other.keyed(), 2)), (3, 2));
    redis.stop();
    wait_for("both know", 10, || !is_shared(&one) && !is_shared(&other));
    // What a gate has let through itself, it has not forgotten.
    assert_eq!((passed(&one.keyed(), 5), passed(&other.keyed(), 5)), (3, 4));
    assert!(one.metric("portcullis_shared_limits_local_total") >= 3.0);
    assert_eq!((told(&one, AWAY), told(&other, AWAY)), (1, 1), "{}", one.stderr());
    redis.resume();
    wait_for("both are back", 10, || is_shared(&one) && is_shared(&other));
    assert_eq!((passed(&one.keyed(), 1), passed(&other.keyed(), 1)), (0, 0), "an empty server forgives nothing");
    assert_eq!((passed(&one.agent("agent_mtls"), 4), passed(&other.agent("agent_mtls"), 4)), (4, 2));
    assert_eq!((told(&one, AWAY), told(&one, SHARED)), (1, 2), "{}", one.stderr());
    for gate in [&one, &other] {
        assert!(!gate.stderr().contains(REDIS_PASSWORD) && !gate.log().contains(REDIS_PASSWORD));
    }
}

fn slow(shared: &Shared) {
    let redis = Redis::start();
    let plan = plan(redis.url(), 6, "");
    let plan = Plan { sections: plan.sections.replace("\"2s\"", "\"100ms\""), ..plan };
    let gate = start(shared, &plan);
    redis.pause(Duration::from_secs(3));
    assert_eq!(passed(&gate.keyed(), 7), 6);
    wait_for("the gate knows", 10, || !is_shared(&gate));
    wait_for("the gate is back", 20, || is_shared(&gate));
    assert_eq!(passed(&gate.keyed(), 1), 0);
    assert_eq!(told(&gate, AWAY), 1, "{}", gate.stderr());
}

fn replica(shared: &Shared) {
    let redis = Redis::start();
    let gate = start(shared, &plan(redis.url(), 6, ""));
    assert_eq!(passed(&gate.keyed(), 2), 2);
    redis.ask(&["REPLICAOF", "127.0.0.1", "1"]).expect("an answer");
    assert_eq!(passed(&gate.keyed(), 5), 4);
    wait_for("it is tried again", 20, || refused_writes(&redis) >= 4);
    assert_eq!((told(&gate, AWAY), told(&gate, SHARED)), (1, 1), "{}", gate.stderr());
    redis.ask(&["REPLICAOF", "NO", "ONE"]).expect("an answer");
    wait_for("the gate is back", 20, || is_shared(&gate));
}

fn foreign(shared: &Shared) {
    let redis = Redis::start();
    let ask = |command: &[&str]| redis.ask(command).expect("an answer");
    let key = "{portcullis}:agent:agent_api";
    let plan = plan(redis.url(), 20, "");
    let (one, other) = (start(shared, &plan), start(shared, &plan));
    assert_eq!((passed(&one.keyed(), 2), passed(&other.keyed(), 1)), (2, 1));
    let alone = || one.metric("portcullis_shared_limits_local_total");
    let foreign = [
        &["RPUSH", key, "x"][..],
        &["HSET", key, "x", "y"],
        &["SET", key, "x"],
        &["SET", key, "-1.0"],
        &["SET", key, "9999999999999999999999999999.0"],
    ];
    for (count, foreign) in (1..).zip(foreign) {
        ask(&["DEL", key]);
        assert!(ask(foreign).starts_with([':', '+']), "{foreign:?}");
        assert_eq!((passed(&one.keyed(), 1), alone()), (1, f64::from(count)), "{foreign:?}");
        assert!(is_shared(&one), "{foreign:?}");
    }
    // What a gate has let through before, it has not forgotten.
    assert_eq!((passed(&one.keyed(), 20), passed(&other.keyed(), 20)), (13, 19), "each counts for itself");
    assert_eq!((passed(&one.agent("agent_mtls"), 15), passed(&other.agent("agent_mtls"), 15)), (15, 5), "others share");
    assert_eq!((told(&one, AWAY), told(&other, AWAY)), (0, 0), "{}", one.stderr());
    assert_eq!((told(&one, "holds something else"), told(&other, "holds something else")), (1, 1), "it is told once");
    assert!(one.stderr().contains(key), "{}", one.stderr());
}

fn reloaded(shared: &Shared) {
    let redis = Redis::start();
    let plan = plan(redis.url(), 4, "");
    let (one, other) = (start(shared, &plan), start(shared, &plan));
    assert_eq!((passed(&one.keyed(), 1), passed(&other.keyed(), 1)), (1, 1));
    let file = one.folder().join("config.toml");
    let with = |backend: &str, reloads: f64| {
        let text = std::fs::read_to_string(&file).expect("a file");
        let line = text.lines().find(|line| line.starts_with("backend = ")).expect("a backend");
        std::fs::write(&file, text.replace(line, &format!("backend = \"{backend}\""))).expect("a file");
        one.signal("HUP");
        wait_for("the reload", 10, || one.metric("portcullis_reloads_total") == reloads);
    };
    with("memory", 1.0);
    wait_for("it counts for itself", 10, || !is_shared(&one));
    assert_eq!(passed(&one.keyed(), 2), 2);
    with("redis", 2.0);
    wait_for("limits are shared", 10, || is_shared(&one));
    assert_eq!((passed(&other.keyed(), 3), passed(&one.keyed(), 1)), (2, 0), "two of one's went past the server");
}

fn tls(shared: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (certs::Authority::new("ours").expect("one"), certs::Authority::new("theirs").expect("one"));
    ours.issue(&certs::Leaf::server()).expect("a certificate").write(folder.path(), "redis").expect("files");
    let at = |name: &str| folder.path().join(name);
    let redis = Redis::start_tls(&at("redis.crt"), &at("redis.key"));
    let with = |authority: &certs::Authority, name: &str| {
        std::fs::write(at(name), authority.pem()).expect("a file");
        plan(redis.tls_url(), 5, &format!("ca = \"{}\"\n", at(name).display()))
    };
    let (one, other) = (start(shared, &with(&ours, "ours")), start(shared, &with(&ours, "ours")));
    assert_eq!((passed(&one.keyed(), 3), passed(&other.keyed(), 3)), (3, 2));
    let stranger = Gate::start(shared.world(), &with(&theirs, "theirs"));
    wait_for("it is told", 10, || told(&stranger, AWAY) == 1);
    assert_eq!(passed(&stranger.keyed(), 6), 5, "it counts for itself");
    assert!(!is_shared(&stranger));
}

fn password(shared: &Shared) {
    let redis = Redis::start();
    let wrong = "not-the-password-5e1c";
    let plan = plan(redis.url(), 5, "");
    let environment = vec![("REDIS_URL", redis.url()), ("REDIS_PASSWORD", wrong.to_owned())];
    let gate = Gate::start(shared.world(), &Plan { environment, ..plan });
    wait_for("it is told", 10, || told(&gate, AWAY) == 1);
    assert_eq!(passed(&gate.keyed(), 6), 5, "it counts for itself");
    // By now it has tried again.
    let denied = || redis.ask(&["INFO", "errorstats"]).is_ok_and(|text| text.contains("WRONGPASS"));
    wait_for("it is tried", 10, denied);
    assert_eq!(told(&gate, AWAY), 1, "{}", gate.stderr());
    assert!(!gate.stderr().contains(wrong));
    let folder = gate.folder().join("config.toml");
    let check = Command::new(tests::process::binary()).args(["check", "--config"]).arg(folder).env_clear().output();
    let said = check.expect("an answer");
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains("`rate_limit.url` is missing"), "{said}");
}

/// One step: how far the clock goes, as parts of the first cell's interval, and
/// which cells are charged.
type Step = (u64, [bool; 3]);

fn agrees(_: &Shared) {
    let redis = Redis::start();
    let settings = config::Redis {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: redis.port(),
        database: 0,
        username: None,
        password: Some(filters::secret::Secret::new(REDIS_PASSWORD.to_owned())),
        authorities: None,
        prefix: "agrees".to_owned(),
        timeout: Duration::from_secs(5),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = runtime.block_on(async { SharedLimits::new(&settings, None) }).expect("a client");
    let ask = |limits: &[&Limit], now| runtime.block_on(server.charge_at(limits, now)).expect("an answer");
    let rate = (1..2000_u32, 1..2_000_000_000_000_u64, 1..20_u32);
    let rate = rate.prop_filter_map("a rate", |(requests, nanoseconds, burst)| {
        Rate::new(requests, Duration::from_nanos(nanoseconds), burst)
    });
    let start = prop_oneof![1..10_000_000_000_u64, 1_700_000_000_000_000_000..1_900_000_000_000_000_000_u64];
    let step = (0..300_u64, proptest::array::uniform3(any::<bool>()));
    let cases = ([rate.clone(), rate.clone(), rate], start, proptest::collection::vec(step, 1..60));
    let seen = AtomicU64::new(0);
    let refused = AtomicU64::new(0);
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let result = runner.run(&cases, |(rates, start, steps): ([Rate; 3], u64, Vec<Step>)| {
        let case = seen.fetch_add(1, Ordering::Relaxed);
        let limit = |place: usize| Limit::new(rates[place], LimitKind::Agent, format!("{case}:{place}"), None);
        let limits = [limit(0), limit(1), limit(2)];
        let mut now = start;
        for (forward, chosen) in steps {
            now += rates[0].interval() / 100 * forward;
            let charged: Vec<&Limit> = limits.iter().zip(chosen).filter_map(|(one, on)| on.then_some(one)).collect();
            let expected: Result<(), Exceeded> = charge_all(charged.iter().copied(), now);
            refused.fetch_add(u64::from(expected.is_err()), Ordering::Relaxed);
            prop_assert_eq!(ask(&charged, now), expected);
        }
        Ok(())
    });
    assert!(result.is_ok(), "{}", result.expect_err("a failure"));
    assert!(refused.load(Ordering::Relaxed) > 100, "too few refusals to mean anything");
}
