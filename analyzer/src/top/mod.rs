//! `top`: tracked processes while they run, in the terminal.
//!
//! Data flows one way: `load` reads recordings in a thread of its own and sends `view::View`s;
//! `state::State` keeps what is shown and what keys do to it; `draw` is a pure function of the
//! state. Only `screen` touches the terminal, and puts it back whatever happens.

mod chart;
mod draw;
mod load;
mod plain;
mod requests;
mod screen;
mod signals;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

pub use load::{Loader, Subject};
pub use state::Sort;

use draw::Look;
use screen::Screen;
use state::{Effect, State};
use view::View;

/// How `top` shows what it loads.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Redraws at most this often; a recording that takes long to read is read less often.
    pub interval: Duration,
    /// One block of text after the other, without any control of the terminal.
    pub plain: bool,
    /// End after so many of them; 0: when told to.
    pub count: u64,
    /// With colours.
    pub colour: bool,
    /// With signs beyond ASCII.
    pub unicode: bool,
    /// First order of call sites.
    pub sort: Sort,
}

/// What wakes the loop.
enum Happening {
    Terminal(Event),
    TerminalGone(std::io::Error),
    Loaded(Vec<View>),
    Answered(requests::Answer),
    /// How far a request is.
    Told(String),
    Signal(libc::c_int),
}

/// Shows until told to end.
pub fn run(loader: Loader, options: Options, filter: String) -> anyhow::Result<ExitCode> {
    let state = State::new(options.sort, filter, loader.is_everything());
    if options.plain {
        return plain::run(loader, options, state);
    }
    interactive(loader, options, state)
}

/// The status of who was ended by a signal.
fn ended_by(signal: libc::c_int) -> ExitCode {
    ExitCode::from(128 + u8::try_from(signal).unwrap_or(0))
}

fn interactive(loader: Loader, options: Options, mut state: State) -> anyhow::Result<ExitCode> {
    let (send, happenings) = mpsc::channel();
    // Blocked before any thread is started, so that all of them inherit it.
    let signals = signals::Blocked::now()?;
    // Goes after the screen, so that nobody waits for it on a frozen one.
    let mut pending = requests::Pending::default();
    let mut screen = Screen::enter()?;
    {
        let send = send.clone();
        signals.each(move |signal| send.send(Happening::Signal(signal)).is_ok());
    }
    {
        let send = send.clone();
        std::thread::spawn(move || {
            loop {
                let happening = match event::read() {
                    Ok(event) => Happening::Terminal(event),
                    Err(error) => Happening::TerminalGone(error),
                };
                let is_end = matches!(happening, Happening::TerminalGone(_));
                if send.send(happening).is_err() || is_end {
                    return;
                }
            }
        });
    }
    {
        let send = send.clone();
        loader.spawn(options.interval, move |views| {
            send.send(Happening::Loaded(views)).is_ok()
        });
    }
    let look = Look {
        colour: options.colour,
        unicode: options.unicode,
        keys: true,
    };
    loop {
        screen.draw(|frame| draw::draw(frame, &mut state, look))?;
        for happening in next(&happenings) {
            let effect = match happening {
                Happening::Terminal(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    state.key(key)
                }
                Happening::Terminal(_) => Effect::None,
                Happening::TerminalGone(error) => {
                    return Err(anyhow::Error::new(error).context("cannot read the terminal"));
                }
                Happening::Loaded(views) => {
                    state.loaded(views);
                    Effect::None
                }
                Happening::Answered(answer) => {
                    state.answered(answer);
                    Effect::None
                }
                Happening::Told(words) => {
                    state.told(words);
                    Effect::None
                }
                Happening::Signal(libc::SIGTSTP) => Effect::Suspend,
                Happening::Signal(signal) => return Ok(ended_by(signal)),
            };
            match effect {
                Effect::None => {}
                Effect::Quit => return Ok(ExitCode::SUCCESS),
                Effect::Interrupt => return Ok(ended_by(libc::SIGINT)),
                Effect::Redraw => screen.clear()?,
                Effect::Suspend => screen.suspend()?,
                Effect::Ask(request) => {
                    // Nobody waits for an answer once the screen is gone.
                    let (telling, answering) = (send.clone(), send.clone());
                    let tell = move |words| {
                        let _ = telling.send(Happening::Told(words));
                    };
                    pending.ask(request, tell, move |answer| {
                        let _ = answering.send(Happening::Answered(answer));
                    });
                }
            }
        }
    }
}

/// What has happened, at least one unless a second passed: the ages on the screen move on.
fn next(happenings: &Receiver<Happening>) -> Vec<Happening> {
    let deadline = Instant::now() + Duration::from_secs(1);
    let wait = deadline.saturating_duration_since(Instant::now());
    let mut all = match happenings.recv_timeout(wait) {
        Ok(happening) => vec![happening],
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Vec::new(),
    };
    all.extend(happenings.try_iter());
    all
}
