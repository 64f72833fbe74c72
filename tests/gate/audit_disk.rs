//! The audit on a disk that is full or slow: what is required is refused, and nothing else is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use tests::process::AGENTS;
use tests::{Gate, Plan, wait_for};

use super::configuration::{run, said};
use super::logs::Disk;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_is_required_is_refused_on_a_full_disk_until_there_is_room", required),
    ("on_a_full_disk_records_wait_where_they_are_not_required", waiting),
    ("what_is_required_is_refused_while_the_disk_takes_long", slow_and_required),
    ("a_disk_that_takes_long_costs_no_request_where_records_are_not_required", slow),
    ("a_disk_that_never_answers_does_not_keep_a_gate_from_ending", stuck),
];

/// A gate whose audit is on a disk of its own; `None` where none may be mounted: tests with pipes stand for it then.
fn gate(shared: &Shared, required: bool) -> Option<(Gate, Disk)> {
    let disk = Disk::new();
    let Disk::Mounted(folder) = &disk else { return None };
    let file = folder.path().join("audit.log").display().to_string();
    let audit = format!("[audit]\nfile = \"{file}\"\nnames = \"clear\"\nrequired = {required}\n");
    let plan = Plan { sections: format!("{AGENTS}\n{audit}"), ..Plan::default() };
    Some((Gate::start(shared.world(), &plan), disk))
}

/// Ends the gate; its audit is whole then. Gives what `audit verify` says.
fn verified(mut gate: Gate, folder: &Path) -> String {
    assert_eq!(gate.terminate(), Some(0));
    let (code, told) = said(&run(folder, &["audit", "verify", "audit.log"], &[]));
    assert!(code == Some(0) && told.contains("says that the gate ended") && !told.contains("not finished"), "{told}");
    told
}

fn required(shared: &Shared) {
    let Some((gate, disk)) = gate(shared, true) else { return };
    let (client, operators) = (gate.keyed(), gate.admin_client());
    wait_for("the disk is full", 30, || (0..50).any(|_| client.get("/whoami").status != 200));
    for path in ["/whoami", "/secrets/none"].repeat(10) {
        let refused = client.get(path);
        assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"), "{path}");
    }
    let ready = operators.get("/readyz");
    assert_eq!((ready.status, &ready.json()["audit"]["ok"]), (503, &json!(false)));
    disk.free();
    wait_for("it goes on", 10, || operators.get("/readyz").status == 200);
    (0..20).for_each(|_| assert_eq!(client.get("/secrets/none").status, 404));
    verified(gate, disk.folder());
}

fn waiting(shared: &Shared) {
    let Some((gate, disk)) = gate(shared, false) else { return };
    let (client, mut asked) = (gate.keyed(), 0);
    let mut ask = || {
        (0..50).for_each(|_| assert_eq!(client.get("/whoami").status, 200));
        asked += 50;
        gate.stderr().contains("the audit cannot be written")
    };
    wait_for("the disk is full", 30, &mut ask);
    (0..4).for_each(|_| assert!(ask()));
    disk.free();
    wait_for("it goes on", 10, || gate.stderr().contains("the audit is written again"));
    assert_eq!(gate.metric("portcullis_audit_records_total{result=\"lost\"}"), 0.0);
    // Each request, and the start and the end of the gate.
    let told = verified(gate, disk.folder());
    assert!(told.contains(&format!("whole: {} records", asked + 2)), "{asked}: {told}");
}

/// A disk whose writes to the audit last for as long as a file is there, by a library before the C library's.
struct SlowDisk {
    folder: TempDir,
    library: PathBuf,
}

impl SlowDisk {
    fn new() -> Self {
        const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t write(int file, const void *bytes, size_t count) {
    char link[64], path[4096];
    const char *held = getenv("HELD");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    while (held && strstr(path, "audit.log") && access(held, F_OK) == 0) usleep(5000);
    return syscall(SYS_write, file, bytes, count);
}
"#;
        let folder = tempfile::tempdir().expect("a folder");
        let (source, library) = (folder.path().join("slow.c"), folder.path().join("slow.so"));
        fs::write(&source, SOURCE).expect("a file");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
        assert!(compiled.is_ok_and(|status| status.success()), "cc");
        Self { folder, library }
    }

    fn held(&self) -> PathBuf {
        self.folder.path().join("held")
    }

    fn hold(&self) {
        fs::write(self.held(), "").expect("a file");
    }

    fn release(&self) {
        fs::remove_file(self.held()).expect("removed");
    }

    /// A gate whose audit is on it.
    fn gate(&self, shared: &Shared, required: bool) -> Gate {
        let text = |path: &Path| path.display().to_string();
        let environment = vec![("LD_PRELOAD", text(&self.library)), ("HELD", text(&self.held()))];
        let audit = format!("[audit]\nfile = \"audit.log\"\nnames = \"clear\"\nrequired = {required}\n");
        let sections = format!("{AGENTS}\n{audit}");
        Gate::start(shared.world(), &Plan { sections, environment, ..Plan::default() })
    }
}

fn slow_and_required(shared: &Shared) {
    let disk = SlowDisk::new();
    let gate = disk.gate(shared, true);
    let (client, operators) = (gate.keyed(), gate.admin_client());
    assert_eq!(client.get("/secrets/none").status, 404);
    disk.hold();
    for path in ["/secrets/none", "/whoami"].repeat(5) {
        let refused = client.get(path);
        assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"), "{path}");
    }
    let ready = operators.get("/readyz");
    assert_eq!((ready.status, &ready.json()["audit"]["problem"]), (503, &json!("it is written too slowly")));
    assert_eq!(operators.get("/healthz").status, 200);
    disk.release();
    wait_for("it goes on", 10, || operators.get("/readyz").status == 200);
    (0..20).for_each(|_| assert_eq!(client.get("/secrets/none").status, 404));
    let folder = gate.folder().to_owned();
    assert_eq!(gate.metric("portcullis_audit_records_total{result=\"lost\"}"), 0.0);
    verified(gate, &folder);
}

fn slow(shared: &Shared) {
    let disk = SlowDisk::new();
    let gate = disk.gate(shared, false);
    let client = gate.keyed();
    disk.hold();
    (0..100).for_each(|_| assert_eq!(client.get("/whoami").status, 200));
    assert_eq!(gate.admin_client().get("/readyz").status, 200);
    assert!(gate.metric("portcullis_audit_records_total{result=\"written\"}") < 2.0, "they wait");
    disk.release();
    wait_for("they are written", 10, || gate.metric("portcullis_audit_records_total{result=\"written\"}") > 100.0);
    let folder = gate.folder().to_owned();
    let told = verified(gate, &folder);
    assert!(told.contains("whole: 102 records"), "each request, and the start and the end of the gate: {told}");
}

fn stuck(shared: &Shared) {
    let disk = SlowDisk::new();
    let mut gate = disk.gate(shared, false);
    disk.hold();
    assert_eq!(gate.keyed().get("/whoami").status, 200);
    assert_eq!(gate.terminate(), Some(0));
    assert!(gate.stderr().contains("audit records were lost: the gate ends"), "{}", gate.stderr());
}
