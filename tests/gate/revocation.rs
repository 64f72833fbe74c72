//! A certificate loses its authority at the next request, on every
//! kind of connection: revocation, authorities that go, mappings, time.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread::scope;
use std::time::{SystemTime, UNIX_EPOCH};

use certs::{Authority, Issued, Leaf, Validity};
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tests::client::tls_config;
use tests::events::Events;
use tests::process::binary;
use tests::{Caller, Client, Gate, Plan, free_port, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_is_taken_away_is_gone_on_every_connection", taken_away),
    ("what_time_ends_is_gone_on_every_connection", ended),
    ("a_list_is_watched", watched),
    ("each_listener_has_authorities_of_its_own", listeners),
    ("an_issuer_without_a_list_is_refused_once_there_are_lists", without_a_list),
    ("an_expired_list_refuses_or_warns", expired),
    ("of_two_lists_of_an_issuer_the_newer_one_counts", newer),
    ("no_list_is_lost_in_a_file_of_several", joined),
    ("a_broken_list_keeps_the_last_good_ones", broken),
    ("a_broken_list_is_refused_at_the_start", refused),
];

/// Seconds that a short-lived thing lives.
const SHORT: i64 = 8;

const AGENTS: &str = r#"
[mcp]
keep_alive = "5m"

[roles.all]
scopes = ["read", "write", "delete", "list"]
kv = ["**"]

[agents.victim]
roles = ["all"]
certificate = { spiffe = "spiffe://portcullis.dev/agent/victim" }

[agents.bystander]
roles = ["all"]
certificate = { spiffe = "spiffe://portcullis.dev/agent/bystander" }
"#;

/// A gate with a listener whose authorities have revocation lists: `root`,
/// with `middle` below it, which agents present; and `other`.
struct House {
    gate: Gate,
    port: u16,
    folder: TempDir,
    root: Authority,
    middle: Authority,
    other: Authority,
}

impl House {
    fn start(shared: &Shared, environment: Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Authority::new("root").expect("an authority");
        let middle = root.intermediate("middle", Validity::Now).expect("an authority");
        let other = Authority::new("other").expect("an authority");
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("ca.pem"), format!("{}{}", root.pem(), other.pem())).expect("a file");
        fs::write(at("roots.pem"), lists(&[(&root, &[]), (&other, &[])])).expect("a file");
        fs::write(at("middle.crl"), middle.crl(1, &[], Validity::Now).expect("a list").der).expect("a file");
        let port = free_port();
        let listener = format!(
            "[[listeners]]\naddress = \"127.0.0.1:{port}\"\nclient_certificates = \"optional\"\n\
             tls = {{ certificate = \"server.crt\", key = \"server.key\" }}\nclient_ca = [\"{}\"]\n\
             client_crl = [\"{}\", \"{}\"]\nclient_crl_expired = \"refuse\"\n",
            at("ca.pem"),
            at("roots.pem"),
            at("middle.crl"),
        );
        let plan = Plan { sections: format!("{AGENTS}\n{listener}"), environment, ..Plan::default() };
        let gate = Gate::start(shared.world(), &plan);
        wait_for("its own listener answers", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { gate, port, folder, root, middle, other }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).expect("a file");
    }

    /// Writes the list of `middle`.
    fn revoke(&self, number: u64, revoked: &[&Issued], validity: Validity) {
        let revoked: Vec<_> = revoked.iter().map(|issued| issued.certificate.as_str()).collect();
        self.write("middle.crl", self.middle.crl(number, &revoked, validity).expect("a list").der);
    }

    /// Replaces a part of the configuration.
    fn configure(&self, from: &str, to: &str) {
        let path = self.gate.folder().join("config.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replace(from, to)).expect("the configuration");
    }

    /// Has the gate read everything again, and waits until it has.
    fn reload(&self) {
        self.hangup("portcullis_reloads_total");
    }

    /// The same, where it must refuse what it reads.
    fn reload_in_vain(&self) {
        self.hangup("portcullis_reload_failures_total");
    }

    fn hangup(&self, counted: &str) {
        let before = self.gate.metric(counted);
        self.gate.signal("HUP");
        wait_for(counted, 20, || self.gate.metric(counted) > before);
    }

    /// When the list of `middle` ends, as metrics tell it; 0 where there is none.
    fn list_end(&self) -> f64 {
        let file = self.folder.path().join("middle.crl");
        let labels = format!("{{file=\"{}\",of=\"revocation_list\"}}", file.display());
        self.gate.metric(&format!("portcullis_certificate_expiry_timestamp_seconds{labels}"))
    }

    fn victim(&self) -> Issued {
        self.middle.issue(&Leaf::agent("victim")).expect("a certificate")
    }

    fn bystander(&self) -> Issued {
        self.other.issue(&Leaf::agent("bystander")).expect("a certificate")
    }

    /// One caller for each version of TLS.
    fn callers(&self, issued: &Issued) -> [Caller; 2] {
        [&TLS12, &TLS13].map(|version| Caller::new(self.port, self.gate.authority(), issued, version))
    }

    /// An open stream of events for each way to connect.
    fn streams(&self, issued: &Issued) -> [Events; 4] {
        Events::everywhere(self.port, self.gate.authority(), issued)
    }

    /// These are open, and no other.
    fn has_streams(&self, streams: &[Events], when: &str) {
        wait_for(when, 10, || self.gate.metric("portcullis_event_streams") == streams.len() as f64);
    }

    /// The status of one request on a connection of its own; `None` where
    /// there is no connection.
    fn fresh(&self, issued: &Issued) -> Option<u16> {
        let client = Client::tls(self.port, self.gate.authority(), Some(issued));
        client.try_send("GET", "/whoami", &[], b"").ok().map(|response| response.status)
    }
}

