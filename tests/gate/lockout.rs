//! Logins that Vault refuses: Vault counts them, and locks the role for every gate.

use std::fs;

use serde_json::{Value, json};
use tests::{Audit, Gate, Plan, World, wait_for};

use super::suspension::command;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_gate_with_a_stale_secret_id_locks_nobody_out", stale),
    ("a_login_locked_out_elsewhere_is_not_hammered", locked),
    ("new_credentials_are_taken_at_a_reload", replaced),
    ("a_token_that_is_refused_is_not_hammered", token),
];

const LOGIN: &str = "auth/approle/login";

fn plan(secret: &str) -> Plan {
    Plan { environment: vec![("VAULT_SECRET_ID", secret.to_owned())], ..Plan::default() }
}

fn detail(gate: &Gate) -> String {
    gate.admin_client().get("/readyz").json()["vault"]["detail"].as_str().unwrap_or_default().to_owned()
}

/// In how many seconds the gate tries again; none where it says nothing of it.
fn next_try(gate: &Gate) -> Option<u64> {
    let detail = detail(gate);
    let (_, after) = detail.split_once("tried again in ")?;
    after.split(' ').next()?.parse().ok()
}

/// The number of logins that Vault has refused.
fn refused(audit: &Audit<'_>) -> usize {
    audit
        .answers(LOGIN)
        .iter()
        .filter(|line| line["error"].is_string() || !line["response"]["data"]["error"].is_null())
        .count()
}

/// The roles that are locked.
fn locked_roles(world: &World) -> Value {
    let (status, told) = world.ask("GET", "sys/locked-users", &Value::Null);
    assert_eq!(status, 200, "{told}");
    told["data"]["total"].clone()
}

fn stale(_: &Shared) {
    let world = World::start(false);
    let audit = Audit::start(&world, "stale");
    let gate = Gate::start_unready(&world, &plan("a-secret-id-of-yesterday"));
    wait_for("it is refused", 20, || detail(&gate).contains("role id or secret id is wrong"));
    // Vault forgets a refused login after a quarter of an hour.
    let next = next_try(&gate).expect("a next try");
    assert!(next > 15 * 60, "{next}");
    assert_eq!(refused(&audit), 1);
    // With so many tries as it would have made meanwhile, the role would be locked.
    let good = Gate::start(&world, &Plan::default());
    assert_eq!(good.keyed().put("/secrets/x", &json!({"data": {"a": 1}})).status, 200);
    let (code, told) = command(&world, &good, &["suspend", "agent_jwt"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!((refused(&audit), locked_roles(&world)), (1, json!(0)));
    assert_eq!(gate.keyed().get("/secrets/x").status, 503);

    // Whoever has put Vault right says so.
    gate.signal("HUP");
    wait_for("it tries once more", 20, || refused(&audit) == 2);
    wait_for("and waits again", 20, || next_try(&gate).is_some_and(|next| next > 15 * 60));
    // A command does not wait for what is refused, nor try it again.
    let environment = [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", "another")];
    let line = ["suspended", "--config", "config.toml"];
    let (code, told) = super::configuration::said(&super::configuration::run(gate.folder(), &line, &environment));
    assert!(code == Some(1) && told.contains("has not accepted the credentials: not logged in by AppRole"), "{told}");
    assert_eq!(refused(&audit), 3);
    assert_eq!(locked_roles(&world), json!(0));
}

fn locked(_: &Shared) {
    let world = World::start(false);
    let audit = Audit::start(&world, "locked");
    let wrong = json!({"role_id": world.role_id(), "secret_id": "wrong"});
    wait_for("the role is locked", 20, || world.ask("POST", LOGIN, &wrong).0 == 403);
    let before = audit.answers(LOGIN).len();
    let gate = Gate::start_unready(&world, &Plan::default());
    wait_for("it is locked out", 20, || detail(&gate).contains("most likely the role is locked"));
    let next = next_try(&gate).expect("a next try");
    assert!((30..600).contains(&next), "{next}");
    assert_eq!(audit.answers(LOGIN).len(), before + 1, "it tries once");
    assert!(gate.stderr().contains("sys/locked-users"), "{}", gate.stderr());
    // As the log says, an operator unlocks it.
    let (_, method) = world.ask("GET", "sys/auth/approle", &Value::Null);
    let accessor = method["data"]["accessor"].as_str().expect("an accessor");
    let unlock = format!("sys/locked-users/{accessor}/unlock/{}", world.role_id());
    assert_eq!(world.ask("POST", &unlock, &Value::Null).0, 204);
    gate.signal("HUP");
    wait_for("it is logged in", 20, || gate.admin_client().get("/readyz").status == 200);
    assert_eq!(gate.keyed().get("/secrets/none").status, 404);
}

fn replaced(_: &Shared) {
    let world = World::start(false);
    let nothing = ["VAULT_ROLE_ID", "VAULT_SECRET_ID"].map(|name| (name, String::new())).to_vec();
    let plan = Plan::default();
    let top = format!("{}vault_role_id = \"{}\"\nvault_secret_id = \"stale\"\n", plan.top, world.role_id());
    let gate = Gate::start_unready(&world, &Plan { top, environment: nothing, ..plan });
    wait_for("it is refused", 20, || detail(&gate).contains("role id or secret id is wrong"));
    let file = gate.folder().join("config.toml");
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, text.replace("\"stale\"", &format!("\"{}\"", world.secret_id()))).expect("a file");
    let reloaded = gate.operator().post("/admin/reload", &Value::Null);
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    wait_for("it is logged in", 20, || gate.admin_client().get("/readyz").status == 200);
    let pending = gate.admin_client().get("/admin/config").json()["pending"].clone();
    assert_eq!(pending, json!([]), "nothing waits for another gate");
    assert!(!gate.stderr().contains(world.secret_id()));
}

fn token(_: &Shared) {
    let world = World::start(false);
    let audit = Audit::start(&world, "token");
    let nothing = ["VAULT_ROLE_ID", "VAULT_SECRET_ID"].map(|name| (name, String::new())).to_vec();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, "hvs.nobody").expect("a file");
    let top = format!("{}vault_token_file = \"{}\"\n", Plan::default().top, file.display());
    let gate = Gate::start_unready(&world, &Plan { top, environment: nothing, ..Plan::default() });
    wait_for("it is refused", 20, || detail(&gate).contains("it is unknown or has ended"));
    // 1, 2, 4 s and so on: as many tries were made within a second before.
    wait_for("the pauses grow", 60, || next_try(&gate).is_some_and(|next| next >= 14));
    let tries = audit.answers("auth/token/lookup-self").len();
    assert!(tries <= 6, "{tries}");
    // Another token is not waited for so long.
    let policies = json!({"policies": ["portcullis-gate"], "no_default_policy": true, "ttl": "1h"});
    let (_, made) = world.ask("POST", "auth/token/create", &policies);
    fs::write(&file, made["auth"]["client_token"].as_str().expect("a token")).expect("a file");
    wait_for("it is logged in", 10, || gate.admin_client().get("/readyz").status == 200);
}
