//! `portcullis top`: the numbers of a frame, and a terminal that is left as it was found.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;
use tests::process::binary;
use tests::{Gate, wait_for};

use super::agents::plan;
use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_frame_has_the_numbers_of_what_was_asked", once),
    ("the_terminal_is_left_as_it_was_found_and_a_gate_that_was_away_is_shown_again", terminal),
];

/// A frame as text, and the exit code.
pub(super) fn frame(folder: &Path, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    said(&run(folder, &["top", "--once", "--config", "config.toml"], environment))
}

/// The cells of the line that begins with that.
fn line<'f>(frame: &'f str, begin: &str) -> Vec<&'f str> {
    let line = frame.lines().find(|line| line.split(' ').next() == Some(begin));
    line.unwrap_or_else(|| panic!("no {begin} in {frame}")).split_ascii_whitespace().skip(1).collect()
}

fn once(shared: &Shared) {
    let mut gate = Gate::start(shared.world(), &plan());
    let alice = gate.agent("alice");
    alice.put("/secrets/mine", &json!({"data": {"a": 1}}));
    (0..3).for_each(|_| drop(alice.get("/secrets/none")));
    gate.agent("bob").get("/whoami");
    gate.local().with("X-API-Key", "nobody's").get("/whoami");
    wait_for("all is counted", 10, || gate.metric("portcullis_decisions_total") == 6.0);

    let (code, shown) = frame(gate.folder(), &[]);
    assert_eq!(code, Some(0), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(!shown.contains('\u{1b}'), "it is plain text: {shown}");
    assert!(lines[0].starts_with(concat!("portcullis ", env!("CARGO_PKG_VERSION"), "  READY  up ")), "{shown}");
    assert!(lines[1].contains("snapshot 1 ") && lines[1].ends_with("last reload none"), "{shown}");
    assert!(lines[2].starts_with("Vault   active, logged in") || lines[2].contains("login ends in"), "{shown}");
    assert!(lines[2].ends_with("suspended 1"), "{shown}");
    assert_eq!(line(&shown, "Requests")[0], "0.0", "to look at the gate is no load: {shown}");
    assert_eq!((line(&shown, "not_found"), line(&shown, "suspended")), (vec!["0.0", "3"], vec!["0.0", "1"]));
    assert_eq!(line(&shown, "unauthenticated"), ["0.0", "1"]);
    assert!(shown.contains("AGENTS 5 by requests"), "{shown}");
    assert_eq!(line(&shown, "alice")[..6], ["0.0", "0.0", "-", "1", "3", "46/50"], "{shown}");
    let bob = line(&shown, "bob");
    assert_eq!((&bob[..3], &bob[4..7]), (&["SUSPENDED", "0.0", "0.0"][..], &["0", "1", "60/60"][..]), "{shown}");

    let ended = AtomicBool::new(false);
    let (code, shown) = thread::scope(|scope| {
        scope.spawn(|| {
            let reader = gate.agent("agent_mtls");
            while !ended.load(Ordering::Relaxed) {
                reader.get("/whoami");
            }
        });
        let shown = frame(gate.folder(), &[("COLUMNS", "200"), ("LINES", "60")]);
        ended.store(true, Ordering::Relaxed);
        shown
    });
    assert_eq!(code, Some(0));
    for name in ["Requests", "agent_mtls"] {
        assert!(line(&shown, name)[0].parse::<f64>().is_ok_and(|rate| rate > 0.0), "{shown}");
    }
    assert!(shown.contains("api_key: key ") && shown.contains("1 times, "), "who is nobody is shown too: {shown}");
    assert!(line(&shown, "alice").contains(&"not_found"), "the reason of most refusals: {shown}");

    assert_eq!(gate.terminate(), Some(0));
    let (code, told) = frame(gate.folder(), &[]);
    assert!(code == Some(1) && told.contains("the gate cannot be asked"), "{told}");
}

/// `portcullis top` on a terminal of 80 x 24 of its own. What it writes goes to the file `screen`, its process id to
/// `pid`, the terminal's settings before and after to files of those names.
fn on_terminal(folder: &Path) -> Child {
    let top = format!("'{}' top --config config.toml", binary().display());
    let line = format!(
        "trap '' HUP; stty rows 24 cols 80; stty -g > before; (sh -c 'echo $PPID' > pid; exec {top}) 2> problem; \
         stty -g > after"
    );
    for before in ["screen", "pid", "after"] {
        let _ = fs::remove_file(folder.join(before));
    }
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "screen"]).current_dir(folder).env("TERM", "xterm").env_remove("NO_COLOR");
    let output = File::create(folder.join("script")).expect("a file");
    command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::null()).spawn().expect("script (util-linux)")
}

fn text(folder: &Path, name: &str) -> String {
    fs::read(folder.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Waits until the screen shows that after so many bytes of all that was written to it.
fn shows(folder: &Path, after: usize, what: &str) -> usize {
    wait_for(what, 20, || text(folder, "screen").get(after..).is_some_and(|screen| screen.contains(what)));
    text(folder, "screen").len()
}

/// Waits for the end of it, and looks at what is left.
fn restored(folder: &Path, mut top: Child) {
    wait_for("it ends", 20, || top.try_wait().expect("its state").is_some());
    let settings = ["before", "after"].map(|name| text(folder, name));
    assert!(!settings[0].is_empty() && settings[0] == settings[1], "{settings:?}");
    let screen = text(folder, "screen");
    for sequence in ["\u{1b}[?1049l", "\u{1b}[?25h"] {
        assert!(screen.rfind(sequence) > screen.rfind("\u{1b}[?1049h"), "{sequence:?} {}", text(folder, "problem"));
    }
}

fn terminal(shared: &Shared) {
    let mut gate = Gate::start(shared.world(), &plan());
    let folder = gate.folder().to_owned();
    let mut top = on_terminal(&folder);
    let mut keys = top.stdin.take().expect("a pipe");
    let so_far = shows(&folder, 0, "READY");
    assert_eq!(gate.terminate(), Some(0));
    let so_far = shows(&folder, so_far, "! not reachable since ");
    let successor = gate.start_again();
    gate.replaced_by(successor);
    shows(&folder, so_far, "READY");
    keys.write_all(b"q").expect("a key");
    restored(&folder, top);

    let mut top = on_terminal(&folder);
    let _keys = top.stdin.take();
    shows(&folder, 0, "READY");
    let ended = Command::new("kill").args(["-s", "TERM", text(&folder, "pid").trim()]).status();
    assert!(ended.is_ok_and(|status| status.success()), "kill");
    restored(&folder, top);

    let mut top = on_terminal(&folder);
    shows(&folder, 0, "READY");
    let stat = format!("/proc/{}/stat", text(&folder, "pid").trim());
    let is_there = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(is_there());
    top.kill().and_then(|()| top.wait()).expect("its terminal is gone");
    wait_for("nothing is left of it", 20, || !is_there());
}
