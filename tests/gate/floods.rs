//! Who reads nothing, says nothing or sends next to nothing is in nobody's way.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::json;
use tests::client::{Stream, tls_config};
use tests::http2;
use tests::process::AGENTS;
use tests::{Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("strangers_that_read_nothing_are_in_nobodys_way", strangers),
    ("an_agent_that_reads_nothing_is_in_its_own_way_alone", unread_agent),
    ("an_answer_that_nobody_takes_is_given_up", given_up),
    ("a_connection_that_says_nothing_is_closed", silent),
    ("an_idle_connection_of_http2_is_closed_in_time", idle_http2),
    ("an_idle_connection_of_http1_is_closed_in_time_and_a_first_head_has_its_own", idle_http1),
    ("the_connection_that_is_idle_longest_gives_way", crowd),
    ("one_agent_has_no_more_connections_than_its_own", agent_connections),
    ("without_file_descriptors_left_the_gate_still_accepts", few_files),
    ("one_agents_bodies_are_in_no_others_way", bodies),
    ("a_body_that_trickles_is_given_up", trickle),
    ("streams_of_one_connection_are_bounded", streams),
];

fn gate(shared: &Shared, limits: &str) -> Gate {
    let sections = format!("{AGENTS}\n[limits]\n{limits}");
    Gate::start(shared.world(), &Plan { sections, ..Plan::default() })
}

