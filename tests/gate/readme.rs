//! What the README says is what the gate does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use filters::catalog::CATALOG;
use filters::reference;
use serde_json::Value;
use tests::process::{binary, root};
use tests::{free_port, wait_for};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("the_options_are_those_of_the_binary", options),
    ("the_operations_are_those_of_the_catalog", operations),
    ("the_first_commands_work_as_they_are_written", commands),
    ("the_examples_name_options_that_there_are", examples),
];

/// Two sections are written anew in one file.
static README: Mutex<()> = Mutex::new(());

/// The text between `<!-- name -->` and `<!-- /name -->`, and what surrounds it.
fn section<'a>(text: &'a str, name: &str) -> (&'a str, &'a str, &'a str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = text.find(&begin).expect("the section begins") + begin.len();
    let stop = text.find(&end).expect("the section ends");
    (&text[..start], &text[start..stop], &text[stop..])
}

fn options(_: &Shared) {
    let printed = Command::new(binary()).arg("options").env_clear().output().expect("the gate runs");
    check("options", &String::from_utf8(printed.stdout).expect("text"));
}

fn operations(_: &Shared) {
    check("operations", &reference::operations(&CATALOG));
}

/// `BLESS=1` writes it into the README.
fn check(name: &str, told: &str) {
    let _alone = README.lock().unwrap_or_else(PoisonError::into_inner);
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).expect("a README");
    let (before, now, after) = section(&readme, name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{before}{told}{after}")).expect("written");
        return;
    }
    assert!(now == told, "the README's {name} are old; BLESS=1 writes them anew");
}

/// The heading of the commands that a newcomer pastes first.
const FIRST: &str = "## Using it\n";

/// The README and what lies in `docs/`.
fn documents() -> impl Iterator<Item = String> {
    let files = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = files(root()).chain(files(root().join("docs")));
    all.filter(|path| path.extension().is_some_and(|ext| ext == "md")).flat_map(fs::read_to_string)
}

/// The blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1).map(|rest| rest.split("```").next().expect("its end").to_owned());
    blocks.collect()
}

/// The shell's blocks below that heading, in whichever document it stands.
fn first_commands() -> Vec<String> {
    let text = documents().find(|text| text.contains(FIRST)).expect("a document with that heading");
    let (_, below) = text.split_once(FIRST).expect("the heading");
    blocks(below.split("\n## ").next().expect("a chapter"), "sh")
}

/// Each is a part of a configuration: what it names elsewhere may be missing, but it is none that
/// cannot be read, and has no key that is not one, and no value that it cannot have.
fn examples(_: &Shared) {
    let mut tried = 0;
    for example in documents().flat_map(|text| blocks(&text, "toml")) {
        let folder = folder_with("config.toml", &example);
        let (_, told) = said(&run(folder.path(), &["check", "--config", "config.toml"], &[]));
        for wrong in [
            "unknown key",
            "is no option",
            "does not parse",
            "none of the words",
            "out of bounds",
            "is not a duration",
            "is a ",
        ] {
            assert!(!told.contains(wrong), "{example}{told}");
        }
        tried += 1;
    }
    assert!(tried >= 5, "{tried}");
}

/// What `make dev` runs, in a folder of its own; ended when dropped.
struct Dev {
    process: Child,
    folder: tempfile::TempDir,
    /// Plain, TLS and operators' port, each beside the one that documents name.
    ports: [(u16, u16); 3],
}

impl Dev {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["config", "target"] {
            symlink(root().join(name), folder.path().join(name)).expect("a link");
        }
        let ports = [8089, 8443, 9901].map(|named| (named, free_port()));
        let output = fs::File::create(folder.path().join("said")).expect("a file");
        let [plain, tls, admin] = ports.map(|(_, port)| port.to_string());
        let process = Command::new(binary().with_file_name("dev"))
            .arg("--folder")
            .arg(folder.path())
            .envs([("PORT", plain), ("TLS_PORT", tls), ("ADMIN_PORT", admin)])
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("the file"))
            .stdout(output)
            .spawn()
            .expect("what `make dev` runs");
        let dev = Self { process, folder, ports };
        wait_for("the gate is ready", 60, || dev.said().contains("The gate is ready at"));
        dev
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// Pastes it into a shell; each answer must be a success.
    fn paste(&self, commands: &str) -> String {
        let commands = self
            .ports
            .iter()
            .fold(commands.to_owned(), |text, (named, port)| text.replace(&format!(":{named}/"), &format!(":{port}/")));
        let curl = "curl() { command curl --silent --show-error --fail-with-body --write-out '\\n' \"$@\"; }";
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &format!("{curl}\n{commands}")]);
        let output = shell.current_dir(self.folder.path()).output().expect("a shell");
        let [told, wrong] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{commands}{told}{wrong}{}", self.said());
        told
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It ends what it has started.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// Whether each line that a command printed is a JSON object.
fn answers(told: &str) -> Vec<Value> {
    told.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn commands(_: &Shared) {
    let dev = Dev::start();
    let blocks = first_commands();
    assert!(blocks.len() >= 3, "{blocks:?}");
    for block in &blocks {
        let answers = answers(&dev.paste(block));
        assert!(!answers.is_empty(), "{block}");
        // What was written is read.
        if let ([written, read], true) = (&answers[..], block.contains("PUT")) {
            assert_eq!(written["version"], read["version"], "{block}");
            assert!(read["data"]["foo"].is_string(), "{block}: {read}");
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
