//! Programs of the distribution on small inputs: valgrind's totals. Without debug information their stacks are compared only in
//! number of live blocks and bytes.

use leaktrack_tests::{Case, program, tool};

use crate::compare::run_both;

const SQL: &str = "create table t(a integer primary key, b text);\n\
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)\n\
    insert into t select i, printf('row %d %s', i, hex(i * i)) from n;\n\
    create index by_b on t(b);\n\
    select count(*), sum(length(b)) from t where b like '%1%';\n\
    select b from t order by b desc limit 5;\n\
    delete from t where a % 3 = 0;\n\
    select count(*) from t;\n";

#[test]
fn sqlite3() {
    run_both(&tool("sqlite3"), &[":memory:"], &[], &[], SQL).expect_equal_totals();
}

#[test]
fn jq() {
    let input = format!(
        "[{}]",
        (0..200)
            .map(|n| format!("{{\"id\":{n},\"name\":\"n{n}\"}}"))
            .collect::<Vec<_>>()
            .join(",")
    );
    let filter = "map(select(.id % 7 == 0) | .name + \"!\") | sort | group_by(length) | .[0:3]";
    run_both(&tool("jq"), &["-c", filter], &[], &[], &input).expect_equal_totals();
}

#[test]
fn xz() {
    let text = (0..5000)
        .map(|n| format!("line {} of a text\n", n * 7919 % 1000))
        .collect::<String>();
    run_both(
        &tool("xz"),
        &["-1", "-k", "-T1", "text"],
        &[],
        &[("text", &text)],
        "",
    )
    .expect_equal_totals();
}

#[test]
fn perl() {
    let script = "my %h; $h{$_ % 97} .= chr(65 + $_ % 26) for 1..3000; \
                  print join(',', map { length $h{$_} } sort { $a <=> $b } keys %h), \"\\n\"; \
                  my @l = map { { id => $_, list => [1..$_ % 10] } } 1..200; print scalar(@l), \"\\n\"";
    let env = [("PERL_HASH_SEED", "0"), ("PERL_PERTURB_KEYS", "0")];
    run_both(&tool("perl"), &["-e", script], &env, &[], "").expect_equal_totals();
}

#[test]
fn python3() {
    let script = "import json, re, collections\n\
                  rows = [{'id': n, 'text': 'row %d' % n} for n in range(500)]\n\
                  text = json.dumps(rows)\n\
                  print(len(text), len(re.findall(r'row (\\d+)', text)))\n\
                  print(collections.Counter(c for c in text).most_common(3))\n";
    // Ten plain runs of CPython differ by a few short-lived blocks.
    let env = [
        ("PYTHONMALLOC", "malloc"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ];
    run_both(
        &tool("python3"),
        &["-S", "-E", "-s", "-c", script],
        &env,
        &[],
        "",
    )
    .expect_near_totals(20);
}

#[test]
fn git_log() {
    let case = Case::new(tool("git"));
    let repository = case.folder().join("repository");
    let script = format!(
        "git init -q {0} && cd {0} && for i in 1 2 3 4 5 6; do echo $i > file$i && git add . && \
         git -c user.name=n -c user.email=e commit -q -m \"commit $i\"; done",
        repository.display()
    );
    Case::new(tool("sh"))
        .args(["-c", &script])
        .native()
        .expect_code(0);
    let place = repository.to_string_lossy().into_owned();
    let env = [("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_PAGER", "cat")];
    run_both(
        &tool("git"),
        &["-C", &place, "log", "--stat", "--format=%s"],
        &env,
        &[],
        "",
    )
    .expect_equal_totals();
}

/// Threads give no fixed order of allocations: what is live at the end, and how much was allocated, are fixed all the same.
#[test]
fn threads() {
    for (name, args) in [
        ("realloc_race.c", &[][..]),
        ("many_threads.c", &["200", "50"][..]),
    ] {
        let both = run_both(&program(name), args, &[], &[], "");
        assert_eq!(
            both.report.total("allocations"),
            both.valgrind.allocations,
            "{name}"
        );
        assert_eq!(both.report.total("frees"), both.valgrind.frees, "{name}");
        both.expect_equal_sites(&[name]);
    }
}

#[test]
fn early_and_late() {
    run_both(&program("early_malloc.c"), &[], &[], &[], "").expect_equal_totals();
}
