//! The audit on a disk that is full: what is required is refused, and nothing else is lost.

use serde_json::json;
use tests::process::AGENTS;
use tests::{Gate, Plan, wait_for};

use super::configuration::{run, said};
use super::logs::Disk;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_is_required_is_refused_on_a_full_disk_until_there_is_room", required),
    ("on_a_full_disk_records_wait_where_they_are_not_required", waiting),
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
fn verified(mut gate: Gate, disk: &Disk) -> String {
    assert_eq!(gate.terminate(), Some(0));
    let (code, told) = said(&run(disk.folder(), &["audit", "verify", "audit.log"], &[]));
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
    verified(gate, &disk);
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
    let told = verified(gate, &disk);
    assert!(told.contains(&format!("whole: {} records", asked + 2)), "{asked}: {told}");
}
