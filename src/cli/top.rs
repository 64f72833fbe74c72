//! `portcullis top`.

mod agents;
mod exposition;
mod figures;
mod gate;
mod paint;
mod screen;
mod text;
mod view;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use filters::lifetime::Lifetime;
use ratatui::crossterm::terminal;

use super::common::{FAILED, Given, load_elsewhere, print, refuse};
use crate::config;

use agents::{Choice, Sort};
use gate::Gate;
use paint::Paint;
use screen::History;
use view::View;

pub(super) const AFTER: &str = "\
Asks the gate that runs with the same file, environment and flags, at its admin
socket or address, once in each interval, and shows its state, rates and times of
requests, refusals by reason, and agents. `?` explains the keys. Where standard
output is no terminal, one frame is printed as text, as with --once: of COLUMNS
and LINES, else 80 x 24. Its rates are those of one interval. NO_COLOR takes the
colours away.

A gate that begins anew is shown again by itself. Each question about agents or
the configuration is recorded by the gate's audit, where that is on; they are
asked while agents ask something.

Exit codes:
  0  ended by q, Ctrl-C or a signal; or a frame was printed
  1  with --once: the gate cannot be asked; or the terminal cannot be used
  2  the configuration or the command line was refused

Examples:
  portcullis top --config /etc/portcullis.toml
  portcullis top --sort refusals --interval 5s
  portcullis top --once | grep 'NOT READY'";

/// The gate and the manner in which it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Top {
    /// The time between two questions.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Lifetime,
    /// The order of agents.
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Print one frame as text.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    given: Given,
}

fn interval(text: &str) -> Result<Lifetime, &'static str> {
    text.parse().ok().filter(|time: &Lifetime| time.seconds() <= 3600).ok_or("write such as `1s` or `10s`, up to `1h`")
}

pub(super) fn run(Top { interval, sort, once, given }: Top) -> ExitCode {
    let settings = match load_elsewhere(&given.into()) {
        Ok(settings) => settings,
        Err(report) => return refuse(&report),
    };
    let gate = Gate::new(settings.admin);
    let is_plain = config::variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_once = once || !io::stdout().is_terminal();
    let choice = Choice { sort, ..Choice::default() };
    let view = View { choice, paint: Paint { is_plain }, is_once, ..View::default() };
    let interval = Duration::from_secs(interval.seconds().into());
    let shown = if is_once { frame(gate, interval, view) } else { screen::run(gate, interval, view).map_err(unusable) };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(FAILED)
        }
    }
}

fn unusable(error: io::Error) -> String {
    format!("the terminal cannot be used: {error}")
}

/// Prints one frame.
fn frame(mut gate: Gate, interval: Duration, mut view: View) -> Result<(), String> {
    let mut history = History::default();
    let unanswered = |why: String| format!("the gate cannot be asked: {}", text::clean(&why));
    history.take(Ok(gate.ask().map_err(unanswered)?), &mut view);
    thread::sleep(interval);
    history.take(Ok(gate.ask().map_err(unanswered)?), &mut view);
    let lines = view.lines(size());
    print(&lines.iter().map(|line| format!("{}\n", line.to_string().trim_end())).collect::<String>());
    Ok(())
}

/// Columns and lines of standard output: of its terminal, else as COLUMNS and LINES say.
fn size() -> (u16, u16) {
    let given = |name| config::variable(name).and_then(|value| value.parse().ok());
    let size = if io::stdout().is_terminal() { terminal::size().ok() } else { None };
    size.unwrap_or((given("COLUMNS").unwrap_or(80), given("LINES").unwrap_or(24)))
}

#[cfg(test)]
mod tests;
