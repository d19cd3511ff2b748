//! The one sentence on memory: leak, growth, retention, fragmentation, swap, or none of them, with
//! the numbers that say so and what would give the memory back.
//!
//! It must never claim more than what was measured: every number in it is one of the report's.

use std::collections::BTreeMap;

use leaktrack_recording::SiteKind;

use super::account;
use super::document::{Fragmentation, Memory, Moment};
use super::growth::Growth;
use super::runtime::Runtime;
use crate::human::{bytes, count, plural, rate};
use crate::model::{Family, Site};
use crate::verdict::{Estimate, Opinion, Verdict};

/// A share of resident memory that is worth a sentence.
const NOTABLE: f64 = 0.25;
/// Less is never worth one.
const LEAST_BYTES: u64 = 2 << 20;
/// Lost bytes that are told before anything else.
const LEAST_LOST_BYTES: u64 = 16 << 10;
/// Share of free memory that must be releasable to call it retained rather than fragmented.
const MOSTLY: f64 = 0.5;
/// The number of glibc's main arena.
const MAIN_ARENA: u32 = 1;
/// How long an arena's end may be before glibc gives it back, as long as nobody raised that.
const TRIM_THRESHOLD_BYTES: u64 = 128 << 10;

/// What the sentence is made from.
pub struct Evidence<'a> {
    /// The family.
    pub family: &'a Family,
    /// On each of its sites.
    pub opinions: &'a [Opinion],
    /// Where memory is.
    pub memory: &'a Memory,
    /// The allocator's view.
    pub fragmentation: &'a Fragmentation,
    /// The family over time.
    pub timeline: &'a [Moment],
    /// Lines that grow: the ones that the report's first sentence adds up.
    pub growth: &'a Growth,
    /// Most of the memory could not be seen: that nothing is known to grow means nothing.
    pub blind: bool,
}

/// The sentence; `None` where resident memory is unknown.
pub fn sentence(evidence: &Evidence<'_>) -> Option<String> {
    let rss = evidence.memory.rss_bytes?;
    let first = [
        Evidence::much_lost,
        Evidence::growing_stacks,
        Evidence::growing_files,
        Evidence::growing_sites,
        Evidence::swapped,
        Evidence::free_memory,
        Evidence::lost,
        Evidence::retained,
    ]
    .iter()
    .find_map(|rule| rule(evidence, rss));
    Some(first.unwrap_or_else(|| evidence.healthy(rss)))
}

