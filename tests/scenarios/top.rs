//! The live view, in a pseudo-terminal.

use std::process::{Command, Output, Stdio};

use leaktrack_tests::{Case, Running, Terminal, product};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(&product().command);
    command
        .arg("top")
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS");
    command
}

fn started() -> Running {
    let mut running = Case::of("steps.c").option("interval=100ms").start_tracked();
    reach(&mut running, "1");
    running
}

fn reach(running: &mut Running, step: &str) {
    let line = format!("at {step}\n");
    running.wait_until(&line, |running| running.stdout_so_far().contains(&line));
}

fn pass(running: &Running, step: &str) {
    std::fs::write(running.folder().join(step), "").expect("a step");
}

fn finish(mut running: Running) -> leaktrack_tests::Tracked {
    for step in ["1", "2", "3"] {
        reach(&mut running, step);
        pass(&running, step);
    }
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    tracked
}

/// Fails the test unless the terminal is as it was before.
#[track_caller]
fn expect_restored(terminal: &Terminal) {
    assert!(
        terminal.is_cooked(),
        "line mode, echo and signals are on again"
    );
    terminal.look(|screen| {
        assert!(!screen.alternate_screen(), "the screen of before is back");
        assert!(!screen.hide_cursor(), "the cursor is seen");
    });
}

#[test]
fn it_shows_what_happens_and_asks_for_more() {
    let mut running = started();
    let pid = running.pid().to_string();
    let mut terminal = Terminal::start(command(&[&pid, "--sort", "live"]), 120, 30);
    // 10 blocks of 1,000 bytes.
    terminal.wait_for("keep_early");
    let row = |name: &str| {
        let text = terminal.text();
        let line = text
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_default();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // Live bytes, nothing lost, blocks.
    let live = |name: &str, live: &str, blocks: &str| {
        let row = row(name);
        row.windows(4)
            .any(|words| words == [live, "KiB", "-", blocks])
    };
    assert!(live("keep_early", "9.8", "10"), "{}", terminal.text());
    assert!(!terminal.is_cooked());
    assert!(terminal.look(|screen| screen.alternate_screen() && screen.hide_cursor()));

    // The recording grows: 20 blocks of 500 bytes, 6 of the early ones are left.
    pass(&running, "1");
    reach(&mut running, "2");
    terminal.wait_for("keep_middle");
    terminal.wait_until("6 early blocks", |_| live("keep_early", "5.9", "6"));
    assert!(live("keep_middle", "9.8", "20"), "{}", terminal.text());

    // A stack, and back.
    terminal.keys("/keep_mid\r");
    terminal.wait_for("1 call site");
    terminal.keys("\r");
    terminal.wait_for("> keep_middle");
    let text = terminal.text();
    assert!(
        text.contains("9.8 KiB in 20 blocks") && text.contains("steps.c:"),
        "{text}"
    );
    terminal.keys("\x1b");
    terminal.wait_for("ALLOC/s");

    // Requests of the process.
    terminal.keys("m");
    terminal.wait_for("Mark this moment as:");
    terminal.keys("halfway\r");
    terminal.wait_for("marked halfway");
    terminal.keys("s");
    terminal.wait_for("took a snapshot");
    terminal.keys("S");
    terminal.wait_until("the verdict of a scan", |screen| {
        let text = screen.contents();
        let last = text.trim_end().lines().last().unwrap_or_default();
        last.contains("looked for lost blocks: nothing is lost")
    });

    terminal.keys("q");
    assert!(terminal.ended().success());
    expect_restored(&terminal);
    let report = finish(running).report();
    let events = report.json["events"].as_array().expect("events");
    let is_mark =
        |event: &&serde_json::Value| event["type"] == "mark" && event["text"] == "halfway";
    assert_eq!(events.iter().filter(is_mark).count(), 1);
}

#[test]
fn the_list_has_every_tracked_process() {
    let (one, two) = (started(), started());
    let mut terminal = Terminal::start(command(&[]), 100, 40);
    // Other tests' processes may be there, too.
    terminal.keys("\x1b");
    for running in [&one, &two] {
        terminal.wait_for(&format!(" {} steps", running.pid()));
    }
    terminal.keys(&format!("/{}\r", two.pid()));
    terminal.wait_until("one row", |screen| {
        let text = screen.contents();
        text.matches(" steps").count() == 1 && text.contains(&format!(" {} steps", two.pid()))
    });
    terminal.keys("\r");
    terminal.wait_for("keep_early");
    assert!(terminal.text().contains(&format!("(pid {})", two.pid())));
    terminal.keys("\x1b\x1b");
    finish(one);
    finish(two);
    terminal.keys("q");
    assert!(terminal.ended().success());
}

#[test]
fn the_terminal_is_put_back_whatever_ends_it() {
    let running = started();
    let pid = running.pid().to_string();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        let mut terminal = Terminal::start(command(&[&pid]), 100, 30);
        terminal.wait_for("keep_early");
        terminal.signal(signal);
        assert_eq!(terminal.ended().code(), Some(128 + signal));
        expect_restored(&terminal);
    }
    let mut terminal = Terminal::start(command(&[&pid]), 100, 30);
    terminal.wait_for("keep_early");
    terminal.keys("\x03");
    assert_eq!(terminal.ended().code(), Some(128 + libc::SIGINT));
    expect_restored(&terminal);
    // An error says why on the screen of before.
    let mut terminal = Terminal::start(command(&["/nonexistent.ltk"]), 100, 30);
    assert_eq!(terminal.ended().code(), Some(2));
    expect_restored(&terminal);
    assert!(
        terminal.text().contains("/nonexistent.ltk"),
        "{}",
        terminal.text()
    );
    finish(running);
}

