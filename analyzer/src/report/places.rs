//! Where things lie: the address spaces, and single live blocks, as the recordings have them.

use std::collections::HashMap;

use leaktrack_recording::{SiteLoss, area};
use serde::{Deserialize, Serialize};

use super::ReportOptions;
use crate::model::process::Process;
use crate::model::{Family, Site};

/// Processes whose address space and blocks are told: those with most live bytes.
const MOST_PROCESSES: usize = 16;

/// A process's address space at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AddressSpace {
    /// Index of the process.
    pub process: usize,
    /// When, seconds after the root's start.
    pub at_s: f64,
    /// Every mapping is in it.
    pub complete: bool,
    /// Areas by address.
    pub areas: Vec<AreaReport>,
}

/// A range of addresses that is one thing, or several small ones of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AreaReport {
    /// First address, hexadecimal.
    pub start: String,
    /// From its first to its last address.
    pub bytes: u64,
    /// What it is.
    pub kind: String,
    /// Path, name of the thread, or what its owner called it.
    pub name: Option<String>,
    /// Number of the allocator's arena, of its heaps.
    pub arena: Option<u32>,
    /// Number of the thread, of its stack.
    pub thread: Option<u32>,
    /// Id of the call site, if it is all of one.
    pub site: Option<String>,
    /// Resident.
    pub resident_bytes: u64,
    /// Swapped out.
    pub swapped_bytes: u64,
    /// Within it, not mapped.
    pub unmapped_bytes: u64,
    /// Mappings, or parts of them, that are told as one.
    pub ranges: u32,
}

/// Single live blocks of a process at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Blocks {
    /// Index of the process.
    pub process: usize,
    /// When, seconds after the root's start.
    pub at_s: f64,
    /// Every live block was there to choose from.
    pub complete: bool,
    /// Blocks and mappings to choose from.
    pub known_blocks: u64,
    /// Their bytes.
    pub known_bytes: u64,
    /// Call sites with live blocks.
    pub known_sites: u64,
    /// Of these, those with most live bytes, from which blocks were chosen.
    pub sites: u64,
    /// The largest of each, so many at most.
    pub largest: u64,
    /// And the oldest of each, so many at most.
    pub oldest: u64,
    /// Blocks that were chosen.
    pub chosen: u64,
    /// Of the chosen ones those that the filters leave, largest first.
    pub list: Vec<BlockReport>,
}

/// A live block, or a mapping of the program's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockReport {
    /// Its address, hexadecimal.
    pub address: String,
    /// Bytes asked for.
    pub bytes: u64,
    /// Of these, resident.
    pub resident_bytes: u64,
    /// Its age.
    pub age_s: f64,
    /// Id of its call site; none if the recording does not say.
    pub site: Option<String>,
    /// The function to blame there.
    pub function: Option<String>,
    /// Its source file.
    pub file: Option<String>,
    /// The line.
    pub line: Option<u32>,
    /// Nothing points to it: known where the last scan found all blocks of its call site lost, or none; a scan
    /// counts blocks by site.
    #[serde(default)]
    pub lost: Option<bool>,
}

/// What areas of a kind are called.
pub fn kind(number: u32) -> &'static str {
    match number {
        area::HEAP => "heap",
        area::LARGE_BLOCKS => "large blocks",
        area::MAPPING => "mapping",
        area::STACK => "thread stack",
        area::MODULE => "module",
        area::FILE => "file",
        area::SHARED_MEMORY => "shared memory",
        area::OWN => "leaktrack",
        area::GO => "Go heap",
        area::V8 => "V8 heap",
        area::JVM => "JVM heap",
        area::NAMED => "named mapping",
        area::KERNEL => "kernel",
        area::SEVERAL => "several",
        _ => "unknown",
    }
}

/// Every kind.
pub fn kinds() -> Vec<&'static str> {
    let mut kinds: Vec<&str> = (0..=area::SEVERAL).map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Sites by process and their id there.
type Sites<'a> = HashMap<(usize, u32), &'a Site>;

