//! Exports as the programs read them that they are made for: their own parsers, and their own sums.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use leaktrack_tests::{Case, product, tool};
use serde_json::Value;

/// A program of `tests/consumers`.
fn consumer(path: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("consumers");
    let file = folder.join("node_modules").join(path);
    assert!(
        file.exists(),
        "{} is not there: `npm ci --ignore-scripts` in {} installs it, as tests/run does",
        file.display(),
        folder.display()
    );
    file
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn leaktrack(args: &[&str], recording: &Path) -> Vec<u8> {
    let mut command = Command::new(&product().command);
    run(command.args(args).arg(recording)).stdout
}

/// Live bytes by the function that allocates, by the JSON report.
fn live_by_function(recording: &Path) -> BTreeMap<String, u64> {
    let args = [
        "report", "--format", "json", "--top", "0", "--show", "healthy",
    ];
    let json: Value = serde_json::from_slice(&leaktrack(&args, recording)).expect("JSON");
    let mut live = BTreeMap::new();
    for site in json["sites"].as_array().expect("sites") {
        let function = &site["frames"][0]["function"];
        let bytes = site["live_bytes"]["value"].as_u64().expect("bytes");
        if bytes > 0 {
            *live
                .entry(function.as_str().expect("symbols").to_owned())
                .or_default() += bytes;
        }
    }
    live
}

/// The Firefox Profiler loads the profile and holds the same memory.
#[test]
fn the_firefox_profiler() {
    let tracked = Case::of("sizes_and_calls.c").tracked();
    tracked.outcome.expect_code(0);
    let recording = tracked.recordings[0].as_path();
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("profile.json");
    let json = leaktrack(&["export", "--format", "firefox"], recording);
    std::fs::write(&profile, json).expect("written");
    let cli = consumer("@firefox-devtools/profiler-cli/dist/profiler-cli.js");
    let asking = |args: &[&str]| {
        let mut command = Command::new(tool("node"));
        command.arg(&cli).args(args);
        command.env("HOME", folder.path());
        command.current_dir(folder.path());
        command
    };
    let ask = |args: &[&str]| run(&mut asking(args)).stdout;
    // Its daemon has half a second to start, and asks to be tried again where that is too little.
    let began = (0..20).any(|_| {
        let load = asking(&["load", "profile.json"]).output();
        let output = load.expect("it can be started");
        let late = String::from_utf8_lossy(&output.stderr).contains("did not become ready");
        assert!(output.status.success() || late, "{output:?}");
        output.status.success()
    });
    assert!(began, "the profiler's daemon does not start");
    ask(&["strategy", "native-retained-allocations"]);
    let functions: Value =
        serde_json::from_slice(&ask(&["thread", "functions", "--json"])).expect("JSON");
    ask(&["stop", "--all"]);
    assert_eq!(functions["weightType"], "bytes");
    let functions = functions["functions"].as_array().expect("functions");
    let held: BTreeMap<String, u64> = functions
        .iter()
        .map(|of| (of["name"].to_string(), of["selfSamples"].as_u64()))
        .filter_map(|(name, bytes)| Some((name.trim_matches('"').to_owned(), bytes?)))
        .filter(|(_, bytes)| *bytes > 0)
        .collect();
    assert_eq!(held, live_by_function(recording));
}

/// speedscope imports the profile for pprof, in a browser as its users do, and finds the same shares.
#[test]
fn speedscope() {
    let tracked = Case::of("sizes_and_calls.c").tracked();
    tracked.outcome.expect_code(0);
    let recording = tracked.recordings[0].as_path();
    let folder = tempfile::tempdir().expect("a folder");
    let profile = leaktrack(&["export", "--format", "pprof"], recording);
    // As its command does: a script beside the page hands the file over. Then to the table.
    let script = format!(
        "speedscope.loadFileFromBase64('profile.pb.gz', '{}');
        const again = setInterval(() => {{
            const tabs = [...document.querySelectorAll('div')];
            const tab = tabs.find((one) => one.children.length === 1 && one.textContent.endsWith('Sandwich'));
            if (tab) {{ tab.click(); clearInterval(again); }}
        }}, 100);",
        base64::engine::general_purpose::STANDARD.encode(profile)
    );
    let file = folder.path().join("profile.js");
    std::fs::write(&file, script).expect("written");
    let page = consumer("speedscope/dist/release/index.html");
    let output = run(Command::new(tool("chromium"))
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
        ])
        .args([
            "--allow-file-access-from-files",
            "--virtual-time-budget=20000",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("c").display()
        ))
        .arg(format!(
            "file://{}#localProfilePath={}",
            page.display(),
            file.display()
        )));
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(dom.contains("<title>profile.pb.gz - speedscope"), "{dom}");
    // Rows of the table: a bar of the share of all, another of the function's own, the name.
    let mut shares = BTreeMap::new();
    for row in dom.split("<tr ").skip(1) {
        let widths: Vec<f64> = row
            .split("width: ")
            .skip(1)
            .filter_map(|rest| rest.split('%').next()?.parse().ok())
            .collect();
        let name = row
            .rsplit_once("</span>")
            .and_then(|(_, rest)| rest.split("</td>").next());
        if let ([_, own], Some(name)) = (&widths[..], name) {
            shares.insert(name.to_owned(), *own);
        }
    }
    let live = live_by_function(recording);
    let all: u64 = live.values().sum();
    assert!(live.len() > 8, "{live:?}");
    for (function, bytes) in live {
        let share = shares.get(&function);
        let share = share.unwrap_or_else(|| panic!("no {function} in {shares:?}"));
        let truth = 100.0 * bytes as f64 / all as f64;
        assert!((share - truth).abs() < 0.01, "{function}: {share} {truth}");
    }
}
