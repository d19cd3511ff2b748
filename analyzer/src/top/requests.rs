//! What a key asks of the process that is looked at.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use leaktrack_recording::control::{self as page, ScanWish};

use crate::host::control::{self, News, Request as Message};
use crate::model::{LoadOptions, scans};
use crate::{human, read};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Scans of large heaps, made gently, take minutes.
const PATIENCE_WITH_SCANS: Duration = Duration::from_secs(1_800);
/// As `leaktrack scan` asks for them by itself.
const GENTLY: ScanWish = ScanWish {
    fork: false,
    percent: 10,
    apart_ms: 250,
};

/// A request of a running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Take a snapshot now.
    Snapshot,
    /// Look for lost blocks now.
    Scan,
    /// Put a mark into the timeline.
    Mark(String),
}

impl What {
    /// While it is waited for.
    pub fn doing(&self) -> String {
        match self {
            Self::Snapshot => "taking a snapshot".to_owned(),
            Self::Scan => "looking for lost blocks".to_owned(),
            Self::Mark(label) => format!("marking {label}"),
        }
    }

    fn done(&self) -> String {
        match self {
            Self::Snapshot => "took a snapshot".to_owned(),
            Self::Scan => "looked for lost blocks".to_owned(),
            Self::Mark(label) => format!("marked {label}: report --since 'mark:{label}'"),
        }
    }

    fn patience(&self) -> Duration {
        match self {
            Self::Scan => PATIENCE_WITH_SCANS,
            Self::Snapshot | Self::Mark(_) => PATIENCE,
        }
    }

    fn message(&self) -> Message<'_> {
        let (kind, argument, text) = match self {
            Self::Snapshot => (page::KIND_SNAPSHOT, 0, ""),
            Self::Scan => (page::KIND_SCAN, GENTLY.encode(), ""),
            Self::Mark(label) => (page::KIND_MARK, 0, label.as_str()),
        };
        Message {
            kind,
            argument,
            text,
        }
    }
}

/// A request and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub what: What,
    /// The recording of the process.
    pub recording: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In words.
    pub words: String,
    /// It was not done.
    pub failed: bool,
}

/// The requests that are not answered yet. When it goes they are withdrawn: nobody would read the
/// answer, and a scan may go on for minutes.
#[derive(Default)]
pub struct Pending {
    leaving: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pending {
    /// Asks in a thread of its own, and tells what came of it.
    /// `tell` is told how far it is.
    pub fn ask(
        &mut self,
        request: Request,
        tell: impl Fn(String) + Send + 'static,
        answered: impl FnOnce(Answer) + Send + 'static,
    ) {
        let leaving = self.leaving.clone();
        self.threads.retain(|thread| !thread.is_finished());
        let asks = move || answered(request.ask(&|| leaving.load(Relaxed), &tell));
        self.threads.push(std::thread::spawn(asks));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.leaving.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // It looks twenty times a second whether it is to go on; what it said is of no use.
            let _ = thread.join();
        }
    }
}

impl Request {
    fn ask(&self, leaving: &dyn Fn() -> bool, tell: &dyn Fn(String)) -> Answer {
        let asked = control::of_recording(&self.recording).and_then(|target| {
            let (message, patience) = (self.what.message(), self.what.patience());
            let pid = target.process.pid;
            let told = RefCell::new(String::new());
            let tell = |news: News| {
                let doing = match news {
                    News::WaitsFor(other) => format!("it is {other} for another command"),
                    News::Scans(scan) => scan.to_string(),
                };
                if *told.borrow() != doing {
                    tell(format!(
                        "{} of process {pid}: {doing} ...",
                        self.what.doing()
                    ));
                    told.replace(doing);
                }
            };
            control::ask_unless(&target, message, patience, leaving, &tell)
        });
        match asked {
            Ok(added) if added.is_empty() && self.what == What::Scan => Answer {
                words: format!("{}: {}", self.what.done(), lost(&self.recording)),
                failed: false,
            },
            Ok(added) if added.is_empty() => Answer {
                words: self.what.done(),
                failed: false,
            },
            Ok(added) => Answer {
                words: added,
                failed: false,
            },
            Err(error) => Answer {
                words: error.to_string(),
                failed: true,
            },
        }
    }
}

/// What the last scan found lost, in words.
fn lost(recording: &Path) -> String {
    let process = match read::process(recording, &LoadOptions::default()) {
        Ok(process) => process,
        Err(error) => return error.to_string(),
    };
    if let Some(scan) = process.scans.last().filter(|scan| !scan.complete) {
        let why = scan
            .why_not
            .as_deref()
            .unwrap_or("it did not get to its end");
        return format!("no verdict, {why}");
    }
    let losses = process.sites.iter().filter_map(|site| site.losses);
    let Some(loss) = scans::sum(losses) else {
        return "nothing is lost".to_owned();
    };
    let blocks = loss.definite_blocks.saturating_add(loss.indirect_blocks);
    let bytes = loss.definite_bytes.saturating_add(loss.indirect_bytes);
    let possibly = match loss.possible_blocks {
        0 => String::new(),
        blocks => format!(", {} possibly", human::count(blocks)),
    };
    match blocks {
        0 => format!("nothing is lost{possibly}"),
        _ => format!(
            "{} with {} lost{possibly}",
            human::plural(blocks, "block"),
            human::bytes(bytes)
        ),
    }
}
