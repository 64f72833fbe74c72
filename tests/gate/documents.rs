//! The documents: links lead somewhere, commands are commands, examples are configurations, and what
//! a newcomer pastes works.

mod dev;
pub mod markdown;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use certs::Signer;
use filters::catalog::find;
use serde_json::Value;
use tests::process::{AGENTS, binary, root};
use tests::provider::Provider;
use tests::{Gate, Plan, World, free_port};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};
use dev::Dev;
use markdown::{Document, documents};

pub const CASES: &[Case] = &[
    ("every_link_leads_to_a_file_and_a_heading", links),
    ("every_page_is_in_the_summary", summary),
    ("the_readme_is_short", short),
    ("every_threat_names_what_shows_its_answer", threats),
    ("every_option_and_metric_that_is_named_is_there", names),
    ("every_command_is_one_of_the_binary_or_of_make", commands),
    ("every_example_of_configuration_fits_the_schema", configuration),
    ("the_configuration_of_the_readme_is_valid", readme_configuration),
    ("the_commands_for_a_gate_work_as_they_are_written", pasted),
    ("the_commands_for_operators_work_as_they_are_written", operated),
];

/// Most lines of the README.
const README: usize = 150;

fn links(_: &Shared) {
    let documents = documents();
    let mut count = 0;
    for Document { file, text } in &documents {
        for target in markdown::links(text) {
            if target.contains("://") {
                continue;
            }
            count += 1;
            let (path, heading) =
                target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
            let path = if path.is_empty() { PathBuf::from(file) } else { resolved(file, path) };
            assert!(root().join(&path).exists(), "{file}: {target} leads to no file");
            if let Some(heading) = heading {
                let found = documents.iter().find(|other| Path::new(&other.file) == path);
                let headings = found.map(|found| markdown::headings(&found.text)).unwrap_or_default();
                assert!(headings.contains(heading), "{file}: {target} leads to no heading");
            }
        }
    }
    assert!(count > 100, "{count} links were found");
}

/// A path as a document names it, from the root.
fn resolved(file: &str, target: &str) -> PathBuf {
    let mut path = Path::new(file).parent().expect("a folder").to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{file}: {target} leads out of the repository"),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

fn summary(_: &Shared) {
    let documents = documents();
    let list = documents.iter().find(|one| one.file == "docs/SUMMARY.md").expect("a summary");
    let named: BTreeSet<PathBuf> =
        markdown::links(&list.text).into_iter().map(|link| resolved(&list.file, link)).collect();
    let pages = documents.iter().map(|one| PathBuf::from(&one.file)).filter(|file| file.starts_with("docs"));
    let pages: BTreeSet<PathBuf> = pages.filter(|file| *file != Path::new("docs/SUMMARY.md")).collect();
    assert!(pages.len() > 20);
    let missing: Vec<_> = pages.difference(&named).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not name {missing:?}");
}

fn short(_: &Shared) {
    let text = fs::read_to_string(root().join("README.md")).expect("the README");
    let lines = text.lines().count();
    assert!(lines <= README, "README.md has {lines} lines: what is more than {README} belongs into docs/");
}

fn threats(_: &Shared) {
    let text = fs::read_to_string(root().join("docs/threats.md")).expect("the page");
    let head = |line: &&str| line.starts_with("| threat |") || line.starts_with("| --- |");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| ") && !head(line)).collect();
    assert!(rows.len() > 80, "{}", rows.len());
    for row in rows {
        let shown = row.trim_end_matches([' ', '|']).rsplit(" | ").next().expect("a last cell");
        let tests: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            let Some((module, case)) = test.split_once("::") else {
                assert!(root().join(test).exists(), "{test} is not there: {row}");
                continue;
            };
            let source = fs::read_to_string(root().join(format!("tests/gate/{module}.rs"))).unwrap_or_default();
            let case = case.trim_end_matches(['…', '*']);
            assert!(source.contains(&format!("(\"{case}")), "there is no case {test}: {row}");
        }
    }
}

/// The names of options as sentences have them, such as `limits.queue`, and their variables.
fn options() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/reference/options.md")).expect("the page");
    let (mut names, mut section) = (BTreeSet::new(), String::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.trim_matches(['`', '[', ']']).clone_into(&mut section);
        }
        let cells = line.strip_prefix("| ").into_iter().flat_map(|row| row.split(" | ").take(2));
        for name in cells.filter_map(|cell| cell.split('`').nth(1)) {
            let variable = name.contains(|c: char| c.is_ascii_uppercase());
            names.insert(if variable { name.to_owned() } else { format!("{section}.{name}") });
        }
    }
    names
}

