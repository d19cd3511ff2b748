//! What keys do, and what is drawn, without a terminal.

use std::path::PathBuf;
use std::sync::Arc;

use leaktrack_recording::{EventKind, Record, SiteKind};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::draw::{self, Look};
use super::plain::as_text;
use super::requests::{Answer, Request, What};
use super::state::{Effect, Page, Sort, State};
use super::view::{Condition, View};
use crate::blame::Blame;
use crate::report::{ReportOptions, assemble};
use crate::testing::{self, Recording};

/// A hundred seconds: sessions that leak 1,000 bytes a second, a cache that fills in 20 s, requests
/// that come and go, fifty a second.
fn view(name: &str, pid: u32) -> View {
    let mut r = Recording::new();
    let session = r.site(SiteKind::Heap, &[(1, 0x1111), (1, 0x100)]);
    let page = r.site(SiteKind::Heap, &[(1, 0x3333), (1, 0x100)]);
    let request = r.site(SiteKind::Heap, &[(1, 0x4444), (1, 0x100)]);
    r.every_second(100, |second| {
        let cached = u64::from(second <= 20);
        vec![
            (session, 1, 1_000, 0, 0),
            (page, cached * 4, cached * 150_000, 0, 0),
            (request, 50, 5_000, 50, 5_000),
        ]
    });
    r.record(&Record::Event {
        at_ms: 90_000,
        kind: EventKind::Alert,
        text: b"resident memory is over 1 MiB",
    });
    let mut family = r.family();
    testing::name(
        &mut family,
        &[
            (
                0x1111,
                "shop::session::keep\u{1b}[2J",
                "/src/session.rs",
                42,
            ),
            (0x3333, "shop::cache::page", "/src/cache.rs", 19),
            (0x4444, "shop::request::read", "/src/request.rs", 88),
        ],
        &Blame::default(),
    );
    let options = ReportOptions {
        top: 0,
        show_healthy: true,
        curves: true,
        ..ReportOptions::default()
    };
    let report = assemble(&family, &options);
    let mut view = View::of(
        PathBuf::from(format!("/tmp/{name}.ltk")),
        pid,
        Arc::new(report),
    );
    view.name = name.to_owned();
    view
}

fn state(views: Vec<View>) -> State {
    let mut state = State::new(Sort::Growth, String::new(), true);
    state.loaded(views);
    state
}

fn press(state: &mut State, keys: &str) -> Effect {
    let mut effect = Effect::None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            c => KeyCode::Char(c),
        };
        effect = state.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    effect
}

const LOOK: Look = Look {
    colour: true,
    unicode: true,
    keys: true,
};

fn drawn(state: &mut State, width: u16, height: u16, look: Look) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw::draw(frame, state, look))
        .unwrap();
    as_text(terminal.backend().buffer())
}

/// The rows of the table of call sites: what stands in their last column.
fn order(state: &State) -> Vec<&str> {
    let rows = state.rows();
    rows.iter()
        .map(|(_, site)| {
            let file = site.frames[0].file.as_deref().unwrap();
            file.trim_start_matches("/src/").trim_end_matches(".rs")
        })
        .collect()
}

#[test]
fn a_single_process_is_opened_and_several_are_listed() {
    let mut one = state(vec![view("shop", 7)]);
    assert_eq!(one.page, Page::Sites);
    // Only the first loading opens: a process that stays alone later does not take the list away.
    press(&mut one, "\x1b");
    assert_eq!(one.page, Page::Processes);
    one.loaded(vec![view("shop", 7)]);
    assert_eq!(one.page, Page::Processes);
    let mut two = state(vec![view("shop", 7), view("cart", 8)]);
    assert_eq!(two.page, Page::Processes);
    press(&mut two, "n↓\n");
    assert_eq!(two.page, Page::Sites);
    assert_eq!(two.process().unwrap().1.name, "shop");
}

#[test]
fn a_process_that_was_not_read_yet_has_its_resident_memory() {
    let waiting = View {
        seen_resident_bytes: Some(7 << 20),
        ..View::without("w".to_owned(), 9, "late".to_owned(), Condition::Recording)
    };
    let mut state = state(vec![view("shop", 7), waiting]);
    let text = drawn(&mut state, 80, 24, LOOK);
    let line = text.lines().find(|line| line.contains("late"));
    assert!(line.is_some_and(|line| line.contains("7.0 MiB")), "{text}");
}

