//! Rates proposed from what the request log tells.

use std::fs;

use tests::{Gate, Plan, wait_for};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("rates_are_proposed_from_the_log_of_the_gate", from_the_log),
    ("without_requests_of_agents_nothing_is_proposed", nothing),
];

const CANARY: &str = "cnry7x";

fn from_the_log(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let (keyed, certified) = (gate.keyed(), gate.agent("agent_mtls"));
    for _ in 0..12 {
        assert_eq!(keyed.get("/whoami").status, 200);
    }
    certified.call("whoami", &serde_json::json!({}));
    assert_eq!(gate.local().get("/whoami").status, 401);
    wait_for("the log is written", 20, || gate.log().matches("\"agent\":").count() >= 13 && gate.log().contains("401"));
    let log = gate.folder().join("logs/requests.log");
    let lines = fs::read_to_string(&log).expect("the log");
    let broken = format!("{{\"ts\":\"{CANARY}\",\"msg\":\"request\"}}\n{CANARY}\n");
    fs::write(&log, format!("{broken}{lines}{}", &lines[..40])).expect("the log");
    let output = run(gate.folder(), &["suggest-limits", "--config", "config.toml"], &[]);
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}{errors}");
    let last = lines.lines().count() + 3;
    for words in
        ["requests.log:1 is left out: its time", "requests.log:2 is left out", &format!(".log:{last} is left out")]
    {
        assert!(errors.contains(words), "{words}: {errors}");
    }
    assert!(!errors.contains(CANARY) && !told.contains(CANARY), "{errors}{told}");
    assert!(told.contains(": 13 requests of 2 agents, ") && told.contains(" of nobody; 3 lines left out"), "{told}");
    assert!(told.contains("# Of those this would have refused 0."), "{told}");
    // What is printed is a configuration. A minute may have ended meanwhile.
    let rates: toml::Table = told.parse().expect("TOML");
    let rate = |agent: &str, key: &str| rates["agents"][agent]["rate"][key].as_integer().expect("a number");
    assert!((9..=18).contains(&rate("agent_api", "requests")), "{told}");
    assert!((2..=18).contains(&rate("agent_api", "burst")), "{told}");
    assert_eq!((rate("agent_mtls", "requests"), rate("agent_mtls", "burst")), (2, 2), "{told}");
    let folder = folder_with("config.toml", &told);
    let (code, text) = said(&run(folder.path(), &["check"], &[]));
    assert_eq!(code, Some(0), "{text}");
}

fn nothing(_: &Shared) {
    let unknown = "{\"ts\":\"2026-01-01T00:00:00Z\",\"msg\":\"request\",\"status\":401}\n";
    for (text, code) in [("", 1), ("\n\n", 1), ("not a line\n", 1), (unknown, 1)] {
        let folder = folder_with("requests.log", text);
        let (status, text) = said(&run(folder.path(), &["suggest-limits", "requests.log"], &[]));
        assert_eq!(status, Some(code), "{text}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (status, text) = said(&run(folder.path(), &["suggest-limits"], &[]));
    assert!(status == Some(1) && text.contains("requests.log cannot be read"), "{text}");
    let long = format!(
        "{{\"ts\":\"{}\"}}\n{{\"ts\":\"2026-01-01T00:00:00Z\",\"msg\":\"request\",\"agent\":\"a.b\"}}\n",
        "x".repeat(200_000)
    );
    let folder = folder_with("requests.log", &long);
    let (status, text) = said(&run(folder.path(), &["suggest-limits", "requests.log"], &[]));
    assert!(
        status == Some(0) && text.contains(":1 is left out: it is too long") && text.contains("[agents.\"a.b\"]"),
        "{text}"
    );
}
