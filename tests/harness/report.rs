//! Owns the reading of `leaktrack report --format json`: the numbers that tests compare. It never reads a recording itself.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::product::product;

/// Blocks and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Number of blocks.
    pub blocks: u64,
    /// Their size as the program asked for it.
    pub bytes: u64,
}

/// One frame of a site's stack, the allocating caller first.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Function, when symbols were found.
    pub function: Option<String>,
    /// File name without its folder.
    pub file: Option<String>,
    /// Line.
    pub line: Option<u64>,
    /// File name of the module without its folder.
    pub module: String,
}

/// What a scan found of the live blocks of a site, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Nothing points to them.
    pub definite: Amount,
    /// Only lost blocks point to them.
    pub indirect: Amount,
    /// Something points into them.
    pub possible: Amount,
    /// Held.
    pub reachable: Amount,
}

impl Lost {
    /// Definitely and indirectly lost.
    pub fn sum(&self) -> Amount {
        Amount {
            blocks: self.definite.blocks + self.indirect.blocks,
            bytes: self.definite.bytes + self.indirect.bytes,
        }
    }

    fn add(&mut self, other: &Lost) {
        let add = |to: &mut Amount, from: Amount| {
            to.blocks += from.blocks;
            to.bytes += from.bytes;
        };
        add(&mut self.definite, other.definite);
        add(&mut self.indirect, other.indirect);
        add(&mut self.possible, other.possible);
        add(&mut self.reachable, other.reachable);
    }
}

/// One call stack and what it holds.
#[derive(Debug, Clone)]
pub struct Site {
    /// `heap` or `mmap`.
    pub kind: String,
    /// What is live.
    pub live: Amount,
    /// Calls since start.
    pub allocations: u64,
    /// Of these, given back.
    pub frees: u64,
    /// Bytes asked for since start.
    pub allocated_bytes: u64,
    /// What the last scan found; `None` without one.
    pub lost: Option<Lost>,
    /// The verdict.
    pub verdict: String,
    /// The stack.
    pub frames: Vec<Frame>,
}

impl Site {
    /// Whether a function of that name is on the stack (C++ and Rust paths: the last component).
    pub fn passes(&self, function: &str) -> bool {
        self.frames.iter().any(|frame| {
            frame
                .function
                .as_deref()
                .is_some_and(|name| names(name, function))
        })
    }
}

/// A report, read from JSON.
#[derive(Debug, Clone)]
pub struct Report {
    /// The whole report, for what has no method here.
    pub json: Value,
    /// All sites, also healthy ones.
    pub sites: Vec<Site>,
}

impl Report {
    /// Reads one or several recordings of a family; fails the test when `leaktrack report` does.
    #[track_caller]
    pub fn read(recordings: &[&Path]) -> Report {
        Report::try_read(recordings).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads one recording without its sites: for recordings of tens of thousands of stacks.
    #[track_caller]
    pub fn read_totals(recording: &Path) -> Report {
        Report::read_top(&[recording], "1").unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same as `read`, with the tool's message as the error.
    pub fn try_read(recordings: &[&Path]) -> Result<Report, String> {
        Report::read_top(recordings, "0")
    }

    pub(super) fn read_top(recordings: &[&Path], top: &str) -> Result<Report, String> {
        let output = Command::new(&product().command)
            .arg("report")
            .args(recordings)
            .args([
                "--format",
                "json",
                "--top",
                top,
                "--show",
                "healthy",
                "--no-debuginfod",
            ])
            .output()
            .map_err(|error| format!("leaktrack report: {error}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "leaktrack report {recordings:?}: {}: {stderr}",
                output.status
            ));
        }
        let json: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("the report is not JSON: {error}"))?;
        if json["schema"] != "leaktrack.report/1" {
            return Err(format!("unexpected schema {}", json["schema"]));
        }
        let sites = json["sites"]
            .as_array()
            .map(|sites| sites.iter().map(site).collect())
            .unwrap_or_default();
        Ok(Report { json, sites })
    }

