//! Owns the requests that a tool makes of this process through the control page of the recording.
//!
//! Runs in the helper, or without one in a thread that takes a snapshot; never in a hook. It never
//! touches the page itself: the file may have been shortened by anyone, and then a load is SIGBUS
//! for us but an error code for the kernel. What the page holds is believed in nothing.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use leaktrack_recording::control::{self as page, ScanProgress, ScanWish};
use leaktrack_recording::{EventKind, ScanKind};

use crate::recorder::{Failure, Recorder};
use crate::sampler::{self, filter};
use crate::snapshot;
use crate::sys::{self, WaitWord};
use crate::text::Text;
use crate::{state, unwind};

/// Number of the last request that was looked at.
static ANSWERED: AtomicU32 = AtomicU32::new(0);
/// When it is next looked whether anybody still waits for the request that is being carried out.
static NEXT_LOOK_MS: AtomicU64 = AtomicU64::new(NO_REQUEST);
const NO_REQUEST: u64 = u64::MAX;
/// Nobody waits for it any more.
const WITHDRAWN: u64 = u64::MAX - 1;

/// What is asked.
struct Request {
    number: u32,
    kind: u32,
    argument: u64,
    text: Text<{ page::TEXT_MAX as usize }>,
}

/// What became of it, for the one who asked: a status of [`page`] and words, empty when there is
/// nothing to add.
pub struct Answer {
    status: u32,
    text: Text<512>,
}

impl Answer {
    /// It is done.
    pub fn done(words: &[u8]) -> Answer {
        Answer::new(page::STATUS_DONE, words)
    }

    /// It cannot be done in this process.
    pub fn refused(why: &[u8]) -> Answer {
        Answer::new(page::STATUS_REFUSED, why)
    }

    fn new(status: u32, words: &[u8]) -> Answer {
        let mut text = Text::new();
        text.push_bytes(words);
        Answer { status, text }
    }
}

/// Carries a request out. A new kind of request is one more line here.
fn carry_out(request: &Request) -> Answer {
    match request.kind {
        page::KIND_SNAPSHOT => snapshot_now(),
        page::KIND_MARK => mark(request.text.as_bytes()),
        page::KIND_ENABLE => enable(),
        page::KIND_DISABLE => disable(),
        page::KIND_SCAN => scan(ScanWish::decode(request.argument)),
        _ => Answer::new(page::STATUS_UNKNOWN, b""),
    }
}

fn snapshot_now() -> Answer {
    match snapshot::take_asked() {
        Ok(()) => Answer::done(b""),
        Err(why) => Answer::refused(why),
    }
}

/// The same beside something that is done whether there is room for a snapshot or not.
fn snapshot_beside() -> Answer {
    match snapshot::take_asked() {
        Ok(()) => Answer::done(b""),
        Err(snapshot::NO_ROOM) => {
            let mut answer = Answer::done(b"but ");
            answer.text.push_bytes(snapshot::NO_ROOM);
            answer
        }
        Err(why) => Answer::refused(why),
    }
}

/// What was counted until here is in a snapshot, so that the mark divides exactly.
fn mark(label: &[u8]) -> Answer {
    let answer = snapshot_beside();
    snapshot::note(EventKind::Mark, label);
    answer
}

/// Takes as long as the scan does.
fn scan(wish: ScanWish) -> Answer {
    let kind = if wish.fork {
        ScanKind::Fork
    } else {
        ScanKind::Live
    };
    match snapshot::scan(kind, wish) {
        Ok(()) => Answer::done(b""),
        Err(why) => Answer::refused(why),
    }
}

/// How often it is looked whether a request was withdrawn; `None`: none is carried out that may be.
pub fn look_ms() -> Option<u64> {
    const EVERY_MS: u64 = 100;
    (NEXT_LOOK_MS.load(Relaxed) != NO_REQUEST).then_some(EVERY_MS)
}

/// True if a request is being carried out that nobody waits for any more: it was withdrawn, or its
/// asker is gone and another one has its turn. Called often, looks now and then.
pub fn is_withdrawn() -> bool {
    let next_ms = NEXT_LOOK_MS.load(Relaxed);
    let Some(every_ms) = look_ms().filter(|_| next_ms != WITHDRAWN) else {
        return next_ms == WITHDRAWN;
    };
    let now_ms = state::tick();
    if now_ms < next_ms {
        return false;
    }
    let withdrawn = snapshot::with_recorder(|recorder| {
        // A page that cannot be read says nothing.
        word_at(recorder, page::KIND) == Ok(page::KIND_NONE)
            || word_at(recorder, page::REQUEST).is_ok_and(|number| number != ANSWERED.load(Relaxed))
    });
    let withdrawn = withdrawn == Some(true);
    let next_ms = if withdrawn {
        WITHDRAWN
    } else {
        now_ms + every_ms
    };
    NEXT_LOOK_MS.store(next_ms, Relaxed);
    withdrawn
}

