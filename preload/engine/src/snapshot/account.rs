//! Owns when an account of memory is taken, and how it gets into the recording.
//!
//! At the end of the process, when someone asks, and now and then: the next one at least a minute
//! after the last and only once a hundred times as long has passed as that one took, so that
//! accounts cost less than one part in a hundred of a CPU, whatever the size of the process.

use leaktrack_recording::{
    Account as Encoded, Area, AreasHead, BlocksHead, LiveBlock, Mode, NumaNodeWriter, PartWriter,
    Record, SiteResidency, SliceSink, encode_areas, encode_arenas, encode_blocks, encode_residency,
};

use super::epochs::Epochs;
use super::source::Source;

use crate::account::{self, Account, Request};
use crate::config;
use crate::recorder::{Buffer, FRAME_BYTES, Failure, Kept, Recorder, TAIL_BYTES};
use crate::text::Path;
use crate::{sampler, state};

/// The first one: something to compare the last one with, also of a process that is killed soon.
const FIRST_MS: u64 = 1_000;
const INTERVAL_MS: u64 = 60_000;
/// Sooner when resident memory has moved by so much of it since: what was measured then says little by now. Not
/// sooner than this after the last one, nor than a part of the time since the start, so that memory that goes up and
/// down all day does not fill the recording.
const MOVED_SHARE: u64 = 5;
const LEAST_MS: u64 = 2_000;
const LEAST_PART: u64 = 16;
/// One part in so many of the time may go into accounts.
const COST_SHARE: u64 = 100;
/// Room for the parts.
const PARTS_BYTES: usize = 640;
/// Room for 16 nodes.
const NODES_BYTES: usize = 720;
/// Room for a site, and for an arena.
const ENTRY_BYTES: usize = 48;
/// Areas told at most; fewer where there is no room.
const MOST_AREAS: [usize; 3] = [2_000, 400, 80];
/// Room for an area without its name: numbers of pages have 36 bits at most.
const AREA_ENTRY_BYTES: usize = 48;
/// Room for a block.
const BLOCK_ENTRY_BYTES: usize = 40;

/// When the next account is due.
pub struct Schedule {
    due_ms: u64,
    /// When one is due that memory gives reason for.
    early_ms: u64,
    /// Resident memory at the last snapshot before the last account.
    rss_bytes: u64,
}

impl Schedule {
    /// None was taken.
    pub const fn new() -> Schedule {
        Schedule {
            due_ms: FIRST_MS,
            early_ms: FIRST_MS,
            rss_bytes: 0,
        }
    }

    /// True if a periodic one is due, of a process with so much resident memory.
    pub fn is_due(&self, now_ms: u64, rss_bytes: u64) -> bool {
        let moved = rss_bytes.abs_diff(self.rss_bytes) > self.rss_bytes / MOVED_SHARE;
        now_ms >= self.due_ms || (moved && now_ms >= self.early_ms)
    }

    /// The next one, after one at `began_ms` that took `took_ms`.
    fn plan(&mut self, began_ms: u64, took_ms: u64, rss_bytes: u64) {
        let rest_ms = took_ms.max(1).saturating_mul(COST_SHARE);
        let least_ms = LEAST_MS.max(began_ms / LEAST_PART).min(INTERVAL_MS);
        self.due_ms = began_ms.saturating_add(INTERVAL_MS.max(rest_ms));
        self.early_ms = began_ms.saturating_add(least_ms.max(rest_ms));
        self.rss_bytes = rss_bytes;
    }

