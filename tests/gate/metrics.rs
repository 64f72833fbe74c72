//! Metrics, as Prometheus and its tools judge them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::events::Events;
use tests::process::{AGENTS, root};
use tests::servers::collector::Collector;
use tests::servers::{Prometheus, promtool};
use tests::{API_KEY, Client, Gate, Plan, free_port, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("prometheus_finds_nothing_to_mend_in_the_metrics", checked),
    ("openmetrics_has_exemplars_that_prometheus_takes", open),
    ("the_facts_of_a_gate_that_serves", facts),
    ("a_gate_without_vault_says_so", without_vault),
    ("limits_and_failures_are_counted_by_kind", kinds),
    ("a_stream_is_counted_when_it_begins_and_timed_when_it_ends", streams),
    ("agents_that_are_not_told_apart_make_no_series", agents),
    ("each_alert_fires_when_it_is_to_and_not_before", alerts),
    ("every_query_of_dashboard_and_alerts_finds_its_series", queries),
];

/// Asks a little of everything.
fn load(gate: &Gate) {
    let client = gate.agent("agent_mtls");
    client.put("/secrets/metrics/x", &json!({"data": {"a": 1}}));
    client.call("kv.read", &json!({"path": "metrics/x"}));
    client.get("/secrets/metrics/none");
    gate.agent("agent_jwt").get("/secrets/metrics/x");
    gate.local().get("/whoami");
    gate.local().with("X-API-Key", "nobody's").get("/whoami");
}

fn checked(shared: &Shared) {
    load(shared.gate());
    let metrics = shared.gate().admin_client().get("/metrics").body;
    let judged = promtool(&["check", "metrics"], Path::new("."), &metrics);
    let told = [judged.stdout, judged.stderr].concat();
    assert!(judged.status.success() && told.is_empty(), "{}", String::from_utf8_lossy(&told));
}

fn open(shared: &Shared) {
    let collector = Collector::start();
    let environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())];
    let gate = Gate::start(shared.world(), &Plan { environment, ..Plan::default() });
    load(&gate);
    let asked = gate.keyed().get("/whoami");
    let trace = asked.header("x-trace-id").expect("an id");
    let operator = gate.admin_client().with("Accept", "application/openmetrics-text; version=1.0.0");
    wait_for("it is counted", 10, || String::from_utf8_lossy(&operator.get("/metrics").body).contains(trace));
    let answer = operator.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = String::from_utf8(answer.body).expect("text");
    let exemplars: Vec<_> = text.lines().filter(|line| line.contains(" # {")).collect();
    let of_route = |line: &&&str| line.contains("route=\"/whoami\"") && line.contains("status=\"200\"");
    assert!(exemplars.iter().find(of_route).is_some_and(|line| line.contains(trace)), "{exemplars:#?}");
    assert!(exemplars.iter().all(|line| line.starts_with("http_request_duration_seconds_bucket{")), "{exemplars:#?}");
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
    // The same families and series as in Prometheus' own form.
    let plain = String::from_utf8(gate.admin_client().get("/metrics").body).expect("text");
    let series = |text: &str| {
        let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split([' ', '{']).next());
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(series(&text), series(&plain));
    // A Prometheus asks for this form, and takes it.
    let prometheus = Prometheus::start(gate.admin, &root().join("config/prometheus/alerts.yml"));
    let of_trace = prometheus.exemplars("http_request_duration_seconds_bucket");
    assert!(of_trace.iter().any(|exemplar| exemplar["labels"]["trace_id"] == trace), "{of_trace:#?}");
}

/// The end of a file's certificates, as the gate tells it.
fn end(gate: &Gate, of: &str, file: &str) -> f64 {
    let file = gate.folder().join(file);
    let labels = format!("{{file=\"{}\",of=\"{of}\"}}", file.display());
    gate.metric(&format!("portcullis_certificate_expiry_timestamp_seconds{labels}"))
}

