//! `portcullis suggest-limits`.

mod proposal;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use filters::lifetime::Lifetime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::common::{FAILED, Given, load_elsewhere, print, refuse};

use proposal::{Proposal, Terms, Traffic};

pub(super) const AFTER: &str = "\
Reads the request log and prints a rate for each agent, as TOML to paste into its
table. Without LOGFILE it is the log of the configuration, with the part that was
set aside; `-` is standard input. A rate is the 99th percentile of the windows in
which the agent asked anything, and its burst the densest second, both with the
headroom on top; the burst is larger where those windows would not pass otherwise.
What a limit has refused is counted apart, and so are lines that are none: they
are named, and left out. A batch of MCP messages is one line of the log.

Exit codes:
  0  rates were proposed
  1  a file cannot be read, or no request of an agent is in there
  2  the configuration or the command line was refused

Examples:
  portcullis suggest-limits
  portcullis suggest-limits --window 1h --headroom 100 logs/requests.log
  zcat old/*.gz | portcullis suggest-limits -";

/// Bad lines of one file that are named.
const NAMED: u64 = 5;
/// Longest line that is read; those of the gate have some hundred bytes.
const LONGEST: u64 = 64 << 10;

/// Of what, and by what terms.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Suggest {
    /// Request logs, or `-`.
    #[arg(value_name = "LOGFILE")]
    files: Vec<PathBuf>,
    /// The period of the rates.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = window)]
    window: Lifetime,
    /// Room above the rate that was seen, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    headroom: u32,
    #[command(flatten)]
    given: Given,
}

pub(super) fn run(asked: Suggest) -> ExitCode {
    let files = match asked.files.is_empty() {
        false => asked.files,
        true => match load_elsewhere(&asked.given.into()) {
            Ok(settings) => {
                settings.logging.files.map(|files| configured(&files.folder, "requests")).unwrap_or_default()
            }
            Err(report) => return refuse(&report),
        },
    };
    let mut traffic = Traffic::default();
    let bad = match read(&files, |line| traffic.add(line)) {
        Ok(bad) => bad,
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            return ExitCode::from(FAILED);
        }
    };
    let terms = Terms { window: Duration::from_secs(asked.window.seconds().into()), headroom: asked.headroom.into() };
    let Some(period) = traffic.period() else {
        eprintln!("portcullis: no request is in there; lines that are none: {bad}");
        return ExitCode::from(FAILED);
    };
    let (text, proposed) = told(traffic, period, bad, terms);
    print(&text);
    if proposed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// The log of that name, after what was set aside of it, the oldest first.
pub(super) fn configured(folder: &Path, log: &str) -> Vec<PathBuf> {
    let aside = (1..).map(|number: u32| folder.join(format!("{log}.log.{number}"))).take_while(|file| file.exists());
    let mut files: Vec<PathBuf> = [folder.join(format!("{log}.log"))].into_iter().chain(aside).collect();
    files.reverse();
    files
}

/// Has `add` take each line of the files, and tells how many it does not take.
///
/// # Errors
/// The file that cannot be read, and why.
pub(super) fn read(files: &[PathBuf], mut add: impl FnMut(&[u8]) -> Result<(), &'static str>) -> Result<u64, String> {
    let of_file = |file: &PathBuf| {
        read_one(file, &mut add).map_err(|error| format!("{} cannot be read: {error}", file.display()))
    };
    files.iter().map(of_file).sum()
}

fn read_one(file: &Path, add: &mut impl FnMut(&[u8]) -> Result<(), &'static str>) -> io::Result<u64> {
    let input: Box<dyn Read> =
        if file == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(file)?) };
    let mut input = BufReader::new(input);
    let (mut line, mut number, mut bad) = (Vec::new(), 0u64, 0);
    loop {
        line.clear();
        if input.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let added = if line.len() as u64 == LONGEST && !line.ends_with(b"\n") {
            input.skip_until(b'\n')?;
            Err("it is too long")
        } else {
            add(&line)
        };
        if let Err(why) = added {
            bad += 1;
            if bad <= NAMED {
                eprintln!("portcullis: {}:{number} is left out: {why}", file.display());
            }
        }
    }
    if bad > NAMED {
        eprintln!("portcullis: {}: {} more lines are left out", file.display(), bad - NAMED);
    }
    Ok(bad)
}

/// The two times as they are told.
pub(super) fn period((from, to): (OffsetDateTime, OffsetDateTime)) -> (String, String) {
    let told = |time: OffsetDateTime| time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default();
    (told(from), told(to))
}

/// The proposals as TOML, and whether there is one.
fn told(traffic: Traffic, period: (OffsetDateTime, OffsetDateTime), bad: u64, terms: Terms) -> (String, bool) {
    let (from, to) = self::period(period);
    let (anonymous, window) = (traffic.anonymous, terms.window.as_secs());
    let proposals: Vec<_> = traffic.proposals(terms).collect();
    let seen: usize = proposals.iter().filter_map(|(_, proposal)| proposal.as_ref()).map(|p| p.seen).sum();
    let mut text = format!(
        "# From {from} to {to}: {seen} requests of {} agents, {anonymous} of nobody; {bad} lines left out.\n\
         # 99 of 100 windows of {window}s and the densest second, with {}% on top. Put each\n\
         # rate into the table that its agent has.\n",
        proposals.len(),
        terms.headroom,
    );
    for (agent, proposal) in &proposals {
        let name = agent.as_str();
        let quote = if name.contains('.') { "\"" } else { "" };
        match proposal {
            Some(proposal) => {
                let _ = write!(text, "\n[agents.{quote}{name}{quote}]\n{}", rate(proposal, window));
            }
            None => {
                let _ = write!(text, "\n# {name}: a limit has refused all that it asked.\n");
            }
        }
    }
    (text, seen > 0)
}

fn rate(proposal: &Proposal, window: u64) -> String {
    let Proposal { requests, burst, seen, busiest, densest, refused, limited } = proposal;
    let limited = if *limited == 0 { String::new() } else { format!("; {limited} more were refused by a limit") };
    format!(
        "# {seen} requests, at most {busiest} in {window}s and {densest} within a second{limited}.\n\
         # Of those this would have refused {refused}.\n\
         rate = {{ requests = {requests}, per = \"{window}s\", burst = {burst} }}\n"
    )
}

/// A period that a rate may have.
fn window(text: &str) -> Result<Lifetime, &'static str> {
    let most = 30 * 86_400;
    text.parse().ok().filter(|time: &Lifetime| time.seconds() <= most).ok_or("write such as `60s` or `1h`, up to 720h")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read as command, refused};
    use super::super::{Command, Once};
    use super::*;

    #[test]
    fn a_window_and_a_headroom_have_bounds() {
        let asked = command(&["suggest-limits", "a", "-", "--window", "1h", "--headroom", "0"]);
        let files = ["a", "-"].map(PathBuf::from).to_vec();
        let expected = Suggest { files, window: "3600".parse().unwrap(), headroom: 0, given: Given::default() };
        assert_eq!(asked, Command::Once(Once::SuggestLimits(expected)));
        for wrong in [["--window", "0"], ["--window", "721h"], ["--headroom", "-1"], ["--headroom", "10001"]] {
            assert!(refused(&[&["suggest-limits"][..], &wrong].concat()), "{wrong:?}");
        }
    }
}