/// Tells whoever waits for a scan how far it is.
pub fn show_progress(progress: ScanProgress) {
    if look_ms().is_some() {
        let word = progress.encode().to_le_bytes();
        // Who waits does without, where it cannot be written.
        let _ = snapshot::with_recorder(|recorder| recorder.write_control(page::PROGRESS, &word));
    }
}

fn enable() -> Answer {
    if !state::is_paused() {
        return Answer::done(b"it was recording already");
    }
    // Stacks may have been unmapped and mapped anew meanwhile.
    unwind::note_unmap();
    if !sampler::is_on() {
        // New blocks do not enter the filter of a process that began dormant.
        filter::give_up();
    }
    state::tick();
    snapshot::note(EventKind::Enable, b"");
    state::set_paused(false);
    snapshot_beside()
}

fn disable() -> Answer {
    if state::is_paused() {
        return Answer::done(b"it was not recording");
    }
    state::set_paused(true);
    let answer = snapshot_beside();
    snapshot::note(EventKind::Disable, b"");
    answer
}

/// The word that the next request raises. `None` while there is no recording.
pub fn word() -> Option<WaitWord> {
    Some(WaitWord {
        address: snapshot::control_word()?,
        expected: ANSWERED.load(Relaxed),
        shared: true,
    })
}

/// Carries out the request that has come in, if one has. False if none could be read.
pub fn serve() -> bool {
    match snapshot::with_recorder(next) {
        Some(Ok(Some(request))) => {
            NEXT_LOOK_MS.store(0, Relaxed);
            let answer = carry_out(&request);
            // The page is the next asker's by now, who may have written to it.
            let withdrawn = is_withdrawn();
            NEXT_LOOK_MS.store(NO_REQUEST, Relaxed);
            if withdrawn {
                return true;
            }
            snapshot::with_recorder(|recorder| reply(recorder, request.number, &answer))
                .is_some_and(|written| written.is_ok())
        }
        Some(Ok(None)) => true,
        Some(Err(_)) | None => false,
    }
}

/// A word of the control page.
fn word_at(recorder: &mut Recorder, offset: u64) -> Result<u32, Failure> {
    let mut bytes = [0; 4];
    recorder.read_control(offset, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// The request that has not been looked at yet.
fn next(recorder: &mut Recorder) -> Result<Option<Request>, Failure> {
    let number = word_at(recorder, page::REQUEST)?;
    if ANSWERED.swap(number, Relaxed) == number {
        return Ok(None);
    }
    // In this order: who withdraws a request reads them in the other one, and so does not tell that
    // nothing was done when something was.
    recorder.write_control(page::BEGUN, &number.to_le_bytes())?;
    let kind = word_at(recorder, page::KIND)?;
    let argument = u64::from(word_at(recorder, page::ARGUMENT)?)
        | u64::from(word_at(recorder, page::ARGUMENT + 4)?) << 32;
    let len = word_at(recorder, page::TEXT_LEN)?.min(page::TEXT_MAX as u32);
    let mut bytes = [0; page::TEXT_MAX as usize];
    let bytes = bytes.get_mut(..len as usize).unwrap_or_default();
    recorder.read_control(page::TEXT, bytes)?;
    let mut text = Text::new();
    text.push_bytes(bytes);
    Ok(Some(Request {
        number,
        kind,
        argument,
        text,
    }))
}

/// Writes the answer, its number last, and wakes whoever waits for it.
fn reply(recorder: &mut Recorder, number: u32, answer: &Answer) -> Result<(), Failure> {
    recorder.write_control(page::STATUS, &answer.status.to_le_bytes())?;
    let len = answer.text.len() as u32;
    recorder.write_control(page::TEXT_LEN, &len.to_le_bytes())?;
    recorder.write_control(page::TEXT, answer.text.as_bytes())?;
    recorder.write_control(page::REPLY, &number.to_le_bytes())?;
    if let Some(word) = recorder.control_word() {
        sys::futex_wake_shared_at(word + (page::REPLY - page::REQUEST) as usize);
    }
    Ok(())
}

/// In a forked child: its recording, when there is one, has no requests yet.
pub fn forget_in_child() {
    ANSWERED.store(0, Relaxed);
    NEXT_LOOK_MS.store(NO_REQUEST, Relaxed);
}
