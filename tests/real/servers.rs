//! Servers under load: forks, threads, shared memory, changed credentials; every answer is the right one, and what they hold is
//! recorded. All run on loopback, on free ports, in folders of their own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use leaktrack_tests::{Case, DEBIAN_PATH, Report, Server, Tracked, free_port, is_root, tool};

/// Runs a client to its end and returns what it wrote.
#[track_caller]
fn client(program: &Path, args: &[&str]) -> String {
    let output = Command::new(tool("timeout"))
        .args(["240".as_ref(), program.as_os_str()])
        .args(args)
        .env_clear()
        .envs([("PATH", DEBIAN_PATH), ("LANG", "C.UTF-8")])
        .output()
        .expect("the client can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} {args:?}: {:?}\n{text}\n{errors}",
        program.display(),
        output.status
    );
    text
}

#[test]
fn redis_with_background_saves() {
    let port = free_port();
    let text = port.to_string();
    let args = [
        "--port",
        &text,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
        "--dir",
        ".",
    ];
    let case = Case::new(tool("redis-server"))
        .args(args)
        .option("interval=100ms")
        .any_stderr();
    let mut server = Server::start(&case, port);
    let cli = |args: &[&str]| client(&tool("redis-cli"), &[&["-p", &text][..], args].concat());
    let load = |tests: &str| {
        client(
            &tool("redis-benchmark"),
            &[
                "-p", &text, "-q", "-n", "20000", "-r", "5000", "-c", "20", "-t", tests,
            ],
        )
    };
    load("set,get,incr,lpush,hset,spop,zadd");
    for round in 0..3 {
        assert!(cli(&["bgsave"]).contains("Background saving started"));
        load("set,get,hset");
        while cli(&["info", "persistence"]).contains("rdb_bgsave_in_progress:1") {
            std::thread::sleep(Duration::from_millis(30));
        }
        assert!(
            cli(&["info", "persistence"]).contains("rdb_last_bgsave_status:ok"),
            "save {round}"
        );
    }
    assert_eq!(cli(&["set", "key", "value"]).trim(), "OK");
    assert_eq!(cli(&["get", "key"]).trim(), "value");
    let now = server.running().family_now();
    assert!(now.expect_memory_explained());
    let memory = cli(&["info", "memory"]);
    let used = field(&memory, "used_memory:");
    let tracked = server.stop(libc::SIGTERM);
    tracked.outcome.expect_code(0);
    let reports = tracked.reports();
    expect_family(&tracked, &reports);
    let main = reports
        .iter()
        .find(|report| report.json["processes"][0]["parent"].is_null())
        .expect("the server's recording");
    assert_eq!(main.ended(), "exit");
    assert_eq!(
        main.total("mappings"),
        0,
        "jemalloc's mappings are not the program's"
    );
    assert_eq!(main.coverage("unknown_frees"), 0);
    // Its own account is in usable sizes, ours in sizes asked for.
    let peak = main.total("peak_live_bytes");
    assert!(
        peak > used / 3 && peak < used * 2,
        "{peak} bytes at the peak, {used} by redis's own account"
    );
}

fn field(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse().expect("a number")
}

#[test]
fn nginx_master_and_workers() {
    let port = free_port();
    let page = "a page of text\n".repeat(500);
    let configuration = format!(
        "worker_processes 2;\npid nginx.pid;\nerror_log error.log;\n{}\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;\n\
         gzip on; gzip_min_length 10; gzip_types text/plain; default_type text/plain;\n\
         server {{ listen 127.0.0.1:{port} reuseport; location / {{ root .; }} location /again {{ return 200 again; }} }} }}\n",
        if is_root() {
            "user nobody nogroup;\n"
        } else {
            ""
        }
    );
    // nginx resolves relative paths against its prefix: the folder it is started in.
    let start = "exec nginx -p $PWD/ -c $PWD/nginx.conf -e $PWD/error.log -g 'daemon off; master_process on;'";
    let case = Case::new(tool("sh"))
        .args(["-c", start])
        .option("only=nginx")
        .option("interval=100ms")
        .any_stderr();
    let case = case
        .file("nginx.conf", configuration.replace("root .;", "root html;"))
        .file("page.txt", page.as_str());
    let case = case.file("empty", "");
    let mut server = Server::start(&case, port);
    let html = server.running().folder().join("html");
    std::fs::create_dir_all(&html).expect("a folder for pages");
    std::fs::write(html.join("page.txt"), &page).expect("a page");
    let url = format!("http://127.0.0.1:{port}/page.txt");
    for round in 0..3 {
        let load = client(
            &tool("wrk"),
            &["-t1", "-c16", "-d1s", "-H", "Accept-Encoding: gzip", &url],
        );
        assert!(!load.contains("Non-2xx"), "round {round}: {load}");
        assert_eq!(client(&tool("curl"), &["-s", "--noproxy", "*", &url]), page);
        // New workers take over, old ones end.
        server.running().signal(libc::SIGHUP);
    }
    assert_eq!(
        client(
            &tool("curl"),
            &[
                "-s",
                "--noproxy",
                "*",
                &format!("http://127.0.0.1:{port}/again")
            ]
        ),
        "again"
    );
    // Master and workers together, in proportional shares.
    let now = server.running().family_now();
    assert!(
        now.json["processes"]
            .as_array()
            .is_some_and(|all| all.len() >= 3)
    );
    assert!(now.expect_memory_explained());
    let tracked = server.stop(libc::SIGQUIT);
    tracked.outcome.expect_code(0);
    let reports = tracked.reports();
    assert!(
        reports.len() >= 3,
        "the master and its workers: {:?}",
        tracked.recordings
    );
    for report in &reports {
        assert_eq!(report.exe(), "nginx");
        assert_eq!(report.ended(), "exit", "{}", report.json["processes"]);
    }
    expect_family(&tracked, &reports);
    let log = std::fs::read_to_string(tracked.folder.join("error.log")).unwrap_or_default();
    assert!(
        !log.contains("[alert]") && !log.contains("[emerg]"),
        "{log}"
    );
}

