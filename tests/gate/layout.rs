//! The repository's own rules, so that the layout stays what the code map says.

mod imports;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::process::root;

use crate::{Case, Shared};

use imports::Files;

pub const CASES: &[Case] = &[
    ("packages_depend_on_each_other_only_where_allowed", packages),
    ("the_core_has_no_runtime_no_sockets_and_no_framework", core),
    ("there_is_one_tls_stack", tls),
    ("a_module_of_the_core_uses_only_modules_above_it", order),
    ("a_room_of_the_gate_names_only_what_it_may", rooms),
    ("files_do_not_import_each_other_in_a_circle", circles),
    ("surfaces_do_not_name_each_other", surfaces),
    ("the_framework_is_named_in_few_places", framework),
    ("secrets_are_exposed_in_few_places", exposures),
    ("files_are_small", sizes),
    ("no_private_key_is_committed", keys),
    ("the_code_map_names_what_there_is_and_nothing_else", code_map),
];

/// Our packages that each package may depend on, tests and builds aside.
const EDGES: [(&str, &[&str]); 7] = [
    ("portcullis", &["filters"]),
    ("filters", &[]),
    ("certs", &[]),
    ("local-vault", &[]),
    ("tests", &["certs", "local-vault", "filters", "portcullis"]),
    ("bench", &["certs", "local-vault", "filters", "portcullis"]),
    ("fuzz", &["filters", "portcullis"]),
];

/// Where the proxy framework may be named.
const FRAMEWORK: [&str; 3] = ["src/listener/", "src/http/", "src/exchange/"];

/// The folders of the gate that the modules of a folder may name.
const ROOMS: [(&str, &[&str]); 9] = [
    ("admin", &["service", "surfaces", "telemetry", "vault"]),
    ("config", &[]),
    ("exchange", &["config", "telemetry", "tls"]),
    ("events", &["config", "random", "redis", "telemetry"]),
    ("limits", &["config", "random", "redis", "telemetry"]),
    ("service", &["exchange", "issuers", "limits", "snapshot", "state", "telemetry", "vault"]),
    ("stdio", &["config", "random"]),
    ("surfaces", &["events", "limits", "service", "snapshot"]),
    ("telemetry", &["config", "random"]),
];

/// Where a secret's text is taken out, each with the reason.
const EXPOSURES: [(&str, &str); 10] = [
    ("src/exchange/mod.rs", "the token's header to Vault"),
    ("src/config/check/otel.rs", "the headers of requests to a collector, which are sensitive from there on"),
    ("src/redis.rs", "the password of the server that gates share"),
    ("src/kms/mod.rs", "the gate's own AWS credentials"),
    ("src/stdio/credentials.rs", "the credential's header to a gate, as a client of it"),
    ("src/cli/jwt/mint.rs", "the shared secret that development tokens are signed with"),
    ("filters/src/jwt/mod.rs", "the bearer token that is verified"),
    ("filters/src/jwt/keys.rs", "the shared secret of HS256 signatures"),
    ("filters/src/gate_token.rs", "the credential that a token of the gate's stands for, which is sealed in it"),
    ("filters/src/vault/control.rs", "the body of the gate's own login"),
];

/// Most lines of a file of the gate.
const LINES: usize = 450;

fn packages(_: &Shared) {
    let told = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&told).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert_eq!(packages.len(), EDGES.len(), "a package is not in the list of edges");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let (_, allowed) = EDGES.iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{name} is new"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = dependency["name"].as_str().expect("a name");
            let ours = EDGES.iter().any(|(ours, _)| *ours == other);
            assert_eq!(dependency["path"].is_string(), ours, "{name} takes {other} from elsewhere");
            let ships = dependency["kind"] != "dev";
            let standalone = matches!(name, "certs" | "local-vault");
            assert!(!ours || !(ships || standalone) || allowed.contains(&other), "{name} must not depend on {other}");
        }
    }
}

fn core(_: &Shared) {
    let names = dependencies(&["-p", "filters", "-e", "normal"]);
    assert!(names.contains("serde_json"), "{names:?}");
    for name in &names {
        let banned = ["tokio", "async-trait", "hyper", "reqwest", "mio", "socket2", "futures-util", "rustls"];
        assert!(!banned.contains(&name.as_str()) && !name.starts_with("pingora"), "the core depends on {name}");
    }
}