/// Variables that are no options of the gate.
const OTHERS: [&str; 1] = ["VAULT_BINARY"];

fn names(_: &Shared) {
    let metrics = fs::read_to_string(root().join("docs/reference/metrics.md")).expect("the page");
    let line = fs::read_to_string(root().join("docs/reference/command-line.md")).expect("the page");
    let (options, mut count) = (options(), 0);
    let sections: BTreeSet<&str> = options.iter().filter_map(|name| Some(name.rsplit_once('.')?.0)).collect();
    for Document { file, text } in documents().iter().filter(|one| !one.file.starts_with("docs/reference/")) {
        for span in markdown::spans(text) {
            let span = span.split('=').next().expect("a part");
            let name = span.trim_end_matches('*');
            // A name with a star stands for several.
            let is = |known: &str| if name == span { known == name } else { known.starts_with(name) };
            let all = |allowed: fn(char) -> bool| name.chars().all(|c| allowed(c) || "_.".contains(c));
            let known = if name.starts_with("portcullis_") || name.starts_with("http_") {
                metrics.contains(&format!("| `{name}`"))
            } else if name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.contains('_')
                && all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
            {
                OTHERS.contains(&name) || line.contains(name) || options.iter().any(|option| is(option))
            } else if all(|c| c.is_ascii_lowercase())
                && name.rsplit_once('.').is_some_and(|(of, _)| sections.contains(of))
            {
                find(name).is_some() || options.iter().any(|option| is(option))
            } else {
                continue;
            };
            assert!(known, "{file}: `{span}` is no option, variable or metric of the gate");
            count += 1;
        }
    }
    assert!(count > 100, "{count} names were found");
}

