//! Frames of made-up gates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use time::OffsetDateTime;

use super::agents::{Choice, Sort};
use super::exposition::Exposition;
use super::figures::{Figures, Flow};
use super::gate::{Agent, Configuration, Nobody, RateLimit, Ready, Reload, Sample};
use super::paint::Paint;
use super::screen::draw;
use super::text::{latency, width};
use super::view::View;
use crate::cli::tests::{read, refused};
use crate::cli::{Command, Once};

/// 02:10:05 of a day.
const NOW: i64 = 1_795_918_205;

const METRICS: &str = r#"portcullis_build_info{version="0.1.0"} 1
process_start_time_seconds 1795914605
portcullis_vault_login_up 1
portcullis_vault_login_expiry_timestamp_seconds 1795920665
http_requests_in_progress 3
portcullis_connections 7
"#;

/// A sample so many seconds after the start of the test's time, with so many requests of agents so far.
fn sample(begin: Instant, seconds: u64, requests: u64, agents: &[Agent]) -> Sample {
    let (slow, refused) = (requests / 10, requests / 2);
    let metrics = format!(
        "{METRICS}http_request_duration_seconds_bucket{{route=\"/secrets/{{path}}\",le=\"0.001\"}} {}\n\
         http_request_duration_seconds_bucket{{route=\"/secrets/{{path}}\",le=\"+Inf\"}} {requests}\n\
         http_request_duration_seconds_bucket{{route=\"/metrics\",le=\"+Inf\"}} {}\n\
         portcullis_decisions_total{{decision=\"allow\"}} {}\n\
         portcullis_decisions_total{{decision=\"forbidden\"}} {refused}\n\
         portcullis_decisions_total{{decision=\"unauthenticated\"}} 0\n\
         portcullis_decisions_total{{decision=\"not_found\"}} 1000\n",
        requests - slow,
        1000 * seconds,
        requests - refused,
    );
    let ready = r#"{"ok": true, "vault": {"health": "active", "provisioned": {"ok": true}, "handles": true, "handles_are_current": true,
                    "suspensions": {"ok": true}, "suspended": ["bad"]}, "audit": {"ok": true}}"#;
    let configuration = Configuration {
        snapshot: 3,
        loaded: "2026-11-29T02:10:00Z".into(),
        digest: "4f2a91c0ffff".into(),
        pending: Vec::new(),
        last_reload: None,
    };
    let agents: BTreeMap<_, _> = agents.iter().map(|agent| (agent.name.clone(), agent.clone())).collect();
    Sample {
        at: begin + Duration::from_secs(seconds),
        time: OffsetDateTime::from_unix_timestamp(NOW).unwrap() + Duration::from_secs(seconds),
        metrics: Exposition::parse(&metrics),
        ready: serde_json::from_str::<Ready>(ready).unwrap(),
        configuration: Arc::new(configuration),
        agents: Arc::new(agents),
        nobody: Arc::default(),
    }
}

/// An agent with so many requests that were allowed, and so many that were not.
fn agent(name: &str, allowed: u64, refused: u64) -> Agent {
    Agent {
        name: name.into(),
        roles: vec!["reader".into()],
        last_seen: Some("2026-11-29T02:09:00Z".into()),
        allowed,
        refused: [("forbidden".to_owned(), refused)].into_iter().filter(|(_, count)| *count > 0).collect(),
        took_seconds: (allowed + refused) as f64 / 100.0,
        rate_limit: Some(RateLimit { at_once: 60.0, per_minute: 60.0, left: 58.0 }),
        streams: 0,
        told: None,
    }
}

/// Figures of ten seconds, in which each agent asks ten times and is refused five times.
fn figures(names: &[&str]) -> Figures {
    let begin = Instant::now();
    let some = |allowed, refused| names.iter().map(|name| agent(name, allowed, refused)).collect::<Vec<_>>();
    let before = sample(begin, 0, 0, &some(100, 0));
    Figures::of(Some(&before), &sample(begin, 10, 100, &some(105, 5)))
}

fn view(names: &[&str]) -> View {
    View { figures: Some(figures(names)), ..View::default() }
}

/// The frame on a terminal of that size.
fn frame(view: &View, columns: u16, lines: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    let cells = terminal.backend().buffer().content.chunks(columns.into());
    cells.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
}