impl Evidence<'_> {
    fn healthy(&self, rss: u64) -> String {
        let parts = self.memory.parts.iter();
        let largest = parts.max_by_key(|part| part.bytes);
        if self.blind {
            return format!(
                "Whether live blocks grow is unknown: most of the program's memory could not be seen{}.",
                largest.map_or_else(String::new, |part| format!(
                    "; of {} resident the largest part is {} ({})",
                    bytes(rss),
                    part.name,
                    bytes(part.bytes)
                ))
            );
        }
        match largest.filter(|part| part.bytes >= rss / 2) {
            Some(part) => format!(
                "Healthy: {}; most of {} resident is {} ({}).",
                self.nothing_grows(),
                bytes(rss),
                part.name,
                bytes(part.bytes)
            ),
            None => format!(
                "Healthy: {}, and of {} resident no part stands out.",
                self.nothing_grows(),
                bytes(rss)
            ),
        }
    }

    /// Sites of these verdicts, those with most live bytes first.
    fn sites(&self, verdict: Verdict) -> Vec<(&Site, &Opinion)> {
        let pairs = self.family.sites.iter().zip(self.opinions);
        let mut found: Vec<_> = pairs
            .filter(|(_, opinion)| opinion.verdict == verdict)
            .collect();
        found.sort_by_key(|(site, _)| std::cmp::Reverse(site.live_bytes()));
        found
    }

    /// More is lost than a few forgotten bytes beside other trouble.
    fn much_lost(&self, rss: u64) -> Option<String> {
        let sites = self.sites(Verdict::Lost);
        let lost: u64 = sites.iter().map(|(site, _)| site.lost_bytes()).sum();
        let enough = lost >= LEAST_LOST_BYTES && lost >= self.growth.live_bytes() / 4;
        enough.then(|| self.lost(rss))?
    }

    fn lost(&self, _: u64) -> Option<String> {
        let lost = self.sites(Verdict::Lost);
        let sum: u64 = lost.iter().map(|(site, _)| site.lost_bytes()).sum();
        let blocks = lost.iter().map(|(site, _)| site.lost_blocks()).sum();
        // One line may lose them through many stacks.
        let mut by_place: BTreeMap<String, u64> = BTreeMap::new();
        for (site, _) in &lost {
            let of_place = by_place.entry(place(site)).or_default();
            *of_place = of_place.saturating_add(site.lost_bytes());
        }
        let (worst, most) = by_place.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let share = match most {
            most if most == sum => "all of it",
            most if most > sum / 2 => "most of it",
            _ => "more of it than from elsewhere",
        };
        Some(format!(
            "Leak: {} in {} that no pointer leads to any more, {share} from {worst}; only freeing them \
             there gives the memory back.",
            bytes(sum),
            plural(blocks, "block"),
        ))
    }

    fn growing_sites(&self, _: u64) -> Option<String> {
        let growth = self.growth;
        let worst = growth.worst(self.family)?;
        let by = |sum: Option<Estimate>| {
            sum.map_or_else(String::new, |sum| format!(" by {}", rate(sum.value)))
        };
        let at = place(worst);
        let what = match growth.kinds() {
            (true, false) => "live blocks",
            (false, _) => "what the program maps and does not unmap",
            (true, true) => "live blocks and mappings",
        };
        let verb = match growth.kinds() {
            (false, _) => ("grows", "grew"),
            _ => ("grow", "grew"),
        };
        let total = by(growth.rate());
        let from_the_start = growth
            .held_from_the_start_bytes()
            .map_or_else(String::new, |first| {
                format!(", {} of it from the start", bytes(first))
            });
        if growth.is_freed() {
            let rest = match growth.live_bytes() {
                0 => "all of it was".to_owned(),
                rest => format!("all but {} was", bytes(rest)),
            };
            return Some(format!(
                "Growth while it ran: {what} {}{total}, to {} at the peak{from_the_start}, most of it from {at}; {rest} \
                 freed at exit. If the program is to run for longer, free earlier there, or bound what \
                 holds it.",
                verb.1,
                bytes(growth.peak_live_bytes())
            ));
        }
        if let Some(runtime) = Runtime::of(worst) {
            let (own, others) = growth.rate_of(runtime, self.family);
            let of_all = match (others, growth.rate()) {
                (true, Some(all)) => format!(" of {} in all", rate(all.value)),
                _ => String::new(),
            };
            return Some(format!(
                "Growth of {},{}{of_all}: that is memory of the runtime's own, and only the runtime can say what it keeps in it (see the finding's advice).",
                runtime.heap(),
                by(own)
            ));
        }
        let freed = match growth.freed_bytes() {
            0 => String::new(),
            freed => format!(", besides {} freed at exit", bytes(freed)),
        };
        let so_far = format!(
            "({} so far{from_the_start}{freed})",
            bytes(growth.live_bytes())
        );
        let (title, remedy) = match (growth.kinds(), worst.kind) {
            ((false, _), _) => (
                "Growth of mappings",
                format!("most of it in {at}; `munmap` there gives it back"),
            ),
            (_, SiteKind::Mmap) => (
                "Growth",
                format!("most of it mapped in {at}; `munmap` there gives it back"),
            ),
            (_, SiteKind::Heap) => (
                "Growth",
                format!("most of it from {at}; free them there, or bound what holds them"),
            ),
        };
        Some(format!(
            "{title}: {what} {}{total} {so_far}, {remedy}.",
            verb.0
        ))
    }

    /// That nothing grows, as far as that is so.
    fn nothing_grows(&self) -> &'static str {
        match self.sites(Verdict::Growing).is_empty() {
            true => "nothing grows",
            false => "nothing grows but what is suppressed or left out",
        }
    }

    /// Bytes of a part now.
    fn part(&self, name: &str) -> u64 {
        let parts = self.memory.parts.iter();
        parts
            .filter(|part| part.name == name)
            .map(|part| part.bytes)
            .sum()
    }

    /// Bytes of a part when it was first measured and when it was last.
    fn change(&self, name: &str) -> Option<(u64, u64)> {
        let mut firsts = std::collections::BTreeMap::new();
        let mut lasts = std::collections::BTreeMap::new();
        for moment in &self.memory.over_time {
            let value = moment.parts.get(name).copied().unwrap_or(0);
            firsts.entry(moment.process).or_insert((moment.t_s, value));
            lasts.insert(moment.process, (moment.t_s, value));
        }
        (lasts != firsts).then(|| {
            let sum = |of: &std::collections::BTreeMap<usize, (f64, u64)>| {
                of.values().map(|(_, value)| value).sum()
            };
            (sum(&firsts), sum(&lasts))
        })
    }

    fn growing_stacks(&self, rss: u64) -> Option<String> {
        let stacks = self.part("thread stacks");
        let present: Vec<&Moment> = self.timeline.iter().filter(|m| m.threads > 0).collect();
        let early = present.get(present.len() / 4)?.threads;
        let last = present.last()?.threads;
        let rises = present
            .windows(2)
            .filter(|pair| matches!(pair, [a, b] if b.threads > a.threads))
            .count();
        let grows = last >= early + 8 && last as f64 >= early as f64 * 1.2 && rises >= 4;
        let heavy = stacks >= LEAST_BYTES
            && stacks as f64 >= NOTABLE / 2.0 * rss as f64
            && stacks > self.growth.live_bytes();
        (grows && heavy).then(|| {
            format!(
                "Growth of thread stacks: {} threads, and there were {} earlier; their stacks hold {} of \
                 {} resident. End or join the threads, bound their pool, or give them smaller stacks.",
                count(last),
                count(early),
                bytes(stacks),
                bytes(rss)
            )
        })
    }

    fn growing_files(&self, rss: u64) -> Option<String> {
        let grown = ["file mappings", "shared memory"]
            .iter()
            .filter_map(|name| {
                let (first, last) = self.change(name)?;
                let by = last.checked_sub(first)?;
                // Growing sites of mappings are the same memory, seen from the program.
                let notable = by >= LEAST_BYTES
                    && by as f64 >= NOTABLE / 2.0 * rss as f64
                    && by >= self.growth.live_bytes() / 2;
                notable.then_some((by, *name, first, last))
            });
        let (_, name, first, last) = grown.max()?;
        Some(match name {
            "file mappings" => format!(
                "Growth of file mappings: {} of files are mapped and in memory, {} when it was first \
                 measured. The kernel takes their clean pages back when memory is short; `munmap` or \
                 `madvise(MADV_DONTNEED)` does so at once.",
                bytes(last),
                bytes(first)
            ),
            _ => format!(
                "Growth of shared memory: {} now, {} when it was first measured; it stays until it is \
                 unmapped and its name removed.",
                bytes(last),
                bytes(first)
            ),
        })
    }

    fn swapped(&self, rss: u64) -> Option<String> {
        let swap = self.memory.swap_bytes?;
        let notable = swap >= LEAST_BYTES && swap as f64 >= NOTABLE * (rss + swap) as f64;
        let limit = self.memory.limit_bytes.map_or_else(String::new, |limit| {
            format!(" under a limit of {}", bytes(limit))
        });
        notable.then(|| {
            format!(
                "Swap pressure: {} are swapped out and {} resident{limit}; {}. Raise the \
                 limit or make the working set smaller: every swapped page costs a major fault when it \
                 is used again.",
                bytes(swap),
                bytes(rss),
                match self.blind {
                    true => "whether live blocks grow is unknown",
                    false => self.nothing_grows(),
                }
            )
        })
    }

    fn free_memory(&self, rss: u64) -> Option<String> {
        let free = self.fragmentation.free_bytes?;
        let notable = free >= LEAST_BYTES && free as f64 >= NOTABLE * rss as f64;
        if !notable {
            return None;
        }
        let name = self
            .fragmentation
            .allocator
            .as_deref()
            .unwrap_or("The allocator");
        let releasable = self.fragmentation.releasable_bytes?;
        let ends = Ends::of(self.fragmentation);
        let arenas = self.fragmentation.arenas.len() as u64;
        let whole = releasable.saturating_add(ends.bytes);
        if whole as f64 >= MOSTLY * free as f64 {
            let where_ = match arenas {
                0 => String::new(),
                n => match self.arenas_processes() {
                    0 | 1 => format!(" in {}", plural(n, "arena")),
                    several => format!(" in {} of {several} processes", plural(n, "arena")),
                },
            };
            let remedy = match ends.bytes > releasable {
                true => ends.remedy(releasable),
                false => trimming(name, releasable, self.fragmentation),
            };
            return Some(format!(
                "Retention: {name} holds {} free{where_}, of {} resident; {remedy}.",
                bytes(free),
                bytes(rss),
            ));
        }
        let pins = self.fragmentation.pinned_by.as_deref().unwrap_or_default();
        let who = pins.first().and_then(|pin| {
            let site = self.family.sites.iter().find(|site| site.id == pin.site)?;
            Some(format!(
                "; {} hold {} of it back with the few blocks from {}: give those a place of their own \
                 (a pool, an arena), or free them with their neighbours",
                plural(pin.pages, "page"),
                bytes(pin.bytes),
                place(site)
            ))
        });
        Some(format!(
            "Fragmentation: {} of {} resident are free inside {name}, but only {} of it in whole pages{}.",
            bytes(free),
            bytes(rss),
            bytes(whole),
            who.unwrap_or_default()
        ))
    }

    /// How many processes the arenas are of.
    fn arenas_processes(&self) -> usize {
        let arenas = self.fragmentation.arenas.iter();
        let processes: std::collections::BTreeSet<usize> =
            arenas.map(|arena| arena.process).collect();
        processes.len()
    }

    fn retained(&self, rss: u64) -> Option<String> {
        let retained = self.sites(Verdict::Retained);
        let (largest, _) = retained.first()?;
        // What was never touched of it takes no memory.
        let sum: u64 = retained
            .iter()
            .map(|(site, _)| {
                let live = site.live_bytes();
                account::residency(site).map_or(live, |of| live.min(of.resident_bytes))
            })
            .sum();
        let notable = sum >= LEAST_BYTES && sum as f64 >= NOTABLE * rss as f64;
        let grows = !self.sites(Verdict::Growing).is_empty();
        (notable && !self.blind && !grows).then(|| {
            format!(
                "No growth: of {} resident {} are live in blocks that stay, most of it from {}: a cache, \
                 a pool or a warm-up. Only a smaller bound there gives it back.",
                bytes(rss),
                bytes(sum),
                place(largest)
            )
        })
    }
}