/// Their lists in one text, each with what it revokes.
fn lists(of: &[(&Authority, &[&str])]) -> String {
    let list = |(authority, revoked): &(&Authority, &[&str])| {
        let number = 1 + revoked.len() as u64;
        authority.crl(number, revoked, Validity::Now).expect("a list").pem
    };
    of.iter().map(list).collect()
}

/// A change: its name, how it is made, and the status that a new connection gets then.
type Change = (&'static str, fn(&House, &Issued), Option<u16>);

fn taken_away(shared: &Shared) {
    let changes: [Change; 4] = [
        ("its certificate is revoked", |house, victim| house.revoke(2, &[victim], Validity::Now), None),
        (
            "the intermediate that it presents is revoked",
            |house, _| {
                let middle = house.middle.pem();
                house.write("roots.pem", lists(&[(&house.other, &[]), (&house.root, &[&middle])]));
            },
            None,
        ),
        ("its client authority is gone", |house, _| house.write("ca.pem", house.other.pem()), None),
        ("its principal is somebody else's", |house, _| house.configure("/agent/victim", "/agent/another"), Some(401)),
    ];
    for (when, change, fresh) in changes {
        let house = House::start(shared, Vec::new());
        let victim = house.victim();
        let (mut victims, mut bystanders) = (house.callers(&victim), house.callers(&house.bystander()));
        let (ending, staying) = (house.streams(&victim), house.streams(&house.bystander()));
        change(&house, &victim);
        victims.iter_mut().for_each(|caller| caller.holds("before the reload"));
        house.reload();
        ending.iter().for_each(|events| events.ends(when));
        house.has_streams(&staying, when);
        victims.iter_mut().for_each(|caller| caller.refused(fresh, when));
        bystanders.iter_mut().for_each(|caller| caller.holds(when));
    }
}

fn ended(shared: &Shared) {
    let short = Validity::Seconds(SHORT);
    scope(|threads| {
        threads.spawn(|| {
            ends(shared, "its certificate ends", |house| {
                let leaf = Leaf { validity: short, ..Leaf::agent("victim") };
                house.middle.issue(&leaf).expect("a certificate")
            })
        });
        threads.spawn(|| {
            ends(shared, "the intermediate ends", |house| {
                let brief = house.root.intermediate("brief", short).expect("an authority");
                house.write("middle.crl", brief.crl(1, &[], Validity::Now).expect("a list").der);
                house.reload();
                brief.issue(&Leaf::agent("victim")).expect("a certificate")
            })
        });
        threads.spawn(|| {
            ends(shared, "the list of its issuer ends", |house| {
                house.revoke(2, &[], short);
                house.reload();
                house.victim()
            })
        });
    });
}

/// A certificate that `mint` gives is somebody's, and with time alone nobody's.
fn ends(shared: &Shared, when: &str, mint: impl FnOnce(&House) -> Issued) {
    let house = House::start(shared, Vec::new());
    let (mut bystanders, staying) = (house.callers(&house.bystander()), house.streams(&house.bystander()));
    let victim = mint(&house);
    let (mut victims, ending) = (house.callers(&victim), house.streams(&victim));
    let reloads = house.gate.metric("portcullis_reloads_total");
    wait_for(when, 30, || victims.iter_mut().all(|caller| caller.on_open() != 200));
    ending.iter().for_each(|events| events.ends(when));
    house.has_streams(&staying, when);
    victims.iter_mut().for_each(|caller| caller.refused(None, when));
    bystanders.iter_mut().for_each(|caller| caller.holds(when));
    assert_eq!(house.gate.metric("portcullis_reloads_total"), reloads, "{when}: nothing is read again");
}

fn watched(shared: &Shared) {
    let house = House::start(shared, vec![("RELOAD", "true".into())]);
    let victim = house.victim();
    let [mut old, _] = house.callers(&victim);
    house.revoke(2, &[&victim], Validity::Now);
    wait_for("the list is read", 20, || old.on_open() == 401);
    assert_eq!(house.fresh(&victim), None);
    // One that is named later is watched from then on, be it broken at first.
    house.write("later.crl", "garbage");
    house.configure("middle.crl", "later.crl");
    wait_for("it is refused", 20, || house.gate.metric("portcullis_reload_failures_total") == 1.0);
    assert_eq!(old.on_open(), 401);
    house.write("later.crl", house.middle.crl(3, &[], Validity::Now).expect("a list").der);
    wait_for("the later list is read", 20, || old.on_open() == 200);
    house.write("later.crl", house.middle.crl(4, &[&victim.certificate], Validity::Now).expect("a list").der);
    wait_for("and again", 20, || old.on_open() == 401);
}

fn listeners(shared: &Shared) {
    let house = House::start(shared, Vec::new());
    let authority = house.gate.authority();
    let theirs = house.gate.issue(&Leaf::agent("victim"));
    for version in [&TLS12, &TLS13] {
        for (issued, own, other) in
            [(&house.victim(), house.port, house.gate.tls), (&theirs, house.gate.tls, house.port)]
        {
            // A session of the one listener is none of the other.
            let config = Arc::new(tls_config(authority, Some(issued), &[version]));
            let at = |port: u16| Client::over(port, Arc::clone(&config)).try_send("GET", "/healthz", &[], b"").ok();
            for _ in 0..2 {
                assert_eq!(at(own).map(|response| response.status), Some(200));
                assert!(at(other).is_none(), "{version:?}");
            }
        }
    }
}

fn without_a_list(shared: &Shared) {
    let house = House::start(shared, Vec::new());
    let sibling = house.root.intermediate("sibling", Validity::Now).expect("an authority");
    let sibling = sibling.issue(&Leaf::agent("victim")).expect("a certificate");
    assert_eq!(house.fresh(&sibling), None, "the intermediate's own list is missing");
    assert_eq!(house.gate.metric("portcullis_failed_authentications_total"), 1.0);
    let mut bystanders = house.callers(&house.bystander());
    house.write("roots.pem", lists(&[(&house.root, &[])]));
    house.reload();
    bystanders.iter_mut().for_each(|caller| caller.refused(None, "its authority has no list"));
    assert_eq!(house.fresh(&house.victim()), Some(200));
    let said = house.gate.stderr();
    assert!(said.contains("no list of the client authority") && said.contains("CN=other"), "{said}");
    // Without any list nobody is asked for one.
    let path = |name: &str| house.folder.path().join(name).display().to_string();
    house.configure(&format!("client_crl = [\"{}\", \"{}\"]\n", path("roots.pem"), path("middle.crl")), "");
    house.reload();
    bystanders.iter_mut().for_each(|caller| caller.holds("there are no lists"));
    assert_eq!(house.fresh(&sibling), Some(200));
    assert_eq!(house.list_end(), 0.0);
}

fn expired(shared: &Shared) {
    let house = House::start(shared, Vec::new());
    let (good, revoked) = (house.victim(), house.victim());
    let (mut kept, mut lost) = (house.callers(&good), house.callers(&revoked));
    let mut bystanders = house.callers(&house.bystander());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64();
    assert!(house.list_end() > now);
    house.revoke(2, &[&revoked], Validity::Expired);
    house.reload();
    assert!(house.list_end() < now);
    kept.iter_mut().chain(&mut lost).for_each(|caller| caller.refused(None, "the list has expired"));
    bystanders.iter_mut().for_each(|caller| caller.holds("the list of another has expired"));
    house.configure("client_crl_expired = \"refuse\"", "client_crl_expired = \"warn\"");
    house.reload();
    kept.iter_mut().for_each(|caller| caller.holds("with a warning"));
    lost.iter_mut().for_each(|caller| caller.refused(None, "what the expired list revokes is revoked"));
    let said = house.gate.stderr();
    for means in ["every certificate of its issuer is refused", "what it revokes stays revoked"] {
        assert!(said.contains("middle.crl") && said.contains(means), "{means}: {said}");
    }
}

fn newer(shared: &Shared) {
    let house = House::start(shared, Vec::new());
    let victim = house.victim();
    let crl = |number, revoked: &[&str]| house.middle.crl(number, revoked, Validity::Now).expect("a list").pem;
    let (old, new) = (crl(1, &[]), crl(2, &[&victim.certificate]));
    for order in [[&old, &new], [&new, &old]] {
        house.revoke(1, &[], Validity::Now);
        house.reload();
        let mut callers = house.callers(&victim);
        house.write("middle.crl", order.map(String::as_str).concat());
        house.reload();
        callers.iter_mut().for_each(|caller| caller.refused(None, "the newer list revokes it"));
    }
}

/// A file of an old list and the newer one that revokes, in whatever way the two came together.
fn joined(shared: &Shared) {
    let house = House::start(shared, Vec::new());
    let (victim, good) = (house.victim(), house.victim());
    let list = |number, revoked: &[&str]| house.middle.crl(number, revoked, Validity::Now).expect("a list").pem;
    let (old, new) = (list(1, &[]).replace('\r', ""), list(2, &[&victim.certificate]).replace('\r', ""));
    let (old, lines) = (old.trim_end(), old.lines().count());
    let both = format!("{old}\n{new}");
    let indented: String = both.lines().map(|line| format!("    {line}\n")).collect();
    for (how, text) in [
        ("a newline is lost", format!("{old}{new}")),
        ("a byte order mark", format!("\u{feff}{both}")),
        ("one between them", format!("{old}\n\u{feff}{new}")),
        ("other line endings", both.replace('\n', "\r\n")),
        ("indentation", indented),
        ("another label", both.replace("X509 CRL", "CRL")),
        ("words between them", format!("{old}\nof today:\n{new}")),
    ] {
        house.write("middle.crl", old);
        house.reload();
        assert_eq!(house.fresh(&victim), Some(200), "{how}: it is not revoked yet");
        house.write("middle.crl", text);
        house.reload();
        assert_eq!(house.fresh(&victim), None, "{how}: it is revoked");
        assert_eq!(house.fresh(&good), Some(200), "{how}: others are not");
    }
    for (how, line, text) in [
        ("four dashes", lines + 1, both.replacen("\n-----BEGIN", "\n----BEGIN", 1)),
        ("six dashes", lines + 1, both.replacen("\n-----BEGIN", "\n------BEGIN", 1)),
        ("shared dashes", lines, format!("{}{new}", old.trim_end_matches('-'))),
        ("an unknown label", lines + 1, format!("{old}\n{}", new.replace("X509 CRL", "X509 CRLS"))),
        ("no end", lines + 1, format!("{old}\n{}", new.replace("-----END X509 CRL-----", ""))),
        ("no beginning", 2 * lines + 1, format!("{old}\n{}", new.replace("-----BEGIN X509 CRL-----", ""))),
        ("UTF-16", lines + 1, format!("{old}\n{}", new.chars().flat_map(|c| [c, '\0']).collect::<String>())),
    ] {
        house.write("middle.crl", text);
        house.reload_in_vain();
        let said = house.gate.stderr();
        let last = said.lines().rfind(|line| line.contains("the last good one stays")).expect("a report");
        let place = last.split_once("middle.crl:").and_then(|(_, rest)| rest.split(':').next()).map(str::parse);
        // The newer list has a line more, where one is revoked.
        let place = place.expect("a file and a line").expect("a line");
        assert!((line..line + 6).contains(&place), "{how}: {line} in {last}");
        assert_eq!((house.fresh(&victim), house.fresh(&good)), (None, Some(200)), "{how}: the last good lists stay");
    }
}

/// Contents of a list's file that cannot be used, and what is said of them.
fn faults(house: &House) -> Vec<(Vec<u8>, &'static str)> {
    let good = house.middle.crl(3, &[], Validity::Now).expect("a list");
    let impostor = Authority::new("root").expect("an authority");
    let forged = impostor.crl(3, &[], Validity::Now).expect("a list");
    let half = good.pem.len() / 2;
    let (mut flipped, mut long) = (house.root.crl(3, &[], Validity::Now).expect("a list").der, good.der.clone());
    *flipped.last_mut().expect("a signature") ^= 1;
    long.push(0);
    vec![
        (Vec::new(), "holds no revocation list in PEM or DER"),
        (b"garbage".to_vec(), "holds no revocation list in PEM or DER"),
        (house.middle.pem().into_bytes(), "middle.crl:1: holds a certificate"),
        (long, "holds no revocation list in PEM or DER"),
        (good.der[..good.der.len() / 2].to_vec(), "holds no revocation list in PEM or DER"),
        (good.pem.as_bytes()[..half].to_vec(), "middle.crl:1: begins a block that has no end"),
        (
            format!("{}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", good.pem).into_bytes(),
            "that cannot be read",
        ),
        (forged.der, "that the authority of its name did not sign"),
        (flipped, "that the authority of its name did not sign"),
        (odd(), "of a kind that is not supported"),
    ]
}

/// A list whose number is too long (RFC 5280 section 5.2.3).
fn odd() -> Vec<u8> {
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), rcgen::KeyPair::generate().expect("a key"));
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(2120, 1, 1),
        crl_number: rcgen::SerialNumber::from(vec![1; 21]),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).expect("a list").der().to_vec()
}