/// Every command line of ours that a document shows, in a block or within a sentence, from `program` on.
fn shown(document: &Document, program: &str) -> Vec<String> {
    let blocks = markdown::blocks(&document.text);
    let scripts = blocks.iter().filter(|block| matches!(block.language(), "sh" | "ini")).flat_map(|block| {
        let joined = block.text.replace("\\\n", " ");
        joined.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let spans = markdown::spans(&document.text).into_iter().map(|span| span.replace('\n', " "));
    let mut found = Vec::new();
    for line in scripts.chain(spans) {
        let line = line.split(" #").next().expect("a part");
        for (start, _) in line.match_indices(&format!("{program} ")) {
            let alone = begins_a_command(&line[..start]);
            if alone {
                found.push(
                    line[start..].split(['|', '>', '<', ';', '&', ')']).next().expect("a part").trim().to_owned(),
                );
            }
        }
    }
    found
}

/// True where a program's name after this text is one: after nothing but variables, or in their places.
fn begins_a_command(before: &str) -> bool {
    let command = before.rsplit(['|', ';', '&', '(']).next().unwrap_or(before);
    let folder = command.rsplit(' ').next().filter(|word| word.ends_with('/')).unwrap_or_default();
    command[..command.len() - folder.len()].split_whitespace().all(|word| word.contains('='))
}

/// Runs a line in a shell in which `portcullis` is a function.
fn shell(script: &str) -> std::process::Output {
    Command::new("bash").args(["-uc", script]).env("BIN", binary()).env("MAINPID", "1").output().expect("a shell")
}

fn commands(_: &Shared) {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    let (mut ours, mut targets) = (BTreeSet::new(), BTreeSet::new());
    for document in documents().iter().filter(|one| !one.file.starts_with("docs/reference/")) {
        let file = &document.file;
        for block in markdown::blocks(&document.text).iter().filter(|block| block.language() == "sh") {
            let mut check = Command::new("bash");
            let output = check.args(["-nc", &block.text]).output().expect("a shell");
            assert!(output.status.success(), "{file}: {}: {}", block.text, String::from_utf8_lossy(&output.stderr));
        }
        for line in shown(document, "portcullis") {
            // Help is printed where verb and flags are known, instead of doing it.
            let output = shell(&format!("portcullis() {{ \"$BIN\" \"$@\" --help; }}; {line}"));
            let wrong = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !output.stdout.is_empty(), "{file}: {line}: {wrong}");
            ours.insert(line);
        }
        for line in shown(document, "make") {
            for target in line.split(' ').skip(1).filter(|word| !word.contains('=')) {
                assert!(makefile.contains(&format!("\n{target}:")), "{file}: `{line}` is no target of the Makefile");
                targets.insert(target.to_owned());
            }
        }
    }
    assert!(ours.len() > 20, "{ours:?}");
    assert!(["dev", "test", "docs"].iter().all(|target| targets.contains(*target)), "{targets:?}");
}

/// Each is a part of a configuration: what it names elsewhere may be missing, but nothing is wrong with
/// what is there.
fn configuration(_: &Shared) {
    let schema =
        jsonschema::validator_for(&portcullis::config::schema(portcullis::config::Table::of_gate())).expect("a schema");
    let mut count = 0;
    for Document { file, text } in documents() {
        for block in markdown::blocks(&text).into_iter().filter(|block| block.language() == "toml") {
            let value: toml::Value = toml::from_str(&block.text).unwrap_or_else(|error| panic!("{file}: {error}"));
            let value = serde_json::to_value(value).expect("JSON");
            let wrong: Vec<_> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{file}: {}{wrong:?}", block.text);
            // What the schema does not tell.
            let folder = folder_with("config.toml", &block.text);
            let (_, told) = said(&run(folder.path(), &["check", "--config", "config.toml"], &[]));
            let problems = told.lines().filter(|line| {
                let names = line.starts_with("config.toml:") || line.starts_with("configuration refused: ");
                names && !line.ends_with(" problem") && !line.ends_with(" problems")
            });
            for problem in problems {
                let elsewhere = ELSEWHERE.iter().any(|known| problem.contains(known));
                assert!(elsewhere, "{file}: {}{problem}", block.text);
            }
            count += 1;
        }
    }
    assert!(count > 10, "{count} examples were found");
}

/// The words that `portcullis check` may have for a part of a configuration, without the rest of it.
const ELSEWHERE: [&str; 5] = [
    "cannot be read: no such file",
    "cannot be looked at: No such file",
    "names a role that is not defined",
    "needs JWTs, and none would be believed",
    "has no certificate that Vault would be shown",
];

fn readme_configuration(_: &Shared) {
    let text = fs::read_to_string(root().join("README.md")).expect("the README");
    let blocks = markdown::blocks(&text);
    let file = blocks.iter().find(|block| block.language() == "toml").expect("a configuration");
    let dev = Dev::start();
    // A free address, and the certificates of development in place of those that the file names.
    let text = file
        .text
        .replace("0.0.0.0:8443", &format!("127.0.0.1:{}", free_port()))
        .replace("/etc/portcullis/server.", ".dev/certs/server.")
        .replace("/etc/portcullis/agents-ca.crt", ".dev/certs/ca.crt");
    fs::write(dev.folder().join("readme.toml"), text).expect("a file");
    let told = dev.paste("VAULT_TOKEN=t portcullis check --config readme.toml");
    assert!(told.contains("valid"), "{told}");
}

/// The documents that have blocks of this kind, each with them from its top to its end; a block that calls
/// nothing but `make` is left out.
fn to_paste(info: &str) -> Vec<(String, Vec<String>)> {
    let told = documents().into_iter().filter(|one| one.file == "README.md" || one.file.starts_with("docs/"));
    let scripts = told.map(|one| {
        let blocks = markdown::blocks(&one.text).into_iter().filter(|block| block.info == info);
        let only_make = |text: &str| text.lines().all(|line| line.starts_with("make "));
        (one.file, blocks.map(|block| block.text).filter(|text| !only_make(text)).collect())
    });
    scripts.filter(|(_, blocks): &(String, Vec<String>)| !blocks.is_empty()).collect()
}

/// The JSON objects among the lines that a command has printed.
fn answers(told: &str) -> Vec<Value> {
    let objects = told.lines().filter(|line| line.starts_with("{\""));
    objects.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

fn pasted(_: &Shared) {
    let dev = Dev::start();
    let all = to_paste("sh");
    for needed in ["README.md", "docs/getting-started.md"] {
        assert!(all.iter().any(|(file, blocks)| file == needed && blocks.len() >= 2), "{needed} has no commands");
    }
    for (file, blocks) in all {
        let told = dev.paste_all(&blocks);
        assert_eq!(told.len(), blocks.len(), "{file}");
        for (block, told) in blocks.iter().zip(&told) {
            let answers = answers(told);
            assert!(!told.trim().is_empty(), "{file}: nothing was answered to {block}");
            // A refusal, a failed tool and an error of JSON-RPC are none.
            let failed = |answer: &&Value| answer.get("error").is_some() || answer["result"]["isError"] == true;
            assert!(!answers.iter().any(|answer| failed(&answer)), "{file}: {block}{told}");
            // What was written is read.
            if let ([written, read], true) = (&answers[..], block.contains("PUT")) {
                assert_eq!(written["version"], read["version"], "{file}: {block}");
                assert!(read["data"].is_object(), "{file}: {block}: {read}");
            }
        }
    }
    // Those that it prints itself, and what its configuration grants.
    let said = dev.said();
    let (_, printed) = said.split_once("# write a secret").expect("commands");
    let (printed, _) = printed.split_once("Ctrl-C").expect("their end");
    assert_eq!(answers(&dev.paste(printed)).len(), 3, "{printed}");
    let key = "curl -H 'X-API-Key: dev-key' -H 'Content-Type: application/json' http://127.0.0.1:8089";
    for asked in [
        "/transit/sign -d '{\"key\": \"agents-signing-key\", \"input\": \"YQ==\"}'",
        "/transit/hmac -d '{\"key\": \"agents-signing-key\", \"input\": \"YQ==\"}'",
        "/transit/data-key -d '{\"key\": \"agents-key\"}'",
        "/ssh/otp -d '{\"role\": \"otp\", \"ip\": \"127.0.0.1\", \"username\": \"ops\"}'",
        "/pki/issue -d '{\"role\": \"service\", \"common_name\": \"a.agents.internal\"}'",
    ] {
        dev.paste(&format!("{key}{asked}"));
    }
}

/// Puts into a gate's folder what the operators' commands name: an authority, a bridge's users, the scripts.
fn prepare(gate: &Gate) {
    let at = |name: &str| gate.folder().join(name);
    for folder in ["agents.d", "config"] {
        fs::create_dir(at(folder)).expect("a folder");
    }
    fs::write(at("clients-ca.pem"), gate.agents().pem()).expect("a file");
    fs::write(at("config/users.json"), "{\"alice\": {}}").expect("a file");
    std::os::unix::fs::symlink(root().join("local-vault"), at("local-vault")).expect("a link");
}

fn operated(_: &Shared) {
    let world = World::start(false);
    let gate = Gate::start(
        &world,
        &Plan { sections: format!("{AGENTS}\n[agents.ci]\nroles = [\"all\"]\n"), ..Plan::default() },
    );
    prepare(&gate);
    let issuer = Provider::start(&[&Signer::p256("k").expect("a key")], None);
    let backend = local_vault::binary(&root()).expect("a backend").path;
    let blocks = to_paste("sh vault");
    assert!(blocks.iter().map(|(_, blocks)| blocks.len()).sum::<usize>() >= 6, "{blocks:?}");
    for (file, block) in blocks.iter().flat_map(|(file, blocks)| blocks.iter().map(move |block| (file, block))) {
        // The names of somebody else's machines.
        let script = block
            .replace("https://login.corp.example", &issuer.issuer())
            .replace("https://vault.corp.example:8200", &world.vault_address())
            // Within a cluster Vault finds the authority by itself.
            .replace("kubernetes_host=", "kubernetes_ca_cert=@clients-ca.pem kubernetes_host=")
            .replace("VAULT_TOKEN=…", &format!("VAULT_TOKEN={}", world.vault.root_token()))
            .replace("/etc/portcullis/config.toml", "config.toml");
        // What the block has set up is taken away again, for the next one.
        let around = "vault() { \"$VAULT_BINARY\" \"$@\"; }\n\
                      trap 'for name in kubernetes jwt cert; do vault auth disable $name; done >/dev/null' EXIT\n";
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("{around}{script}")])
            .current_dir(gate.folder())
            .env("PATH", path_of_the_binary())
            .env("APP_CONFIG_FILE", "config.toml")
            .env("VAULT_BINARY", &backend)
            .envs([("VAULT_ADDR", world.vault_address().as_str()), ("VAULT_TOKEN", world.vault.root_token())])
            .envs([("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id())])
            .output()
            .expect("a shell");
        let [told, wrong] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{file}: {block}{told}{wrong}");
    }
}

/// `PATH` with the gate's binary in front.
fn path_of_the_binary() -> String {
    let usual = std::env::var("PATH").unwrap_or_default();
    format!("{}:{usual}", binary().parent().expect("a folder").display())
}