#[test]
fn rates_and_times_are_those_between_two_samples() {
    let figures = figures(&["ci"]);
    let quantiles = [Some(0.000_555_555_555_555_555_6), Some(f64::INFINITY)];
    assert_eq!(figures.requests, Flow { rate: Some(10.0), quantiles }, "without what only looks");
    assert_eq!(figures.upstream, Flow { rate: Some(0.0), quantiles: [None; 2] });
    let refusals: Vec<_> = figures.refusals.iter().map(|one| (one.code.as_str(), one.rate, one.total)).collect();
    assert_eq!(refusals, [("forbidden", Some(5.0), 50.0), ("not_found", Some(0.0), 1000.0)]);
    let row = &figures.agents[0];
    assert_eq!((row.rate, row.refused_rate, latency(row.latency).as_str()), (Some(1.0), Some(0.5), "10ms"));
    assert_eq!((row.reason.as_str(), row.seen), ("forbidden", Some(Duration::from_secs(75))));
}

#[test]
fn nothing_is_told_between_two_processes_or_before_the_second_sample() {
    let begin = Instant::now();
    let first = sample(begin, 0, 50, &[agent("ci", 1, 0)]);
    let mut other = sample(begin, 1, 10, &[agent("ci", 2, 0), agent("new", 2, 0)]);
    let rates = |before, now: &Sample| {
        let figures = Figures::of(before, now);
        (figures.requests.rate, figures.refusals[0].rate, figures.agents.iter().map(|row| row.rate).collect::<Vec<_>>())
    };
    assert_eq!(rates(None, &first), (None, None, vec![None]));
    let (_, _, agents) = rates(Some(&first), &other);
    assert_eq!(agents, [Some(1.0), None], "an agent that was not known before has no rate");
    other.metrics = Exposition::parse(&METRICS.replace("1795914605", "1795914606"));
    assert_eq!(Figures::of(Some(&first), &other).requests.rate, None, "it began anew");
}

#[test]
fn a_frame_of_the_usual_size_has_all_of_it() {
    let frame = frame(&view(&["bad", "ci"]), 80, 24);
    assert_eq!(
        frame,
        [
            "portcullis 0.1.0  READY  up 1h00m                                   02:10:15 UTC",
            "Config  snapshot 3 4f2a91c0 loaded 02:10:00, last reload none",
            "Vault   active, login ends in 40m50s, tokens 0, leases 0; suspended 0",
            "",
            "                               /s      p50      p99",
            "Requests                     10.0   0.56ms     >10s  in flight 2, waiting 0",
            "Requests to Vault             0.0        -        -  streams 0, connections 7",
            "",
            "REFUSALS                       /s    total",
            "forbidden                     5.0       50",
            "not_found                     0.0     1000",
            "",
            "AGENTS 2 by requests       REQ/s  REF/s    MEAN ALLOWED REFUSED     LEFT    SEEN",
            "bad            SUSPENDED     1.0    0.5    10ms     105       5    58/60   1m15s",
            "ci                           1.0    0.5    10ms     105       5    58/60   1m15s",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "q quit  s sort  / filter  p pause  up/down scroll  ? help",
        ]
    );
}