/// What trimming returns, and what makes the allocator keep less. glibc's threshold is that of an arena's end alone, of which the main
/// arena's counts as releasable.
fn trimming(name: &str, releasable: u64, fragmentation: &Fragmentation) -> String {
    let trim = match name {
        "glibc" => "`malloc_trim(0)` would return",
        _ => "purging would return",
    };
    let arenas = &fragmentation.arenas;
    let main = arenas.iter().filter(|arena| arena.number == MAIN_ARENA);
    let at_end = main.fold(0, |sum, arena| arena.top_bytes.saturating_add(sum));
    let few = match arenas.len() > 4 {
        true => "; with MALLOC_ARENA_MAX=2 fewer arenas would keep it",
        false => "",
    };
    let soon = match at_end > releasable / 2 {
        true => "; with MALLOC_TRIM_THRESHOLD_=131072 it goes back sooner",
        false => "",
    };
    let setting = match name {
        "glibc" => [few, soon].concat(),
        "jemalloc" => "; a lower dirty_decay_ms in MALLOC_CONF does so sooner".to_owned(),
        _ => String::new(),
    };
    format!("{trim} {}{setting}", bytes(releasable))
}

/// Whole free pages at the ends of threads' arenas: glibc trims only the main arena's end.
struct Ends {
    bytes: u64,
    arenas: u64,
}

