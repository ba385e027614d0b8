//! The terminal: set up, drawn on, and restored whatever happens.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::draw::{View, draw, headline};
use super::snapshot::{Row, Sort, sort, take};
use crate::error::CliError;
use crate::remote::Remote;

/// How long the thread that waits for keys needs to notice the end.
const KEY_POLL: Duration = Duration::from_millis(100);

/// The terminal, in its usual state again when this is dropped. A panic restores it too: ratatui's hook.
struct Screen {
    terminal: DefaultTerminal,
    over: Arc<AtomicBool>,
}

impl Screen {
    fn take() -> Result<Screen, CliError> {
        Ok(Screen {
            terminal: ratatui::try_init().map_err(CliError::Output)?,
            over: Arc::default(),
        })
    }

    /// Keys and changes of size, read by a thread that ends with this screen.
    fn events(&self) -> mpsc::Receiver<io::Result<Event>> {
        let (send, events) = mpsc::channel(16);
        let over = Arc::clone(&self.over);
        tokio::task::spawn_blocking(move || {
            while !over.load(Ordering::Relaxed) {
                let event = match event::poll(KEY_POLL) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let failed = event.is_err();
                if send.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        events
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        ratatui::restore();
    }
}

/// What keys have chosen.
#[derive(Debug, Default)]
struct Choice {
    sort: Sort,
    reverse: bool,
    offset: usize,
}

/// Shows the pools until somebody quits.
pub(super) async fn run(
    remote: &Remote,
    interval: Duration,
    colours: bool,
) -> Result<(), CliError> {
    // The server is polled once before the screen is set up: an error is shown as that of any command.
    let mut now = take(remote).await?;
    let mut rows = now.rows(None);
    let mut head = headline(&now, None);
    let mut problem: Option<String> = None;
    let mut choice = Choice::default();
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(CliError::Runtime)?;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut screen = Screen::take()?;
    let mut events = screen.events();
    loop {
        sort(&mut rows, choice.sort, choice.reverse);
        choice.offset = choice.offset.min(rows.len().saturating_sub(1));
        show(
            &mut screen,
            &head,
            &rows,
            &choice,
            problem.as_deref(),
            colours,
        )?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(event)) if !react(&mut choice, &event) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(CliError::Output(error)),
                None => return Ok(()),
            },
            _ = ticks.tick() => match take(remote).await {
                Ok(next) => {
                    (rows, head) = (next.rows(Some(&now)), headline(&next, Some(&now)));
                    (now, problem) = (next, None);
                }
                Err(error) => problem = Some(error.to_string()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
        }
    }
}

fn show(
    screen: &mut Screen,
    head: &str,
    rows: &[Row],
    choice: &Choice,
    problem: Option<&str>,
    colours: bool,
) -> Result<(), CliError> {
    let view = View {
        headline: head.to_owned(),
        rows,
        sort: choice.sort,
        reverse: choice.reverse,
        offset: choice.offset,
        problem,
        colours,
    };
    let drawn = screen.terminal.draw(|frame| draw(frame, &view));
    drawn.map(drop).map_err(CliError::Output)
}

/// Does what a key says; false: quit.
fn react(choice: &mut Choice, event: &Event) -> bool {
    let Event::Key(key) = event else {
        return true;
    };
    if key.kind == KeyEventKind::Release {
        return true;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Char('n') => choice.sort = Sort::Name,
        KeyCode::Char('u') => choice.sort = Sort::Used,
        KeyCode::Char('f') => choice.sort = Sort::Free,
        KeyCode::Char('r') => choice.reverse = !choice.reverse,
        KeyCode::Down => choice.offset = choice.offset.saturating_add(1),
        KeyCode::Up => choice.offset = choice.offset.saturating_sub(1),
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn keys_choose_and_quit() {
        let mut choice = Choice::default();
        let plain = KeyModifiers::NONE;
        assert!(react(&mut choice, &pressed(KeyCode::Char('u'), plain)));
        assert!(react(&mut choice, &pressed(KeyCode::Char('r'), plain)));
        assert!(react(&mut choice, &pressed(KeyCode::Down, plain)));
        assert!(react(&mut choice, &pressed(KeyCode::Char('c'), plain)));
        assert_eq!(
            (choice.sort, choice.reverse, choice.offset),
            (Sort::Used, true, 1)
        );
        assert!(!react(&mut choice, &pressed(KeyCode::Char('q'), plain)));
        assert!(!react(
            &mut choice,
            &pressed(KeyCode::Char('c'), KeyModifiers::CONTROL)
        ));
    }
}
