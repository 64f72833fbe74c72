//! SPIFFE trust domains: no authority vouches for another's workloads.

use std::fs;

use certs::{Authority, Issued, Leaf, Validity};
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tests::{Caller, Client, Gate, Plan, free_port, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("an_authority_vouches_for_its_trust_domain_alone", bound),
    ("a_trust_domain_that_is_not_named_is_refused", named),
    ("what_a_trust_domain_loses_is_gone_on_every_connection", reloaded),
    ("a_bound_authority_revokes_its_own", revoked),
];

const AGENTS: &str = r#"
[identity]
unknown_agents = "own-namespace"
[[identity.families]]
spiffe = "spiffe://corp.example/agent/{name}"
agent = "corp-{name}"
[[identity.families]]
spiffe = "spiffe://a.example/agent/{name}"
agent = "a-{name}"
[[identity.families]]
spiffe = "spiffe://b.example/agent/{name}"
agent = "b-{name}"
"#;

/// A gate with a listener of three authorities: the company's own, and those of two partners.
struct House {
    gate: Gate,
    port: u16,
    folder: TempDir,
    corp: Authority,
    a: Authority,
    b: Authority,
}

impl House {
    /// `domains` are the trust domains of the listener, `more` further options of it.
    fn start(shared: &Shared, domains: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [corp, a, b] = ["corp", "a", "b"].map(|name| Authority::new(name).expect("an authority"));
        let at = |name: &str| folder.path().join(name).display().to_string();
        for (name, authority) in [("corp.crt", &corp), ("a.crt", &a), ("b.crt", &b)] {
            fs::write(at(name), authority.pem()).expect("a file");
        }
        let lists = [(&corp, 1), (&a, 1), (&b, 1)].map(|(of, number)| of.crl(number, &[], Validity::Now));
        fs::write(at("lists.pem"), lists.map(|list| list.expect("a list").pem).concat()).expect("a file");
        let port = free_port();
        let listener = format!(
            "[[listeners]]\naddress = \"127.0.0.1:{port}\"\nclient_certificates = \"optional\"\n\
             tls = {{ certificate = \"server.crt\", key = \"server.key\" }}\nclient_ca = [\"{}\"]\n{more}{domains}\n",
            at("corp.crt"),
        );
        let listener = ["a.crt", "b.crt", "lists.pem"]
            .iter()
            .fold(listener, |text, name| text.replace(&format!("\"{name}\""), &format!("\"{}\"", at(name))));
        let plan = Plan { sections: format!("{AGENTS}\n{listener}"), ..Plan::default() };
        let gate = Gate::start(shared.world(), &plan);
        wait_for("its own listener answers", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { gate, port, folder, corp, a, b }
    }

    /// Who the holder is on a connection of its own; the status where it is nobody; nothing
    /// where there is no connection.
    fn who(&self, issued: &Issued) -> Option<Result<String, u16>> {
        let client = Client::tls(self.port, self.gate.authority(), Some(issued));
        let answer = client.try_send("GET", "/whoami", &[], b"").ok()?;
        Some(match answer.status {
            200 => Ok(answer.json()["agent"].as_str().expect("a name").to_owned()),
            status => Err(status),
        })
    }

    fn callers(&self, issued: &Issued) -> [Caller; 2] {
        [&TLS12, &TLS13].map(|version| Caller::new(self.port, self.gate.authority(), issued, version))
    }

    fn reload(&self) {
        let before = self.gate.metric("portcullis_reloads_total");
        self.gate.signal("HUP");
        wait_for("the reload", 20, || self.gate.metric("portcullis_reloads_total") > before);
    }
}

/// A certificate with this URI and this common name.
fn of(authority: &Authority, uri: &str, name: &str) -> Issued {
    let uris = if uri.is_empty() { Vec::new() } else { vec![uri.to_owned()] };
    authority.issue(&Leaf { uris, ..Leaf::agent(name) }).expect("a certificate")
}

const BOUND: &str = "trust_domains = [{ name = \"corp.example\" }, { name = \"a.example\", client_ca = \"a.crt\" }, \
                     { name = \"b.example\", client_ca = [\"b.crt\"] }]\n";

fn bound(shared: &Shared) {
    let house = House::start(shared, BOUND, "");
    let is = |agent: &str| Some(Ok(agent.to_owned()));
    let House { corp, a, b, .. } = &house;
    for (authority, uri, expected) in [
        (corp, "spiffe://corp.example/agent/x", is("corp-x")),
        (a, "spiffe://a.example/agent/x", is("a-x")),
        (b, "spiffe://b.example/agent/x", is("b-x")),
        (a, "spiffe://b.example/agent/x", None),
        (b, "spiffe://a.example/agent/x", None),
        (a, "spiffe://corp.example/agent/x", None),
        (corp, "spiffe://a.example/agent/x", None),
        (corp, "spiffe://other.example/agent/x", None),
        (corp, "spiffe://A.example/agent/x", None),
        (corp, "", is("plain")),
        (a, "", None),
        (a, "https://a.example/agent/x", None),
    ] {
        assert_eq!(house.who(&of(authority, uri, "plain")), expected, "{uri}");
    }
    // Nor by what it signs itself.
    let middle = a.intermediate("b", Validity::Now).expect("an authority");
    assert_eq!(house.who(&of(&middle, "spiffe://b.example/agent/x", "plain")), None);
    assert_eq!(house.who(&of(&middle, "spiffe://a.example/agent/x", "plain")), is("a-x"));
}

fn named(shared: &Shared) {
    let house = House::start(shared, "trust_domains = { name = \"corp.example\" }\n", "");
    assert_eq!(house.who(&of(&house.corp, "spiffe://corp.example/agent/x", "x")), Some(Ok("corp-x".into())));
    assert_eq!(house.who(&of(&house.corp, "spiffe://a.example/agent/x", "x")), None);
    let log = house.gate.stderr();
    assert_eq!(log.matches("no listener accepts this trust domain").count(), 0, "the other listener does: {log}");
    // Where none is named, what is mapped is what is accepted.
    let house = House::start(shared, "", "");
    assert_eq!(house.who(&of(&house.corp, "spiffe://a.example/agent/x", "x")), Some(Ok("a-x".into())));
    assert_eq!(house.who(&of(&house.corp, "spiffe://a.example/agent/../x", "x")), Some(Err(401)));
}

fn reloaded(shared: &Shared) {
    let house = House::start(shared, BOUND, "");
    let victim = of(&house.a, "spiffe://a.example/agent/x", "x");
    let other = of(&house.b, "spiffe://b.example/agent/x", "x");
    let (mut victims, mut others) = (house.callers(&victim), house.callers(&other));
    // The partner's authority is replaced by the other partner's.
    fs::write(house.folder.path().join("a.crt"), house.b.pem()).expect("a file");
    victims.iter_mut().for_each(|caller| caller.holds("before the reload"));
    house.reload();
    victims.iter_mut().for_each(|caller| caller.refused(None, "after"));
    others.iter_mut().for_each(|caller| caller.holds("after"));
}

fn revoked(shared: &Shared) {
    let house = House::start(shared, BOUND, "client_crl = [\"lists.pem\"]\n");
    let [bad, good] = ["bad", "good"].map(|name| of(&house.a, &format!("spiffe://a.example/agent/{name}"), "x"));
    let (mut refused, mut held) = (house.callers(&bad), house.callers(&good));
    let list = |authority: &Authority, revoked: &[&str]| authority.crl(2, revoked, Validity::Now).expect("a list").pem;
    let lists = [list(&house.corp, &[]), list(&house.a, &[&bad.certificate]), list(&house.b, &[])];
    fs::write(house.folder.path().join("lists.pem"), lists.concat()).expect("a file");
    house.reload();
    refused.iter_mut().for_each(|caller| caller.refused(None, "revoked"));
    held.iter_mut().for_each(|caller| caller.holds("not revoked"));
    assert_eq!(house.who(&of(&house.corp, "spiffe://corp.example/agent/x", "x")), Some(Ok("corp-x".into())));
}
