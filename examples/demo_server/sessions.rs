//! Planted: an unbounded container. Every request opens a session, all sessions hang in one list,
//! and nothing ever expires them.
//!
//! What must be reported: the site `keep_session_forever`, 1,024 bytes in one block per request,
//! still reachable, verdict *growing*, pattern linear.

use std::sync::Mutex;

/// Size of one session, its link included.
pub const BYTES: usize = size_of::<Session>();
const _: () = assert!(BYTES == 1024);

struct Session {
    user: u64,
    next: Option<Box<Session>>,
    basket: [u8; 1024 - 2 * size_of::<u64>()],
}

static SESSIONS: Mutex<Option<Box<Session>>> = Mutex::new(None);

/// Opens a session for request `number`.
pub(super) fn remember(number: u64) {
    keep_session_forever(number);
}

/// Where the memory goes.
#[inline(never)]
fn keep_session_forever(user: u64) {
    let mut session = Box::new(Session {
        user,
        next: None,
        basket: [0; _],
    });
    session.basket[0] = user as u8;
    let mut newest = SESSIONS.lock().expect("no holder panics");
    session.next = newest.take();
    *newest = Some(session);
}

/// Sessions open now.
pub fn count() -> u64 {
    let newest = SESSIONS.lock().expect("no holder panics");
    let mut count = 0;
    let mut session = newest.as_deref();
    while let Some(open) = session {
        debug_assert_eq!(open.basket[0], open.user as u8);
        count += 1;
        session = open.next.as_deref();
    }
    count
}