fn facts(shared: &Shared) {
    shared.postgres();
    let sections = format!("{AGENTS}[agents.archive]\nroles = [\"all\"]\n[leases]\nper_agent = 4\n");
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    load(&gate);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64();
    for is_one in [
        "portcullis_ready",
        "portcullis_vault_login_up",
        "portcullis_vault_logins_total{outcome=\"made\"}",
        "portcullis_vault_health{state=\"active\"}",
        "portcullis_vault_health",
        "portcullis_build_info",
        "portcullis_failed_authentications_total{kind=\"api_key\"}",
        "portcullis_decisions_total{decision=\"forbidden\"}",
        "portcullis_upstream_duration_seconds_count{operation=\"kv.write\"}",
    ] {
        // An answer is counted once it is written.
        wait_for(is_one, 10, || gate.metric(is_one) == 1.0);
    }
    assert_eq!(gate.metric("portcullis_circuit_open"), 0.0);
    assert!(gate.metric("portcullis_vault_login_expiry_timestamp_seconds") > now);
    assert!(end(&gate, "server", "server.crt") > now && end(&gate, "client_authority", "ca.crt") > now);
    wait_for("its agent's token is held", 10, || gate.metric("portcullis_child_tokens") == 1.0);
    for is_some in ["resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds", "threads"] {
        assert!(gate.metric(&format!("process_{is_some}")) > 2.0, "{is_some}");
    }
    assert!((1.0..=now).contains(&gate.metric("process_start_time_seconds")));
    wait_for("it has taken some processor time", 10, || gate.metric("process_cpu_seconds_total") > 0.0);

    let leases = || ["portcullis_leases", "portcullis_lease_budget_used_ratio"].map(|name| gate.metric(name));
    let client = gate.agent("archive");
    let issue = || client.post("/db/creds/readonly", &json!({})).json();
    assert_eq!(leases(), [0.0, 0.0]);
    let [first, _second] = [issue(), issue()];
    assert_eq!(leases(), [2.0, 0.5]);
    assert_eq!(client.post("/db/revoke", &json!({"lease_id": first["lease_id"]})).status, 200);
    assert_eq!(leases(), [1.0, 0.25]);

    let config = gate.folder().join("config.toml");
    let good = fs::read_to_string(&config).expect("the configuration");
    let reload = |text: &str| {
        fs::write(&config, text).expect("the configuration");
        gate.operator().post("/admin/reload", &json!(null)).status
    };
    assert_eq!(reload(&format!("{good}\nnonsense = 1\n")), 422);
    assert_eq!(gate.metric("portcullis_reload_refused"), 1.0);
    assert_eq!(reload(&good), 200);
    assert_eq!(gate.metric("portcullis_reload_refused"), 0.0);
}

fn without_vault(shared: &Shared) {
    let environment = vec![("VAULT_ADDR", "http://127.0.0.1:1".to_owned())];
    let gate = Gate::start_unready(shared.world(), &Plan { environment, ..Plan::default() });
    wait_for("Vault is known to be away", 10, || gate.metric("portcullis_circuit_open") == 1.0);
    wait_for("a login has failed", 10, || gate.metric("portcullis_vault_logins_total{outcome=\"failed\"}") >= 1.0);
    assert_eq!(gate.metric("portcullis_vault_health{state=\"unreachable\"}"), 1.0);
    for none in ["portcullis_ready", "portcullis_vault_login_up", "portcullis_vault_login_expiry_timestamp_seconds"] {
        assert_eq!(gate.metric(none), 0.0, "{none}");
    }
}

