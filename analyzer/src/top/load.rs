//! Reads recordings again and again, in a thread of its own, each only when it has changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::view::{Condition, View};
use crate::host::{ProcessFiles, State, Tracked, printable, tracked};
use crate::model::stacks::Stacks;
use crate::model::{Family, LoadOptions};
use crate::read;
use crate::report::{self, Report, ReportOptions};

/// Sites of a view: findings, then those that hold most.
const SITES: usize = 1_000;
/// Reading takes no more than this share of the time.
const SHARE: u32 = 4;
/// All processes of the host are looked at this often.
const LOOK: Duration = Duration::from_secs(2);
/// What has been read is shown this often while the rest is read.
const TELL: Duration = Duration::from_millis(300);

/// Which recordings are shown.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Of all tracked processes of this host, as they come and go.
    Everything,
    /// Of these: recordings and the processes that write them (0: none).
    Recordings(Vec<(PathBuf, u32)>),
}

/// Reads them.
pub struct Loader {
    subject: Subject,
    load: LoadOptions,
    report: ReportOptions,
    known: BTreeMap<PathBuf, Known>,
    /// Names that were looked up: most of what a first reading takes, and the same for processes of one program.
    stacks: Stacks,
    found: Vec<(Option<PathBuf>, u32, View)>,
    looked: Option<Instant>,
}

/// A recording that was read before.
struct Known {
    stamp: Option<(u64, SystemTime)>,
    /// What is shown of it. Where it could not be read, what was read before, with the reason.
    view: View,
    /// Its process was there then: when it is gone, the recording says how it ended.
    was_alive: bool,
}

impl Loader {
    /// Nothing is read yet.
    pub fn new(subject: Subject, load: LoadOptions, report: ReportOptions) -> Self {
        let report = ReportOptions {
            top: SITES,
            show_healthy: true,
            curves: true,
            ..report
        };
        Self {
            subject,
            stacks: Stacks::new(load.symbols.clone()).remembering(),
            load,
            report,
            known: BTreeMap::new(),
            found: Vec::new(),
            looked: None,
        }
    }

    /// True if processes are looked for.
    pub fn is_everything(&self) -> bool {
        matches!(self.subject, Subject::Everything)
    }

    /// Reads as often as `interval` says, or less if it takes long, while `loaded` returns true.
    pub fn spawn(
        mut self,
        interval: Duration,
        loaded: impl Fn(Vec<View>) -> bool + Send + 'static,
    ) {
        std::thread::spawn(move || {
            // The list at once; what is in many recordings takes a while.
            if self.is_everything() && !loaded(self.bare()) {
                return;
            }
            loop {
                let begun = Instant::now();
                let mut goes_on = true;
                let views = self.load_telling(&mut |views| goes_on = goes_on && loaded(views));
                let took = begun.elapsed();
                if !goes_on || !loaded(views) {
                    return;
                }
                std::thread::sleep(interval.saturating_sub(took).max(took * (SHARE - 1)));
            }
        });
    }

    /// All processes, without a look into their recordings.
    fn bare(&mut self) -> Vec<View> {
        let subjects = self.subjects().into_iter();
        subjects.map(|(_, _, bare)| bare).collect()
    }