#[test]
fn postgresql_under_pgbench() {
    let folder = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL: tests/run installs what the tests need");
    let version = folder
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max()
        .expect("a version of PostgreSQL");
    let binary = |name: &str| version.join("bin").join(name);
    let port = free_port();
    let text = port.to_string();
    // The server refuses to run as root.
    let prefix = if is_root() {
        "setpriv --reuid=postgres --regid=postgres --clear-groups --"
    } else {
        ""
    };
    let start = format!(
        "exec {prefix} {} -D $BASE/data -p {port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=30 \
         -c shared_buffers=16MB -c log_min_messages=warning",
        binary("postgres").display()
    );
    let case = Case::new(tool("sh"))
        .args(["-c", &start])
        .option("only=postgres")
        .option("interval=200ms")
        .any_stderr();
    let base = case.folder().join("base");
    let prepare = format!(
        "mkdir -p $BASE && {} {prefix} {} -D $BASE/data -A trust -U postgres --no-sync -E UTF8 --no-locale >/dev/null",
        if is_root() {
            "chown postgres $BASE &&"
        } else {
            ""
        },
        binary("initdb").display()
    );
    let prepared = Case::new(tool("sh"))
        .args(["-c", &prepare])
        .env("BASE", &base)
        .native();
    prepared.expect_code(0);
    let mut server = Server::start(&case.env("BASE", &base), port);
    // It answers on its port before it lets anyone in.
    let host = ["-q", "-h", "127.0.0.1", "-p", &text];
    let ready = || Command::new(binary("pg_isready")).args(host).status();
    let deadline = Instant::now() + Duration::from_secs(240);
    while !ready().expect("pg_isready").success() {
        assert!(Instant::now() < deadline, "PostgreSQL does not get ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    let at = ["-h", "127.0.0.1", "-p", &text, "-U", "postgres"];
    let psql = |sql: &str| {
        client(
            &binary("psql"),
            &[&at[..], &["-At", "-c", sql, "postgres"]].concat(),
        )
    };
    client(
        &binary("pgbench"),
        &[&at[..], &["-i", "-s", "1", "-q", "postgres"]].concat(),
    );
    client(
        &binary("pgbench"),
        &[
            &at[..],
            &["-c", "4", "-j", "2", "-T", "3", "-C", "postgres"],
        ]
        .concat(),
    );
    client(
        &binary("pgbench"),
        &[&at[..], &["-c", "4", "-j", "2", "-T", "2", "postgres"]].concat(),
    );
    assert_eq!(
        psql("select count(*) from pgbench_accounts").trim(),
        "100000"
    );
    assert_eq!(psql("set max_parallel_workers_per_gather = 2; select sum(g) from generate_series(1, 200000) g").trim().lines().last(), Some("20000100000"));
    assert_eq!(psql("select count(*) from (select a.aid from pgbench_accounts a join pgbench_accounts b using (aid) order by a.filler) x").trim(), "100000");
    // Workers come and go: one that ends between two questions leaves its parts untold.
    let explained = (0..150).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = server.running().family_now();
        now.expect_memory_explained()
    });
    assert!(explained, "the parts of the family were never measured");
    let tracked = server.stop(libc::SIGINT);
    tracked.outcome.expect_code(0);
    assert!(tracked.recordings.len() >= 3, "{:?}", tracked.recordings);
    let reports = tracked.reports();
    for report in &reports {
        assert_eq!(
            report.coverage("unknown_frees"),
            0,
            "{}",
            report.json["processes"]
        );
    }
    expect_family(&tracked, &reports);
}

/// The report of the family is that of its processes taken together.
#[track_caller]
fn expect_family(tracked: &Tracked, reports: &[Report]) {
    let family = tracked.family();
    let processes = family.json["processes"].as_array().expect("processes");
    assert_eq!(processes.len(), reports.len());
    let roots = processes.iter().filter(|it| it["parent"].is_null());
    assert_eq!(roots.count(), 1, "one first process: {processes:?}");
    for name in ["allocations", "frees", "allocated_bytes", "live_bytes"] {
        let sum: u64 = reports.iter().map(|report| report.total(name)).sum();
        assert_eq!(family.total(name), sum, "{name}");
    }
}