#[test]
fn sites_are_sorted_and_filtered() {
    let mut state = state(vec![view("shop", 7)]);
    assert_eq!(order(&state), ["session", "cache", "request"]);
    press(&mut state, "l");
    assert_eq!(order(&state), ["cache", "session", "request"]);
    press(&mut state, "a");
    assert_eq!(order(&state), ["request", "session", "cache"]);
    press(&mut state, "n");
    assert_eq!(order(&state), ["cache", "request", "session"]);
    press(&mut state, "r");
    assert_eq!(order(&state), ["session", "request", "cache"]);
    press(&mut state, "r/CACHE shop");
    assert_eq!(order(&state), ["cache"]);
    // While typing, letters are no commands.
    assert_eq!(press(&mut state, "q"), Effect::None);
    assert_eq!(order(&state), [""; 0]);
    press(&mut state, "\x1b");
    assert_eq!(order(&state).len(), 3);
    press(&mut state, "/growing\n");
    assert_eq!(order(&state), ["session"]);
    // Every file is in this folder, which nobody means who does not say so.
    press(&mut state, "\x1b/src");
    assert_eq!(order(&state), [""; 0]);
    press(&mut state, "\x1b/src/cache");
    assert_eq!(order(&state), ["cache"]);
    press(&mut state, "\x1b");
    assert_eq!(press(&mut state, "q"), Effect::Quit);
}

#[test]
fn what_is_chosen_stays_chosen_in_another_order() {
    let mut state = state(vec![view("shop", 7)]);
    press(&mut state, "↓");
    let chosen = |state: &State| {
        let (at, _, site) = state.site().unwrap();
        (at, site.frames[0].line)
    };
    assert_eq!(chosen(&state), (1, Some(19)));
    press(&mut state, "l");
    assert_eq!(chosen(&state), (0, Some(19)));
    press(&mut state, "\n");
    assert_eq!(state.page, Page::Stack);
    let text = drawn(&mut state, 100, 30, LOOK);
    assert!(
        text.contains("> shop::cache::page  /src/cache.rs:19"),
        "{text}"
    );
    assert!(text.contains("retained  2.9 MiB in 80 blocks"), "{text}");
    press(&mut state, "\x1b");
    assert_eq!(state.page, Page::Sites);
}