#[test]
fn it_stops_and_goes_on_as_a_job() {
    let running = started();
    let pid = running.pid().to_string();
    let mut terminal = Terminal::start(command(&[&pid]), 100, 30);
    terminal.wait_for("keep_early");
    for stop in [true, false] {
        if stop {
            terminal.keys("\x1a");
        } else {
            terminal.signal(libc::SIGTSTP);
        }
        terminal.wait_until("it is stopped", |_| terminal.state() == Some('T'));
        terminal.wait_until("its last words", |screen| !screen.alternate_screen());
        expect_restored(&terminal);
        terminal.signal(libc::SIGCONT);
        terminal.wait_for("keep_early");
        assert!(!terminal.is_cooked());
    }
    terminal.keys("q");
    assert!(terminal.ended().success());
    finish(running);
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let running = started();
    let pid = running.pid().to_string();
    let terminal = Terminal::start(command(&[&pid]), 120, 30);
    terminal.wait_for("ALLOC/s");
    for (columns, rows) in [(60, 15), (140, 40), (40, 8), (100, 24)] {
        terminal.resize(columns, rows);
        // The first line is as wide as the terminal, the last line is its last.
        terminal.wait_until("the whole screen", |screen| {
            let text: Vec<String> = screen.rows(0, columns).collect();
            let first = text.first().map(|line| line.chars().count());
            let utc = text
                .first()
                .is_some_and(|line| line.trim_end().ends_with("UTC"));
            let last = text.last().is_some_and(|line| line.contains("q quit"));
            first >= Some(usize::from(columns) - 1) && utc && last
        });
    }
    finish(running);
}

#[test]
fn no_color_means_none() {
    let running = started();
    let pid = running.pid().to_string();
    let coloured = |terminal: &Terminal| {
        terminal.wait_for("keep_early");
        terminal.look(|screen| {
            let cells = (0..30).flat_map(|row| (0..100).map(move |column| (row, column)));
            cells
                .filter_map(|(row, column)| screen.cell(row, column))
                .filter(|cell| {
                    cell.fgcolor() != vt100::Color::Default
                        || cell.bgcolor() != vt100::Color::Default
                })
                .count()
        })
    };
    let with = Terminal::start(command(&[&pid]), 100, 30);
    assert!(coloured(&with) > 0);
    let mut plain = command(&[&pid]);
    plain.env("NO_COLOR", "1");
    assert_eq!(coloured(&Terminal::start(plain, 100, 30)), 0);
    // No sign beyond ASCII where the locale has none.
    let mut ascii = command(&[&pid]);
    ascii.env("LC_ALL", "C");
    let terminal = Terminal::start(ascii, 100, 30);
    terminal.wait_for("keep_early");
    assert!(terminal.text().is_ascii(), "{}", terminal.text());
    finish(running);
}

fn piped(args: &[&str]) -> Output {
    command(args)
        .stdin(Stdio::null())
        .output()
        .expect("the command")
}

#[test]
fn where_it_cannot_draw_it_writes_lines() {
    let running = started();
    let pid = running.pid().to_string();
    let dumb = |term: &str| {
        let mut command = command(&[&pid, "--count", "2", "--interval", "100ms"]);
        command.env("TERM", term);
        let mut terminal = Terminal::start(command, 100, 60);
        assert!(terminal.ended().success());
        assert!(terminal.is_cooked());
        String::from_utf8(terminal.bytes()).expect("UTF-8")
    };
    let piped = piped(&[&pid, "--count", "2", "--interval", "100ms"]);
    assert!(piped.status.success(), "{piped:?}");
    let piped = String::from_utf8(piped.stdout).expect("UTF-8");
    for text in [dumb("dumb"), dumb(""), piped] {
        assert!(!text.contains('\x1b'), "{text:?}");
        assert_eq!(text.matches(" leaktrack top ").count(), 2, "{text}");
        assert!(text.contains("keep_early"), "{text}");
    }
    let recording = running.recordings().remove(0);
    // The recording goes with it.
    let _tracked = finish(running);
    // What is over is told once.
    let over = self::piped(&[recording.to_str().expect("a path")]);
    let text = String::from_utf8(over.stdout).expect("UTF-8");
    assert!(text.contains("exited with status 0"), "{text}");
    assert_eq!(text.matches(" leaktrack top ").count(), 1);
}

#[test]
fn a_process_that_ends_is_told_of() {
    let running = started();
    let pid = running.pid().to_string();
    let mut terminal = Terminal::start(command(&[&pid]), 120, 30);
    terminal.wait_for("keep_early");
    // The recording goes with it.
    let _tracked = finish(running);
    terminal.wait_for("exited with status 0");
    terminal.keys("s");
    terminal.wait_for("no running process is chosen");
    terminal.keys("q");
    assert!(terminal.ended().success());
}