#[test]
fn every_size_is_filled_and_none_overflows() {
    let names: Vec<String> = (0..10_000).map(|number| format!("agent-{number:05}-{}", "x".repeat(50))).collect();
    let mut view = view(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let nobody = Nobody { principal: "日本\u{1b}[2J\u{202e}x".repeat(40), why: "y".repeat(300), ..Nobody::default() };
    let begin = Instant::now();
    let stranger = Figures::of(None, &Sample { nobody: Arc::new(vec![nobody]), ..sample(begin, 0, 0, &[]) });
    let figures = view.figures.as_mut().unwrap();
    figures.nobody = stranger.nobody;
    figures.problems = vec!["z".repeat(300); 9];
    for (columns, lines) in [(60, 15), (80, 24), (100, 30), (120, 40), (200, 60)] {
        let told = view.lines((columns, lines));
        assert_eq!(told.len(), usize::from(lines), "{columns} x {lines}");
        for line in told {
            let text = line.to_string();
            assert!(width(&text) <= usize::from(columns), "{columns} x {lines}: {text}");
            assert!(text.chars().all(filters::character::prints), "{text}");
        }
        assert!(frame(&view, columns, lines).iter().any(|line| line.starts_with("agent-00000")), "{columns} x {lines}");
    }
    view.choice.offset = 9_999;
    assert!(frame(&view, 80, 24).iter().any(|line| line.starts_with("agent-09999")), "the last is shown");
    view.choice.filter = "agent-0777".into();
    let shown = frame(&view, 80, 24);
    assert!(shown.iter().any(|line| line.starts_with("AGENTS 10/10000")), "{shown:#?}");
    view.choice.filter = "none".into();
    assert!(frame(&view, 80, 24).iter().any(|line| line == "no agent has that in its name"));
    assert_eq!(frame(&view, 59, 24)[..2], ["The terminal is 59 x 24;", "this needs 60 x 15."]);
}

#[test]
fn a_gate_that_is_lost_or_not_well_says_so_in_words() {
    let lost = View { lost: Some((OffsetDateTime::UNIX_EPOCH, "gone\u{1b}[2J".into())), ..View::default() };
    assert_eq!(frame(&lost, 80, 24)[1], "! not reachable since 00:00:00 UTC: gone\\u{1b}[2J");
    let lost = View { figures: view(&[]).figures, ..lost };
    let told = frame(&lost, 80, 24);
    assert!(told[0].contains("NOT REACHABLE") && told[0].ends_with("figures of 02:10:15 UTC"), "{told:#?}");
    assert!(told.iter().any(|line| line == "no agent is known"), "{told:#?}");
    let silent = View { lost: None, silence: Some(7), ..lost };
    assert!(frame(&silent, 80, 24)[0].contains("NO ANSWER for 7s"), "it is not said to be ready");

    let mut unwell = sample(Instant::now(), 0, 0, &[]);
    unwell.ready = serde_json::from_str(r#"{"ok": false, "draining": true, "vault": {"health": "sealed"}}"#).unwrap();
    unwell.configuration = Arc::new(Configuration {
        last_reload: Some(Reload {
            at: "2026-11-28T02:10:00Z".into(),
            ok: false,
            problem: Some("1 problem\nx".into()),
        }),
        pending: vec!["threads".into()],
        ..Configuration::default()
    });
    let unwell = View { figures: Some(Figures::of(None, &unwell)), is_paused: true, ..View::default() };
    let told = frame(&unwell, 120, 24).join("\n");
    for words in [
        "NOT READY",
        "PAUSED",
        "! Vault: sealed",
        "REFUSED 2026-11-28 02:10:00: 1 problem / x",
        "for another gate: threads",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn agents_are_shown_in_the_order_that_is_asked_for() {
    let begin = Instant::now();
    let mut seen = [agent("b", 30, 0), agent("a", 20, 9), agent("c", 10, 3)];
    seen[2].last_seen = Some("2026-11-29T02:10:00Z".into());
    seen[1].took_seconds = 99.0;
    let before = sample(begin, 0, 0, &["a", "b", "c"].map(|name| agent(name, 0, 0)));
    let figures = Figures::of(Some(&before), &sample(begin, 10, 0, &seen));
    for (sort, order) in [
        (Sort::Requests, "bac"),
        (Sort::Refusals, "acb"),
        (Sort::Latency, "abc"),
        (Sort::Name, "abc"),
        (Sort::Seen, "cab"),
    ] {
        let view =
            View { figures: Some(figures.clone()), choice: Choice { sort, ..Choice::default() }, ..View::default() };
        let frame = frame(&view, 80, 24);
        let place = frame.iter().position(|line| line.starts_with("AGENTS")).unwrap();
        let names: String = frame[place + 1..place + 4].iter().map(|line| &line[..1]).collect();
        assert_eq!(names, order, "{sort:?}");
    }
}

#[test]
fn there_is_no_colour_where_none_is_wanted() {
    for is_plain in [false, true] {
        let view = View { paint: Paint { is_plain }, ..view(&["bad"]) };
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        let is_coloured = terminal.backend().buffer().content.iter().any(|cell| cell.fg != Color::Reset);
        assert_eq!(is_coloured, !is_plain);
    }
}

#[test]
fn it_asks_once_in_a_second_unless_told_otherwise() {
    let Command::Once(Once::Top(top)) = read(&["top"]) else { panic!("another verb") };
    assert_eq!((top.interval.seconds(), top.once), (1, false));
    assert!(matches!(read(&["top", "--interval", "5s", "--sort", "refusals", "--once"]), Command::Once(Once::Top(_))));
    assert!(refused(&["top", "--interval", "0s"]) && refused(&["top", "--interval", "2h"]));
    assert!(refused(&["top", "--sort", "colour"]));
}
