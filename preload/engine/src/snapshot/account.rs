//! Owns when an account of memory is taken, and how it gets into the recording.
//!
//! At the end of the process, when someone asks, and now and then: the next one at least a minute
//! after the last and only once a hundred times as long has passed as that one took, so that
//! accounts cost less than one part in a hundred of a CPU, whatever the size of the process.

use leaktrack_recording::{
    Account as Encoded, Mode, NumaNodeWriter, PartWriter, Record, SiteResidency, SliceSink,
    encode_arenas, encode_residency,
};

use crate::account::{self, Account, Request};
use crate::config;
use crate::recorder::{Buffer, FRAME_BYTES, Failure, Kept, Recorder, TAIL_BYTES};
use crate::text::Path;
use crate::{sampler, state};

/// The first one: something to compare the last one with, also of a process that is killed soon.
const FIRST_MS: u64 = 1_000;
const INTERVAL_MS: u64 = 60_000;
/// One part in so many of the time may go into accounts.
const COST_SHARE: u64 = 100;
/// Room for the parts.
const PARTS_BYTES: usize = 640;
/// Room for 16 nodes.
const NODES_BYTES: usize = 720;
/// Room for a site, and for an arena.
const ENTRY_BYTES: usize = 48;

/// When the next account is due.
pub struct Schedule {
    due_ms: u64,
}

impl Schedule {
    /// None was taken.
    pub const fn new() -> Schedule {
        Schedule { due_ms: FIRST_MS }
    }

    /// True if a periodic one is due.
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.due_ms
    }

    /// Takes an account and writes it. `thorough`: the process ends, or someone asked.
    pub fn take(&mut self, recorder: &mut Recorder, thorough: bool) -> Result<(), Failure> {
        let mut path = Path::new();
        path.push_bytes(recorder.path());
        let began_ms = state::tick();
        let request = Request {
            own_file: path.as_bytes(),
            exact: config::get().mode == Mode::Exact && !sampler::is_on() && !state::was_paused(),
            thorough,
            at_ms: began_ms,
        };
        let account = account::take(&request);
        let took_ms = state::tick().saturating_sub(began_ms).max(1);
        self.due_ms = began_ms + INTERVAL_MS.max(took_ms.saturating_mul(COST_SHARE));
        let Some(account) = account else {
            return Ok(());
        };
        for written in [
            write(&account, recorder),
            write_residency(&account, recorder),
            write_arenas(&account, recorder),
        ] {
            // What finds no room leaves room for what is smaller.
            if let Err(failure) = written
                && failure != Failure::Full
            {
                return Err(failure);
            }
        }
        Ok(())
    }
}

fn write(account: &Account, recorder: &mut Recorder) -> Result<(), Failure> {
    let mut room = [0u8; PARTS_BYTES];
    let mut sink = SliceSink::new(&mut room);
    let mut writer = PartWriter::new(&mut sink);
    for part in account.parts() {
        writer.push(&part).map_err(|_| Failure::Full)?;
    }
    let mut room = [0u8; NODES_BYTES];
    let mut nodes = SliceSink::new(&mut room);
    let mut writer = NumaNodeWriter::new(&mut nodes);
    for node in account.nodes() {
        writer.push(node).map_err(|_| Failure::Full)?;
    }
    recorder.append_event(&Record::Account(Encoded {
        head: account.head,
        nodes: nodes.written(),
        parts: sink.written(),
    }))
}

/// Writes residency of all sites if they fit, else of those that matter.
fn write_residency(account: &Account, recorder: &mut Recorder) -> Result<(), Failure> {
    let rows = account.rows();
    let used = rows.iter().filter(|row| row.live > 0).count();
    if used == 0 {
        return Ok(());
    }
    let bytes = FRAME_BYTES + 64 + used * ENTRY_BYTES + TAIL_BYTES;
    let limit = recorder.payload_limit() as usize;
    let mut buffer = Buffer::of(bytes.min(limit)).ok_or(Failure::Full)?;
    for least_bytes in [1, 4096, 65_536, 1 << 20] {
        let end = buffer.len() - TAIL_BYTES;
        let room = buffer.as_mut_slice().get_mut(FRAME_BYTES..end);
        let mut sink = SliceSink::new(room.unwrap_or_default());
        let mut writer =
            encode_residency(account.head.at_ms, &mut sink).map_err(|_| Failure::Full)?;
        let mut wanted = (0..).zip(rows).filter(|(_, row)| row.live >= least_bytes);
        let fits = wanted.all(|(site, row)| {
            let entry = SiteResidency {
                site,
                live_bytes: row.live,
                resident_bytes: row.resident,
                swapped_bytes: row.swapped,
                pinned_pages: u64::from(row.pinned_pages),
                pinned_bytes: row.pinned_bytes,
            };
            site == 0 || writer.push(&entry).is_ok()
        });
        if fits {
            let len = sink.len();
            return recorder.replace(Kept::Residency, buffer.as_mut_slice(), len);
        }
    }
    Err(Failure::Full)
}

fn write_arenas(account: &Account, recorder: &mut Recorder) -> Result<(), Failure> {
    let count = account.arenas().count();
    if count == 0 {
        return Ok(());
    }
    let bytes = FRAME_BYTES + 64 + count * 2 * ENTRY_BYTES + TAIL_BYTES;
    let mut buffer = Buffer::of(bytes).ok_or(Failure::Full)?;
    let end = buffer.len() - TAIL_BYTES;
    let room = buffer.as_mut_slice().get_mut(FRAME_BYTES..end);
    let mut sink = SliceSink::new(room.unwrap_or_default());
    let mut writer = encode_arenas(account.head.at_ms, &mut sink).map_err(|_| Failure::Full)?;
    for arena in account.arenas() {
        writer.push(arena).map_err(|_| Failure::Full)?;
    }
    let len = sink.len();
    recorder.replace(Kept::Arenas, buffer.as_mut_slice(), len)
}
