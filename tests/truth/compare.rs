//! Owns the comparison of a recording with valgrind's findings, and the reasons for which they may differ. It never knows a
//! particular program.
//!
//! Stacks are compared by what both can know: for frames of the program's own source, function and line; frames of other
//! modules in a row count as one, because their names depend on which debug files are installed and on which of several
//! aliases of a function a tool prefers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use leaktrack_tests::{Amount, Case, Frame, Report, Tracked, Valgrind, product};

/// Both sides of one program.
pub struct Both {
    pub report: Report,
    pub valgrind: Valgrind,
}

/// Runs a program under leaktrack and under valgrind in the same environment; fails when it gives different output.
#[track_caller]
pub fn run_both(
    program: &Path,
    args: &[&str],
    env: &[(&str, &str)],
    files: &[(&str, &str)],
    input: &str,
) -> Both {
    let mut case = Case::new(program).args(args).input(input).any_stderr();
    for (name, contents) in files {
        case = case.file(name, *contents);
    }
    for (key, value) in env {
        case = case.env(key, value);
    }
    let library = same_length_path(case.folder());
    let case = case.preload_as(library);
    let tracked: Tracked = case.tracked();

    // Interpreters copy the environment: valgrind's run gets the same variables, with values of the same length.
    let mut same: Vec<(String, String)> = tracked.environment.clone();
    same.retain(|(key, _)| key != "LD_PRELOAD");
    let same: Vec<(&str, &str)> = same
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let length = tracked.folder.file_name().map_or(8, |name| name.len());
    let folder = case.folder().join("v".repeat(length));
    std::fs::create_dir_all(&folder).expect("a folder for valgrind");
    for (name, contents) in files {
        std::fs::write(folder.join(name), contents).expect("an input file");
    }
    let valgrind = Valgrind::run(program, args, &same, &folder, input.as_bytes());
    assert_eq!(
        tracked.outcome.status.code(),
        valgrind.code,
        "{}",
        tracked.outcome
    );
    assert_eq!(
        String::from_utf8_lossy(&valgrind.stdout),
        tracked.outcome.text()
    );
    Both {
        report: tracked.report(),
        valgrind,
    }
}

/// What valgrind puts into LD_PRELOAD.
const VALGRINDS_PRELOAD: &str = "/usr/libexec/valgrind/vgpreload_core-amd64-linux.so:\
                                 /usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so";

/// A path to the library whose text is as long as valgrind's LD_PRELOAD.
fn same_length_path(folder: &Path) -> PathBuf {
    let base = folder.to_string_lossy().into_owned();
    let padding = VALGRINDS_PRELOAD
        .len()
        .saturating_sub(base.len() + "/".len() + ".so".len());
    let link = PathBuf::from(format!("{base}/{}.so", "l".repeat(padding.max(1))));
    std::os::unix::fs::symlink(&product().library, &link).expect("a link to the library");
    link
}

impl Both {
    /// Totals and live blocks are equal, to the byte.
    #[track_caller]
    pub fn expect_equal_totals(&self) {
        let (report, valgrind) = (&self.report, &self.valgrind);
        let ours = [
            report.total("allocations"),
            report.total("frees"),
            report.total("allocated_bytes") - self.tls_excess(),
        ];
        let theirs = [
            valgrind.allocations,
            valgrind.frees,
            valgrind.allocated_bytes,
        ];
        assert_eq!(
            ours,
            theirs,
            "allocations, frees, bytes\n{}",
            report.outline()
        );
        assert_eq!(self.live(), valgrind.live, "live\n{}", report.outline());
        assert_eq!(report.coverage("unknown_frees"), 0);
        assert_eq!(report.coverage("dropped"), 0);
    }

    /// The same for a program whose own runs differ by `spread` short-lived blocks: what is live is still equal.
    #[track_caller]
    pub fn expect_near_totals(&self, spread: u64) {
        let (report, valgrind) = (&self.report, &self.valgrind);
        let near = |ours: u64, theirs: u64| ours.abs_diff(theirs) <= spread;
        let totals = [valgrind.allocations, valgrind.frees, valgrind.live.blocks];
        let text = format!("valgrind {totals:?}\n{}", report.outline());
        assert!(
            near(report.total("allocations"), valgrind.allocations),
            "{text}"
        );
        assert!(near(report.total("frees"), valgrind.frees), "{text}");
        assert_eq!(report.total("live_blocks"), valgrind.live.blocks, "{text}");
        assert_eq!(report.coverage("unknown_frees"), 0);
    }

