//! Owns when a running process is scanned for lost blocks, and that what comes of it is recorded.
//! It must never hold the lock of the snapshots while it scans: they go on meanwhile.

use leaktrack_recording::control::ScanWish;
use leaktrack_recording::{EventKind, ScanKind};

use super::{ENDED, Engine, State, note, take_asked, with};
use crate::config::{self, Scan};
use crate::scan::{self, Caller, Order, Pace, Scanned, Way};
use crate::text::Text;
use crate::{control, helper, state, sys};

/// Longest scan of a running process.
const LIMIT_MS: u64 = 30 * 60_000;
/// Between passes, unless asked otherwise: ten of them then span more than two seconds.
const APART_MS: u64 = 250;
/// Of one processor, unless asked otherwise.
const PERCENT: u64 = 10;

/// When the next scan is due.
pub struct Schedule {
    /// Of those that the option `scan` asks for; 0: none was due yet.
    next_ms: u64,
    /// Memory was near its limit.
    was_near: bool,
}

impl Schedule {
    pub const fn new() -> Schedule {
        Schedule {
            next_ms: 0,
            was_near: false,
        }
    }

    /// True if a scan is to be made now; the next time is another.
    fn is_due(&mut self, wanted: Scan, now_ms: u64, near: bool) -> bool {
        let every_ms = match wanted {
            Scan::Off => return false,
            Scan::Auto => u64::MAX,
            Scan::EveryMs(ms) => ms,
        };
        if self.next_ms == 0 {
            self.next_ms = every_ms;
        }
        let first_near = near && !self.was_near;
        self.was_near |= near;
        let due = now_ms >= self.next_ms || first_near;
        if due {
            self.next_ms = now_ms.saturating_add(every_ms);
        }
        due
    }
}

/// Scans if the options ask for it at this moment.
pub fn scan_if_due() {
    let due = with(|state, _| {
        let near = state.watch.is_near();
        let wanted = config::get().scan;
        state.recorder.is_some() && state.scans.is_due(wanted, state::now_ms(), near)
    });
    if due == Some(true) {
        let _ = scan(ScanKind::Live, ScanWish::default());
    }
}

/// Scans the running process, and records what was found, or why nothing was. Takes long.
pub fn scan(kind: ScanKind, wish: ScanWish) -> Result<(), &'static [u8]> {
    const NO_HELPER: &[u8] = b"it has no helper thread (helper=off, or a seccomp filter), and is scanned at its end alone";
    if helper::tid() == 0 || sys::gettid() != helper::tid() {
        return Err(NO_HELPER);
    }
    let begun = with(|state, start| {
        state.inherit(start);
        let own_file = state.recorder.as_ref()?.control_word();
        Some((state.writer.begin_epoch(&Engine), own_file))
    });
    let (epoch, own_file) = begun.flatten().ok_or(ENDED)?;
    let at_ms = state::tick();
    let mut scanned = scan::scan(&Order {
        way: match kind {
            ScanKind::Fork => Way::InCopy,
            _ => Way::InPlace,
        },
        limit_ms: LIMIT_MS,
        apart_ms: or(u64::from(wish.apart_ms), APART_MS),
        pace: Some(Pace {
            percent: or(u64::from(wish.percent), PERCENT),
            rest: helper::rest,
        }),
        caller: Caller::NOBODY,
        interrupted: helper::must_end_task,
        progress: control::show_progress,
        own_file,
        epoch,
    });
    if scanned.found.is_err() && control::is_withdrawn() {
        scanned.found = Err(b"whoever asked for it waits no longer");
    }
    // The report sets what was found beside the figures of the last snapshot.
    if take_asked() == Err(ENDED) {
        return Err(ENDED);
    }
    tell(kind, &scanned);
    let recorded = with(|state, _| {
        let State {
            losses, recorder, ..
        } = state;
        losses
            .record(recorder.as_mut()?, kind, at_ms, &mut scanned)
            .ok()
    })
    .flatten();
    match (recorded, scanned.found) {
        (_, Err(why)) => Err(why),
        (None, _) => Err(ENDED),
        _ => Ok(()),
    }
}

fn or(given: u64, default: u64) -> u64 {
    if given == 0 { default } else { given }
}

/// A line of the timeline.
fn tell(kind: ScanKind, scanned: &Scanned) {
    let mut text = Text::<256>::new();
    text.push_bytes(match kind {
        ScanKind::Fork => b"forked copy: ",
        _ => b"running process: ",
    });
    match &scanned.found {
        Ok(found) => {
            let (blocks, bytes) = found.lost();
            text.push_u64(blocks)
                .push_bytes(b" blocks lost, ")
                .push_u64(bytes)
                .push_bytes(b" bytes");
        }
        Err(why) => {
            text.push_bytes(b"no verdict, ").push_bytes(why);
        }
    }
    note(EventKind::Scan, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_on_schedule_and_once_near_the_limit() {
        let mut auto = Schedule::new();
        assert!(!auto.is_due(Scan::Auto, 5_000, false));
        assert!(auto.is_due(Scan::Auto, 6_000, true));
        assert!(!auto.is_due(Scan::Auto, 7_000, true));
        assert!(!auto.is_due(Scan::Auto, 8_000, false));
        assert!(!auto.is_due(Scan::Auto, 9_000, true));
        let mut every = Schedule::new();
        let wanted = Scan::EveryMs(1_000);
        assert!(!every.is_due(wanted, 900, false));
        assert!(every.is_due(wanted, 1_100, false));
        assert!(!every.is_due(wanted, 2_000, false));
        assert!(every.is_due(wanted, 2_050, true));
        assert!(every.is_due(wanted, 3_100, true));
        assert!(!Schedule::new().is_due(Scan::Off, u64::MAX, true));
    }
}
