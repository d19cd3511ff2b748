//! Owns the thresholds of the options `alert-…`: what is compared with them, and how often it is said.
//!
//! Pure: it sees figures and says words. It must never look at the system itself.

pub mod command;
mod trough;

use crate::config::Alerts;
use crate::text::Text;
use trough::Trough;

/// What an alert says.
pub type Words = Text<256>;

/// What was seen at a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// When.
    pub at_ms: u64,
    /// Minor faults since the start.
    pub minor_faults: u64,
    /// Major faults since the start.
    pub major_faults: u64,
    /// Live bytes of the malloc family and of mappings.
    pub live_bytes: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// What counts against the limit.
    pub used_bytes: u64,
    /// The memory limit in force.
    pub limit_bytes: Option<u64>,
    /// Locked memory of the host.
    pub host_locked_bytes: Option<u64>,
    /// Memory of the host.
    pub host_memory_bytes: Option<u64>,
}

impl Figures {
    /// Nothing was seen.
    pub const NONE: Figures = Figures {
        at_ms: 0,
        minor_faults: 0,
        major_faults: 0,
        live_bytes: 0,
        rss_bytes: 0,
        used_bytes: 0,
        limit_bytes: None,
        host_locked_bytes: None,
        host_memory_bytes: None,
    };
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Minor faults per second.
    MinorFaults,
    /// Major faults per second.
    MajorFaults,
    /// Locked memory of the host.
    Mlocked,
    /// Growth of live bytes.
    Growth,
    /// Time until the limit.
    Limit,
}

const KINDS: usize = 5;

impl Kind {
    /// As in the name of the option.
    pub const fn name(self) -> &'static [u8] {
        match self {
            Kind::MinorFaults => b"minor-faults",
            Kind::MajorFaults => b"major-faults",
            Kind::Mlocked => b"mlocked",
            Kind::Growth => b"growth",
            Kind::Limit => b"limit",
        }
    }
}

/// Fault rates are those of spans of at least this length.
const RATE_SPAN_MS: u64 = 2_000;
/// Of the limit: above this share memory is near it, below the other it no longer is.
const NEAR_PERCENT: u64 = 80;
const FAR_PERCENT: u64 = 70;

/// What was seen before.
#[derive(Debug)]
pub struct Watch {
    /// Where the span of the fault rates begins; the start of a program is not in it.
    base: Option<Figures>,
    live: Trough,
    used: Trough,
    said_ms: [Option<u64>; KINDS],
    near: bool,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch::new()
    }
}

impl Watch {
    /// Nothing was seen.
    pub const fn new() -> Watch {
        Watch {
            base: None,
            live: Trough::new(),
            used: Trough::new(),
            said_ms: [None; KINDS],
            near: false,
        }
    }

    /// True while memory is near its limit.
    pub fn is_near(&self) -> bool {
        self.near
    }

