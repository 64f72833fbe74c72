//! Every file of certificates is read by one reader: what is beyond doubt is
//! read whole, all else is refused with file and line.

use std::fs;
use std::process::Command;

use certs::{Authority, Leaf};
use tests::free_port;
use tests::process::binary;

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("no_certificate_is_lost_in_any_file", everywhere),
    ("authorities_of_vault_are_plain_or_refused", vault),
    ("a_key_that_is_encrypted_is_told_to_be", encrypted),
];

/// Two authorities, their certificates in one text.
fn two() -> String {
    ["one", "two"].map(|name| Authority::new(name).expect("an authority").pem().replace('\r', "")).concat()
}

/// Each place of a configuration that names a file `X` of certificates.
const PLACES: [&str; 6] = [
    "[[listeners]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"server.crt\", key = \"server.key\" }\n\
     client_certificates = \"required\"\nclient_ca = \"X\"\n",
    "[[listeners]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"server.crt\", key = \"server.key\" }\n\
     client_certificates = \"required\"\ntrust_domains = [{ name = \"corp.example\", client_ca = \"X\" }]\n",
    "[[identity.issuers]]\nname = \"https://corp.example\"\naudiences = \"a\"\ndiscovery = true\nca = \"X\"\n",
    "[rate_limit]\nbackend = \"redis\"\nurl = \"rediss://redis.example\"\nca = \"X\"\n",
    // The server's own chain, and what a listener presents has a key.
    "[[listeners]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"X\", key = \"server.key\" }\n",
    "[[listeners]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"X\", key = \"both.pem\" }\n",
];

fn everywhere(_: &Shared) {
    let folder = folder_with("config.toml", "");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    let server = Authority::new("servers").expect("an authority").issue(&Leaf::server()).expect("a certificate");
    server.write(folder.path(), "server").expect("files");
    write("both.pem", &format!("{}{}", server.certificate, server.key));
    let check = || said(&run(folder.path(), &["check"], &[]));
    for place in PLACES {
        let own = place.contains("certificate = \"X\"");
        let text = if own { server.certificate.replace('\r', "") + &two() } else { two() };
        let (first, rest) = text.split_at(text.find("-----END CERTIFICATE-----\n").expect("an end") + 26);
        write("config.toml", &place.replace('X', "x.pem"));
        for good in [
            text.clone(),
            format!("{}{rest}", first.trim_end()),
            format!("\u{feff}{}", text.replace('\n', "\r\n")),
            text.lines().map(|line| format!("  {line}\n")).collect(),
        ] {
            write("x.pem", &good);
            let (code, told) = check();
            assert!(code == Some(0) && told.contains("configuration is valid"), "{place}{told}");
        }
        for bad in [
            format!("{first}{}", rest.replacen("-----BEGIN", "----BEGIN", 1)),
            format!("{first}{}", rest.replacen("BEGIN CERT", "BEGIN TRUSTED CERT", 1)),
            format!("{first}{}", rest.replacen("CERTIFICATE", "TRUSTED CERTIFICATE", 2)),
            format!("{first}{}", rest.replacen("-----BEGIN CERTIFICATE-----\n", "", 1)),
            format!("{}{rest}", first.trim_end().trim_end_matches('-')),
            format!("{first}{}", rest.replacen("CERTIFICATE", "X509 CRL", 2)),
        ] {
            write("x.pem", &bad);
            let (code, told) = check();
            let placed = ["x.pem:1", "x.pem:2", "names a file that in line 1", "names a file that in line 2"];
            let placed = placed.iter().any(|place| told.contains(place));
            assert!(code == Some(2) && placed, "{place}{bad}{told}");
            assert!(!told.contains("MII"), "{told}");
        }
    }
}

/// The framework reads this file by itself, and less of it.
fn vault(_: &Shared) {
    let port = free_port().to_string();
    let folder = folder_with("config.toml", "vault_addr = \"https://127.0.0.1:1\"\n[upstream]\nca_file = \"x.pem\"\n");
    let start = |text: String| {
        fs::write(folder.path().join("x.pem"), text).expect("a file");
        // A gate that takes it would run for ever.
        let mut gate = Command::new("timeout");
        gate.arg("20").arg(binary()).current_dir(folder.path()).env_clear().env("PORT", &port);
        said(&gate.output().expect("the gate"))
    };
    let text = two();
    for (bad, what) in [
        (String::new(), "x.pem: holds no certificate in PEM"),
        (text.replace("-----\n-----", "----------"), "x.pem: must be plain PEM"),
        (format!("\u{feff}{text}"), "x.pem: must be plain PEM"),
        (text.lines().map(|line| format!(" {line}\n")).collect(), "x.pem: must be plain PEM"),
        (text.replace("-----\n-----BEGIN", "-----\n----BEGIN"), "looks like the beginning or end of a PEM block"),
        (text.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "x.pem:1: holds a certificate with settings of OpenSSL's"),
    ] {
        let (code, told) = start(bad);
        assert!(code == Some(2) && told.contains(what) && !told.contains("panicked"), "{what}: {code:?} {told}");
    }
}

fn encrypted(_: &Shared) {
    let listener =
        "[[listeners]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"server.crt\", key = \"x.key\" }\n";
    let folder = folder_with("config.toml", listener);
    let server = Authority::new("servers").expect("an authority").issue(&Leaf::server()).expect("a certificate");
    server.write(folder.path(), "server").expect("files");
    let legacy = "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n";
    for key in [
        server.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        server.key.replace("PRIVATE KEY", "EC PRIVATE KEY").replace('\r', "").replacen("-----\n", legacy, 1),
    ] {
        fs::write(folder.path().join("x.key"), &key).expect("a file");
        let (code, told) = said(&run(folder.path(), &["check"], &[]));
        assert!(code == Some(2) && told.contains("x.key:1: holds a private key that is encrypted"), "{told}");
    }
    fs::write(folder.path().join("x.key"), format!("{}{}", server.key, server.key)).expect("a file");
    let (code, told) = said(&run(folder.path(), &["check"], &[]));
    assert!(code == Some(2) && told.contains("x.key: holds more than one private key"), "{told}");
}