/// Address spaces and blocks of the family's processes.
pub fn places(family: &Family, options: &ReportOptions) -> (Vec<AddressSpace>, Vec<Blocks>) {
    let mut sites = Sites::new();
    for site in &family.sites {
        for part in &site.parts {
            sites.extend(part.ids.iter().map(|id| ((part.process, *id), site)));
        }
    }
    let in_window = |process: &Process, at_ms: u64| {
        process.empty_window.is_none() && at_ms.min(process.last_record_ms) <= process.to_ms
    };
    let live = |process: &Process| {
        let head = process.last_head();
        head.map_or(0, |head| {
            let totals = head.totals;
            totals.allocated_bytes.saturating_sub(totals.freed_bytes) + totals.mapped_bytes
        })
    };
    let mut told: Vec<usize> = (0..family.processes.len()).collect();
    told.sort_by_key(|index| std::cmp::Reverse(family.processes.get(*index).map_or(0, live)));
    told.truncate(MOST_PROCESSES);
    told.sort_unstable();
    let mut spaces = Vec::new();
    let mut blocks = Vec::new();
    for index in told {
        let Some(process) = family.processes.get(index) else {
            continue;
        };
        let at_s = |at_ms: u64| {
            let ms = at_ms.min(process.last_record_ms);
            super::memory::round(family.start_s(index) + ms as f64 / 1e3)
        };
        if let Some(space) = &process.address_space
            && in_window(process, space.head.at_ms)
        {
            let areas = space.list.iter();
            spaces.push(AddressSpace {
                process: index,
                at_s: at_s(space.head.at_ms),
                complete: !space.head.incomplete,
                areas: areas
                    .map(|area| area_report(index, process, &sites, area))
                    .collect(),
            });
        }
        if let Some(list) = &process.blocks
            && in_window(process, list.head.at_ms)
        {
            let head = list.head;
            let mut chosen: Vec<_> = list
                .list
                .iter()
                .filter(|block| block.bytes >= options.min_bytes)
                .filter(|block| block.age_ms >= options.older_than_ms.unwrap_or(0))
                .collect();
            chosen.sort_by_key(|block| (std::cmp::Reverse(block.bytes), block.address));
            blocks.push(Blocks {
                process: index,
                at_s: at_s(head.at_ms),
                complete: !head.incomplete,
                known_blocks: head.known_blocks,
                known_bytes: head.known_bytes,
                known_sites: head.sites,
                sites: head.sites_looked_at,
                largest: head.largest,
                oldest: head.oldest,
                chosen: list.list.len() as u64,
                list: chosen
                    .into_iter()
                    .map(|block| {
                        let site = sites.get(&(index, block.site)).copied();
                        let part = site
                            .and_then(|site| site.parts.iter().find(|part| part.process == index));
                        let lost = part.and_then(|part| {
                            is_lost(process, part.losses?, head.at_ms, block.age_ms)
                        });
                        block_report(site, block, lost)
                    })
                    .collect(),
            });
        }
    }
    (spaces, blocks)
}

/// Whether the last scan found a block lost that was live `at_ms` and so old then, as far as figures of its site
/// tell.
fn is_lost(process: &Process, loss: SiteLoss, at_ms: u64, age_ms: u64) -> Option<bool> {
    let scan = process.scans.iter().rev().find(|scan| scan.complete)?;
    // It was there when the scan was made, and nobody freed it since: the list is as old as the scan or younger.
    let was_there = at_ms.saturating_sub(age_ms) <= scan.at_ms
        && at_ms.saturating_add(process.interval_ms) >= scan.at_ms;
    let lost = loss.definite_blocks.saturating_add(loss.indirect_blocks);
    match (lost, loss.possible_blocks, loss.reachable_blocks) {
        _ if !was_there => None,
        (0, 0, _) => Some(false),
        (1.., 0, 0) => Some(true),
        _ => None,
    }
}

fn block_report(
    site: Option<&Site>,
    block: &leaktrack_recording::LiveBlock,
    lost: Option<bool>,
) -> BlockReport {
    let blamed = site.and_then(Site::blamed);
    BlockReport {
        address: format!("{:#x}", block.address),
        bytes: block.bytes,
        resident_bytes: block.resident_bytes,
        age_s: super::memory::round(block.age_ms as f64 / 1e3),
        site: site.map(|site| site.id.clone()),
        function: blamed.and_then(|frame| frame.function.clone()),
        file: blamed.and_then(|frame| frame.file.clone()),
        line: blamed.and_then(|frame| frame.line),
        lost,
    }
}

fn area_report(
    index: usize,
    process: &Process,
    sites: &Sites,
    area: &crate::model::places::Area,
) -> AreaReport {
    let which = Some(area.which).filter(|which| *which != 0);
    let of = |kinds: &[u32]| which.filter(|_| kinds.contains(&area.kind));
    let thread = of(&[area::STACK]);
    let module = of(&[area::MODULE]).and_then(|id| process.modules.get(&id));
    let name = match (thread, module) {
        (Some(tid), _) => process.threads.get(&tid).cloned(),
        (_, Some(module)) => Some(String::from_utf8_lossy(&module.path).into_owned()),
        _ => Some(area.name.clone()).filter(|name| !name.is_empty()),
    };
    let site = of(&[area::MAPPING, area::LARGE_BLOCKS]);
    let site = site.and_then(|id| sites.get(&(index, id)));
    AreaReport {
        start: format!("{:#x}", area.start),
        bytes: area.bytes,
        kind: kind(area.kind).to_owned(),
        name,
        arena: of(&[area::HEAP]),
        thread,
        site: site.map(|site| site.id.clone()),
        resident_bytes: area.resident_bytes,
        swapped_bytes: area.swapped_bytes,
        unmapped_bytes: area.gap_bytes,
        ranges: area.ranges,
    }
}
