//! Owns the arguments as the program was started with, masked once, at start: later the program
//! may overwrite them (`setproctitle`) or lose the right to read them.

use super::{lines, mask::Masker, mask::mask_text};
use crate::config::Argv;
use crate::text::Text;

/// Most bytes of one argument.
const ARG_BYTES: usize = 1024;

/// Arguments, each followed by a NUL.
pub struct Args {
    kept: Text<16384>,
}

impl Args {
    /// None.
    pub const fn new() -> Args {
        Args { kept: Text::new() }
    }

    /// Reads `/proc/self/cmdline`. What does not fit is left out, with `...` as the last one.
    pub fn read(&mut self, policy: Argv) {
        self.kept.clear();
        if policy == Argv::None {
            return;
        }
        let mut masker: Option<Masker> = None;
        let _ = lines::for_each_item(c"/proc/self/cmdline", |arg| {
            self.add(arg, policy, &mut masker)
        });
    }

    fn add(&mut self, arg: &[u8], policy: Argv, masker: &mut Option<Masker>) -> bool {
        let mut shown = Text::<ARG_BYTES>::new();
        match (policy, masker.as_mut()) {
            (Argv::Masked, Some(masker)) => masker.arg(arg, &mut shown),
            (Argv::Masked, None) => mask_text(arg, &mut shown),
            _ => {
                shown.push_bytes(arg);
            }
        }
        masker.get_or_insert_with(|| Masker::new(arg));
        let room = 16_384 - self.kept.len();
        if room < shown.len() + 8 {
            self.kept.push_bytes(b"...\0");
            return false;
        }
        self.kept.push_bytes(shown.as_bytes());
        if shown.is_cut() {
            self.kept.truncate(self.kept.len() - 3);
            self.kept.push_bytes(b"...");
        }
        self.kept.push(0);
        true
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.kept.as_bytes();
        text.strip_suffix(b"\0")
            .into_iter()
            .flat_map(|text| text.split(|&byte| byte == 0))
    }
}

impl Default for Args {
    fn default() -> Args {
        Args::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn of_this_process() {
        let mut args = std::boxed::Box::new(Args::new());
        args.read(Argv::Full);
        let given: Vec<_> = std::env::args_os()
            .map(|arg| arg.into_encoded_bytes())
            .collect();
        assert_eq!(args.iter().collect::<Vec<_>>(), given);
        args.read(Argv::None);
        assert_eq!(args.iter().count(), 0);
    }

    #[test]
    fn empty_long_and_many() {
        let mut args = std::boxed::Box::new(Args::new());
        let mut masker = None;
        for arg in [&b"srv"[..], b"", b"--token", b"x", &[b'y'; 3000]] {
            assert!(args.add(arg, Argv::Masked, &mut masker));
        }
        let found: Vec<&[u8]> = args.iter().collect();
        assert_eq!(found[..4], [&b"srv"[..], b"", b"--token", b"***"]);
        assert!(found[4].len() == ARG_BYTES && found[4].ends_with(b"..."));
        while args.add(&[b'z'; 700], Argv::Masked, &mut masker) {}
        assert_eq!(args.iter().last(), Some(&b"..."[..]));
        assert!(!args.kept.is_cut());
    }
}
