//! Owns the command of the option `on-alert`. It must never leave a trace in the host: no child to
//! wait for, no signal, no descriptor, none of its environment.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use super::{Kind, Words};
use crate::text::Text;
use crate::{arena, guard, sys};

static STACK: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// A child that stays with its program, to be reaped; 0: none.
static STAYING: AtomicUsize = AtomicUsize::new(0);

/// What became of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was started.
    Started,
    /// It was not: the last one still runs, the kernel refused, or a sandbox is in force.
    NotStarted,
}

/// Starts `sh -c COMMAND` with what happened in its environment. The caller holds the snapshot lock,
/// with all signals blocked.
pub fn run(command: &[u8], kind: Kind, words: &Words) -> Outcome {
    if guard::QUIET.load(Relaxed) != 0 || !is_free() {
        return Outcome::NotStarted;
    }
    let mut text = Text::<1100>::new();
    text.push_bytes(command);
    let mut name = Text::<64>::new();
    name.push_bytes(b"LEAKTRACK_ALERT=").push_bytes(kind.name());
    let mut said = Text::<320>::new();
    said.push_bytes(b"LEAKTRACK_ALERT_TEXT=")
        .push_bytes(words.as_bytes());
    let mut pid = Text::<48>::new();
    pid.push_bytes(b"LEAKTRACK_ALERT_PID=")
        .push_u64(u64::from(sys::getpid()));
    let (Some(text), Some(name), Some(said), Some(pid), Some(stack)) = (
        text.c_str(),
        name.c_str(),
        said.c_str(),
        pid.c_str(),
        stack(),
    ) else {
        return Outcome::NotStarted;
    };
    let pointer = |text: &sys::CStr| text.as_ptr().cast::<u8>();
    let path = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let null = core::ptr::null();
    let args = [pointer(c"sh"), pointer(c"-c"), pointer(text), null];
    let env = [
        pointer(path),
        pointer(name),
        pointer(said),
        pointer(pid),
        null,
    ];
    // SAFETY: the stack is this function's own, and no child is on it; the arrays end with null.
    match unsafe { sys::start_program(c"/bin/sh", args.as_ptr(), env.as_ptr(), stack) } {
        Ok(staying) => {
            STAYING.store(staying.unwrap_or(0), Relaxed);
            Outcome::Started
        }
        Err(_) => Outcome::NotStarted,
    }
}

/// Takes the end of a child that stayed, if it has ended; true if none is left.
pub fn is_free() -> bool {
    let pid = STAYING.load(Relaxed);
    if pid != 0 && sys::reap(pid, true) {
        STAYING.store(0, Relaxed);
    }
    STAYING.load(Relaxed) == 0
}

/// In a forked child: what stayed is the parent's.
pub fn forget_in_child() {
    STAYING.store(0, Relaxed);
}

fn stack() -> Option<*mut u8> {
    let mut stack = STACK.load(Relaxed);
    if stack.is_null() {
        stack = arena::alloc(sys::STACK_BYTES, 4096);
        STACK.store(stack, Relaxed);
    }
    (!stack.is_null()).then_some(stack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::testing::in_child;
    use std::time::{Duration, Instant};

    fn words() -> Words {
        let mut words = Words::new();
        words.push_bytes(b"it's \"2000\" per second");
        words
    }

    fn wait_for(path: &std::path::Path) -> std::string::String {
        let deadline = Instant::now() + Duration::from_secs(240);
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with("end\n") => return text,
                _ if Instant::now() > deadline => return std::string::String::new(),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// In a child, so that neither its children nor its signals are those of other tests.
    fn leaves_no_trace(adopts: bool) {
        let folder = std::env::temp_dir().join(std::format!(
            "leaktrack-command-{}-{adopts}",
            std::process::id()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("out");
        let status = in_child(|| {
            // SAFETY: plain calls on this process.
            unsafe {
                libc::signal(libc::SIGCHLD, libc::SIG_DFL);
                libc::signal(libc::SIGUSR1, libc::SIG_IGN);
                libc::prctl(libc::PR_SET_CHILD_SUBREAPER, i32::from(adopts));
                std::env::set_var("LD_PRELOAD", "/nonexistent.so");
            }
            let signals = sys::block_signals();
            let command = std::format!(
                "{{ echo $LEAKTRACK_ALERT $LEAKTRACK_ALERT_TEXT $LEAKTRACK_ALERT_PID; \
                 echo ${{LD_PRELOAD-none}}; ls /proc/self/fd | wc -l; \
                 grep -E 'Sig(Blk|Ign)' /proc/self/status; echo end; }} >> {}",
                path.display()
            );
            let outcome = run(command.as_bytes(), Kind::MinorFaults, &words());
            assert_eq!(outcome, Outcome::Started);
            let text = wait_for(&path);
            let deadline = Instant::now() + Duration::from_secs(240);
            while !is_free() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(is_free());
            // SAFETY: plain calls on this process.
            unsafe {
                // No child, and no word of one.
                let mut status = 0;
                assert_eq!(libc::waitpid(-1, &mut status, libc::WNOHANG), -1);
                assert_eq!(
                    libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL),
                    -1
                );
                let mut pending = core::mem::zeroed();
                libc::sigpending(&mut pending);
                assert_eq!(libc::sigismember(&pending, libc::SIGCHLD), 0);
            }
            sys::restore_signals(signals);
            let lines: std::vec::Vec<&str> = text.lines().collect();
            let pid = std::process::id();
            assert_eq!(
                lines[0],
                std::format!("minor-faults it's \"2000\" per second {pid}")
            );
            // 0, 1, 2, and what `ls` opens.
            assert_eq!((lines[1], lines[2].trim()), ("none", "4"));
            assert!(lines[3].ends_with("0000000000000000"), "{text}");
            assert!(lines[4].ends_with("0000000000000000"), "{text}");
            0
        });
        let _ = std::fs::remove_dir_all(&folder);
        assert_eq!(status, 0);
    }

    #[test]
    fn the_command_leaves_no_trace() {
        leaves_no_trace(false);
    }

    #[test]
    fn nor_where_orphans_come_to_this_process() {
        leaves_no_trace(true);
    }
}
