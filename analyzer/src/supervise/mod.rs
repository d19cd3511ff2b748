//! Starts a command, stands between it and the world until it ends, and says how it ended.
//!
//! On a terminal the command gets a foreground group of its own and this process stays out of it,
//! as a shell would: keys reach the command alone, once. Elsewhere both share a group, so that
//! whoever signals the group reaches the command's children too.

mod signals;
mod terminal;

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

pub use signals::Inherited;
use terminal::Terminal;

/// Replaces this process by `command`, with the signal state that this process was started with.
/// Returns only on failure.
pub fn exec(command: &mut Command, inherited: &Inherited) -> io::Error {
    let inherited = inherited.clone();
    // SAFETY: the closure runs in this very process and only makes two async-signal-safe calls.
    unsafe { command.pre_exec(move || inherited.restore()) };
    command.exec()
}

/// Runs `command` to its end; forwards signals meanwhile. `started` learns its process id. Fails if
/// it cannot be started.
pub fn run(
    command: &mut Command,
    inherited: &Inherited,
    started: impl FnOnce(u32),
) -> io::Result<ExitStatus> {
    let terminal = Terminal::in_foreground();
    let own_group = terminal.is_some();
    let state = inherited.clone();
    let tty = terminal.as_ref().map(Terminal::descriptor);
    // SAFETY: between fork and exec the closure only makes async-signal-safe calls.
    unsafe {
        command.pre_exec(move || {
            if let Some(tty) = tty {
                terminal::lead_foreground(tty)?;
            }
            state.restore()
        });
    }
    signals::block_all()?;
    let ended = match command.spawn() {
        Ok(child) => {
            started(child.id());
            Ok(watch(
                child.id().cast_signed(),
                terminal.as_ref(),
                own_group,
            ))
        }
        Err(error) => {
            if let Some(terminal) = &terminal {
                terminal.take_back();
            }
            Err(error)
        }
    };
    inherited.restore_mask()?;
    ended
}

/// Forwards signals to `child` until it ends; reaps whatever else ends.
fn watch(child: libc::pid_t, terminal: Option<&Terminal>, own_group: bool) -> ExitStatus {
    loop {
        let received = signals::wait();
        if received.number != libc::SIGCHLD {
            signals::forward(&received, child, own_group);
            continue;
        }
        while let Some((pid, status)) = signals::reap() {
            let status = ExitStatus::from_raw(status);
            if pid != child {
                continue;
            }
            if status.stopped_signal().is_some() {
                if let Some(terminal) = terminal {
                    terminal.stop_with(child);
                }
            } else if !status.continued() {
                if let Some(terminal) = terminal {
                    terminal.take_back();
                }
                return status;
            }
        }
    }
}

/// The exit status that a shell would show: 128 + n for signal n.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(255);
    u8::try_from(code & 0xff).unwrap_or(255)
}
