//! `leaktrack run`: what it starts, what it refuses, and how it ends.

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{compile, leaktrack, run_in, said, stderr, stdout};

const RETURN_3: &str = "int main(void) { return 3; }\n";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_command_keeps_the_process_id_and_its_arguments() {
    let dir = folder();
    let mut command = leaktrack(&["run", "--", "sh", "-c", "echo $$ $0 $1", "--name", "--flag"]);
    let child = command
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    assert_eq!(
        stdout(&child.wait_with_output().unwrap()),
        format!("{pid} --name --flag\n")
    );
}

#[test]
fn the_library_is_preloaded_first_and_options_are_passed_on() {
    let dir = folder();
    let output = leaktrack(&[
        "run",
        "-o",
        "a,b.ltk",
        "--depth",
        "64",
        "--label",
        "x:y",
        "--",
        "sh",
        "-c",
        "echo $LD_PRELOAD; echo $LEAKTRACK",
    ])
    .env("LD_PRELOAD", "libm.so.6 /old/libleaktrack.so")
    .env("LEAKTRACK", "verbose=0")
    .current_dir(dir.path())
    .output()
    .unwrap();
    let text = stdout(&output);
    let mut lines = text.lines();
    let preload: Vec<_> = lines.next().unwrap().split(':').collect();
    assert!(preload[0].ends_with("/libleaktrack.so"), "{preload:?}");
    assert_eq!(preload[1..], ["libm.so.6"]);
    assert_eq!(
        lines.next().unwrap(),
        "verbose=0,output=a\\,b.ltk,depth=64,label=x:y"
    );
    let said = said(&output);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("/a,b.ltk"), "{said:?}");
}

#[test]
fn exit_codes_are_those_of_env() {
    let dir = folder();
    let text = dir.path().join("text");
    fs::write(&text, "x").unwrap();
    let text = text.to_str().unwrap();
    for (arguments, code) in [
        (&["run", "--", "sh", "-c", "exit 7"][..], 7),
        (&["run", "--", "no-such-command"], 127),
        (&["run", "--", "/no/such/command"], 127),
        (&["run", "--", text], 126),
        (&["run", "--", "/tmp"], 126),
        (&["run"], 125),
        (&["run", "--depth", "0", "--", "true"], 125),
        (&["run", "--no-such-option", "--", "true"], 125),
        (&["run", "--error-exitcode", "0", "--", "true"], 125),
        (&["run", "-o", "/no/such/folder/x.ltk", "--", "true"], 125),
        (&["run", "--help"], 0),
        (&["no-such-command"], 2),
    ] {
        let output = run_in(dir.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(!stderr(&output).contains("panicked"));
    }
    let output = run_in(dir.path(), &["run", "--", "sh", "-c", "kill -USR1 $$"]);
    assert_eq!(output.status.signal(), Some(libc::SIGUSR1));
}

fn refused(dir: &Path, program: &str, why: &str) {
    let output = run_in(dir, &["run", "--", program]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(125), "{program}: {said:?}");
    assert_eq!(said.len(), 1);
    for part in ["cannot track", why] {
        assert!(said[0].contains(part), "{part} in {said:?}");
    }
}

#[test]
fn what_cannot_be_tracked_is_refused_before_it_starts() {
    let dir = folder();
    let at = dir.path();
    for (name, compiler, flags, why) in [
        ("static", "gcc", &["-static"][..], "statically linked"),
        ("static-pie", "gcc", &["-static-pie"], "statically linked"),
        ("musl", "musl-gcc", &[], "musl"),
    ] {
        if compile(at, name, RETURN_3, compiler, flags).is_some() {
            refused(at, &format!("./{name}"), why);
        }
    }
    let dynamic = compile(at, "dynamic", RETURN_3, "gcc", &[]).unwrap();
    let mut bytes = fs::read(&dynamic).unwrap();
    bytes[4] = 1;
    fs::write(at.join("small"), &bytes).unwrap();
    fs::set_permissions(at.join("small"), fs::Permissions::from_mode(0o755)).unwrap();
    refused(at, "./small", "32-bit");
    assert_eq!(
        run_in(at, &["run", "--", "./dynamic"]).status.code(),
        Some(3)
    );
}

#[test]
fn programs_with_raised_privileges_are_refused() {
    let dir = folder();
    let program = compile(dir.path(), "raised", RETURN_3, "gcc", &[]).unwrap();
    if std::os::unix::fs::chown(&program, Some(65_534), None).is_err() {
        return; // only root can make the case
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    refused(dir.path(), "./raised", "set-user-ID");
}

#[test]
fn scripts_are_judged_by_their_interpreter() {
    let dir = folder();
    let script = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("plain", "#!/bin/sh\nexit 5\n");
    script("env", "#!/usr/bin/env sh\nexit 6\n");
    script("none", "exit 8\n");
    script("lost", "#!/no/such/interpreter\n");
    script("loop", "#!./loop\n");
    for (name, code) in [
        ("./plain", 5),
        ("./env", 6),
        ("./none", 8),
        ("./lost", 126),
        ("./loop", 126),
    ] {
        let output = run_in(dir.path(), &["run", "--", name]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{name}: {}",
            stderr(&output)
        );
    }
    if compile(dir.path(), "static", RETURN_3, "gcc", &["-static"]).is_some() {
        script("by-static", &format!("#!{}/static\n", dir.path().display()));
        refused(dir.path(), "./by-static", "interpreter of ./by-static");
    }
}

#[test]
fn a_program_with_its_own_malloc_is_warned_about() {
    let dir = folder();
    let source = "#include <stddef.h>\nstatic char heap[4096]; static size_t used;\n\
        void *malloc(size_t n) { void *p = heap + used; used += (n + 15) & ~15; return p; }\n\
        void free(void *p) { (void)p; }\nint main(void) { return malloc(3) == 0; }\n";
    compile(dir.path(), "own", source, "gcc", &["-fno-builtin"]).unwrap();
    let output = run_in(dir.path(), &["run", "--", "./own"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        said(&output)[0].contains("defines malloc itself"),
        "{:?}",
        said(&output)
    );
}

#[test]
fn signal_state_reaches_the_command_unchanged() {
    let dir = folder();
    let script = "trap '' PIPE USR2; exec \"$@\" grep -E '^Sig(Ign|Blk)' /proc/self/status";
    let run = |through: &[&str]| {
        let output = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .args(through)
            .current_dir(dir.path())
            .output()
            .unwrap();
        stdout(&output)
    };
    let expected = run(&["env"]);
    assert!(expected.contains("SigIgn"));
    let own = env!("CARGO_BIN_EXE_leaktrack");
    assert_eq!(run(&[own, "run", "--"]), expected);
    assert_eq!(run(&[own, "run", "--error-exitcode", "9", "--"]), expected);
}

#[test]
fn python_is_told_to_use_malloc() {
    let dir = folder();
    let output = run_in(
        dir.path(),
        &["run", "--python", "--", "sh", "-c", "echo $PYTHONMALLOC"],
    );
    assert_eq!(stdout(&output), "malloc\n");
    assert!(
        said(&output)
            .iter()
            .any(|line| line.contains("PYTHONMALLOC=malloc"))
    );
}

/// Starts `run --report` and waits until the command has said something.
fn supervised(dir: &Path, script: &str) -> (std::process::Child, u32) {
    let mut child = leaktrack(&["run", "--report", "--", "sh", "-c", script])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let out = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0].into());
    }
    let pid = line.parse().unwrap();
    (child, pid)
}