    /// A counter of `totals`.
    #[track_caller]
    pub fn total(&self, name: &str) -> u64 {
        number(&self.json["totals"][name])
            .unwrap_or_else(|| panic!("totals.{name} is {}", self.json["totals"][name]))
    }

    /// A counter of `coverage`.
    #[track_caller]
    pub fn coverage(&self, name: &str) -> u64 {
        number(&self.json["coverage"][name])
            .unwrap_or_else(|| panic!("coverage.{name} is {}", self.json["coverage"][name]))
    }

    /// How the first process ended: `exit`, `signal`, `exec`, `running`, `unfinished`.
    pub fn ended(&self) -> &str {
        self.json["processes"][0]["ended"].as_str().unwrap_or("")
    }

    /// Pid of the first process.
    pub fn pid(&self) -> u64 {
        number(&self.json["processes"][0]["pid"]).unwrap_or(0)
    }

    /// Name of the first process's executable, without its folder.
    pub fn exe(&self) -> &str {
        base_name(self.json["processes"][0]["exe"].as_str().unwrap_or(""))
    }

    /// Whether its latest snapshot knows of this memory limit.
    pub fn knows_limit(&self, limit_bytes: u64) -> bool {
        let timeline = self.json["timeline"].as_array();
        timeline
            .and_then(|all| all.last())
            .is_some_and(|last| last["limit_bytes"].as_u64() == Some(limit_bytes))
    }

    /// Live heap blocks whose stack passes through `function`.
    pub fn live(&self, function: &str) -> Amount {
        self.sum("heap", |site| site.passes(function))
    }

    /// Live mappings whose stack passes through `function`.
    pub fn mapped(&self, function: &str) -> Amount {
        self.sum("mmap", |site| site.passes(function))
    }

    /// Fails the test unless `function` holds exactly these heap blocks.
    #[track_caller]
    pub fn expect_live(&self, function: &str, blocks: u64, bytes: u64) -> &Self {
        assert_eq!(
            self.live(function),
            Amount { blocks, bytes },
            "live blocks of {function}\n{}",
            self.outline()
        );
        self
    }

    /// Fails the test unless `function` holds exactly these mapped bytes, whatever the number of mappings.
    #[track_caller]
    pub fn expect_mapped(&self, function: &str, bytes: u64) -> &Self {
        assert_eq!(
            self.mapped(function).bytes,
            bytes,
            "mapped bytes of {function}\n{}",
            self.outline()
        );
        self
    }

    /// Fails the test if more than a fiftieth of memory is in no part; false if nobody measured the parts.
    #[track_caller]
    pub fn expect_memory_explained(&self) -> bool {
        let memory = &self.json["memory"];
        let Some(unexplained) = memory["unexplained_bytes"].as_i64() else {
            return false;
        };
        let whole = match self.json["processes"].as_array().map_or(0, Vec::len) {
            1 => &memory["rss_bytes"],
            _ => &memory["pss_bytes"],
        };
        let whole = whole.as_i64().expect("the whole is known");
        let parts = memory["parts"].as_array().expect("parts").iter();
        let sum: i64 = parts.filter_map(|part| part["bytes"].as_i64()).sum();
        assert_eq!(sum + unexplained, whole, "{memory}");
        assert!(unexplained.abs() * 50 <= whole, "{memory}");
        true
    }

    /// Calls to allocate through `function` since start.
    pub fn allocations(&self, function: &str) -> u64 {
        self.sites
            .iter()
            .filter(|site| site.kind == "heap" && site.passes(function))
            .map(|site| site.allocations)
            .sum()
    }

