//! Ownership mistakes with well-known libraries, 200 iterations each: valgrind's totals, and its blocks under every stack.

use leaktrack_tests::program;

use crate::compare::run_both;

fn misuse(mode: &str) {
    // GLib asks whether it runs under valgrind and then does without its own caches.
    let env = [("G_SLICE", "always-malloc")];
    let both = run_both(&program("apimisuse.c"), &[mode, "200"], &env, &[], "");
    both.expect_equal_totals();
    both.expect_equal_sites(&["apimisuse.c"]);
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
fn curl_and_glib() {
    misuse("curl");
    misuse("glib_table");
    misuse("glib_split");
}