fn tls(_: &Shared) {
    let names = dependencies(&["--workspace", "-e", "normal,build,dev"]);
    assert!(names.contains("rustls") && names.contains("aws-lc-rs"), "{names:?}");
    for banned in ["openssl", "openssl-sys", "native-tls", "boring", "boring-sys", "s2n-tls", "mbedtls"] {
        assert!(!names.contains(banned), "{banned} is in the tree");
    }
}

/// The names of the packages in a tree.
fn dependencies(selection: &[&str]) -> BTreeSet<String> {
    let mut arguments = vec!["tree", "--prefix", "none", "--format", "{p}"];
    arguments.extend(selection);
    let tree = cargo(&arguments);
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> String {
    run(Command::new(env!("CARGO")).args(arguments))
}

fn git(arguments: &[&str]) -> String {
    run(Command::new("git").args(arguments))
}

fn run(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Every file that is in the repository or about to be.
pub fn files() -> Vec<String> {
    let listed = git(&["ls-files", "--cached", "--others", "--exclude-standard"]);
    listed.lines().filter(|file| root().join(file).is_file()).map(str::to_owned).collect()
}

/// Every Rust file below a folder, with its text.
fn sources(below: &str) -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|file| file.starts_with(below) && file.ends_with(".rs"));
    let read = |file: String| (file.clone(), std::fs::read_to_string(root().join(&file)).expect("text"));
    let found: Vec<_> = rust.map(read).collect();
    assert!(!found.is_empty(), "nothing in {below}");
    found
}

/// The identifier that `text` begins with.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn order(_: &Shared) {
    let list = std::fs::read_to_string(root().join("filters/src/lib.rs")).expect("the list of modules");
    let modules: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(modules.len() > 10, "{modules:?}");
    let place = |name: &str| modules.iter().position(|module| *module == name);
    for (file, text) in sources("filters/src/") {
        let inside = file.strip_prefix("filters/src/").expect("a path");
        let own = inside.split(['/', '.']).next().expect("a module");
        if own == "lib" {
            continue;
        }
        let own_place = place(own).unwrap_or_else(|| panic!("{file} is of no module in lib.rs"));
        for (start, _) in text.match_indices("crate::") {
            let used = identifier(&text[start + "crate::".len()..]);
            let used_place =
                place(used).unwrap_or_else(|| panic!("{file}: `crate::{used}` is no module: name one per line"));
            assert!(used_place <= own_place, "{file} uses {used}, which stands below it in lib.rs");
        }
        // At the top of a module `super` is the crate itself.
        let mut around = text.match_indices("super::").map(|(start, _)| identifier(&text[start + "super::".len()..]));
        let top = !inside.contains('/') || inside.ends_with("/mod.rs");
        let sideways = around.find(|name| top && place(name).is_some());
        assert_eq!(sideways, None, "{file} names another module by `super` instead of `crate`");
    }
}

/// The modules of the gate that a text names, at its top or in a list of them.
fn named(text: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (start, found) in text.match_indices("crate::") {
        let rest = &text[start + found.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                names.extend(list.split('}').next().unwrap_or_default().split(',').map(|one| identifier(one.trim())))
            }
            None => drop(names.insert(identifier(rest))),
        }
    }
    names
}

fn rooms(_: &Shared) {
    for (room, allowed) in ROOMS {
        let mut unused: BTreeSet<&str> = allowed.iter().copied().collect();
        for (file, text) in sources(&format!("src/{room}/")) {
            for name in named(&text).into_iter().filter(|name| *name != room) {
                assert!(allowed.contains(&name), "{file} names {name}");
                unused.remove(name);
            }
        }
        assert!(unused.is_empty(), "{room} has no need of {unused:?}");
    }
}

fn circles(_: &Shared) {
    for (below, root) in [("src/", "lib.rs"), ("bench/src/", "main.rs")] {
        let inside = |(file, text): (String, String)| (file[below.len()..].to_owned(), text);
        let files: Vec<_> = sources(below).into_iter().map(inside).collect();
        let circles = Files::read(&files, root).circles();
        assert!(circles.is_empty(), "{below}: {circles:#?}");
    }
}

