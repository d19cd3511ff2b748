//! Owns the names of threads, as the kernel knows them.

use super::lines;
use crate::text::Text;

/// The name (`comm`) of a thread of this process; `None` when it is gone or may not be read.
pub fn name(tid: u32) -> Option<Text<16>> {
    let mut path = Text::<48>::new();
    path.push_bytes(b"/proc/self/task/")
        .push_u64(u64::from(tid))
        .push_bytes(b"/comm");
    let mut buf = [0u8; 32];
    let len = lines::read_start(path.c_str()?, &mut buf).ok()?;
    let mut name = Text::new();
    name.push_bytes(buf.get(..len)?.trim_ascii_end());
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    #[test]
    fn of_a_named_thread_and_of_none() {
        let builder = std::thread::Builder::new().name("worker-7".into());
        let (tid, found) = builder
            .spawn(|| (sys::gettid(), name(sys::gettid())))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(found.unwrap().as_bytes(), b"worker-7");
        while name(tid).is_some() {} // the kernel takes a moment to bury it
        assert!(name(0).is_none());
    }
}