    /// Every stack that valgrind names holds the same blocks and bytes, and no other stack holds any.
    #[track_caller]
    pub fn expect_equal_sites(&self, sources: &[&str]) {
        let mut ours: BTreeMap<String, Amount> = BTreeMap::new();
        for site in self
            .report
            .sites
            .iter()
            .filter(|site| site.kind == "heap" && site.live.blocks > 0)
        {
            let mut live = site.live;
            live.bytes -= if allocates_tls(&site.frames) {
                TLS_MODULE_BYTES * live.blocks
            } else {
                0
            };
            add(&mut ours, key(&site.frames, sources), live);
        }
        let mut theirs: BTreeMap<String, Amount> = BTreeMap::new();
        for record in &self.valgrind.records {
            add(&mut theirs, key(&record.frames, sources), record.amount);
        }
        let text = |sites: &BTreeMap<String, Amount>| {
            sites
                .iter()
                .map(|(key, amount)| format!("{}/{} {key}\n", amount.bytes, amount.blocks))
                .collect::<String>()
        };
        assert_eq!(
            text(&ours),
            text(&theirs),
            "live bytes/blocks by stack: leaktrack's, then valgrind's"
        );
    }

    /// What the scan at exit calls definitely or indirectly lost is what valgrind does.
    #[track_caller]
    pub fn expect_equal_losses(&self) {
        assert_eq!(
            self.report.lost().sum(),
            self.valgrind.lost(),
            "definite and indirect: leaktrack's, then valgrind's\n{}",
            self.report.outline()
        );
    }

    /// Each of `turns` like turns loses one block, and what hangs on it with it: nothing holds it that
    /// the program knows of. Valgrind may call the last turn's reachable, by a stale word above the
    /// stack pointer (its own run leaves the stack otherwise), or some possibly lost, by a number that
    /// looks like an address into them; leaktrack has no such word here.
    #[track_caller]
    pub fn expect_losses_of_every_turn(&self, turns: u64) {
        let (ours, theirs) = (self.report.lost(), self.valgrind.lost());
        let possible = self.valgrind.of_kinds(&["possibly lost"]);
        let text = format!(
            "{ours:?}, {theirs:?}, {possible:?}\n{}",
            self.report.outline()
        );
        assert_eq!(ours.definite.blocks, turns, "{text}");
        assert_eq!(ours.possible.blocks, 0, "{text}");
        let known = theirs.blocks + possible.blocks;
        let a_turn = ours.sum().blocks.div_ceil(turns.max(1));
        let missed = ours.sum().blocks.checked_sub(known);
        assert!(missed.is_some_and(|missed| missed <= a_turn), "{text}");
    }

    fn live(&self) -> Amount {
        let live_tls: u64 = self
            .report
            .sites
            .iter()
            .filter(|site| allocates_tls(&site.frames))
            .map(|site| site.live.blocks)
            .sum();
        Amount {
            blocks: self.report.total("live_blocks"),
            bytes: self.report.total("live_bytes") - live_tls * TLS_MODULE_BYTES,
        }
    }

    fn tls_excess(&self) -> u64 {
        let sites = self
            .report
            .sites
            .iter()
            .filter(|site| allocates_tls(&site.frames));
        sites.map(|site| site.allocations).sum::<u64>() * TLS_MODULE_BYTES
    }
}

/// A thread's vector of thread-local blocks has 16 bytes for each module that has any; leaktrack's library is one more.
const TLS_MODULE_BYTES: u64 = 16;

fn allocates_tls(frames: &[Frame]) -> bool {
    frames.iter().any(|frame| {
        frame
            .function
            .as_deref()
            .is_some_and(|name| name.contains("_dl_allocate_tls"))
    })
}

fn add(sites: &mut BTreeMap<String, Amount>, key: String, amount: Amount) {
    let sum = sites.entry(key).or_default();
    sum.blocks += amount.blocks;
    sum.bytes += amount.bytes;
}

/// The frames that both tools name alike, innermost first; `·` stands for any number of others in a row.
fn key(frames: &[Frame], sources: &[&str]) -> String {
    let mut words: Vec<String> = Vec::new();
    for frame in frames {
        let own = frame
            .file
            .as_deref()
            .is_some_and(|file| sources.contains(&file));
        match (&frame.function, frame.line) {
            (Some(function), Some(line)) if own => {
                words.push(format!(
                    "{}:{line}",
                    function.split('(').next().unwrap_or(function)
                ));
            }
            _ if words.last().is_none_or(|last| last != "·") => words.push("·".into()),
            _ => {}
        }
    }
    while words.last().is_some_and(|last| last == "·") {
        words.pop();
    }
    words.join(" < ")
}
