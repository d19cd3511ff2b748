//! Owns what an alert leads to: an event in the recording, a line on stderr, the user's command.

use leaktrack_recording::{EventKind, Record};

use crate::alerts::{self, Figures, Watch, command};
use crate::recorder::Recorder;
use crate::text::Text;
use crate::{config, message};

/// Compares the figures of a periodic snapshot with the thresholds.
pub fn look(watch: &mut Watch, now: &Figures, recorder: &mut Recorder) {
    // Every snapshot is an occasion to take the end of the last command.
    command::is_free();
    if watch.comes_near_limit(now.used_bytes, now.limit_bytes) {
        let words = alerts::near_limit_words(now.used_bytes, now.limit_bytes.unwrap_or(0));
        event(recorder, now.at_ms, EventKind::Limit, words.as_bytes());
    }
    let config = config::get();
    let interval_ms = config.interval_ms;
    watch.look(now, &config.alerts, interval_ms, &mut |kind, words| {
        event(recorder, now.at_ms, EventKind::Alert, words.as_bytes());
        if config.verbose > 0 {
            let mut line = Text::<400>::new();
            line.push_bytes(b"alert: ").push_bytes(words.as_bytes());
            message::say(line.as_bytes());
        }
        let order = config.on_alert.as_bytes();
        if !order.is_empty() && command::run(order, kind, words) == command::Outcome::NotStarted {
            let text = b"the command of on-alert was not started";
            event(recorder, now.at_ms, EventKind::Note, text);
        }
    });
}

fn event(recorder: &mut Recorder, at_ms: u64, kind: EventKind, text: &[u8]) {
    // Without room the snapshots still tell.
    let _ = recorder.append_event(&Record::Event { at_ms, kind, text });
}
