//! One frame, as lines of text.

use ratatui::text::{Line, Span};
use time::OffsetDateTime;

use super::agents::{self, Choice};
use super::figures::{Figures, Flow};
use super::paint::{Paint, Tone};
use super::text::{clean, latency, left, number, rate, right, span};

/// Columns and lines that a frame needs.
pub(super) const LEAST: (u16, u16) = (60, 15);

/// Columns from which on a frame has room for more than what is needed.
const WIDE: usize = 80;

/// Everything that a frame shows.
#[derive(Default)]
pub(super) struct View {
    /// The figures that came last, where any have.
    pub(super) figures: Option<Figures>,
    /// The moment since which the gate cannot be asked, and the reason.
    pub(super) lost: Option<(OffsetDateTime, String)>,
    /// Whole seconds for which it has said nothing, where that is long.
    pub(super) silence: Option<u64>,
    /// The agents that are shown, and their order.
    pub(super) choice: Choice,
    /// True while the filter is written.
    pub(super) is_filtering: bool,
    /// True while figures stay as they are.
    pub(super) is_paused: bool,
    /// True while the keys are explained.
    pub(super) shows_help: bool,
    /// The manner in which text gets its tone.
    pub(super) paint: Paint,
    /// True where nobody can press a key.
    pub(super) is_once: bool,
}

