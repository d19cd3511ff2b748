//! What is shown, and what keys do to it. Knows nothing of the terminal.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::requests::{Answer, Request, What};
use super::view::{Condition, Row, View, has};
use crate::model::identity::file_name;
use crate::report::document::SiteReport;

/// Order of call sites and of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Findings by rate, then by change over the last minute
    #[default]
    Growth,
    /// Live bytes
    Live,
    /// Live blocks
    Blocks,
    /// Resident bytes
    Resident,
    /// Allocations per second
    Allocations,
    /// Page faults
    Faults,
    /// Name
    Name,
}

impl Sort {
    /// The key that chooses it, and its name.
    pub const ALL: [(char, Self, &'static str); 7] = [
        ('g', Self::Growth, "growth"),
        ('l', Self::Live, "live bytes"),
        ('b', Self::Blocks, "blocks"),
        ('R', Self::Resident, "resident bytes"),
        ('a', Self::Allocations, "allocations"),
        ('f', Self::Faults, "faults"),
        ('n', Self::Name, "name"),
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, sort, _)| *sort == self);
        found.map_or("", |(_, _, name)| name)
    }
}

/// The part of the past that the charts show, in seconds; `None`: all.
const SPANS: [Option<f64>; 4] = [None, Some(3_600.0), Some(600.0), Some(60.0)];

/// What fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// One line for each process.
    Processes,
    /// One process with its call sites.
    Sites,
    /// One call site with its stack.
    Stack,
    /// What the keys do.
    Help,
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typing {
    /// A filter, used as it is typed.
    Filter,
    /// The label of a mark.
    Mark(String),
}

/// What the loop must do after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Draw.
    None,
    /// End.
    Quit,
    /// End as an interrupted command does.
    Interrupt,
    /// Draw on an empty screen.
    Redraw,
    /// Stop as a shell's job.
    Suspend,
    /// Ask the process.
    Ask(Request),
}

/// Everything that is shown.
#[derive(Debug)]
pub struct State {
    /// As loaded last; none before the first loading.
    pub views: Option<Vec<View>>,
    /// Loaded while paused.
    held: Option<Vec<View>>,
    /// What fills the screen.
    pub page: Page,
    /// Where help was asked for.
    under_help: Page,
    /// Processes are looked for, not given.
    pub everything: bool,
    /// Key of the process that is looked at.
    process: Option<String>,
    /// Id of the site that is looked at.
    site: Option<String>,
    /// Place of each in its table, for when it goes away.
    at: [usize; 2],
    /// First row of each table that is shown, as of the last drawing.
    pub offset: [usize; 2],
    /// Order of the tables.
    pub sort: Sort,
    /// The other way round.
    pub reverse: bool,
    /// Words that a row must have, all of them.
    pub filter: String,
    /// What is being typed.
    pub typing: Option<Typing>,
    /// Index into the spans of the charts.
    span: usize,
    /// Loading goes on, showing does not.
    pub paused: bool,
    /// Lines of the stack that have been scrolled past.
    pub scroll: u16,
    /// What came of the last request.
    pub answer: Option<Answer>,
    /// Rows of a table that fit, as of the last drawing.
    pub fitting: usize,
    opened: bool,
}

impl State {
    /// Before anything is loaded.
    pub fn new(sort: Sort, filter: String, everything: bool) -> Self {
        Self {
            views: None,
            held: None,
            page: Page::Processes,
            under_help: Page::Processes,
            everything,
            process: None,
            site: None,
            at: [0; 2],
            offset: [0; 2],
            sort,
            reverse: false,
            filter,
            typing: None,
            span: 0,
            paused: false,
            scroll: 0,
            answer: None,
            fitting: 1,
            opened: false,
        }
    }

    /// Takes what was loaded.
    pub fn loaded(&mut self, mut views: Vec<View>) {
        if self.paused {
            self.held = Some(views);
            return;
        }
        // A single process is what its user came for.
        if !std::mem::replace(&mut self.opened, true)
            && let [only] = views.as_slice()
        {
            self.process = Some(only.key.clone());
            self.page = Page::Sites;
        }
        if let Some(gone) = self.gone(&views) {
            self.process = Some(gone.key.clone());
            views.push(gone);
        }
        self.views = Some(views);
    }