#[test]
fn figures_are_those_of_the_recording() {
    let mut state = state(vec![view("shop", 7)]);
    let text = drawn(&mut state, 150, 30, LOOK);
    let row = |words: &str| {
        let line = text.lines().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("{words}: {text}"));
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // 1,000 bytes a second, 60 seconds, 100 blocks, one allocation a second.
    let session = row("session.rs:42");
    assert_eq!(
        session[..10].join(" "),
        "growing +1000 B/s +58.6 KiB 97.7 KiB - 100 1.0",
        "{text}"
    );
    let request = row("request.rs:88");
    assert_eq!(request[..8].join(" "), "healthy - - 0 B - 0 50", "{text}");
    assert!(text.contains("1 finding +1000 B/s"), "{text}");
    assert!(
        text.contains("1 alert, last 10 s ago: resident memory is over 1 MiB"),
        "{text}"
    );
    assert!(text.contains("51 allocations/s"), "{text}");
    // A recorded name does not steer the terminal.
    assert!(
        text.contains("keep?[2J") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn requests_are_of_the_process_that_is_chosen() {
    let mut state = state(vec![view("shop", 7), view("cart", 8)]);
    press(&mut state, "n");
    let ask = |what| {
        Effect::Ask(Request {
            what,
            recording: PathBuf::from("/tmp/cart.ltk"),
        })
    };
    assert_eq!(press(&mut state, "s"), ask(What::Snapshot));
    assert_eq!(press(&mut state, "S"), ask(What::Scan));
    assert_eq!(
        press(&mut state, "m new cart \n"),
        ask(What::Mark("new cart".to_owned()))
    );
    assert_eq!(press(&mut state, "m\n"), ask(What::Mark("mark".to_owned())));
    assert_eq!(press(&mut state, "mx\x1b"), Effect::None);
    state.answered(Answer {
        words: "marked new cart".to_owned(),
        failed: false,
    });
    assert!(drawn(&mut state, 80, 24, LOOK).ends_with(" marked new cart\n"));
    // The next key takes the answer away.
    press(&mut state, "↓");
    assert!(drawn(&mut state, 80, 24, LOOK).ends_with("q quit\n"));
}

#[test]
fn who_has_ended_is_not_asked() {
    let mut state = state(vec![view("shop", 0)]);
    assert!(matches!(
        state.process().unwrap().1.condition,
        Condition::Ended(_)
    ));
    assert_eq!(press(&mut state, "s"), Effect::None);
    assert!(state.answer.as_ref().unwrap().failed);
    press(&mut state, "m");
    assert!(state.typing.is_none());
}

/// Who looks at a process, or types a mark for it, keeps it when it ends.
#[test]
fn nobody_takes_the_place_of_who_has_ended() {
    let both = || vec![view("shop", 7), view("other", 9)];
    for keys in ["\n", "\n\n", "\n?", "mlabel"] {
        let mut state = state(both());
        press(&mut state, keys);
        let name = state.process().unwrap().1.name.clone();
        state.loaded(both().into_iter().filter(|it| it.name != name).collect());
        state.loaded(both().into_iter().filter(|it| it.name != name).collect());
        let (_, looked_at) = state.process().unwrap();
        assert_eq!(looked_at.name, name, "{keys}");
        assert!(matches!(looked_at.condition, Condition::Ended(_)));
        let after = if keys.starts_with('m') { "\n" } else { "S" };
        assert_eq!(press(&mut state, after), Effect::None, "{keys}");
        assert_eq!(state.views.as_ref().unwrap().len(), 2);
    }
}

#[test]
fn a_pause_holds_what_is_shown() {
    let mut state = state(vec![view("shop", 7)]);
    press(&mut state, "p");
    state.loaded(vec![view("shop", 7), view("other", 9)]);
    assert!(drawn(&mut state, 80, 24, LOOK).contains("PAUSED"));
    assert_eq!(state.processes().len(), 1);
    press(&mut state, "p");
    assert_eq!(state.processes().len(), 2);
}

#[test]
fn every_size_is_drawn() {
    let mut state = state(vec![view("shop", 7), view("cart", 8)]);
    let sizes = [
        (1, 1),
        (19, 3),
        (20, 4),
        (40, 6),
        (40, 10),
        (60, 18),
        (80, 24),
        (200, 60),
    ];
    for page in [Page::Processes, Page::Sites, Page::Stack, Page::Help] {
        state.page = page;
        for (width, height) in sizes {
            let text = drawn(&mut state, width, height, LOOK);
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(usize::from(width)));
        }
    }
    // On a terminal of 80 or 100 columns the last column of each table has room.
    for width in [80, 100] {
        for (page, last) in [(Page::Processes, "STATE"), (Page::Sites, "session::keep")] {
            state.page = page;
            let text = drawn(&mut state, width, 24, LOOK);
            assert!(text.contains(last), "{text}");
            let keys = text.lines().last().unwrap_or_default();
            assert!(keys.contains("s snap") && keys.contains("S scan"), "{text}");
        }
    }
    // What must be seen is seen on a terminal of the usual size.
    state.page = Page::Sites;
    let text = drawn(&mut state, 80, 24, LOOK);
    assert!(
        text.contains("session.rs:42") && text.contains("RSS") && text.contains("q quit"),
        "{text}"
    );
}

#[test]
fn without_colours_and_unicode_there_are_none() {
    let plain = Look {
        colour: false,
        unicode: false,
        keys: true,
    };
    let mut state = state(vec![view("shop", 7)]);
    for page in [Page::Processes, Page::Sites, Page::Stack, Page::Help] {
        state.page = page;
        let mut terminal = Terminal::new(TestBackend::new(120, 30)).unwrap();
        terminal
            .draw(|frame| draw::draw(frame, &mut state, plain))
            .unwrap();
        let cells = &terminal.backend().buffer().content;
        assert!(
            cells
                .iter()
                .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
        );
        assert!(
            cells.iter().all(|cell| cell.symbol().is_ascii()),
            "{page:?}"
        );
        assert!(
            cells
                .iter()
                .any(|cell| cell.modifier.contains(Modifier::REVERSED))
        );
    }
}