/// A connection over TLS that speaks HTTP/2, with the handshake done.
pub(super) fn http2(gate: &Gate, identity: Option<&certs::Issued>) -> StreamOwned<ClientConnection, TcpStream> {
    let mut config = tls_config(gate.authority(), identity, rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut tcp = TcpStream::connect(("127.0.0.1", gate.tls)).expect("connected");
    tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    while session.is_handshaking() {
        session.complete_io(&mut tcp).expect("a handshake");
    }
    StreamOwned::new(session, tcp)
}

/// Asks for `/whoami` on so many streams, and takes not a byte of an answer's body.
fn ask_without_reading(gate: &Gate, identity: Option<&certs::Issued>, streams: u32) -> impl Stream + use<> {
    let mut connection = http2(gate, identity);
    http2::send(&mut connection, &http2::opening_without_window()).expect("sent");
    for stream in 0..streams {
        // The gate may have closed the connection by now.
        if http2::send(&mut connection, &http2::get(2 * stream + 1, "/whoami")).is_err() {
            break;
        }
    }
    connection
}

/// Requests under way beside the one that asks for it.
fn under_way(gate: &Gate) -> f64 {
    gate.metric("http_requests_in_progress") - 1.0
}

/// Everybody else is served, at once and again.
fn others_are_served(gate: &Gate) {
    for _ in 0..5 {
        assert_eq!(gate.local().get("/healthz").status, 200, "probes");
        assert_eq!(gate.local().get("/readyz").status, 200, "probes of readiness");
        assert_eq!(gate.stranger().get("/healthz").status, 200, "probes over TLS");
        assert_eq!(gate.keyed().get("/whoami").status, 200, "an agent");
        assert_eq!(gate.stranger().get("/whoami").status, 401, "who has no identity is told so");
    }
}

fn strangers(shared: &Shared) {
    let gate = gate(shared, "requests = 64\nhttp2_streams = 32\n");
    let held: Vec<_> = (0..3).map(|_| ask_without_reading(&gate, None, 32)).collect();
    wait_for("the answers wait", 10, || under_way(&gate) >= 90.0);
    others_are_served(&gate);
    assert_eq!(gate.agent("agent_mtls").get("/secrets").status, 200);
    drop(held);
    wait_for("nothing is left of them", 20, || under_way(&gate) == 0.0);
}

fn unread_agent(shared: &Shared) {
    let gate = gate(shared, "requests = 64\nconcurrent = 80\n");
    let identity = gate.issue(&certs::Leaf::agent("agent_mtls"));
    let held: Vec<_> = (0..3).map(|_| ask_without_reading(&gate, Some(&identity), 32)).collect();
    wait_for("the answers wait", 10, || under_way(&gate) >= 80.0);
    others_are_served(&gate);
    drop(held);
    wait_for("its turns are given back", 20, || gate.agent("agent_mtls").get("/whoami").status == 200);
}

fn given_up(shared: &Shared) {
    let gate = gate(shared, "");
    let mut held = ask_without_reading(&gate, None, 1);
    let mut kinds = Vec::new();
    wait_for("the stream is reset", 20, || {
        let (kind, ..) = http2::read(&mut held).expect("a frame");
        kinds.push(kind);
        kind == http2::RST_STREAM
    });
    assert!(kinds.contains(&http2::HEADERS), "the status came: {kinds:?}");
    wait_for("the answer is given up", 10, || under_way(&gate) == 0.0);
}

/// True where the other side closes the connection within `seconds`.
fn is_closed(stream: &mut impl Read, seconds: u64) -> bool {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut bytes = [0; 1024];
    while Instant::now() < until {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
    false
}

fn silent(shared: &Shared) {
    let gate = gate(shared, "head_timeout = \"500ms\"\n");
    let tcp = |port| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        stream
    };
    assert!(is_closed(&mut tcp(gate.tls), 20), "before a handshake");
    let mut half = tcp(gate.tls);
    half.write_all(&[22, 3, 1, 2, 0, 1]).expect("written");
    assert!(is_closed(&mut half, 20), "within a handshake");
    assert!(is_closed(&mut http2(&gate, None), 20), "before a preface");
    let mut begun = http2(&gate, None);
    http2::send(&mut begun, &http2::PREFACE[..10]).expect("sent");
    assert!(is_closed(&mut begun, 20), "within a preface");
    assert!(is_closed(&mut tcp(gate.plain), 20), "before a head");
    assert!(gate.metric("portcullis_tls_handshakes_failed_total") >= 2.0);
    wait_for("no connection is left", 10, || gate.metric("portcullis_connections") == 0.0);
}

fn idle_http2(shared: &Shared) {
    let gate = gate(shared, "idle_timeout = \"1s\"\n");
    let mut quiet = http2(&gate, None);
    http2::send(&mut quiet, &[http2::PREFACE, &http2::frame(http2::SETTINGS, 0, 0, &[])].concat()).expect("sent");
    assert!(is_closed(&mut quiet, 20), "nothing was asked");
    let mut asked = ask_without_reading(&gate, None, 1);
    assert!(is_closed(&mut asked, 30), "nothing more was asked");
}

fn idle_http1(shared: &Shared) {
    let gate = gate(shared, "idle_timeout = \"1s\"\nhead_timeout = \"20s\"\n");
    let mut first = TcpStream::connect(("127.0.0.1", gate.plain)).expect("connected");
    first.set_read_timeout(Some(Duration::from_secs(3))).expect("set");
    first.write_all(b"GET /livez HTTP/1.1\r\n").expect("written");
    assert!(!is_closed(&mut first, 3), "the first head has a time of its own");
    first.write_all(b"Host: localhost\r\n\r\n").expect("written");
    let mut status = [0; 12];
    first.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    assert!(is_closed(&mut first, 3), "nothing more was asked");
}

fn crowd(shared: &Shared) {
    let gate = gate(shared, "connections = 6\nconnections_per_source = 6\n");
    let agent = gate.agent("agent_mtls");
    let mut kept = agent.connect().expect("a connection");
    assert_eq!(agent.exchange(&mut kept, "GET", "/whoami", &[], b"").expect("an answer").status, 200);
    let crowd: Vec<_> = (0..20).map(|_| http2(&gate, None)).collect();
    wait_for("some gave way", 10, || gate.metric("portcullis_connections_gave_way_total") >= 14.0);
    wait_for("few are left", 10, || gate.metric("portcullis_connections") <= 6.0);
    let answer = agent.exchange(&mut kept, "GET", "/whoami", &[], b"").expect("an agent's own is kept");
    assert_eq!(answer.status, 200);
    others_are_served(&gate);
    drop(crowd);
}

fn agent_connections(shared: &Shared) {
    let gate = gate(shared, "connections_per_agent = 2\n");
    let agent = gate.agent("agent_mtls");
    let mut kept: Vec<_> = (0..2).map(|_| agent.connect().expect("a connection")).collect();
    for stream in &mut kept {
        assert_eq!(agent.exchange(stream, "GET", "/whoami", &[], b"").expect("an answer").status, 200);
    }
    let refused = agent.get("/whoami");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_connections"));
    assert_eq!(refused.header("connection"), Some("close"));
    assert_eq!(gate.keyed().get("/whoami").status, 200, "another agent has its own");
    drop(kept);
    wait_for("there is room again", 10, || agent.get("/whoami").status == 200);
}

fn few_files(shared: &Shared) {
    let plan = Plan { files: Some(64), ..Plan::default() };
    let gate = Gate::start(shared.world(), &plan);
    let held: Vec<_> = (0..200).map(|_| TcpStream::connect(("127.0.0.1", gate.tls)).expect("connected")).collect();
    wait_for("it is said that there is no file left", 10, || gate.stderr().contains("cannot be accepted"));
    for _ in 0..5 {
        assert_eq!(gate.agent("agent_mtls").get("/secrets").status, 200);
        assert_eq!(gate.local().get("/healthz").status, 200);
    }
    assert!(gate.metric("portcullis_accept_failures_total") > 0.0);
    assert!(gate.metric("portcullis_connections_gave_way_total") > 0.0);
    drop(held);
}

fn bodies(shared: &Shared) {
    let limits = "body = 100000\nbodies_in_flight = 1000000\nbodies_per_agent = 300000\nconcurrent = 64\n";
    let gate = gate(shared, limits);
    let agent = gate.agent("agent_mtls");
    let head = "PUT /secrets/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
    let begun = |bytes: usize| {
        let mut stream = agent.connect().expect("a connection");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b' '; bytes])).expect("written");
        stream.flush().expect("written");
        stream
    };
    let mut held: Vec<_> = (0..20).map(|_| begun(49_900)).collect();
    let write = json!({"data": {"v": "x".repeat(90_000)}});
    for _ in 0..5 {
        assert_eq!(gate.keyed().put("/secrets/floods/x", &write).status, 200, "another agent writes");
        assert_eq!(gate.keyed().call("kv.read", &json!({"path": "floods/x"})).status, 200);
    }
    // Those that are over its share are answered at once, which of them they are tells the order.
    let answers: Vec<_> = held.iter_mut().filter_map(|stream| tests::Client::read(stream).ok()).collect();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(refused >= 10, "over its own share: {answers:?}");
}

