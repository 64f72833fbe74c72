//! The table of agents.

use std::cmp::Ordering;

use ratatui::text::Line;

use super::figures::{Figures, Row};
use super::paint::{Paint, Tone};
use super::text::{latency, left, number, rate, right, span};

/// The order of agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sort {
    /// By requests in a second, and in all where that is the same.
    #[default]
    Requests,
    /// By refusals.
    Refusals,
    /// By the mean time of a request.
    Latency,
    /// By name.
    Name,
    /// By the last request.
    Seen,
}

impl Sort {
    /// Every order, each at the place that it has as a number.
    pub(super) const EVERY: [Self; 5] = [Self::Requests, Self::Refusals, Self::Latency, Self::Name, Self::Seen];

    /// The order that many places further on in the list of them.
    pub(super) fn further(self, places: usize) -> Self {
        let place = self as usize + places;
        Self::EVERY.into_iter().cycle().nth(place).unwrap_or_default()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Refusals => "refusals",
            Self::Latency => "latency",
            Self::Name => "name",
            Self::Seen => "last seen",
        }
    }

    fn compare(self, one: &Row, other: &Row) -> Ordering {
        let by = |key: fn(&Row) -> f64| key(other).total_cmp(&key(one));
        let order = match self {
            Self::Requests => by(|row| row.rate.unwrap_or_default()).then(by(|row| (row.allowed + row.refused) as f64)),
            Self::Refusals => by(|row| row.refused_rate.unwrap_or_default()).then(by(|row| row.refused as f64)),
            Self::Latency => by(|row| row.latency.unwrap_or(-1.0)),
            Self::Name => Ordering::Equal,
            Self::Seen => by(|row| row.seen.map_or(f64::NEG_INFINITY, |seen| -seen.as_secs_f64())),
        };
        order.then_with(|| one.name.cmp(&other.name))
    }
}

/// The agents that are shown, and their order.
#[derive(Default)]
pub(super) struct Choice {
    /// The order.
    pub(super) sort: Sort,
    /// A part of their names.
    pub(super) filter: String,
    /// Agents that are passed over.
    pub(super) offset: usize,
}

/// A column: its title, its width, the columns of the frame from which on it is shown, and its text.
struct Column {
    title: &'static str,
    width: usize,
    from: usize,
    text: fn(&Row) -> String,
}

const COLUMNS: [Column; 8] = [
    Column { title: "REQ/s", width: 8, from: 0, text: |row| rate(row.rate) },
    Column { title: "REF/s", width: 7, from: 0, text: |row| rate(row.refused_rate) },
    Column { title: "MEAN", width: 8, from: 70, text: |row| latency(row.latency) },
    Column { title: "ALLOWED", width: 8, from: 80, text: |row| number(row.allowed as f64) },
    Column { title: "REFUSED", width: 8, from: 60, text: |row| number(row.refused as f64) },
    Column { title: "LEFT", width: 9, from: 80, text: left_of },
    Column { title: "STREAMS", width: 8, from: 100, text: |row| number(row.streams as f64) },
    Column { title: "SEEN", width: 8, from: 0, text: |row| row.seen.map_or_else(|| "never".to_owned(), span) },
];

/// Columns from which on the reason of most refusals is shown, and its width.
const REASON: (usize, usize) = (120, 26);
/// Columns from which on roles are shown.
const ROLES: usize = 150;
/// The mark of suspended agents.
const SUSPENDED: &str = " SUSPENDED";

fn left_of(row: &Row) -> String {
    let Some([left, most]) = row.left else { return "-".to_owned() };
    let both = format!("{}/{}", number(left), number(most));
    if both.len() <= 8 { both } else { number(left) }
}

/// The table in so many columns and lines, its title among them.
pub(super) fn lines(
    choice: &Choice,
    paint: Paint,
    figures: &Figures,
    (columns, height): (usize, usize),
) -> Vec<Line<'static>> {
    let filter = choice.filter.to_ascii_lowercase();
    let mut rows: Vec<&Row> = figures.agents.iter().filter(|row| row.name.contains(&filter)).collect();
    rows.sort_by(|one, other| choice.sort.compare(one, other));
    let shown: Vec<&Column> = COLUMNS.iter().filter(|column| columns >= column.from).collect();
    let fixed: usize = shown.iter().map(|column| column.width).sum();
    let reason = if columns >= REASON.0 { REASON.1 } else { 0 };
    let name = columns.saturating_sub(fixed + reason).clamp(12, 40);
    let roles = if columns >= ROLES { columns.saturating_sub(fixed + reason + name + 2) } else { 0 };
    let rows_shown = height.saturating_sub(1);
    let offset = choice.offset.min(rows.len().saturating_sub(rows_shown));
    let mut lines = vec![
        paint
            .piece(Tone::Title, title(choice.sort, (rows.len(), figures.agents.len()), &shown, [name, reason, roles]))
            .into(),
    ];
    if rows.is_empty() {
        let none = if filter.is_empty() { "no agent is known" } else { "no agent has that in its name" };
        lines.push(paint.piece(Tone::Dim, none).into());
    }
    lines.extend(rows.iter().skip(offset).take(rows_shown).map(|row| {
        let mut line = Line::default();
        if row.is_suspended {
            line.push_span(paint.piece(Tone::Plain, left(&row.name, name - SUSPENDED.len())));
            line.push_span(paint.piece(Tone::Bad, SUSPENDED));
        } else {
            line.push_span(paint.piece(Tone::Plain, left(&row.name, name)));
        }
        let cells: String = shown.iter().map(|column| right(&(column.text)(row), column.width)).collect();
        line.push_span(paint.piece(Tone::Plain, cells));
        if reason > 0 {
            line.push_span(paint.piece(Tone::Plain, left(&format!("  {}", row.reason), reason)));
        }
        if roles > 0 {
            line.push_span(paint.piece(Tone::Plain, left(&format!("  {}", row.roles), roles)));
        }
        line
    }));
    lines
}

/// The titles, with the order and how many of all agents are shown.
fn title(sort: Sort, (some, all): (usize, usize), shown: &[&Column], widths: [usize; 3]) -> String {
    let [name, reason, roles] = widths;
    let count = if some == all { some.to_string() } else { format!("{some}/{all}") };
    let mut text = left(&format!("AGENTS {count} by {}", sort.name()), name);
    text.extend(shown.iter().map(|column| right(column.title, column.width)));
    if reason > 0 {
        text.push_str(&left("  MOST REFUSED", reason));
    }
    if roles > 0 {
        text.push_str("  ROLES");
    }
    text
}
