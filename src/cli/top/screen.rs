//! The terminal: frames, keys, and that it is left as it was found.

use std::future::pending;
use std::io::{self, IsTerminal as _};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::text::Text;
use ratatui::{DefaultTerminal, Frame};
use time::OffsetDateTime;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::agents::Sort;
use super::figures::Figures;
use super::gate::{Gate, Sample};
use super::view::View;

/// The time after which it is looked for samples and signals while no key is pressed.
const LOOK: Duration = Duration::from_millis(100);
/// The time that a gate may take for its answers, beside two intervals, before it is said that it is silent.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time in which the process ends by itself once a signal asks for it.
const GRACE: Duration = Duration::from_millis(500);
/// Longest part of a name that can be filtered by: agents' names are no longer.
const LONGEST: usize = 63;

/// The samples of a gate as they come, turned into figures.
#[derive(Default)]
pub(super) struct History {
    before: Option<Sample>,
}

impl History {
    /// Takes an answer of the gate's, or the reason why there is none. While it is paused the view stays as it is, but
    /// for a gate that is lost or back.
    pub(super) fn take(&mut self, told: Result<Sample, String>, view: &mut View) {
        match told {
            Ok(sample) => {
                let figures = Figures::of(self.before.as_ref(), &sample);
                self.before = Some(sample);
                view.lost = None;
                if !view.is_paused || view.figures.is_none() {
                    view.figures = Some(figures);
                }
            }
            Err(why) => {
                let since = view.lost.take().map_or_else(OffsetDateTime::now_utc, |(since, _)| since);
                view.lost = Some((since, why));
            }
        }
    }
}

/// Shows the gate until a key or a signal ends it. The terminal is left as it was found, also by a panic.
///
/// # Errors
/// The terminal cannot be written to or read from.
pub(super) fn run(gate: Gate, interval: Duration, mut view: View) -> io::Result<()> {
    let samples = ask(gate, interval);
    let ended = on_signals();
    let mut terminal = ratatui::try_init().inspect_err(|_| _ = ratatui::try_restore())?;
    let shown = show(&mut terminal, (&samples, interval * 2 + PATIENCE), &ended, &mut view);
    let _ = ratatui::try_restore();
    shown
}

/// Asks the gate again and again, on a thread of its own, until nobody listens.
fn ask(mut gate: Gate, interval: Duration) -> Receiver<Result<Sample, String>> {
    let (sender, samples) = mpsc::channel();
    thread::spawn(move || {
        while sender.send(gate.ask()).is_ok() {
            thread::sleep(interval);
        }
    });
    samples
}

/// Returns once the terminal has gone. Where hang-ups are ignored, as below `nohup`, no signal says it.
async fn terminal_gone() {
    while io::stdout().is_terminal() {
        tokio::time::sleep(GRACE).await;
    }
}

/// True once the process was asked to end, which it does soon after. In raw mode Ctrl-C is a key and no signal.
fn on_signals() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    thread::spawn(move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
            let [Ok(mut terminate), Ok(mut hangup), Ok(mut interrupt)] = kinds.map(signal) else {
                return pending().await;
            };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
                () = terminal_gone() => {}
            }
        });
        told.store(true, Ordering::Relaxed);
        // A terminal that has gone is never done with reading.
        thread::sleep(GRACE);
        let _ = ratatui::try_restore();
        process::exit(0);
    });
    ended
}