    /// What the last scan found of all sites; fails the test where no scan was completed.
    #[track_caller]
    pub fn lost(&self) -> Lost {
        let scans = self.json["scans"].as_array().cloned().unwrap_or_default();
        let complete = scans.last().is_some_and(|scan| scan["complete"] == true);
        assert!(complete, "scans: {scans:?}\n{}", self.outline());
        let mut sum = Lost::default();
        let heap = self.sites.iter().filter(|site| site.kind == "heap");
        heap.filter_map(|site| site.lost)
            .for_each(|lost| sum.add(&lost));
        sum
    }

    /// A short text of all sites, for failure messages.
    pub fn outline(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "totals {}\ncoverage {}\n",
            self.json["totals"], self.json["coverage"]
        );
        for site in self.sites.iter().take(40) {
            let stack: Vec<String> = site
                .frames
                .iter()
                .take(8)
                .map(|frame| {
                    frame
                        .function
                        .clone()
                        .unwrap_or_else(|| format!("[{}]", frame.module))
                })
                .collect();
            let _ = writeln!(
                text,
                "{} {} blocks {} bytes ({} allocations), {:?}: {}",
                site.kind,
                site.live.blocks,
                site.live.bytes,
                site.allocations,
                site.lost,
                stack.join(" < ")
            );
        }
        text
    }

    fn sum(&self, kind: &str, wanted: impl Fn(&Site) -> bool) -> Amount {
        let mut amount = Amount::default();
        for site in self
            .sites
            .iter()
            .filter(|site| site.kind == kind && wanted(site))
        {
            amount.blocks += site.live.blocks;
            amount.bytes += site.live.bytes;
        }
        amount
    }
}

fn site(json: &Value) -> Site {
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let frames = json["frames"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    Site {
        kind: json["kind"].as_str().unwrap_or("").to_owned(),
        live: Amount {
            blocks: number(&json["live_blocks"]).unwrap_or(0),
            bytes: number(&json["live_bytes"]).unwrap_or(0),
        },
        allocations: number(&json["allocations"]).unwrap_or(0),
        frees: number(&json["frees"]).unwrap_or(0),
        allocated_bytes: number(&json["allocated_bytes"]).unwrap_or(0),
        lost: json["lost"].is_object().then(|| lost(&json["lost"])),
        verdict: json["verdict"].as_str().unwrap_or("").to_owned(),
        frames: frames
            .iter()
            .map(|frame| Frame {
                function: text(&frame["function"]),
                file: text(&frame["file"]).map(|file| base_name(&file).to_owned()),
                line: number(&frame["line"]).filter(|line| *line != 0),
                module: base_name(frame["module"].as_str().unwrap_or("")).to_owned(),
            })
            .collect(),
    }
}

fn lost(json: &Value) -> Lost {
    let amount = |kind: &str| Amount {
        blocks: number(&json[format!("{kind}_blocks")]).expect("a count of blocks"),
        bytes: number(&json[format!("{kind}_bytes")]).expect("a count of bytes"),
    };
    Lost {
        definite: amount("definite"),
        indirect: amount("indirect"),
        possible: amount("possible"),
        reachable: amount("reachable"),
    }
}

/// A count, also when it is given as an estimate whose three figures are equal, as in exact mode.
fn number(json: &Value) -> Option<u64> {
    let plain = |value: &Value| {
        value
            .as_u64()
            .or_else(|| value.as_f64().map(|number| number.round() as u64))
    };
    match json {
        Value::Object(estimate) => {
            let value = plain(estimate.get("value")?)?;
            let exact = ["low", "high"]
                .iter()
                .all(|bound| estimate.get(*bound).and_then(plain) == Some(value));
            exact.then_some(value)
        }
        other => plain(other),
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `wanted` against a demangled name: `keep`, `keep(int)`, `app::keep`, `keep.part.0`.
fn names(name: &str, wanted: &str) -> bool {
    let bare = name.split(['(', '<']).next().unwrap_or(name);
    let last = bare.rsplit("::").next().unwrap_or(bare);
    last == wanted
        || last
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.starts_with('.'))
}
