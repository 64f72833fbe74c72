//! Behind a balancer that forwards bytes as they are, and says by the PROXY
//! protocol whose they are.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tests::client::tls_config;
use tests::servers::Haproxy;
use tests::{Client, Gate, Plan, free_port, wait_for};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("whom_a_balancer_names_is_the_client", named),
    ("haproxy_names_its_clients_and_sees_whether_the_gate_lives", haproxy),
    ("a_client_behind_a_balancer_is_no_trusted_proxy", forged),
    ("failures_behind_a_balancer_are_each_clients_own", failures),
    ("a_header_that_is_not_accepted_closes_the_connection", refused),
    ("nobody_but_a_trusted_proxy_says_whose_a_connection_is", strangers),
    ("each_client_behind_a_balancer_has_connections_of_its_own", connections),
    ("the_verbs_tell_of_balancers", told),
];

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const REFUSED: &str = "portcullis_proxy_headers_refused_total";

/// A gate whose TLS and plain listeners are behind balancers on this machine too.
struct Balanced {
    gate: Gate,
    tls: u16,
    plain: u16,
}

fn gate(shared: &Shared, top: &str, sections: &str) -> Balanced {
    let (tls, plain) = (free_port(), free_port());
    let listeners = format!(
        "[[listeners]]\naddress = \"127.0.0.1:{tls}\"\ntls = {{ certificate = \"server.crt\", key = \"server.key\" }}\n\
         client_certificates = \"optional\"\nclient_ca = [\"ca.crt\"]\nproxy_protocol = true\n\
         [[listeners]]\naddress = \"127.0.0.1:{plain}\"\nproxy_protocol = true\n"
    );
    let top = format!("rate_limit_enabled = false\n{top}");
    let gate =
        Gate::start(shared.world(), &Plan { top, sections: format!("{sections}{listeners}"), ..Plan::default() });
    wait_for("the listeners", 20, || [tls, plain].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()));
    Balanced { gate, tls, plain }
}

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

/// Whom a role is for, and who has it.
const AT_HOME: &str = "[roles.r]\nscopes = [\"read\"]\nkv = [\"**\"]\nsources = [\"203.0.113.0/24\", \"2001:db8::/32\"]\n\
                       [agents.agent_api]\nroles = [\"r\"]\napi_keys = [{ sha256 = \"KEY\" }]\n\
                       [agents.bob]\nroles = [\"r\"]\ncertificate = { cn = \"bob\" }\n";

/// A header: command, family and transport, what follows.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// The header that names this client.
fn of(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let (family, address) = match client {
        SocketAddr::V4(client) => (0x11, [client.ip().octets(), [127, 0, 0, 1]].concat()),
        SocketAddr::V6(client) => (0x21, [client.ip().octets(), [0; 16]].concat()),
    };
    header(0x21, family, &[&address[..], &client.port().to_be_bytes(), &[0, 1]].concat())
}

/// A balancer: forwards each connection to `port`, after `header`. Gives its own port.
fn balancer(port: u16, header: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let own = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let _ = forward(&client, port, &header);
        }
    });
    own
}

