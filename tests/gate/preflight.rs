//! A configuration that is called valid starts: `check` and a start try the same, and neither takes
//! what is somebody else's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use tests::{Gate, Plan, free_port};

use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_a_start_refuses_check_refuses_too", refused),
    ("check_beside_the_gate_that_runs_notes_what_it_has", beside),
    ("a_running_gates_socket_is_nobody_elses", socket),
    ("a_socket_that_a_gate_left_behind_is_replaced", left_behind),
];

fn refused(_: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let authority = certs::Authority::new("here").expect("an authority");
    for name in ["server", "other"] {
        authority.issue(&certs::Leaf::server()).expect("a certificate").write(folder.path(), name).expect("files");
    }
    fs::write(at("ca.crt"), authority.pem()).expect("a file");
    fs::write(at("file"), "precious").expect("a file");
    fs::create_dir(at("open")).expect("a folder");
    fs::set_permissions(at("open"), Permissions::from_mode(0o755)).expect("set");
    fs::create_dir(at("private")).expect("a folder");
    fs::set_permissions(at("private"), Permissions::from_mode(0o700)).expect("set");
    fs::write(at("private/upgrade"), "precious").expect("a file");
    let here = folder.path().display().to_string();
    let vault = "vault_addr = \"https://127.0.0.1:1\"\n";
    let pair = |key: &str| format!("{vault}[upstream]\nclient_certificate = \"server.crt\"\nclient_key = \"{key}\"\n");
    let cases = [
        ("log_dir = \"file\"\n".to_owned(), "LOG_DIR"),
        ("log_dir = \"/proc/nowhere\"\n".to_owned(), "LOG_DIR"),
        (format!("[server]\nupgrade_socket = \"{here}/open/upgrade\"\n"), "mode 0700"),
        (format!("[server]\nupgrade_socket = \"{here}/none/upgrade\"\n"), "server.upgrade_socket"),
        (format!("[server]\nupgrade_socket = \"{here}/private/upgrade\"\n"), "private/upgrade is there and no socket"),
        (
            "[[listeners]]\naddress = \"192.0.2.1:8443\"\ntls = { certificate = \"server.crt\", key = \"server.key\" }\n"
                .to_owned(),
            "cannot listen on 192.0.2.1:8443",
        ),
        (pair("other.key"), "is not the key of the certificate"),
        (pair("file"), "file: holds no private key"),
        (format!("{vault}[upstream]\nca_file = \"file\"\n"), "upstream.ca_file"),
        (format!("{vault}[upstream]\nca_file = \"server.key\"\n"), "upstream.ca_file: server.key"),
        ("[admin]\nsocket = \"file\"\n".to_owned(), "admin.socket: file: something is there that is no socket"),
        ("[admin]\nsocket = \"open\"\n".to_owned(), "admin.socket: open: something is there that is no socket"),
        ("[admin]\nsocket = \"none/admin.sock\"\n".to_owned(), "admin.socket: none/admin.sock"),
        (format!("[admin]\nsocket = \"{}\"\n", "x".repeat(108)), "is not the path of a Unix socket"),
        ("[admin]\nhosts = [\"gate.internal:9901\"]\n".to_owned(), "names what is no host name"),
    ];
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    let environment = [("PORT", ports[0].as_str()), ("ADMIN_PORT", &ports[1])];
    for (text, words) in cases {
        fs::write(at("config.toml"), &text).expect("a file");
        for verb in [&["check"][..], &[]] {
            let (code, told) = said(&run(folder.path(), verb, &environment));
            assert!(code == Some(2) && told.contains(words), "{text}{verb:?}: {code:?} {told}");
            assert!(!told.contains("panicked"), "{told}");
        }
    }
    assert_eq!(["file", "private/upgrade"].map(|name| fs::read(at(name)).expect("it is there")), [b"precious"; 2]);
    assert!(!at("logs").exists(), "what is only tried leaves nothing behind");
    // Nor does any other verb panic at what the framework would.
    fs::write(at("config.toml"), format!("{vault}[upstream]\nca_file = \"file\"\n")).expect("a file");
    let (code, told) = said(&run(folder.path(), &["suspended"], &[("VAULT_TOKEN", "x")]));
    assert!(code == Some(1) && told.contains("upstream.ca_file"), "{code:?} {told}");
    // Everything that is wrong is told at once.
    let text = "log_dir = \"file\"\n[admin]\nsocket = \"file\"\n[upstream]\nca_file = \"file\"\n";
    fs::write(at("config.toml"), text).expect("a file");
    let (_, told) = said(&run(folder.path(), &["check"], &environment));
    assert!(["LOG_DIR", "admin.socket", "upstream.ca_file"].iter().all(|name| told.contains(name)), "{told}");
}

fn beside(shared: &Shared) {
    let gate = shared.gate();
    let (code, told) = said(&run(gate.folder(), &["check", "--config", "config.toml"], &[]));
    assert!(code == Some(0) && told.contains("configuration is valid"), "{code:?} {told}");
    let socket = gate.folder().join("admin.sock").display().to_string();
    for place in [gate.tls, gate.plain, gate.admin].map(|port| format!("127.0.0.1:{port}")).into_iter().chain([socket])
    {
        assert!(told.contains(&format!("note: cannot listen on {place}")), "{place}: {told}");
    }
    assert_eq!((gate.operator().get("/livez").status, gate.keyed().get("/whoami").status), (200, 200));
}

fn socket(shared: &Shared) {
    let gate = shared.gate();
    let ports = [(); 3].map(|()| free_port().to_string());
    let environment: Vec<_> =
        ["PORT", "TLS_PORT", "ADMIN_PORT"].into_iter().zip(ports.iter().map(String::as_str)).collect();
    for more in [&[][..], &["--upgrade"]] {
        let line: Vec<&str> = ["--config", "config.toml"].iter().chain(more).copied().collect();
        let (code, told) = said(&run(gate.folder(), &line, &environment));
        let words = if more.is_empty() { "admin.sock: somebody does already" } else { "needs server.upgrade_socket" };
        assert!(code == Some(2) && told.contains(words), "{code:?} {told}");
    }
    assert_eq!(gate.operator().get("/readyz").status, 200, "it is the first one's still");
    // Nor is anybody's but a gate's.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("theirs");
    let listener = UnixListener::bind(&path).expect("a socket");
    fs::write(folder.path().join("config.toml"), "[admin]\nsocket = \"theirs\"\n").expect("a file");
    let (code, told) = said(&run(folder.path(), &[], &[("PORT", &ports[0]), ("ADMIN_PORT", &ports[1])]));
    assert!(code == Some(2) && told.contains("cannot listen on theirs"), "{code:?} {told}");
    drop(listener);
}

fn left_behind(shared: &Shared) {
    let mut gate = Gate::start(shared.world(), &Plan::default());
    gate.signal("KILL");
    assert_eq!(gate.ended(), None);
    assert!(gate.folder().join("admin.sock").exists());
    let again = gate.start_again();
    gate.replaced_by(again);
    tests::wait_for("it serves", 20, || {
        gate.operator().try_send("GET", "/readyz", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
}