    /// Looks at a snapshot's figures; `say` is called with each alert that is due. `interval_ms`:
    /// time between snapshots.
    pub fn look(
        &mut self,
        now: &Figures,
        thresholds: &Alerts,
        interval_ms: u64,
        say: &mut dyn FnMut(Kind, &Words),
    ) {
        let mut due = |kind: Kind, words: &Words| {
            let said = self.said_ms.get_mut(kind as usize);
            if let Some(slot) = said
                && slot.is_none_or(|ms| now.at_ms >= ms.saturating_add(thresholds.repeat_ms))
            {
                *slot = Some(now.at_ms);
                say(kind, words);
            }
        };
        let base = *self.base.get_or_insert(*now);
        let span_ms = now.at_ms.saturating_sub(base.at_ms);
        if span_ms >= RATE_SPAN_MS {
            self.base = Some(*now);
            let minor = now.minor_faults.saturating_sub(base.minor_faults);
            let major = now.major_faults.saturating_sub(base.major_faults);
            for (kind, what, faults, most) in [
                (
                    Kind::MinorFaults,
                    &b" minor"[..],
                    minor,
                    thresholds.minor_per_s,
                ),
                (Kind::MajorFaults, b" major", major, thresholds.major_per_s),
            ] {
                let per_s = faults.saturating_mul(1_000) / span_ms;
                if let Some(most) = most.filter(|most| per_s > *most) {
                    let mut words = Words::new();
                    words
                        .push_u64(per_s)
                        .push_bytes(what)
                        .push_bytes(b" page faults per second, more than ")
                        .push_u64(most);
                    due(kind, &words);
                }
            }
        }
        if let (Some(most), Some(locked), Some(total)) = (
            thresholds.mlocked_milli_percent,
            now.host_locked_bytes,
            now.host_memory_bytes.filter(|total| *total > 0),
        ) {
            let share = (u128::from(locked) * 100_000 / u128::from(total)) as u64;
            if share > u64::from(most) {
                let mut words = Words::new();
                words
                    .push_u64(share / 1_000)
                    .push_bytes(b"% of the host's memory is locked, more than ")
                    .push_u64(u64::from(most) / 1_000)
                    .push(b'%');
                due(Kind::Mlocked, &words);
            }
        }
        let live = self.live.look(now.at_ms, now.live_bytes, interval_ms);
        if let (Some(most), Some(rate)) = (thresholds.growth_bytes_per_hour, live)
            && rate > most
        {
            let mut words = Words::new();
            words.push_bytes(b"live memory grows by ");
            push_bytes(&mut words, rate);
            words.push_bytes(b" per hour, more than ");
            push_bytes(&mut words, most);
            due(Kind::Growth, &words);
        }
        let used = self.used.look(now.at_ms, now.used_bytes, interval_ms);
        if let (Some(least_ms), Some(limit)) = (thresholds.limit_ms, now.limit_bytes)
            && let Some(rate) = used.filter(|rate| *rate > 0)
        {
            let left = u128::from(limit.saturating_sub(now.used_bytes));
            let left_ms = left * 3_600_000 / u128::from(rate);
            if left_ms < u128::from(least_ms) {
                let mut words = Words::new();
                words.push_bytes(b"at this growth the memory limit of ");
                push_bytes(&mut words, limit);
                words
                    .push_bytes(b" is met in ")
                    .push_u64((left_ms / 1_000) as u64)
                    .push_bytes(b" s");
                due(Kind::Limit, &words);
            }
        }
    }

    /// True once each time that memory comes near the limit.
    pub fn comes_near_limit(&mut self, used_bytes: u64, limit_bytes: Option<u64>) -> bool {
        let percent = percent_of(used_bytes, limit_bytes);
        let was_near = self.near;
        self.near = percent >= NEAR_PERCENT || was_near && percent >= FAR_PERCENT;
        self.near && !was_near
    }

    /// The same as a question.
    pub fn would_come_near(&self, used_bytes: u64, limit_bytes: Option<u64>) -> bool {
        !self.near && percent_of(used_bytes, limit_bytes) >= NEAR_PERCENT
    }
}

fn percent_of(used_bytes: u64, limit_bytes: Option<u64>) -> u64 {
    let limit = u128::from(limit_bytes.unwrap_or(u64::MAX)).max(1);
    (u128::from(used_bytes) * 100 / limit) as u64
}

/// In the largest unit that leaves at least ten of it.
fn push_bytes(words: &mut Words, bytes: u64) {
    let units: [(u32, &[u8]); 3] = [(30, b" GiB"), (20, b" MiB"), (10, b" KiB")];
    let fitting = units.iter().find(|(shift, _)| bytes >> shift >= 10);
    let (shift, unit) = fitting.copied().unwrap_or((0, b" bytes"));
    words.push_u64(bytes >> shift).push_bytes(unit);
}

/// Says that memory is near the limit.
pub fn near_limit_words(used_bytes: u64, limit_bytes: u64) -> Words {
    let mut words = Words::new();
    words.push_bytes(b"memory passed 80% of the limit: ");
    push_bytes(&mut words, used_bytes);
    words.push_bytes(b" of ");
    push_bytes(&mut words, limit_bytes);
    words
}

#[cfg(test)]
mod tests;
