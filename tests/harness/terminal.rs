//! Owns a pseudo-terminal with one command on it: what it draws is parsed as a terminal would, keys and sizes are sent as one
//! does. It never leaves the command behind.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A machine that is busy with other things must not fail a test.
const LIMIT: Duration = Duration::from_secs(240);

/// A terminal and the command on it.
pub struct Terminal {
    child: Child,
    master: File,
    /// Kept open, so that the terminal outlives the command and can be looked at.
    slave: File,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts `command` on a terminal of that size, as the leader of a session of its own.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let (mut master, mut slave) = (-1, -1);
        let size = winsize(columns, rows);
        // SAFETY: the two numbers are live locals; name and settings may be null; the size is only read.
        let made = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(made, 0, "a pseudo-terminal");
        // SAFETY: openpty made both descriptors, and nobody else has them.
        let (master, slave) = unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) };
        let copy = || slave.try_clone().expect("a descriptor");
        command.stdin(copy()).stdout(copy()).stderr(copy());
        // SAFETY: between fork and exec only two system calls are made.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().expect("the command");
        let seen = Arc::new(Mutex::new(Seen {
            parser: vt100::Parser::new(least_one(rows), least_one(columns), 0),
            bytes: Vec::new(),
        }));
        let (mut from, into) = (master.try_clone().expect("a descriptor"), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let mut seen = into.lock().expect("no reader has failed");
                seen.parser.process(&buffer[..read]);
                seen.bytes.extend_from_slice(&buffer[..read]);
            }
        });
        Self {
            child,
            master,
            slave,
            seen,
        }
    }

    /// Number of the command's process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.look(|screen| screen.contents())
    }

    /// Asks the screen for something.
    pub fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(
            self.seen
                .lock()
                .expect("no reader has failed")
                .parser
                .screen(),
        )
    }

    /// Every byte that was written to the terminal.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen
            .lock()
            .expect("no reader has failed")
            .bytes
            .clone()
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + LIMIT;
        // Of a copy: what is wanted may look at the terminal itself.
        while !wanted(&self.look(vt100::Screen::clone)) {
            assert!(
                Instant::now() < deadline,
                "in vain: {what}:\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the screen has these words.
    #[track_caller]
    pub fn wait_for(&self, words: &str) {
        self.wait_until(words, |screen| screen.contents().contains(words));
    }

    /// Presses keys.
    pub fn keys(&self, keys: &str) {
        (&self.master)
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// Makes the terminal larger or smaller.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut seen = self.seen.lock().expect("no reader has failed");
        seen.parser.set_size(least_one(rows), least_one(columns));
        let size = winsize(columns, rows);
        // SAFETY: the descriptor is open; the size is only read.
        let set =
            unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(set, 0, "a size");
    }

    /// Sends a signal to the command.
    pub fn signal(&self, signal: i32) {
        // SAFETY: plain kill(2) on a child that has not been waited for.
        unsafe { libc::kill(self.pid(), signal) };
    }

    /// What the kernel says that the command is doing, such as `T` for stopped.
    pub fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// How the terminal is set: line mode, echo, signals by keys.
    pub fn is_cooked(&self) -> bool {
        // SAFETY: termios is plain data for which zeros are a value, and the call fills it.
        let settings = unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            let got = libc::tcgetattr(self.slave.as_raw_fd(), &raw mut settings);
            assert_eq!(got, 0, "the terminal's settings");
            settings
        };
        let cooked = libc::ICANON | libc::ECHO | libc::ISIG;
        settings.c_lflag & cooked == cooked
    }

    /// Waits for the command to end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting for a child") {
                // What it wrote last is read by another thread.
                std::thread::sleep(Duration::from_millis(100));
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it did not end:\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // SAFETY: plain kill(2) on a child that has not been waited for.
            unsafe { libc::kill(self.pid(), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }
}

fn winsize(columns: u16, rows: u16) -> libc::winsize {
    libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn least_one(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}
