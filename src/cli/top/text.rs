//! Text for a terminal: what may be shown of what a gate says, and numbers in few characters.

use std::time::Duration;

use filters::character::prints;
use ratatui::text::Span;

/// The text without a character that moves anything on a terminal or is not seen as it is.
pub(super) fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut clean, c| {
        if prints(c) {
            clean.push(c)
        } else {
            clean.extend(c.escape_unicode())
        }
        clean
    })
}

/// Columns that the text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text in so many columns: filled up with blanks behind it, or cut and marked so.
pub(super) fn left(text: &str, columns: usize) -> String {
    let mut text = text.to_owned();
    if columns == 0 {
        return String::new();
    }
    if width(&text) > columns {
        while width(&text) >= columns && text.pop().is_some() {}
        text.push('…');
    }
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// The same, with the blanks before it.
pub(super) fn right(text: &str, columns: usize) -> String {
    let text = left(text, columns);
    let trimmed = text.trim_end_matches(' ');
    format!("{}{trimmed}", " ".repeat(text.len() - trimmed.len()))
}

/// A number of things in a second; a dash where it is not known.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate < 1_000.0 => format!("{rate:.1}"),
        Some(rate) => number(rate),
    }
}

/// A number of things, whole; in thousands or millions where it is long.
pub(super) fn number(number: f64) -> String {
    match number {
        _ if number < 1e5 => format!("{number:.0}"),
        _ if number < 1e7 => format!("{:.0}k", number / 1e3),
        _ => format!("{:.0}M", number / 1e6),
    }
}

/// A time of some seconds or less; a dash where it is not known.
pub(super) fn latency(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(f64::INFINITY) => ">10s".to_owned(),
        Some(seconds) if seconds < 0.01 => format!("{:.2}ms", seconds * 1e3),
        Some(seconds) if seconds < 1.0 => format!("{:.0}ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1}s"),
    }
}

/// A time of any length, by its two largest units.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_terminal() {
        assert_eq!(
            clean("a\u{1b}[2J\u{7f}\r\nb\u{202e}c\u{85}é日"),
            "a\\u{1b}[2J\\u{7f}\\u{d}\\u{a}b\\u{202e}c\\u{85}é日"
        );
    }

    #[test]
    fn texts_fill_their_columns_and_no_more() {
        for (text, cut) in
            [("abc", "abc  "), ("abcde", "abcde"), ("abcdef", "abcd…"), ("日本語", "日本…"), ("日本x", "日本x")]
        {
            assert_eq!((left(text, 5).as_str(), width(&left(text, 5))), (cut, 5), "{text}");
        }
        assert_eq!(
            (right("7", 3), right("abcd", 3), left("ab", 1), left("ab", 0)),
            ("  7".into(), "ab…".into(), "…".into(), String::new())
        );
        assert_eq!((left("日本", 2).as_str(), right("", 2).as_str()), ("… ", "  "));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [Some(0.0), Some(12.34), Some(1234.5), Some(123_456.0), None].map(rate),
            ["0.0", "12.3", "1234", "123k", "-"]
        );
        assert_eq!([0.0, 99_999.0, 1e6, 1e9].map(number), ["0", "99999", "1000k", "1000M"]);
        let times = [Some(0.000_42), Some(0.25), Some(1.25), Some(f64::INFINITY), None].map(latency);
        assert_eq!(times, ["0.42ms", "250ms", "1.2s", ">10s", "-"]);
        let spans = [5, 65, 3 * 3600 + 60, 50 * 3600].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["5s", "1m05s", "3h01m", "2d02h"]);
    }
}
