//! Ownership mistakes with well-known libraries, 200 iterations each: valgrind's totals, and its blocks under every stack.

use leaktrack_tests::{program, program_as};

use crate::compare::run_both;

fn misuse(mode: &str) {
    let both = run_both(&program("apimisuse.c"), &[mode, "200"], &[], &[], "");
    both.expect_equal_totals();
    both.expect_equal_sites(&["apimisuse.c"]);
    match mode {
        // Never finalized, but in the list of an open database.
        "sq_stmt" => both.expect_equal_losses(),
        _ => both.expect_losses_of_every_turn(200),
    }
}

#[test]
fn libxml2() {
    misuse("xml_prop");
    misuse("xml_doc");
}

#[test]
fn openssl() {
    misuse("evp");
    misuse("ssl");
}

#[test]
fn sqlite() {
    misuse("sq_mprintf");
    misuse("sq_stmt");
}

#[test]
fn curl() {
    misuse("curl");
}

/// GLib asks whether it runs under valgrind. It then does without its own caches, which a variable
/// asks of it elsewhere too, and keeps the keys of its tables in full width: bytes differ by that.
#[test]
fn glib() {
    let glib = [
        "-DHAVE_GLIB",
        "-I/usr/include/glib-2.0",
        "-I/usr/lib/x86_64-linux-gnu/glib-2.0/include",
        "-lglib-2.0",
    ];
    let program = program_as("apimisuse.c", "apimisuse_glib", &glib);
    for mode in ["glib_split", "glib_table"] {
        let env = [("G_SLICE", "always-malloc")];
        let both = run_both(&program, &[mode, "200"], &env, &[], "");
        // Wider tables are also grown at other moments.
        both.expect_near_totals(8);
        let function = format!("handle_{mode}");
        let theirs = both.valgrind.records.iter().filter(|record| {
            let mut names = record
                .frames
                .iter()
                .filter_map(|frame| frame.function.as_deref());
            names.any(|name| name == function)
        });
        let blocks: u64 = theirs.map(|record| record.amount.blocks).sum();
        assert_eq!(
            both.report.live(&function).blocks,
            blocks,
            "{}",
            both.report.outline()
        );
        both.expect_equal_losses();
        if mode == "glib_split" {
            both.report.expect_live(&function, 600, 1200);
        }
    }
}
