//! Owns servers under test: ports of their own, waiting until they answer, and their orderly end. It never touches a server
//! that it did not start.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::case::{Case, Running, Tracked};

/// A server that runs, with or without leaktrack.
#[derive(Debug)]
pub struct Server {
    running: Option<Running>,
}

impl Server {
    /// Starts the server under leaktrack and waits until its port answers.
    #[track_caller]
    pub fn start(case: &Case, port: u16) -> Server {
        let mut running = case.start_tracked();
        running.wait_until("the server answers on its port", |_| answers(port));
        Server {
            running: Some(running),
        }
    }

    /// Pid of the process that was started.
    pub fn pid(&self) -> i32 {
        self.running.as_ref().map_or(0, Running::pid)
    }

    /// The running process.
    pub fn running(&mut self) -> &mut Running {
        self.running
            .as_mut()
            .expect("a server that has not been stopped")
    }

    /// Sends `signal` and waits for the end.
    #[track_caller]
    pub fn stop(mut self, signal: i32) -> Tracked {
        let running = self
            .running
            .take()
            .expect("a server that has not been stopped");
        running.signal(signal);
        running.finish()
    }
}

/// A port that is free now, from the range that the kernel gives out.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    listener.local_addr().expect("its address").port()
}

/// Waits until something listens on a loopback port; fails the test after four minutes.
#[track_caller]
pub fn wait_for_port(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(240);
    while !answers(port) {
        assert!(Instant::now() < deadline, "nothing listens on port {port}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
