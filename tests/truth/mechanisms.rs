//! 45 ways of holding or losing one block: the same totals, the same live blocks under every stack, and the same losses as
//! valgrind, or better ones.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use leaktrack_tests::{Case, program_as};

use crate::compare::{Both, run_both};

/// The program, with the library that some of its modes open beside it.
fn mechanisms() -> PathBuf {
    let program = program_as("mechanisms.c", "mechanisms", &[]);
    let library = program_as("mechanisms.c", "libmech.so", &["-shared", "-fPIC", "-DLIB"]);
    let beside = program.with_file_name("libmech.so");
    if !beside.is_file() {
        let partial = program.with_file_name(format!(".libmech.{}.so", std::process::id()));
        std::fs::copy(library, &partial).expect("a copy of the library");
        std::fs::rename(&partial, &beside).expect("the copy moved into place");
    }
    program
}

/// Modes with what a programmer would say: `leak`, `live`, `growth`.
fn modes() -> Vec<(String, String)> {
    let listed = Case::new(mechanisms()).native();
    listed.expect_code(0);
    listed
        .text()
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(mode, truth)| (mode.to_owned(), truth.to_owned()))
        .collect()
}

/// Live blocks that valgrind calls lost, and leaktrack does not.
const BETTER: [&str; 3] = ["unaligned", "mmap_ro", "mmap_none"];
/// Valgrind without its check for undefined values, as it is run here, takes the thread-local memory of an ended thread for
/// live: glibc keeps it for the next thread.
const STALE: [&str; 1] = ["exited_tls"];
/// Live blocks to which no word in memory points: encrypted, tagged in high bits, cut in two (which valgrind only notices
/// when its heap lies below 4 GiB), or one past their end.
const BEYOND_MEMORY: [&str; 4] = ["xor", "tag_high", "split32", "end"];

/// The scan's verdict is the programmer's wherever memory can tell.
fn expect_truth(both: &Both, mode: &str, truth: &str) {
    let lost = both.report.lost();
    let text = format!("{mode}: {lost:?}\n{}", both.report.outline());
    let is_lost = lost.sum().blocks > 0;
    let is_leak = truth == "leak" || BEYOND_MEMORY.contains(&mode);
    assert_eq!(is_lost, is_leak, "{text}");
    let verdict = both.report.sites.iter().any(|site| site.verdict == "lost");
    assert_eq!(verdict, is_lost, "{text}");
    assert_eq!(
        both.report.json["finding_count"],
        u64::from(is_lost),
        "{text}"
    );
    if BETTER.contains(&mode) {
        assert_eq!(both.valgrind.lost().blocks, 1, "valgrind has learnt {mode}");
    } else if mode != "split32" && !STALE.contains(&mode) {
        both.expect_equal_losses();
    }
    let all = [lost.definite, lost.indirect, lost.possible, lost.reachable];
    let all: u64 = all.iter().map(|amount| amount.blocks).sum();
    assert_eq!(all, both.report.total("live_blocks"), "{text}");
}

#[test]
fn every_mechanism_has_valgrinds_numbers_and_the_programmers_verdict() {
    let (program, modes) = (mechanisms(), modes());
    assert!(modes.len() >= 45, "{modes:?}");
    let next = AtomicUsize::new(0);
    // A few at a time: valgrind takes half a second to start.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((mode, truth)) = modes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    println!("mode {mode}");
                    let check = || {
                        let both = run_both(&program, &[mode], &[], &[], "");
                        both.expect_equal_totals();
                        both.expect_equal_sites(&["mechanisms.c"]);
                        expect_truth(&both, mode, truth);
                    };
                    // A stale word on the stack, there by chance, may hide a block from one of the
                    // two; not each time.
                    if std::panic::catch_unwind(check).is_err() {
                        check();
                    }
                }
            });
        }
    });
}

#[test]
fn many_blocks_of_one_site() {
    let both = run_both(&mechanisms(), &["lost", "5000"], &[], &[], "");
    both.expect_equal_totals();
    both.expect_equal_sites(&["mechanisms.c"]);
    both.report.expect_live("m_lost", 5000, 5000 * 1009);
    assert_eq!(both.report.lost().sum().blocks, 5000);
    // A stale word may keep the last one for valgrind.
    assert!(both.valgrind.lost().blocks >= 4999);
}