impl Ends {
    fn of(fragmentation: &Fragmentation) -> Ends {
        let arenas = fragmentation.arenas.iter();
        let tops = arenas
            .filter(|arena| arena.number != MAIN_ARENA && arena.top_bytes > 0)
            .map(|arena| arena.top_bytes);
        Ends {
            bytes: tops.clone().fold(0, u64::saturating_add),
            arenas: tops.count() as u64,
        }
    }

    /// Ends that are longer than glibc's own threshold are there because a large block that was freed, or the program, raised it.
    fn remedy(&self, releasable: u64) -> String {
        let raised = self.bytes > 2 * TRIM_THRESHOLD_BYTES * self.arenas;
        let setting = match raised {
            true => {
                "; with MALLOC_TRIM_THRESHOLD_=131072 a `free` there would, with MALLOC_ARENA_MAX=2 fewer arenas would keep it"
            }
            false => "; with MALLOC_ARENA_MAX=2 fewer arenas would keep it",
        };
        format!(
            "{} of it at the ends of threads' arenas, which `malloc_trim(0)` does not return (of the rest {}){setting}",
            bytes(self.bytes),
            bytes(releasable)
        )
    }
}

/// A site in a word.
pub fn place(site: &Site) -> String {
    let blamed = site.blamed().or_else(|| site.frames().next());
    let Some(frame) = blamed else {
        return "a place without a stack".to_owned();
    };
    let unnamed = || match crate::model::identity::file_name(&frame.module) {
        "" => "generated code".to_owned(),
        file => format!("{file}+{:#x}", frame.offset),
    };
    let function = frame.function.clone().unwrap_or_else(unnamed);
    match (&frame.file, frame.line) {
        (Some(path), Some(line)) => {
            format!(
                "{function} ({}:{line})",
                crate::model::identity::file_name(path)
            )
        }
        _ => function,
    }
}