fn kinds(shared: &Shared) {
    let sections = format!(
        "{AGENTS}[agents.alice]\nroles = [\"all\"]\nrate = {{ requests = 1, per = \"1h\", burst = 1 }}\n[limits]\n\
         operations = {{ \"kv.read\" = {{ requests = 1, per = \"1h\", burst = 1 }} }}\n\
         failed_authentications = {{ requests = 1, per = \"1h\" }}\n"
    );
    let gate = Gate::start(shared.world(), &Plan { top: String::new(), sections, ..Plan::default() });
    let limited = |limit: &str| gate.metric(&format!("portcullis_rate_limited_total{{limit=\"{limit}\"}}"));
    let (alice, reader) = (gate.agent("alice"), gate.agent("agent_mtls"));
    assert_eq!([alice.get("/whoami"), alice.get("/whoami")].map(|answer| answer.status), [200, 429]);
    assert_eq!([reader.get("/secrets/a"), reader.get("/secrets/a")].map(|answer| answer.status), [404, 429]);
    let stranger = gate.local().with("X-API-Key", "nobody's");
    assert_eq!([stranger.get("/whoami"), stranger.get("/whoami")].map(|answer| answer.status), [401, 429]);
    let kinds = ["agent", "operation", "source", "all", "role"].map(limited);
    assert_eq!(kinds, [1.0, 1.0, 1.0, 0.0, 0.0]);
    let failed = |kind: &str| gate.metric(&format!("portcullis_failed_authentications_total{{kind=\"{kind}\"}}"));
    assert_eq!(["api_key", "jwt", "certificate"].map(failed), [1.0, 0.0, 0.0]);
    let from_elsewhere = certs::Authority::new("elsewhere").expect("an authority");
    let foreign = from_elsewhere.issue(&certs::Leaf::agent("agent_mtls")).expect("a certificate");
    assert!(gate.holder(&foreign).try_send("GET", "/whoami", &[], b"").is_err(), "it gets no connection");
    wait_for("its certificate is counted", 10, || failed("certificate") == 1.0);
}

fn streams(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let metric = |name: &str| gate.metric(name);
    let counted = || metric("http_requests_total{method=\"GET\",route=\"/events\",status=\"200\"}");
    let ended = || metric("portcullis_event_stream_duration_seconds_count");
    let client = reqwest::blocking::Client::builder().timeout(None).build().expect("a client");
    let stream = Events::open(&client, &format!("http://127.0.0.1:{}/events", gate.plain), &[("X-API-Key", API_KEY)]);
    assert_eq!((counted(), ended(), metric("portcullis_event_streams")), (1.0, 0.0, 1.0));
    assert_eq!(gate.keyed().put("/secrets/metrics/told", &json!({"data": {"a": 1}})).status, 200);
    wait_for("the stream has heard of it", 10, || metric("portcullis_event_lag_seconds_count") == 1.0);
    drop(stream);
    drop(client);
    // A stream is noticed to be gone by what is written to it.
    wait_for("it has ended", 30, || {
        gate.keyed().put("/secrets/metrics/told", &json!({"data": {"a": 1}}));
        ended() == 1.0
    });
    assert_eq!(counted(), 1.0);
}

/// The number of series.
fn series(gate: &Gate) -> usize {
    let metrics = gate.admin_client().get("/metrics").body;
    String::from_utf8(metrics).expect("text").lines().filter(|line| !line.starts_with('#')).count()
}

/// Asks as each of so many agents, one after the other.
fn ask_as(gate: &Gate, agents: std::ops::Range<usize>) {
    let client = Client::plain(gate.plain).with("X-SSL-Client-Verify", "SUCCESS");
    let mut stream = client.connect().expect("a connection");
    for number in agents {
        let name = format!("CN=agent-{number}");
        let answer = client.exchange(&mut stream, "GET", "/whoami", &[("X-SSL-Client-S-DN", &name)], b"");
        assert_eq!(answer.expect("an answer").status, 200, "{name}");
    }
}