    fn subjects(&mut self) -> Vec<(Option<PathBuf>, u32, View)> {
        match &self.subject {
            Subject::Recordings(list) => list
                .iter()
                .map(|(path, pid)| {
                    let name = path.display().to_string();
                    let not_yet = Condition::Not("not read yet".to_owned());
                    let view = View::without(name.clone(), *pid, name, not_yet);
                    (Some(path.clone()), *pid, view)
                })
                .collect(),
            Subject::Everything => {
                if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                    self.found = everything();
                    self.looked = Some(Instant::now());
                }
                self.found.clone()
            }
        }
    }

    /// All views as they are now.
    pub fn load(&mut self) -> Vec<View> {
        self.load_telling(&mut |_| {})
    }

    /// The same; where reading takes long, tells now and then what there is by then.
    fn load_telling(&mut self, tell: &mut dyn FnMut(Vec<View>)) -> Vec<View> {
        let subjects = self.subjects();
        self.known.retain(|path, _| {
            subjects
                .iter()
                .any(|subject| subject.0.as_ref() == Some(path))
        });
        let as_known = |(path, _, bare): &(Option<PathBuf>, u32, View)| {
            let known = path.as_ref().and_then(|path| self.known.get(path));
            known.map_or_else(|| bare.clone(), |known| known.view.clone())
        };
        let mut views: Vec<View> = subjects.iter().map(as_known).collect();
        let mut told = Instant::now();
        for (at, (path, pid, bare)) in subjects.into_iter().enumerate() {
            if let Some((path, place)) = path.zip(views.get_mut(at)) {
                *place = self.view(path, pid, bare);
            }
            if told.elapsed() >= TELL {
                tell(views.clone());
                told = Instant::now();
            }
        }
        views
    }

    fn view(&mut self, path: PathBuf, pid: u32, bare: View) -> View {
        let stamp = path.metadata().ok().and_then(|metadata| {
            let modified = metadata.modified().ok()?;
            Some((metadata.len(), modified))
        });
        let is_alive = pid != 0 && ProcessFiles::new(pid).exists();
        let is_known = self
            .known
            .get(&path)
            .is_some_and(|known| known.stamp == stamp && known.was_alive == is_alive);
        if !is_known {
            let last = self.known.remove(&path).map(|known| known.view);
            let view = match self.read(&path) {
                Ok(report) => {
                    let pid = if is_open(&report) && is_alive { pid } else { 0 };
                    View::of(path.clone(), pid, report)
                }
                Err(error) => View {
                    condition: Condition::Not(error),
                    recording: Some(path.clone()),
                    ..last.unwrap_or_else(|| bare.clone())
                },
            };
            let known = Known {
                stamp,
                view,
                was_alive: is_alive,
            };
            self.known.insert(path.clone(), known);
        }
        let known = self.known.get(&path);
        known.map_or(bare, |known| known.view.clone())
    }

    fn read(&mut self, path: &Path) -> Result<Arc<Report>, String> {
        let process = read::process(path, &self.load).map_err(|error| error.to_string())?;
        let family = Family::merge_with(vec![process], &self.load, &mut self.stacks)
            .map_err(|error| error.to_string())?;
        let mut report = report::assemble(&family, &self.report);
        report::call_as_started(&mut report);
        Ok(Arc::new(report))
    }
}

/// True if the recording has no end. A process in a container is not known as running by it: its
/// number and host name are others there.
fn is_open(report: &Report) -> bool {
    report
        .processes
        .first()
        .is_some_and(|root| matches!(root.ended.as_str(), "running" | "unfinished"))
}

/// The tracked processes of this host: those that record with their recordings.
fn everything() -> Vec<(Option<PathBuf>, u32, View)> {
    let processes = ProcessFiles::all().unwrap_or_default().into_iter();
    let tracked = processes.filter_map(|process| tracked::look(process).ok().flatten());
    tracked.map(subject).collect()
}

fn subject(tracked: Tracked) -> (Option<PathBuf>, u32, View) {
    let pid = tracked.process.pid;
    let name = printable(&tracked.process.name());
    let without = |key: String, why: String| {
        let condition = Condition::Not(printable(&why));
        View {
            seen_resident_bytes: tracked.process.resident_bytes(),
            ..View::without(key, pid, name.clone(), condition)
        }
    };
    match tracked.state {
        State::Recording { path, .. } => {
            let key = path.display().to_string();
            (Some(path), pid, without(key, "not read yet".to_owned()))
        }
        State::Deleted(path) => {
            let why = format!("its recording {path} was deleted");
            (None, pid, without(pid.to_string(), why))
        }
        State::Idle(why) | State::Absent(why) => (None, pid, without(pid.to_string(), why)),
    }
}
