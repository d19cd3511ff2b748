//! Owns what the recording says of reachability scans: a record of each, the results of the last,
//! and since when a site has been losing blocks.

use leaktrack_recording::{Record, Scan, ScanKind, SliceSink, encode_losses};

use crate::arena::AVec;
use crate::recorder::{Buffer, FRAME_BYTES, Failure, Kept, Recorder, TAIL_BYTES};
use crate::scan::{self, Caller, LostBlock, Order, Outcome, Room, Scanned, Way};
use crate::sites;
use crate::state::{self, LIVE};

/// Longest scan at exit.
const EXIT_LIMIT_MS: u64 = 5_000;
/// Room for a site's results: ten varints, most of them short.
const LOSS_BYTES: usize = 40;
/// The longest they can be.
const MOST_LOSS_BYTES: usize = 96;

/// See the module.
pub struct Losses {
    caller: Caller,
    /// By site id: when a scan first found lost blocks of it; 0: the last one found none.
    since_ms: AVec<u64>,
    /// What the last scan called lost.
    called_lost: Room<LostBlock>,
}

impl Losses {
    /// No scan was made.
    pub const fn new() -> Losses {
        Losses {
            caller: Caller::NOBODY,
            since_ms: AVec::new(),
            called_lost: Room::none(),
        }
    }

    /// The thread that will wait for the scan at exit.
    pub fn set_caller(&mut self, caller: Caller) {
        self.caller = caller;
    }

    /// Scans at the end of the process and records what came of it. Blocks born after `epoch` are
    /// too young to be judged.
    pub fn scan_at_exit(&mut self, recorder: &mut Recorder, epoch: u32) -> Result<(), Failure> {
        let at_ms = state::tick();
        let mut scanned = scan::scan(&Order {
            way: Way::AtEnd,
            limit_ms: EXIT_LIMIT_MS,
            apart_ms: 0,
            pace: None,
            caller: self.caller,
            interrupted: || false,
            progress: |_| (),
            own_file: recorder.control_word(),
            epoch,
        });
        self.record(recorder, ScanKind::Exit, at_ms, &mut scanned)
    }

    /// Records what came of a scan.
    pub fn record(
        &mut self,
        recorder: &mut Recorder,
        kind: ScanKind,
        at_ms: u64,
        scanned: &mut Scanned,
    ) -> Result<(), Failure> {
        let freed_since = self.freed_since();
        let mut why_not = scanned.found.as_ref().err().copied().unwrap_or_default();
        let mut partial = false;
        if let Ok(outcome) = &scanned.found {
            self.note_since(outcome, at_ms);
            match self.write(recorder, outcome, at_ms) {
                Ok(left_out) => partial = left_out,
                Err(Failure::Full) => why_not = b"no room in the recording (option disk)",
                Err(failure) => return Err(failure),
            }
        }
        if let Ok(outcome) = &mut scanned.found {
            self.called_lost = outcome.remember();
        }
        let written = recorder.append_event(&Record::Scan(Scan {
            at_ms,
            kind,
            duration_ms: state::tick().saturating_sub(at_ms),
            complete: why_not.is_empty(),
            lower_bound: scanned.lower_bound,
            partial,
            passes: scanned.passes,
            unread_threads: scanned.unread_threads,
            excused_per_site: scanned.hidden,
            blocks: scanned.found.as_ref().map_or(0, |outcome| outcome.blocks),
            why_not,
            freed_since,
        }));
        match written {
            Err(Failure::Full) => Ok(()),
            other => other,
        }
    }

    /// Blocks that were called lost and are gone: then somebody held them.
    fn freed_since(&self) -> u64 {
        if self.called_lost.is_empty() {
            return 0;
        }
        let _calm = LIVE.hush(); // there may be many
        let blocks = self.called_lost.as_slice().iter();
        let gone = blocks.filter(|block| !block.is_there(|addr| LIVE.get(addr)));
        gone.count() as u64
    }

    /// A loss is as old as the first scan that found it; without memory, as this one.
    fn note_since(&mut self, outcome: &Outcome, at_ms: u64) {
        let sites = sites::len() as usize + 1;
        while self.since_ms.len() < sites && self.since_ms.try_push(0) {}
        for (site, since) in (0u32..).zip(self.since_ms.as_mut_slice()) {
            let lost = outcome
                .of(site)
                .is_some_and(|loss| loss.definite_blocks + loss.indirect_blocks > 0);
            *since = match (lost, *since) {
                (false, _) => 0,
                (true, 0) => at_ms.max(1),
                (true, since) => since,
            };
        }
    }

    /// Writes the results; true: without the sites that lost nothing, for want of room.
    fn write(
        &self,
        recorder: &mut Recorder,
        outcome: &Outcome,
        at_ms: u64,
    ) -> Result<bool, Failure> {
        let sites = sites::len();
        let count = (1..=sites)
            .filter(|&site| outcome.of(site).is_some())
            .count();
        let limit = recorder.payload_limit() as usize;
        let front = FRAME_BYTES + TAIL_BYTES + 64;
        for (partial, bytes) in [
            (false, count * LOSS_BYTES),
            (false, count * MOST_LOSS_BYTES),
            (true, limit),
        ] {
            let Some(mut buffer) = Buffer::of((bytes + front).min(limit.max(4096))) else {
                continue;
            };
            let end = buffer.len() - TAIL_BYTES;
            let room = buffer
                .as_mut_slice()
                .get_mut(FRAME_BYTES..end)
                .unwrap_or_default();
            let mut sink = SliceSink::new(room);
            let written = encode_losses(at_ms, &mut sink).is_ok_and(|mut writer| {
                (1..=sites)
                    .filter_map(|site| outcome.of(site))
                    .all(|mut loss| {
                        let lost = loss.definite_blocks + loss.indirect_blocks;
                        loss.since_ms = self
                            .since_ms
                            .get(loss.site as usize)
                            .copied()
                            .unwrap_or(if lost > 0 { at_ms.max(1) } else { 0 });
                        if partial && lost + loss.possible_blocks == 0 {
                            return true;
                        }
                        writer.push(&loss).is_ok()
                    })
            });
            if written {
                let len = sink.len();
                match recorder.replace(Kept::Losses, buffer.as_mut_slice(), len) {
                    Err(Failure::Full) => {}
                    result => return result.map(|()| partial),
                }
            }
        }
        Err(Failure::Full)
    }
}
