//! Roles and agents in folders of files: read with the configuration, watched
//! with it, and swapped whole.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use portcullis::reload;
use tests::{Client, Gate, Plan, wait_for};

use super::configuration::{folder_with, run, said, watched};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("files_of_a_folder_come_change_and_go", come_and_go),
    ("a_folder_that_kubernetes_swaps_is_followed", kubernetes),
    ("a_folder_that_takes_anothers_place_is_watched", in_its_place),
    ("sighup_reads_a_folder_again", hangup),
    ("a_name_that_stands_twice_changes_nothing", twice),
    ("every_verb_reads_the_folder", verbs),
];

const ALICE: &str = "[agents.alice]\nroles = [\"all\"]\n";
const BOB: &str = "agents:\n  bob:\n    roles: [all]\n";

/// A gate that includes the folder.
fn including(shared: &Shared, folder: &Path, reload: bool) -> Gate {
    let plan = watched("");
    let top = format!("{}include = [{:?}]\n", plan.top, folder.to_str().expect("text"));
    let environment = vec![("RELOAD", reload.to_string())];
    Gate::start(shared.world(), &Plan { top, environment, ..plan })
}

fn status(client: &Client) -> u16 {
    client.get("/whoami").status
}

fn becomes(what: &str, client: &Client, expected: u16) {
    wait_for(&format!("{what}: {expected}"), 20, || status(client) == expected);
}

fn come_and_go(shared: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let within = folder.path().join("agents.d");
    fs::create_dir(&within).expect("a folder");
    let gate = including(shared, &within, true);
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    assert_eq!((status(&alice), status(&bob)), (401, 401));
    fs::write(within.join("alice.toml"), ALICE).expect("a file");
    becomes("a file that comes", &alice, 200);
    fs::write(within.join("bob.yaml"), BOB).expect("a file");
    becomes("another", &bob, 200);
    fs::write(within.join("alice.toml"), "").expect("a file");
    becomes("a file that changes", &alice, 401);
    fs::remove_file(within.join("bob.yaml")).expect("a file");
    becomes("a file that goes", &bob, 401);
    // Another folder in its place, and then a file in that one.
    let next = folder.path().join("next");
    fs::create_dir(&next).expect("a folder");
    fs::write(next.join("x.toml"), ALICE).expect("a file");
    fs::rename(&within, folder.path().join("before")).expect("out of the way");
    fs::rename(&next, &within).expect("in its place");
    becomes("another folder", &alice, 200);
    fs::write(within.join("bob.yml"), BOB).expect("a file");
    becomes("a file in it", &bob, 200);
    assert_eq!(status(&alice), 200);
}

fn in_its_place(_: &Shared) {
    let parent = folder_with("a.toml", "");
    let (within, next) = (parent.path().join("agents.d"), parent.path().join("next"));
    fs::create_dir(&within).expect("a folder");
    fs::create_dir(&next).expect("a folder");
    fs::write(next.join("a.toml"), ALICE).expect("a file");
    let steps: [(&str, &dyn Fn()); 4] = [
        ("the other folder", &|| {
            fs::rename(&within, parent.path().join("before")).expect("out of the way");
            fs::rename(&next, &within).expect("in its place");
        }),
        ("a file in it", &|| fs::write(within.join("b.toml"), "1").expect("a file")),
        ("its change", &|| fs::write(within.join("b.toml"), "2").expect("a file")),
        ("its end", &|| fs::remove_file(within.join("b.toml")).expect("a file")),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (told, mut changes) = tokio::sync::mpsc::unbounded_channel();
        let stepping = async {
            for (what, step) in steps {
                step();
                let heard = tokio::time::timeout(Duration::from_secs(20), changes.recv()).await;
                assert!(heard.is_ok(), "{what} is not noticed");
            }
        };
        let files = [within.clone()];
        let seen = reload::digests(&files);
        tokio::select! {
            biased;
            () = reload::watch(&files, seen, || told.send(()).expect("somebody listens")) => {}
            () = stepping => {}
        }
    });
}

