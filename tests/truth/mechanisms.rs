//! 47 ways of holding or losing one block: the same totals and the same live blocks under every stack as valgrind.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use leaktrack_tests::{Case, program_as};

use crate::compare::run_both;

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

fn modes() -> Vec<String> {
    let listed = Case::new(mechanisms()).native();
    listed.expect_code(0);
    listed
        .text()
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn every_mechanism_has_valgrinds_numbers() {
    let (program, modes) = (mechanisms(), modes());
    assert!(modes.len() >= 45, "{modes:?}");
    let next = AtomicUsize::new(0);
    // A few at a time: valgrind takes half a second to start.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(mode) = modes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    println!("mode {mode}");
                    let both = run_both(&program, &[mode], &[], &[], "");
                    both.expect_equal_totals();
                    both.expect_equal_sites(&["mechanisms.c"]);
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
}