fn forward(client: &TcpStream, port: u16, header: &[u8]) -> io::Result<()> {
    let mut gate = TcpStream::connect(("127.0.0.1", port))?;
    gate.write_all(header)?;
    for (mut from, mut to) in [(client.try_clone()?, gate.try_clone()?), (gate, client.try_clone()?)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

impl Balanced {
    /// `agent_api` behind a balancer that sends `header`, over TLS and in plain.
    fn keyed(&self, header: &[u8]) -> [Client; 2] {
        let tls = Client::tls(balancer(self.tls, header.to_owned()), self.gate.authority(), None);
        let plain = Client::plain(balancer(self.plain, header.to_owned()));
        [tls, plain].map(|client| client.with("X-API-Key", tests::API_KEY))
    }
}

fn connections(shared: &Shared) {
    let balanced = gate(shared, TRUSTED, &format!("{AT_HOME}[limits]\nconnections_per_source = 1\n"));
    let [greedy, other] = ["203.0.113.7:1", "203.0.113.8:1"].map(|client| {
        let [_, plain] = balanced.keyed(&of(client));
        plain
    });
    let ask = |client: &Client, stream: &mut _| client.exchange(stream, "GET", "/whoami", &[], b"").map(|r| r.status);
    let mut kept = other.connect().expect("a connection");
    assert_eq!(ask(&other, &mut kept).expect("an answer"), 200);
    let mut first = greedy.connect().expect("a connection");
    assert_eq!(ask(&greedy, &mut first).expect("an answer"), 200);
    assert_eq!(greedy.get("/whoami").status, 200, "its own idle one gives way");
    assert!(ask(&greedy, &mut first).is_err(), "and is closed");
    assert_eq!(ask(&other, &mut kept).expect("an answer"), 200, "another client's is kept");
}

fn named(shared: &Shared) {
    let balanced = gate(shared, TRUSTED, AT_HOME);
    let long = header(0x21, 0x11, &[&[203, 0, 113, 7, 127, 0, 0, 1, 0, 1, 0, 1, 0xe0, 2, 0][..], &[7; 512]].concat());
    for (header, status) in [
        (of("203.0.113.7:4711"), 404),
        (of("[2001:db8::7]:443"), 404),
        (of("[::ffff:203.0.113.8]:443"), 404),
        (long, 404),
        (of("198.51.100.1:80"), 403),
        (header(0x20, 0x00, &[]), 403),
        (header(0x21, 0x00, &[1, 2, 3]), 403),
    ] {
        for client in balanced.keyed(&header) {
            // Twice, since a connection that is kept is whose it was.
            let mut stream = client.connect().expect("a connection");
            for time in ["at first", "again"] {
                let answer = client.exchange(&mut stream, "GET", "/secrets/balancers/none", &[], b"");
                let answer =
                    answer.unwrap_or_else(|error| panic!("{time}, {header:?}: {error}: {}", balanced.gate.stderr()));
                assert_eq!(answer.status, status, "{time}, {header:?}");
            }
        }
    }
    for client in ["203.0.113.7", "2001:db8::7", "203.0.113.8", "198.51.100.1", "127.0.0.1"] {
        let told = format!("\"client\":\"{client}\"");
        wait_for("the log has the client's address", 10, || balanced.gate.log().contains(&told));
    }
    assert_eq!(http2(&balanced, &of("203.0.113.7:4711")), 404);
    assert_eq!(http2(&balanced, &of("198.51.100.1:4711")), 403);
    assert!(balanced.gate.metric(REFUSED) == 0.0);
    wait_for("connections are counted", 10, || balanced.gate.metric("portcullis_connections") == 0.0);
}

/// The status of a request over HTTP/2.
fn http2(balanced: &Balanced, header: &[u8]) -> u16 {
    let mut config = tls_config(balanced.gate.authority(), None, rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = reqwest::blocking::Client::builder().tls_backend_preconfigured(config);
    let client = client.http2_prior_knowledge().timeout(Duration::from_secs(30)).build().expect("a client");
    let port = balancer(balanced.tls, header.to_owned());
    let request = client.get(format!("https://localhost:{port}/secrets/balancers/none"));
    let answer = request.header("X-API-Key", tests::API_KEY).send().expect("an answer");
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    answer.status().as_u16()
}

fn haproxy(shared: &Shared) {
    let balanced = gate(shared, TRUSTED, AT_HOME);
    let haproxy = Haproxy::start(balanced.tls, balanced.plain);
    wait_for("its health checks", 20, || balanced.gate.log().contains("/livez"));
    for (client, status) in [("203.0.113.7:4711", 404), ("[2001:db8::7]:443", 404), ("198.51.100.1:80", 403)] {
        let tls = Client::tls(balancer(haproxy.port(), of(client)), balanced.gate.authority(), None);
        let answer = tls.with("X-API-Key", tests::API_KEY).get("/secrets/balancers/none");
        assert_eq!(answer.status, status, "{client}");
    }
    let own = |line: &str| line.contains("/livez") && line.contains("\"client\":\"127.0.0.1\"");
    assert!(balanced.gate.log().lines().any(own), "what it asks for itself is its own");
    assert_eq!(balanced.gate.metric(REFUSED), 0.0, "{}", balanced.gate.stderr());
}

fn forged(shared: &Shared) {
    let top = format!("{TRUSTED}auth_mtls_enabled = true\nforwarded_for = true\n");
    let balanced = gate(shared, &top, AT_HOME);
    let claim = |client: Client| {
        let client = client.with("X-SSL-Client-S-DN", "CN=bob").with("X-SSL-Client-Verify", "SUCCESS");
        client.get("/whoami").status
    };
    assert_eq!(claim(balanced.gate.local()), 200, "a proxy that asks for itself is believed");
    for header in [of("203.0.113.7:4711"), of("127.0.0.1:4711"), header(0x20, 0, &[]), header(0x21, 0, &[])] {
        assert_eq!(claim(Client::plain(balancer(balanced.plain, header.clone()))), 401, "{header:?}");
        let port = balancer(balanced.tls, header.clone());
        assert_eq!(claim(Client::tls(port, balanced.gate.authority(), None)), 401, "{header:?}");
        for client in balanced.keyed(&header) {
            let status = client.with("X-Forwarded-For", "203.0.113.9").get("/secrets/balancers/none").status;
            let expected = if header == of("203.0.113.7:4711") { 404 } else { 403 };
            assert_eq!(status, expected, "the header of its client counts for nothing: {header:?}");
        }
    }
}

fn failures(shared: &Shared) {
    let more = "[limits]\nfailed_authentications = { requests = 2, per = \"1h\" }\n";
    let balanced = gate(shared, TRUSTED, &format!("{AT_HOME}{more}"));
    let from = |client: &str| Client::plain(balancer(balanced.plain, of(client))).with("X-API-Key", "guess");
    let statuses: Vec<u16> = (0..3).map(|_| from("203.0.113.7:1").get("/whoami").status).collect();
    assert_eq!(statuses, [401, 401, 429]);
    assert_eq!(from("203.0.113.8:1").get("/whoami").status, 401, "another client");
}

fn refused(shared: &Shared) {
    let more = "[limits]\nhead_timeout = \"500ms\"\n";
    let balanced = gate(shared, TRUSTED, &format!("{AT_HOME}{more}"));
    let good = of("203.0.113.7:4711");
    let sum = header(0x21, 0x11, &[203, 0, 113, 7, 127, 0, 0, 1, 0, 1, 0, 1, 3, 0, 4, 1, 2, 3, 4]);
    for (at, begun) in [
        b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 8443\r\n".to_vec(),
        b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        header(0x11, 0x11, &[0; 12]),
        header(0x22, 0x11, &[0; 12]),
        header(0x21, 0x31, &[0; 216]),
        header(0x21, 0x12, &[0; 12]),
        header(0x21, 0x11, &[0; 11]),
        header(0x20, 0x00, &[0; 2000]),
        sum,
        // These end too late.
        Vec::new(),
        good[..10].to_vec(),
        good[..20].to_vec(),
    ]
    .into_iter()
    .enumerate()
    {
        for port in [balanced.tls, balanced.plain] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            let _ = stream.write_all(&begun);
            let mut answer = Vec::new();
            // What was left unread resets the connection.
            if let Err(error) = stream.read_to_end(&mut answer) {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{at}: {begun:?}");
            }
            assert!(answer.is_empty(), "{at}: {begun:?}: {answer:?}");
        }
        assert_eq!(balanced.gate.metric(REFUSED), 2.0 * (at + 1) as f64, "{at}: {begun:?}");
    }
    let direct = Client::tls(balanced.tls, balanced.gate.authority(), None);
    assert!(direct.try_send("GET", "/healthz", &[], b"").is_err(), "a trusted proxy must say whose it is");
    let told = balanced.gate.stderr();
    assert!(
        told.contains("the PROXY header of a trusted proxy is refused") && told.contains("a wrong checksum"),
        "{told}"
    );
    let before = balanced.gate.metric(REFUSED);
    drop(TcpStream::connect(("127.0.0.1", balanced.tls)).expect("a connection"));
    wait_for("it is closed", 10, || balanced.gate.metric("portcullis_connections") == 0.0);
    assert_eq!(balanced.gate.metric(REFUSED), before, "who only looks whether anybody listens has done nothing wrong");
}

fn strangers(shared: &Shared) {
    let balanced = gate(shared, "trusted_proxies = [\"10.0.0.0/8\"]\n", AT_HOME);
    let direct = Client::tls(balanced.tls, balanced.gate.authority(), None).with("X-API-Key", tests::API_KEY);
    assert_eq!(direct.get("/whoami").json()["agent"], json!("agent_api"), "it is a client like any");
    assert_eq!(direct.get("/secrets/balancers/none").status, 403, "from where it is");
    for client in balanced.keyed(&of("203.0.113.7:4711")) {
        let answer = client.try_send("GET", "/secrets/balancers/none", &[], b"");
        assert!(answer.as_ref().is_ok_and(|answer| answer.status == 400) || answer.is_err(), "{answer:?}");
    }
    assert!(!balanced.gate.log().contains("203.0.113.7"));
    assert_eq!(balanced.gate.metric(REFUSED), 0.0);
}

fn told(_: &Shared) {
    let listener = "[[listeners]]\naddress = \"127.0.0.1:8443\"\n";
    let balanced = format!("{listener}proxy_protocol = true\n");
    let folder = folder_with("old.toml", &format!("{TRUSTED}{listener}"));
    std::fs::write(folder.path().join("new.toml"), format!("{TRUSTED}{balanced}")).expect("written");
    std::fs::write(folder.path().join("none.toml"), balanced).expect("written");
    let (code, text) = said(&run(folder.path(), &["diff", "old.toml", "new.toml"], &[]));
    let line = "at 127.0.0.1:8443 the client's address is what 127.0.0.0/8 says in a PROXY header";
    assert!(code == Some(1) && text.contains(line), "{code:?} {text}");
    for (file, words, expected) in [
        ("old.toml", "`trusted_proxies` is not used", true),
        ("new.toml", "`trusted_proxies` is not used", false),
        ("none.toml", "none.toml:1: the PROXY protocol is believed from nobody", true),
    ] {
        let (code, text) = said(&run(folder.path(), &["check", "--config", file], &[]));
        assert!(code == Some(0) && text.contains(words) == expected, "{file}: {code:?} {text}");
    }
}