/// As the kubelet writes a ConfigMap: links to links, of which one is swapped.
fn kubernetes(shared: &Shared) {
    let volume = tempfile::tempdir().expect("a folder");
    let at = |name: &str| volume.path().join(name);
    let write = |version: &str, files: &[(&str, &str)]| {
        fs::create_dir(at(version)).expect("a folder");
        for (name, text) in files {
            fs::write(at(version).join(name), text).expect("a file");
        }
        symlink(version, at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("a swap");
    };
    write("..2026_01", &[("agents.toml", "")]);
    symlink("..data/agents.toml", at("agents.toml")).expect("a link");
    let gate = including(shared, volume.path(), true);
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    assert_eq!((status(&alice), status(&bob)), (401, 401));
    write("..2026_02", &[("agents.toml", ALICE)]);
    fs::remove_dir_all(at("..2026_01")).expect("a folder");
    becomes("the swap is followed", &alice, 200);
    write("..2026_03", &[("agents.toml", ""), ("more.yaml", BOB)]);
    symlink("..data/more.yaml", at("more.yaml")).expect("a link");
    fs::remove_dir_all(at("..2026_02")).expect("a folder");
    becomes("and the next", &bob, 200);
    becomes("what went", &alice, 401);
}

fn hangup(shared: &Shared) {
    let folder = folder_with("a.toml", "");
    let gate = including(shared, folder.path(), false);
    let alice = gate.agent("alice");
    fs::write(folder.path().join("b.toml"), ALICE).expect("a file");
    assert_eq!(status(&alice), 401, "nothing is watched");
    gate.signal("HUP");
    becomes("it is read", &alice, 200);
}

fn twice(shared: &Shared) {
    let folder = folder_with("a.toml", ALICE);
    let gate = including(shared, folder.path(), true);
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    assert_eq!(status(&alice), 200);
    fs::write(folder.path().join("b.yaml"), format!("{BOB}  alice: {{}}\n")).expect("a file");
    wait_for("it is refused", 20, || gate.metric("portcullis_reload_failures_total") == 1.0);
    assert_eq!((status(&alice), status(&bob)), (200, 401), "nothing of it is used");
    let told = gate.stderr();
    assert!(told.contains("b.yaml:4: `agents` has a name that is given twice") && told.contains("a.toml:1"), "{told}");
    fs::write(folder.path().join("b.yaml"), BOB).expect("a file");
    becomes("its mending is noticed", &bob, 200);
}

fn verbs(_: &Shared) {
    let folder =
        folder_with("gate.toml", "include = [\"agents.d\"]\n[roles.reader]\nscopes = [\"read\"]\nkv = [\"**\"]\n");
    let at = |name: &str| folder.path().join("agents.d").join(name);
    fs::create_dir(folder.path().join("agents.d")).expect("a folder");
    fs::write(at("ci.json"), "{\"agents\": {\"ci\": {\"roles\": [\"reader\"]}}}").expect("a file");
    fs::write(at("ci.json~"), "an editor's copy").expect("a file");
    // The folder is beside the file, wherever the gate is started.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gate.toml");
    let file = file.to_str().expect("text");
    for (line, code, words) in [
        (&["check", "--config", file][..], 0, "valid"),
        (&["explain", "--config", file, "--agent", "ci", "--operation", "kv.read", "--resource", "x"], 0, "`reader`"),
        (&["policy", "--config", file, "ci"], 0, "secret/data/mcp/ci/"),
    ] {
        let (status, text) = said(&run(elsewhere.path(), line, &[]));
        assert!(status == Some(code) && text.contains(words), "{line:?}: {text}");
    }
    fs::write(at("z.toml"), "[listeners]\n").expect("a file");
    let (status, text) = said(&run(elsewhere.path(), &["check", "--config", file], &[]));
    assert!(status == Some(2) && text.contains("agents.d/z.toml:1: an included file holds"), "{text}");
}