impl View {
    /// The lines of a frame of that many columns and lines.
    pub(super) fn lines(&self, (columns, height): (u16, u16)) -> Vec<Line<'static>> {
        if columns < LEAST.0 || height < LEAST.1 {
            let (needed, lines) = LEAST;
            return vec![
                Line::raw(format!("The terminal is {columns} x {height};")),
                Line::raw(format!("this needs {needed} x {lines}.")),
            ];
        }
        let (columns, height) = (usize::from(columns), usize::from(height));
        if self.shows_help {
            return self.help();
        }
        let keys = usize::from(!self.is_once);
        let mut lines = self.state(columns);
        if let Some(figures) = &self.figures {
            let rest = height.saturating_sub(lines.len() + keys);
            lines.extend(self.middle(figures, columns, rest));
        }
        lines.truncate(height - keys);
        lines.iter_mut().for_each(|line| cut(line, columns));
        if !self.is_once {
            lines.resize(height - keys, Line::default());
            lines.push(self.keys(columns));
        }
        lines
    }

    /// Passes over so many agents more.
    pub(super) fn scroll(&mut self, places: isize) {
        let most = self.figures.as_ref().map_or(0, |figures| figures.agents.len().saturating_sub(1));
        self.choice.offset = self.choice.offset.saturating_add_signed(places).min(most);
    }

    /// The state of the gate.
    fn state(&self, columns: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        let Some(figures) = &self.figures else {
            lines.push(Line::from(self.paint.piece(Tone::Title, "portcullis")));
            lines.extend(self.loss(columns));
            return lines;
        };
        let mut first = vec![self.paint.piece(Tone::Title, format!("portcullis {}  ", figures.version))];
        first.push(match (&self.lost, self.silence, figures.is_ready) {
            (Some(_), _, _) => self.paint.piece(Tone::Bad, "NOT REACHABLE"),
            (None, Some(seconds), _) => self.paint.piece(Tone::Bad, format!("NO ANSWER for {seconds}s")),
            (None, None, true) => self.paint.piece(Tone::Good, "READY"),
            (None, None, false) => self.paint.piece(Tone::Bad, "NOT READY"),
        });
        let is_old = self.lost.is_some() || self.silence.is_some();
        if !is_old {
            first.push(Span::raw(format!("  up {}", span(figures.up))));
        }
        let mark = if self.is_paused { "PAUSED " } else { "" };
        let of = figures.time.map(clock).unwrap_or_default();
        let time = format!("{mark}{}{of} UTC", if is_old { "figures of " } else { "" });
        let used: usize = first.iter().map(Span::width).sum();
        first.push(Span::raw(right(&time, columns.saturating_sub(used))));
        lines.push(first.into());
        lines.extend(self.loss(columns));
        lines.push(self.configuration(figures, columns));
        lines.push(self.vault(figures, columns));
        for problem in figures.problems.iter().take(3) {
            lines.push(self.paint.piece(Tone::Bad, left(&format!("! {problem}"), columns)).into());
        }
        lines
    }

    fn loss(&self, columns: usize) -> Option<Line<'static>> {
        let (since, why) = self.lost.as_ref()?;
        let text = format!("! not reachable since {} UTC: {}", clock(*since), clean(why));
        Some(self.paint.piece(Tone::Bad, left(&text, columns)).into())
    }

    fn configuration(&self, figures: &Figures, columns: usize) -> Line<'static> {
        let about = &figures.configuration;
        let digest: String = about.digest.chars().take(8).collect();
        let loaded = about.loaded.map(|loaded| moment(loaded, figures.time)).unwrap_or_default();
        let number = if columns < WIDE { "#" } else { "snapshot " };
        let mut line = vec![
            self.paint.piece(Tone::Title, "Config  "),
            Span::raw(format!("{number}{} {digest} loaded {loaded}, last reload ", about.snapshot)),
        ];
        match &about.reload {
            None => line.push(Span::raw("none")),
            Some((at, problem)) => {
                let at = at.map(|at| moment(at, figures.time)).unwrap_or_default();
                line.push(match problem {
                    None => self.paint.piece(Tone::Good, format!("ok {at}")),
                    Some(problem) => self.paint.piece(Tone::Bad, format!("REFUSED {at}: {problem}")),
                });
            }
        }
        if !about.pending.is_empty() {
            line.push(Span::raw(format!("; for another gate: {}", about.pending.join(", "))));
        }
        line.into()
    }

    fn vault(&self, figures: &Figures, columns: usize) -> Line<'static> {
        let vault = &figures.vault;
        let of_health = if vault.health == "active" { Tone::Good } else { Tone::Bad };
        let login = match (vault.is_in, vault.login) {
            (false, _) => self.paint.piece(Tone::Bad, "NO LOGIN"),
            (true, None) => Span::raw("logged in"),
            (true, Some(rest)) => Span::raw(format!("login ends in {}", span(rest))),
        };
        let [suspended, tokens, leases] = ["suspended", "tokens", "leases"].map(|name| number(figures.number(name)));
        let of_suspended = if suspended == "0" { Tone::Plain } else { Tone::Bad };
        let held = if columns < WIDE { String::new() } else { format!(", tokens {tokens}, leases {leases}") };
        vec![
            self.paint.piece(Tone::Title, "Vault   "),
            self.paint.piece(of_health, vault.health.clone()),
            Span::raw(", "),
            login,
            Span::raw(format!("{held}; ")),
            self.paint.piece(of_suspended, format!("suspended {suspended}")),
        ]
        .into()
    }

    /// What is between the state and the keys, in so many lines.
    fn middle(&self, figures: &Figures, columns: usize, height: usize) -> Vec<Line<'static>> {
        let airy = usize::from(height >= 18);
        let gap = std::iter::repeat_n(Line::default(), airy);
        let mut lines: Vec<_> = gap.clone().collect();
        lines.extend(self.flows(figures, columns));
        lines.extend(gap.clone());
        // A third of what is left is for reasons, at most ten of them.
        let shown = (height.saturating_sub(lines.len()) / 3).saturating_sub(1).clamp(2, 10);
        lines.extend(self.refusals(figures, columns, shown.min(figures.refusals.len().max(1))));
        lines.extend(gap.clone());
        let strangers = match height {
            24.. => figures.nobody.len().min(height / 8),
            _ => 0,
        };
        let below = if strangers > 0 { strangers + 1 + airy } else { 0 };
        lines.extend(agents::lines(
            &self.choice,
            self.paint,
            figures,
            (columns, height.saturating_sub(lines.len() + below)),
        ));
        if strangers > 0 {
            lines.resize(height.saturating_sub(strangers + 1), Line::default());
            lines.extend(self.nobody(figures, columns, strangers));
        }
        lines
    }

    fn flows(&self, figures: &Figures, columns: usize) -> Vec<Line<'static>> {
        let flow = |name: &str, flow: Flow, beside: &[&str]| {
            let [middle, most] = flow.quantiles.map(latency);
            let some = if columns < WIDE { 1 } else { beside.len() };
            let beside = beside.iter().take(some).map(|name| format!("{name} {}", number(figures.number(name))));
            let beside = beside.collect::<Vec<_>>().join(", ");
            Line::raw(format!("{}  {beside}", cells(columns, name, &[&rate(flow.rate), &middle, &most])))
        };
        vec![
            self.paint.piece(Tone::Title, cells(columns, "", &["/s", "p50", "p99"])).into(),
            flow("Requests", figures.requests, &["in flight", "waiting"]),
            flow("Requests to Vault", figures.upstream, &["streams", "connections"]),
        ]
    }

    fn refusals(&self, figures: &Figures, columns: usize, shown: usize) -> Vec<Line<'static>> {
        let mut lines = vec![Line::from(self.paint.piece(Tone::Title, cells(columns, "REFUSALS", &["/s", "total"])))];
        if figures.refusals.is_empty() {
            lines.push(self.paint.piece(Tone::Dim, "none since the gate started").into());
        }
        lines.extend(figures.refusals.iter().take(shown).map(|refusals| {
            Line::raw(cells(columns, &refusals.code, &[&rate(refusals.rate), &number(refusals.total)]))
        }));
        let more = figures.refusals.len().saturating_sub(shown);
        if let (1.., Some(last)) = (more, lines.last_mut()) {
            last.push_span(self.paint.piece(Tone::Dim, format!("  and {more} more")));
        }
        lines
    }

    fn nobody(&self, figures: &Figures, columns: usize, shown: usize) -> Vec<Line<'static>> {
        let mut lines = vec![self.paint.piece(Tone::Title, "NOBODY: credentials that were refused last").into()];
        lines.extend(figures.nobody.iter().take(shown).map(|stranger| {
            let seen = stranger.seen.map(span).unwrap_or_default();
            let who = left(&stranger.who, columns.saturating_sub(20) / 2);
            let text = format!("{who} {} times, {seen} ago: {}", stranger.refused, stranger.why);
            Line::raw(left(&text, columns))
        }));
        lines
    }

    fn keys(&self, columns: usize) -> Line<'static> {
        let text = if self.is_filtering {
            format!("filter: {}_   Enter keeps it, Esc clears it", self.choice.filter)
        } else {
            let pause = if self.is_paused { "p go on" } else { "p pause" };
            format!("q quit  s sort  / filter  {pause}  up/down scroll  ? help")
        };
        self.paint.piece(Tone::Dim, left(&text, columns)).into()
    }

    fn help(&self) -> Vec<Line<'static>> {
        let mut lines = vec![Line::from(self.paint.piece(Tone::Title, "portcullis top")), Line::default()];
        lines.extend(HELP.lines().map(Line::raw));
        lines
    }
}

