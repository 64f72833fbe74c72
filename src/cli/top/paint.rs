//! Tones of text, with colours or without.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

/// The meaning of a piece of text; colour is never the only sign of it.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Plain,
    Title,
    Good,
    Bad,
    Dim,
}

/// Gives text its tone.
#[derive(Clone, Copy, Default)]
pub(super) struct Paint {
    /// True without colours.
    pub(super) is_plain: bool,
}

impl Paint {
    /// A piece of text in its tone.
    pub(super) fn piece(self, tone: Tone, text: impl Into<String>) -> Span<'static> {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let (style, colour) = match tone {
            Tone::Plain => (Style::new(), None),
            Tone::Title => (bold, None),
            Tone::Good => (Style::new(), Some(Color::Green)),
            Tone::Bad => (bold, Some(Color::Red)),
            Tone::Dim => (Style::new().add_modifier(Modifier::DIM), None),
        };
        let colour = colour.filter(|_| !self.is_plain);
        Span::styled(text.into(), colour.map_or(style, |colour| style.fg(colour)))
    }
}
