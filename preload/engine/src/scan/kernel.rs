//! Owns pointers that only the kernel holds for the program: what it gave `epoll_ctl` to get back
//! with an event. The kernel shows them in `fdinfo`.
//! It must never open or duplicate a descriptor of the program's.

use super::regions::hex;
use super::threads::{Thread, each_number_in};
use crate::facts::lines;
use crate::permit::{self, means};
use crate::sys;
use crate::text::Text;

/// Descriptors looked at, at most: a few milliseconds for each thousand.
const MOST_DESCRIPTORS: u32 = 1 << 17;
/// Threads that are asked for them.
const MOST_THREADS: usize = 8;

/// Shows the word of every file that an epoll descriptor of the program watches. Where the kernel
/// tells nothing, there is nothing to show.
pub fn each_word(threads: &[Thread], mut show: impl FnMut(usize)) {
    // The helper has descriptors of its own; threads of the program share theirs, all but those of a
    // first thread that has ended before the others.
    let threads = threads.iter().take(MOST_THREADS);
    if permit::allows(means::PATHS) {
        let _ = threads
            .map(|thread| words_of(thread.tid, &mut show))
            .find(Option::is_some);
    }
}

/// The descriptors of a thread; `None` if they are not shown.
fn words_of(tid: u32, show: &mut dyn FnMut(usize)) -> Option<()> {
    let of_thread = |what: &[u8]| {
        let mut path = Text::<64>::new();
        path.push_bytes(b"/proc/self/task/")
            .push_u64(u64::from(tid))
            .push_bytes(what);
        path
    };
    let mut left = MOST_DESCRIPTORS;
    let mut folder = of_thread(b"/fd");
    each_number_in(folder.c_str()?, |number| {
        left = left.saturating_sub(1);
        let mut link = of_thread(b"/fd/");
        link.push_u64(u64::from(number));
        let mut kind = [0u8; 32];
        let is_epoll = left > 0
            && link.c_str().is_some_and(|link| {
                let len = sys::readlink(link, &mut kind).unwrap_or(0);
                kind.get(..len) == Some(b"anon_inode:[eventpoll]")
            });
        if !is_epoll {
            return;
        }
        let mut info = of_thread(b"/fdinfo/");
        info.push_u64(u64::from(number));
        if let Some(info) = info.c_str() {
            let _ = lines::for_each_line(info, |line| {
                word(line).into_iter().for_each(&mut *show);
                true
            });
        }
    })
}

/// `tfd:  5 events:  19 data:  7f12a0001230  pos:0 ino:61 sdev:9`
fn word(line: &[u8]) -> Option<usize> {
    line.strip_prefix(b"tfd:")?;
    let mut words = line
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    words.find(|&word| word == b"data:")?;
    hex(words.next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_epoll_descriptor() {
        let line = b"tfd:        5 events:       19 data:     7f12a0001230  pos:0 ino:61 sdev:9";
        assert_eq!(word(line), Some(0x7f12_a000_1230));
        assert_eq!(
            word(b"tfd: 5 events: 19 data: ffffffffffffffff"),
            Some(usize::MAX)
        );
        assert_eq!(word(b"pos:\t0"), None);
        assert_eq!(word(b"tfd: 5 events: 19 data:"), None);
        assert_eq!(word(b""), None);
    }
}