fn trickle(shared: &Shared) {
    let gate = gate(shared, "body_timeout = \"10m\"\n");
    let head = format!(
        "PUT /secrets/x HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
        tests::API_KEY
    );
    let mut writer = TcpStream::connect(("127.0.0.1", gate.plain)).expect("connected");
    let reader = writer.try_clone().expect("the same");
    writer.write_all(head.as_bytes()).expect("written");
    let reading = std::thread::spawn(move || tests::Client::read(&mut (Box::new(reader) as Box<dyn Stream>)));
    // A byte now and then is not enough.
    while !reading.is_finished() && writer.write_all(b" ").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(reading.join().expect("read").expect("an answer").status, 408);
}

fn streams(shared: &Shared) {
    let gate = gate(shared, "http2_streams = 3\n");
    let mut connection = http2(&gate, None);
    http2::send(&mut connection, http2::PREFACE).expect("sent");
    let (kind, _, _, settings) = http2::read(&mut connection).expect("a frame");
    assert_eq!(kind, http2::SETTINGS);
    let most = settings.chunks(6).find(|one| one[..2] == [0, 3]).map(|one| one[2..].to_vec());
    assert_eq!(most, Some(vec![0, 0, 0, 3]), "SETTINGS_MAX_CONCURRENT_STREAMS");
}