    /// The process that is looked at, or about to be asked for something, as it was last seen, if it is among
    /// the others no more: nobody is to be shown another in its stead.
    fn gone(&self, views: &[View]) -> Option<View> {
        let looks = self.page != Page::Processes || matches!(self.typing, Some(Typing::Mark(_)));
        let (_, looked_at) = self.process().filter(|_| looks)?;
        if views.iter().any(|view| view.key == looked_at.key) {
            return None;
        }
        let mut gone = looked_at.clone();
        if !matches!(gone.condition, Condition::Ended(_)) {
            gone.condition = Condition::Ended("has ended; this is what was seen last".to_owned());
        }
        Some(gone)
    }

    /// Takes what came of a request.
    pub fn answered(&mut self, answer: Answer) {
        self.answer = Some(answer);
    }

    /// Takes how far a request is.
    pub fn told(&mut self, words: String) {
        self.answer = Some(Answer {
            words,
            failed: false,
        });
    }

    /// How much of the past the charts show, in seconds; `None`: all.
    pub fn span_s(&self) -> Option<f64> {
        SPANS.get(self.span).copied().flatten()
    }

    /// Processes in their order.
    pub fn processes(&self) -> Vec<&View> {
        let words = self.filter_words();
        let is_shown = |view: &&View| {
            let path = view.key.to_lowercase();
            let names = format!(
                "{} {} {}",
                view.pid,
                view.name.to_lowercase(),
                file_name(&path)
            );
            self.page != Page::Processes || words.iter().all(|word| has(&names, &path, word))
        };
        let mut found: Vec<&View> = self.views.iter().flatten().filter(is_shown).collect();
        found.sort_by(|a, b| {
            let order = match self.sort {
                Sort::Name => a.name.cmp(&b.name),
                sort => amount_of(b, sort).total_cmp(&amount_of(a, sort)),
            };
            order.then(a.pid.cmp(&b.pid))
        });
        if self.reverse {
            found.reverse();
        }
        found
    }

    /// The process that is looked at, and its place among the others.
    pub fn process(&self) -> Option<(usize, &View)> {
        chosen(
            &self.processes(),
            self.process.as_deref(),
            self.at[0],
            |view| &view.key,
        )
        .map(|(at, view)| (at, *view))
    }

    /// Call sites of that process in their order.
    pub fn rows(&self) -> Vec<(&Row, &SiteReport)> {
        let Some((_, view)) = self.process() else {
            return Vec::new();
        };
        let words = self.filter_words();
        let is_shown = |row: &&Row| view.has(row, &words);
        let shown = view.rows.iter().filter(is_shown);
        let mut rows: Vec<(&Row, &SiteReport)> = shown
            .filter_map(|row| Some((row, view.site(row)?)))
            .collect();
        rows.sort_by(|a, b| self.order(*a, *b).then_with(|| a.1.id.cmp(&b.1.id)));
        if self.reverse {
            rows.reverse();
        }
        rows
    }

    fn order(&self, a: (&Row, &SiteReport), b: (&Row, &SiteReport)) -> std::cmp::Ordering {
        let rate = |of: &SiteReport| match (of.verdict.is_finding(), of.growth.rate) {
            (true, Some(rate)) => rate.value,
            (true, None) => 0.0,
            (false, _) => -1.0,
        };
        let resident = |of: &SiteReport| of.resident_bytes.unwrap_or(0);
        match self.sort {
            Sort::Growth => rate(b.1)
                .total_cmp(&rate(a.1))
                .then(b.0.change_bytes.cmp(&a.0.change_bytes))
                .then(b.1.live_bytes.value.cmp(&a.1.live_bytes.value)),
            Sort::Live => b.1.live_bytes.value.cmp(&a.1.live_bytes.value),
            Sort::Blocks => b.1.live_blocks.value.cmp(&a.1.live_blocks.value),
            Sort::Resident => resident(b.1).cmp(&resident(a.1)),
            Sort::Allocations => {
                let of = |row: &Row| row.allocations_per_s.unwrap_or(0.0);
                of(b.0)
                    .total_cmp(&of(a.0))
                    .then(b.1.allocations.cmp(&a.1.allocations))
            }
            Sort::Faults => b.0.faults.cmp(&a.0.faults),
            Sort::Name => a.0.name.cmp(&b.0.name),
        }
    }