fn agents(shared: &Shared) {
    let top = "rate_limit_enabled = false\nauth_mtls_enabled = true\ntrusted_proxies = [\"127.0.0.0/8\"]\n".to_owned();
    let sections = "[identity]\nunknown_agents = \"own-namespace\"\nunknown_source = \"cn\"\n\
                    [agents.agent-1]\ncertificate = { cn = \"agent-1\" }\n[metrics]\nagents = false\n";
    let gate = Gate::start(shared.world(), &Plan { top, sections: sections.to_owned(), ..Plan::default() });
    ask_as(&gate, 0..10);
    // The first look is counted too, by the second.
    series(&gate);
    let before = series(&gate);
    ask_as(&gate, 0..1000);
    assert_eq!(series(&gate), before);

    let config = gate.folder().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    let reload = |text: String| {
        fs::write(&config, text).expect("the configuration");
        assert_eq!(gate.operator().post("/admin/reload", &json!(null)).status, 200);
    };
    reload(text.replace("agents = false", "agents = true"));
    ask_as(&gate, 0..100);
    let asked =
        |agent: &str| gate.metric(&format!("portcullis_agent_requests_total{{agent=\"{agent}\",decision=\"allow\"}}"));
    wait_for("all are counted", 10, || ["agent-1", "agent-2", "~others"].map(asked) == [1.0, 0.0, 99.0]);
    reload(text.replace("agents = false", "agents = true").replace("agent-1", "agent-2"));
    assert_eq!(["agent-1", "agent-2", "~others"].map(asked), [0.0, 0.0, 99.0], "who has gone is forgotten");
    reload(text);
    assert_eq!(gate.metric("portcullis_agent_requests_total"), 0.0);
}

fn alerts(_: &Shared) {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let judged = promtool(&arguments, &root().join("config/prometheus"), b"");
        let told = [judged.stdout, judged.stderr].concat();
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&told));
    }
}

/// The queries of the dashboard, with what Grafana puts in place of its variables.
fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(root().join("config/grafana/portcullis.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = targets.map(|target| target["expr"].as_str().expect("a query"));
    queries.map(|query| query.replace("$__rate_interval", "10s").replace("$instance", ".*")).collect()
}

/// The selectors of this gate's series in a query, but for statuses, which it may never have answered with.
fn selectors(query: &str) -> BTreeSet<String> {
    let starts = query.match_indices("portcullis_").map(|(start, _)| &query[start..]);
    let selector = |rest: &str| {
        let name = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        let labels = rest[name..].starts_with('{').then(|| rest.find('}').expect("its end") + 1);
        rest[..labels.unwrap_or(name)].to_owned()
    };
    starts.map(selector).collect()
}

fn queries(shared: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = certs::Authority::new("listed").expect("an authority");
    let list = authority.crl(1, &[], certs::Validity::Now).expect("a list");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("ca.pem"), authority.pem()).expect("a file");
    fs::write(at("ca.crl"), list.der).expect("a file");
    let sections = format!(
        "{AGENTS}[metrics]\nagents = true\n[[listeners]]\naddress = \"127.0.0.1:{}\"\n\
         client_certificates = \"optional\"\ntls = {{ certificate = \"server.crt\", key = \"server.key\" }}\n\
         client_ca = [\"{}\"]\nclient_crl = [\"{}\"]\n",
        free_port(),
        at("ca.pem"),
        at("ca.crl")
    );
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let prometheus = Prometheus::start(gate.admin, &root().join("config/prometheus/alerts.yml"));
    let found = |query: &str| !prometheus.query(query).unwrap_or_else(|error| panic!("{query}: {error}")).is_empty();
    load(&gate);
    wait_for("what it was asked is scraped as often as a rate takes", 30, || {
        load(&gate);
        found("rate(http_request_duration_seconds_count{route=\"/secrets/{path}\",status=\"403\"}[10s]) > 0")
    });
    let dashboard = dashboard();
    assert!(dashboard.len() > 50, "{}", dashboard.len());
    let missing: Vec<_> = dashboard.iter().filter(|query| !found(query)).collect();
    assert!(missing.is_empty(), "nothing is found for {missing:#?}");

    let rules = prometheus.rules();
    assert!(rules.len() > 15, "{}", rules.len());
    wait_for("every rule was evaluated", 30, || prometheus.rules().iter().all(|rule| rule["health"] == "ok"));
    for rule in rules {
        for selector in selectors(rule["query"].as_str().expect("a query")) {
            assert!(found(&format!("count({selector})")), "{}: {selector}", rule["name"]);
        }
    }
}