fn broken(shared: &Shared) {
    let house = House::start(shared, Vec::new());
    let (good, revoked) = (house.victim(), house.victim());
    house.revoke(2, &[&revoked], Validity::Now);
    house.reload();
    let mut kept = house.callers(&good);
    for (content, what) in faults(&house) {
        house.write("middle.crl", content);
        house.reload_in_vain();
        kept.iter_mut().for_each(|caller| caller.holds(what));
        assert_eq!(house.fresh(&revoked), None, "{what}: the last good lists stay");
        let said = house.gate.stderr();
        let last = said.lines().rfind(|line| line.contains("the last good one stays")).expect("a report");
        assert!(last.contains("middle.crl") && last.contains(what), "{what}: {last}");
    }
    // Two authorities of one name cannot be told apart.
    let twin = Authority::new("other").expect("an authority");
    house.revoke(3, &[], Validity::Now);
    house.write("ca.pem", [&house.root, &house.other, &twin].map(Authority::pem).concat());
    house.write("roots.pem", lists(&[(&house.root, &[]), (&house.other, &[]), (&twin, &[])]));
    house.reload_in_vain();
    assert!(house.gate.stderr().contains("an authority whose name another one has too"));
    house.write("roots.pem", lists(&[(&house.root, &[]), (&house.other, &[])]));
    house.reload();
    assert_eq!(house.fresh(&revoked), Some(200), "the next good one is used");
}

fn refused(shared: &Shared) {
    let mut house = House::start(shared, Vec::new());
    // Its addresses are wanted.
    house.gate.terminate();
    let run = |verb: &[&str]| {
        let mut command = Command::new(binary());
        let output = command.args(verb).current_dir(house.gate.folder()).env_clear().output().expect("the gate");
        let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        (output.status.code(), text.concat())
    };
    let check = ["check", "--config", "config.toml"];
    let (code, text) = run(&check);
    assert!(code == Some(0) && text.contains("configuration is valid"), "{text}");
    house.write("middle.crl", "garbage");
    for verb in [&check[..], &["--config", "config.toml"]] {
        let (code, text) = run(verb);
        assert!(code == Some(2) && text.contains("middle.crl: holds no revocation list"), "{verb:?}: {text}");
    }
    house.revoke(2, &[], Validity::Expired);
    let (code, text) = run(&check);
    assert!(code == Some(0) && text.contains("warning: ") && text.contains("has expired"), "{text}");
}