/// Shows samples as they come, and that none comes for longer than `patience`.
fn show(
    terminal: &mut DefaultTerminal,
    (samples, patience): (&Receiver<Result<Sample, String>>, Duration),
    ended: &AtomicBool,
    view: &mut View,
) -> io::Result<()> {
    let (mut history, mut is_new, mut heard) = (History::default(), true, Instant::now());
    while !ended.load(Ordering::Relaxed) {
        for told in samples.try_iter() {
            history.take(told, view);
            (is_new, heard) = (true, Instant::now());
        }
        let silence = Some(heard.elapsed()).filter(|silence| *silence > patience).map(|silence| silence.as_secs());
        is_new |= silence != view.silence;
        view.silence = silence;
        if is_new {
            terminal.draw(|frame| draw(frame, view))?;
        }
        is_new = event::poll(LOOK)?;
        if is_new
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && !press(key, view)
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Draws a frame.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    frame.render_widget(Text::from(view.lines((area.width, area.height))), area);
}

/// Does what the key says; false where that is to end.
fn press(key: KeyEvent, view: &mut View) -> bool {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        code if view.is_filtering => write(code, view),
        KeyCode::Char('q') => return false,
        KeyCode::Char('?') => view.shows_help = !view.shows_help,
        KeyCode::Char('p') => view.is_paused = !view.is_paused,
        KeyCode::Char('/') => view.is_filtering = true,
        KeyCode::Char('s') | KeyCode::Right => view.choice.sort = view.choice.sort.further(1),
        KeyCode::Left => view.choice.sort = view.choice.sort.further(Sort::EVERY.len() - 1),
        KeyCode::Down => view.scroll(1),
        KeyCode::Up => view.scroll(-1),
        KeyCode::PageDown => view.scroll(10),
        KeyCode::PageUp => view.scroll(-10),
        KeyCode::Home => view.choice.offset = 0,
        KeyCode::Esc if view.shows_help => view.shows_help = false,
        KeyCode::Esc => view.choice.filter.clear(),
        _ => {}
    }
    true
}

/// Writes the filter.
fn write(code: KeyCode, view: &mut View) {
    match code {
        KeyCode::Enter => view.is_filtering = false,
        KeyCode::Esc => {
            view.is_filtering = false;
            view.choice.filter.clear();
        }
        KeyCode::Backspace => _ = view.choice.filter.pop(),
        KeyCode::Char(c) if c.is_ascii_graphic() && view.choice.filter.len() < LONGEST => view.choice.filter.push(c),
        _ => {}
    }
    view.choice.offset = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(view: &mut View, keys: &[KeyCode]) -> bool {
        keys.iter().all(|key| press(KeyEvent::from(*key), view))
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let mut view = View::default();
        assert!(pressed(&mut view, &[KeyCode::Char('s'), KeyCode::Right, KeyCode::Left]));
        assert_eq!(view.choice.sort, Sort::Refusals);
        assert!(pressed(&mut view, &[KeyCode::Left, KeyCode::Left]));
        assert_eq!(view.choice.sort, Sort::Seen, "from the first to the last");
        pressed(&mut view, &[KeyCode::Down, KeyCode::PageDown, KeyCode::Up]);
        assert_eq!(view.choice.offset, 0, "there are no agents");
        pressed(&mut view, &[KeyCode::PageUp, KeyCode::PageUp]);
        assert_eq!(view.choice.offset, 0);
        pressed(&mut view, &[KeyCode::Char('/'), KeyCode::Char('q'), KeyCode::Char('p'), KeyCode::Backspace]);
        assert_eq!((view.choice.filter.as_str(), view.is_filtering, view.is_paused), ("q", true, false));
        pressed(&mut view, &[KeyCode::Enter, KeyCode::Char('p'), KeyCode::Char('?')]);
        assert!(!view.is_filtering && view.is_paused && view.shows_help);
        pressed(&mut view, &[KeyCode::Esc, KeyCode::Esc]);
        assert!(!view.shows_help && view.choice.filter.is_empty());
        assert!(!pressed(&mut view, &[KeyCode::Char('q')]));
        assert!(!press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), &mut view));
    }

    #[test]
    fn a_gate_that_is_lost_is_so_since_the_first_time() {
        let (mut history, mut view) = (History::default(), View::default());
        history.take(Err("one".into()), &mut view);
        let since = view.lost.as_ref().map(|(since, _)| *since);
        history.take(Err("another".into()), &mut view);
        assert_eq!(view.lost, since.map(|since| (since, "another".to_owned())));
    }
}