    /// Takes an account and writes it. `thorough`: the process ends, or someone asked. `rss_bytes`: see
    /// [`Schedule::is_due`].
    pub fn take(
        &mut self,
        source: &impl Source,
        epochs: &Epochs,
        recorder: &mut Recorder,
        thorough: bool,
        rss_bytes: u64,
    ) -> Result<(), Failure> {
        let mut path = Path::new();
        path.push_bytes(recorder.path());
        let began_ms = state::tick();
        let request = Request {
            own_file: path.as_bytes(),
            exact: config::get().mode == Mode::Exact && !sampler::is_on() && !state::was_paused(),
            thorough,
            at_ms: began_ms,
            sites: (source.sites(), &|site| {
                let counts = source.counts(site);
                (counts.live_blocks(), counts.live_bytes())
            }),
        };
        let account = account::take(&request);
        self.plan(began_ms, state::tick().saturating_sub(began_ms), rss_bytes);
        let Some(mut account) = account else {
            return Ok(());
        };
        for written in [
            write(&account, recorder),
            write_residency(&account, recorder),
            write_arenas(&account, recorder),
            write_areas(&mut account, recorder),
            write_blocks(&mut account, epochs, recorder),
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

/// Writes the address space, the coarser the less room there is.
fn write_areas(account: &mut Account, recorder: &mut Recorder) -> Result<(), Failure> {
    let at_ms = account.head.at_ms;
    let areas = account.areas_mut();
    for most in MOST_AREAS {
        areas.fold(most);
        let bytes: usize = areas
            .iter()
            .map(|(_, name)| AREA_ENTRY_BYTES + name.len())
            .sum();
        let bytes = FRAME_BYTES + 64 + bytes + TAIL_BYTES;
        if bytes > recorder.payload_limit() as usize {
            continue;
        }
        let mut buffer = Buffer::of(bytes).ok_or(Failure::Full)?;
        let end = buffer.len() - TAIL_BYTES;
        let room = buffer.as_mut_slice().get_mut(FRAME_BYTES..end);
        let mut sink = SliceSink::new(room.unwrap_or_default());
        let incomplete = areas.incomplete;
        let head = AreasHead { at_ms, incomplete };
        let mut writer = encode_areas(&head, &mut sink).map_err(|_| Failure::Full)?;
        for (area, name) in areas.iter() {
            let area = Area {
                start: (area.start >> 12) as u64,
                pages: ((area.end - area.start) >> 12) as u64,
                kind: area.kind,
                which: area.which,
                resident_pages: area.resident,
                swapped_pages: area.swapped,
                gap_pages: area.gaps,
                ranges: area.ranges,
                name,
            };
            writer.push(&area).map_err(|_| Failure::Full)?;
        }
        let len = sink.len();
        match recorder.replace(Kept::Areas, buffer.as_mut_slice(), len) {
            Err(Failure::Full) => {}
            done => return done,
        }
    }
    Err(Failure::Full)
}

/// Writes single blocks.
fn write_blocks(
    account: &mut Account,
    epochs: &Epochs,
    recorder: &mut Recorder,
) -> Result<(), Failure> {
    let at_ms = account.head.at_ms;
    let incomplete = !account.all_blocks;
    let Some(choice) = account.choice_mut() else {
        return Ok(());
    };
    let head = BlocksHead {
        at_ms,
        incomplete,
        known_blocks: choice.known_blocks,
        known_bytes: choice.known_bytes,
        sites: choice.live_sites,
        sites_looked_at: choice.sites_looked_at(),
        largest: choice.room(),
        oldest: choice.room(),
    };
    let chosen = choice.finish();
    let bytes = FRAME_BYTES + 64 + chosen.len() * BLOCK_ENTRY_BYTES + TAIL_BYTES;
    if bytes > recorder.payload_limit() as usize {
        return Err(Failure::Full);
    }
    let mut buffer = Buffer::of(bytes).ok_or(Failure::Full)?;
    let end = buffer.len() - TAIL_BYTES;
    let room = buffer.as_mut_slice().get_mut(FRAME_BYTES..end);
    let mut sink = SliceSink::new(room.unwrap_or_default());
    let mut writer = encode_blocks(&head, &mut sink).map_err(|_| Failure::Full)?;
    for block in chosen {
        let block = LiveBlock {
            address: block.addr as u64,
            bytes: block.size,
            site: block.site,
            age_ms: at_ms.saturating_sub(epochs.birth_ms(block.epoch, at_ms)),
            resident_bytes: block.resident,
        };
        writer.push(&block).map_err(|_| Failure::Full)?;
    }
    let len = sink.len();
    recorder.replace(Kept::Blocks, buffer.as_mut_slice(), len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_taken_again_when_memory_has_moved() {
        let mut schedule = Schedule::new();
        assert!(!schedule.is_due(900, 1 << 30));
        assert!(schedule.is_due(1_000, 10 << 20));
        schedule.plan(1_000, 1, 10 << 20);
        assert!(!schedule.is_due(2_900, 100 << 20), "too soon");
        assert!(!schedule.is_due(3_100, 11 << 20), "hardly anything moved");
        assert!(schedule.is_due(3_100, 13 << 20) && schedule.is_due(3_100, 7 << 20));
        assert!(schedule.is_due(61_000, 10 << 20), "once a minute anyhow");
        // What takes long is not taken often, whatever memory does.
        schedule.plan(1_000, 300, 10 << 20);
        assert!(!schedule.is_due(30_900, 1 << 30) && schedule.is_due(31_000, 1 << 30));
    }

    #[test]
    fn memory_that_goes_up_and_down_does_not_fill_the_recording() {
        let (mut schedule, mut taken) = (Schedule::new(), 0);
        for second in 1..=86_400 {
            let rss_bytes = (10 << 20) << (second % 2);
            if schedule.is_due(second * 1_000, rss_bytes) {
                schedule.plan(second * 1_000, 1, rss_bytes);
                taken += 1;
            }
        }
        assert!(
            (1_440..1_560).contains(&taken),
            "{taken}: one a minute is 1,440"
        );
    }
}