    /// The site that is looked at, its place and its row.
    pub fn site(&self) -> Option<(usize, &Row, &SiteReport)> {
        let rows = self.rows();
        let found = chosen(&rows, self.site.as_deref(), self.at[1], |(_, site)| {
            &site.id
        });
        found.map(|(at, (row, site))| (at, *row, *site))
    }

    fn filter_words(&self) -> Vec<String> {
        let words = self.filter.split_whitespace();
        words.map(str::to_lowercase).collect()
    }

    /// Does what a key means.
    pub fn key(&mut self, key: KeyEvent) -> Effect {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Effect::Interrupt,
                KeyCode::Char('z') => return Effect::Suspend,
                KeyCode::Char('l') => return Effect::Redraw,
                KeyCode::Char('u') if self.typing.is_some() => {
                    if let Some(text) = self.typed() {
                        text.clear();
                    }
                    return Effect::None;
                }
                _ => {}
            }
        }
        if self.typing.is_some() {
            return self.typed_key(key.code);
        }
        self.answer = None;
        self.command(key.code)
    }

    fn typed(&mut self) -> Option<&mut String> {
        match &mut self.typing {
            Some(Typing::Mark(text)) => Some(text),
            Some(Typing::Filter) => Some(&mut self.filter),
            None => None,
        }
    }

    fn typed_key(&mut self, code: KeyCode) -> Effect {
        /// What an event of a recording holds.
        const MOST_BYTES: usize = 1_500;
        match code {
            KeyCode::Char(c) => {
                if let Some(text) = self.typed()
                    && text.len() + c.len_utf8() <= MOST_BYTES
                {
                    text.push(c);
                }
            }
            KeyCode::Backspace => {
                if let Some(text) = self.typed() {
                    text.pop();
                }
            }
            KeyCode::Esc => {
                if self.typing == Some(Typing::Filter) {
                    self.filter.clear();
                }
                self.typing = None;
            }
            KeyCode::Enter => match self.typing.take() {
                Some(Typing::Mark(label)) if label.trim().is_empty() => {
                    return self.ask(What::Mark("mark".to_owned()));
                }
                Some(Typing::Mark(label)) => return self.ask(What::Mark(label.trim().to_owned())),
                _ => {}
            },
            _ => {}
        }
        Effect::None
    }

    fn command(&mut self, code: KeyCode) -> Effect {
        match code {
            KeyCode::Char('q') => return Effect::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) if self.page != Page::Help => {
                self.under_help = self.page;
                self.page = Page::Help;
            }
            _ if self.page == Page::Help => self.page = self.under_help,
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.back(),
            KeyCode::Enter | KeyCode::Right => self.open(),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-self.page_length()),
            KeyCode::PageDown | KeyCode::Char(' ') => self.go(self.page_length()),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            KeyCode::Char('/') => self.typing = Some(Typing::Filter),
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Char('t') => self.span = (self.span + 1) % SPANS.len(),
            KeyCode::Char('p') => {
                self.paused = !self.paused;
                if let Some(views) = self.held.take() {
                    self.loaded(views);
                }
            }
            KeyCode::Char('m') if self.recording().is_some() => {
                self.typing = Some(Typing::Mark(String::new()));
            }
            KeyCode::Char('s') => return self.ask(What::Snapshot),
            KeyCode::Char('S') => return self.ask(What::Scan),
            KeyCode::Char(c) => {
                if let Some((_, sort, _)) = Sort::ALL.iter().find(|(key, _, _)| *key == c) {
                    self.sort = *sort;
                }
            }
            _ => {}
        }
        Effect::None
    }

    fn page_length(&self) -> isize {
        isize::try_from(self.fitting.saturating_sub(1).max(1)).unwrap_or(1)
    }

    fn back(&mut self) {
        match self.page {
            Page::Stack => self.page = Page::Sites,
            Page::Sites if !self.filter.is_empty() => self.filter.clear(),
            Page::Sites if self.everything || self.views.as_ref().is_some_and(|v| v.len() > 1) => {
                self.page = Page::Processes;
            }
            _ => self.filter.clear(),
        }
    }

    fn open(&mut self) {
        match self.page {
            Page::Processes => {
                if let Some((at, view)) = self.process() {
                    (self.process, self.at[0]) = (Some(view.key.clone()), at);
                    self.page = Page::Sites;
                    self.filter.clear();
                    (self.site, self.at[1]) = (None, 0);
                }
            }
            Page::Sites => {
                if let Some((at, _, site)) = self.site() {
                    (self.site, self.at[1]) = (Some(site.id.clone()), at);
                    self.page = Page::Stack;
                    self.scroll = 0;
                }
            }
            Page::Stack | Page::Help => {}
        }
    }

    /// Moves what is chosen, or scrolls.
    fn go(&mut self, by: isize) {
        let moved =
            |at: usize, count: usize| at.saturating_add_signed(by).min(count.saturating_sub(1));
        match self.page {
            Page::Processes => {
                let at = self.process().map_or(0, |(at, _)| at);
                let list = self.processes();
                let at = moved(at, list.len());
                let key = list.get(at).map(|view| view.key.clone());
                (self.process, self.at[0]) = (key, at);
            }
            Page::Sites => {
                let at = self.site().map_or(0, |(at, _, _)| at);
                let rows = self.rows();
                let at = moved(at, rows.len());
                let id = rows.get(at).map(|(_, site)| site.id.clone());
                (self.site, self.at[1]) = (id, at);
            }
            Page::Stack => {
                let by = by.clamp(-10_000, 10_000) as i16;
                self.scroll = self.scroll.saturating_add_signed(by);
            }
            Page::Help => {}
        }
    }

    fn recording(&self) -> Option<&View> {
        let (_, view) = self.process()?;
        (view.condition == Condition::Recording).then_some(view)
    }

    fn ask(&mut self, what: What) -> Effect {
        let asked = self
            .recording()
            .and_then(|view| Some((view.pid, view.recording.clone()?)));
        let Some((pid, recording)) = asked else {
            self.answer = Some(Answer {
                words: "no running process is chosen".to_owned(),
                failed: true,
            });
            return Effect::None;
        };
        self.answer = Some(Answer {
            words: format!("{} of process {pid} ...", what.doing()),
            failed: false,
        });
        Effect::Ask(Request { what, recording })
    }
}

/// What is chosen: the one with that key, else that at the same place.
fn chosen<'a, T>(
    list: &'a [T],
    key: Option<&str>,
    at: usize,
    key_of: impl Fn(&T) -> &String,
) -> Option<(usize, &'a T)> {
    let found = key.and_then(|key| list.iter().position(|one| key_of(one) == key));
    let at = found.unwrap_or_else(|| at.min(list.len().saturating_sub(1)));
    list.get(at).map(|one| (at, one))
}

/// What processes are ordered by.
fn amount_of(view: &View, sort: Sort) -> f64 {
    let Some(report) = &view.report else {
        return -1.0;
    };
    match sort {
        Sort::Growth => report.extra.finding_rate.map_or(0.0, |rate| rate.value),
        Sort::Live => report.totals.live_bytes as f64,
        Sort::Blocks => report.totals.live_blocks as f64,
        Sort::Resident => view.resident_bytes().unwrap_or(0) as f64,
        Sort::Allocations => view.sums.allocations_per_s.unwrap_or(0.0),
        Sort::Faults => view.sums.minor_per_s.unwrap_or(0.0),
        Sort::Name => 0.0,
    }
}