const HELP: &str = "\
q, Ctrl-C          quit
s, right, left     sort by requests, refusals, latency, name, last seen
up, down           scroll; PgUp, PgDn by ten, Home to the first
/                  show agents with a part of their names; Esc shows all
p                  pause, and go on
?                  this, and back

/s is the number in a second, since the figures before. p50 and p99
are of that time too, interpolated within the metrics' buckets.
MEAN is an agent's own, from head to answer.
LEFT is what an agent's limit lets through at once now.";

/// A row of a table whose columns stand below each other in the middle of the frame.
fn cells(columns: usize, name: &str, numbers: &[&str]) -> String {
    let [first, others] = if columns < WIDE { [22, 8] } else { [24, 9] };
    let numbers: String = numbers.iter().map(|number| right(number, others)).collect();
    format!("{}{numbers}", left(name, first))
}

/// Cuts a line to so many columns.
fn cut(line: &mut Line<'static>, columns: usize) {
    let mut rest = columns;
    for span in &mut line.spans {
        if span.width() > rest {
            span.content = left(&span.content, rest).into();
        }
        rest = rest.saturating_sub(span.width());
    }
}

/// The time of day.
pub(super) fn clock(time: OffsetDateTime) -> String {
    let (hours, minutes, seconds) = time.to_hms();
    format!("{hours:02}:{minutes:02}:{seconds:02}")
}

/// A time as seen from `now`: with its date, where that is another.
fn moment(time: OffsetDateTime, now: Option<OffsetDateTime>) -> String {
    match now.is_some_and(|now| now.date() == time.date()) {
        true => clock(time),
        false => format!("{} {}", time.date(), clock(time)),
    }
}