fn surfaces(_: &Shared) {
    // MCP's resources and streams of events are parts of it.
    let surfaces = [
        ("rest", &["rest"][..]),
        ("mcp", &["mcp", "resources", "listen", "events"]),
        ("docs", &["docs"]),
        ("metadata", &["metadata"]),
    ];
    for (surface, files) in surfaces {
        for file in files {
            let text = std::fs::read_to_string(root().join(format!("src/surfaces/{file}.rs"))).expect("text");
            for (other, parts) in surfaces.iter().filter(|(other, _)| *other != surface) {
                let names = parts.iter().find(|part| text.contains(&format!("super::{part}::")));
                assert_eq!(names, None, "{surface} names {other}");
            }
        }
    }
}

fn framework(_: &Shared) {
    let mut named = BTreeSet::new();
    for (file, text) in sources("src/") {
        let spoken = text.lines().any(|line| {
            let before = line.split_once("pingora").map(|(before, _)| before);
            // Prose and the names of log targets are no use of it.
            before.is_some_and(|before| !before.trim_start().starts_with("//") && before.matches('"').count() % 2 == 0)
        });
        if spoken {
            let allowed = FRAMEWORK.iter().find(|place| file.starts_with(*place));
            named.insert(*allowed.unwrap_or_else(|| panic!("{file} names pingora")));
        }
    }
    assert_eq!(named.len(), FRAMEWORK.len(), "the list names a place that has no need of pingora: {named:?}");
}

fn exposures(_: &Shared) {
    let mut found = BTreeSet::new();
    for below in ["src/", "filters/src/"] {
        for (file, text) in sources(below) {
            if text.contains(".expose()") {
                found.insert(file);
            }
        }
    }
    let listed: BTreeSet<String> = EXPOSURES.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(found, listed, "each place that takes a secret's text out is named here with its reason");
}

fn sizes(_: &Shared) {
    for below in ["src/", "filters/src/"] {
        for (file, text) in sources(below) {
            let lines = text.lines().count();
            assert!(lines <= LINES, "{file} has {lines} lines");
        }
    }
}

fn keys(_: &Shared) {
    // In two parts, so that this file does not hold it.
    let marker = ["PRIVATE", "KEY-----"].join(" ");
    for file in files() {
        let bytes = std::fs::read(root().join(&file)).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        let armoured = text.lines().any(|line| line.trim_start().starts_with("-----BEGIN") && line.contains(&marker));
        assert!(!armoured, "{file} holds a private key");
        let name = Path::new(&file).extension().and_then(|extension| extension.to_str());
        assert!(!matches!(name, Some("key" | "p12" | "pfx" | "jks")), "{file} looks like a private key");
    }
}

/// Top-level folders, and the folders and files at the top of the gate and of its core.
fn places() -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for file in files() {
        if let Some((folder, _)) = file.split_once('/').filter(|(folder, _)| !folder.starts_with('.')) {
            places.insert(format!("{folder}/"));
        }
        for below in ["src/", "filters/src/"] {
            match file
                .strip_prefix(below)
                .map(|inside| inside.split_once('/').map_or((inside, false), |(top, _)| (top, true)))
            {
                // A crate's root is its list of modules.
                None | Some(("lib.rs", _)) => {}
                // The folder beside `decide.rs` is a part of it.
                Some((top, true)) if root().join(format!("{below}{top}.rs")).is_file() => {}
                Some((top, folder)) => drop(places.insert(format!("{below}{top}{}", if folder { "/" } else { "" }))),
            }
        }
    }
    places
}

fn code_map(_: &Shared) {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).expect("the page");
    let (_, after) = page.split_once("\n## Code map\n").expect("a heading `Code map`");
    let map = after.split("\n## ").next().expect("its text");
    let quoted: Vec<&str> = map.split('`').skip(1).step_by(2).collect();
    for path in quoted.iter().filter(|text| text.contains('/')) {
        assert!(root().join(path).exists(), "the code map names {path}, which is not there");
        assert_eq!(root().join(path).is_dir(), path.ends_with('/'), "{path}: a folder ends in '/'");
    }
    for place in places() {
        assert!(quoted.contains(&place.as_str()), "the code map does not name {place}");
    }
}