#[test]
fn signals_are_forwarded_while_waiting() {
    let dir = folder();
    let script = "trap 'echo got; exit 5' TERM; echo $$; while :; do sleep 0.05; done";
    let (child, pid) = supervised(dir.path(), script);
    assert_ne!(pid, child.id());
    // SAFETY: a signal to a child of ours that has not been waited for.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "got\n");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

/// A terminal with a process at its other end.
struct Terminal {
    pid: libc::pid_t,
    screen: fs::File,
}

impl Terminal {
    fn run(dir: &Path, arguments: &[&str]) -> Self {
        use std::os::fd::FromRawFd;
        use std::os::unix::process::CommandExt;
        let mut command = leaktrack(arguments);
        command.current_dir(dir);
        let mut master = 0;
        // SAFETY: the child only execs; `master` is writable and the other pointers may be null.
        let pid = unsafe {
            libc::forkpty(
                &mut master,
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        if pid == 0 {
            // Whoever started the tests in the background has them ignore these, and a shell
            // cannot trap what was ignored when it started.
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP] {
                // SAFETY: the default action of a signal, in a process about to exec.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            let _ = command.exec();
            // SAFETY: ends the forked child without running anything of the test's.
            unsafe { libc::_exit(99) };
        }
        assert!(pid > 0);
        // SAFETY: forkpty made this descriptor and nobody else has it.
        let screen = unsafe { fs::File::from_raw_fd(master) };
        Self { pid, screen }
    }

    fn press(&mut self, key: u8) {
        use std::io::Write;
        self.screen.write_all(&[key]).unwrap();
    }

    /// Reads until `text` has appeared.
    fn await_text(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = self.screen.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..count]);
            if String::from_utf8_lossy(&seen).contains(text) {
                break;
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    fn wait(&self, flags: libc::c_int) -> libc::c_int {
        let mut status = 0;
        // SAFETY: `status` is writable; the process is a child of this one.
        let waited = unsafe { libc::waitpid(self.pid, &mut status, flags) };
        assert_eq!(waited, self.pid);
        status
    }
}

#[test]
fn keys_reach_the_command_once_and_not_the_waiting_process() {
    let dir = folder();
    // It waits for the key as long as it takes, and then for one that should not come.
    let script = "n=0; trap 'n=$((n+1))' INT; echo ready; \
        i=0; while [ $n -eq 0 ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; \
        i=0; while [ $i -lt 5 ]; do sleep 0.1; i=$((i+1)); done; echo \"count $n end\"";
    let mut terminal = Terminal::run(dir.path(), &["run", "--report", "--", "sh", "-c", script]);
    terminal.await_text("ready");
    std::thread::sleep(Duration::from_millis(150));
    terminal.press(3); // Ctrl-C
    let text = terminal.await_text(" end");
    assert!(text.contains("count 1 end"), "{text}");
    while !terminal.await_text("\n").is_empty() {}
    assert!(libc::WIFEXITED(terminal.wait(0)));
}

#[test]
fn a_stopped_command_stops_the_waiting_process_and_goes_on_with_it() {
    let dir = folder();
    let script = "echo ready; read line; echo \"read $line\"";
    let mut terminal = Terminal::run(dir.path(), &["run", "--report", "--", "sh", "-c", script]);
    terminal.await_text("ready");
    terminal.press(26); // Ctrl-Z
    assert!(libc::WIFSTOPPED(terminal.wait(libc::WUNTRACED)));
    // SAFETY: a signal to a stopped child of ours.
    unsafe { libc::kill(terminal.pid, libc::SIGCONT) };
    for key in "on\n".bytes() {
        terminal.press(key);
    }
    let text = terminal.await_text("read on");
    assert!(text.contains("read on"), "{text}");
    while !terminal.await_text("\n").is_empty() {}
    assert!(libc::WIFEXITED(terminal.wait(0)));
}
