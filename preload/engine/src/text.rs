//! Owns short byte strings of fixed capacity: paths, names and messages of the library itself.
//!
//! Never allocates and never panics: what does not fit is left out and remembered as cut.

use core::ffi::CStr;

/// Up to `N` bytes.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    len: usize,
    cut: bool,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// Nothing.
    pub const fn new() -> Text<N> {
        Text {
            len: 0,
            cut: false,
            bytes: [0; N],
        }
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// These bytes, as many as fit.
    pub fn of(bytes: &[u8]) -> Self {
        let mut text = Text::new();
        text.push_bytes(bytes);
        text
    }

    /// True when something did not fit.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }

    /// Shortens it to at most `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Adds one byte.
    pub fn push(&mut self, byte: u8) -> &mut Self {
        match self.bytes.get_mut(self.len) {
            Some(slot) => {
                *slot = byte;
                self.len += 1;
            }
            None => self.cut = true,
        }
        self
    }

    /// Adds bytes, as many as fit.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let room = N - self.len;
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or(&[]);
        if let Some(slots) = self.bytes.get_mut(self.len..self.len + taken.len()) {
            slots.copy_from_slice(taken);
            self.len += taken.len();
        }
        self.cut |= taken.len() < bytes.len();
        self
    }

    /// Adds a number in decimal.
    pub fn push_u64(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0u8; 20];
        let mut count = 0;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (number % 10) as u8;
            number /= 10;
            count += 1;
            if number == 0 {
                break;
            }
        }
        let first = digits.len() - count;
        self.push_bytes(digits.get(first..).unwrap_or(&[]))
    }

    /// Adds foreign text for a message on one line: control characters become `?`, and at most
    /// `most` bytes are kept.
    pub fn push_shown(&mut self, bytes: &[u8], most: usize) -> &mut Self {
        for &byte in bytes.iter().take(most) {
            self.push(if byte < b' ' || byte == 0x7f {
                b'?'
            } else {
                byte
            });
        }
        if bytes.len() > most {
            self.push_bytes(b"...");
        }
        self
    }

    /// The same with a NUL, for the kernel; `None` if it was cut, is full, or has a NUL inside.
    pub fn c_str(&mut self) -> Option<&CStr> {
        if self.cut {
            return None;
        }
        *self.bytes.get_mut(self.len)? = 0;
        let c = CStr::from_bytes_until_nul(self.bytes.get(..=self.len)?).ok()?;
        (c.to_bytes().len() == self.len).then_some(c)
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Text<N> {
        Text::new()
    }
}

impl<const N: usize> core::fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(
            core::str::from_utf8(self.as_bytes()).unwrap_or("(not UTF-8)"),
            f,
        )
    }
}

/// A path with room for its NUL.
pub type Path = Text<4096>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_fits_and_says_when_it_cut() {
        let mut text = Text::<8>::new();
        text.push_bytes(b"abc").push_u64(120);
        assert_eq!(text.as_bytes(), b"abc120");
        assert!(!text.is_cut());
        text.push_bytes(b"xyz");
        assert_eq!(text.as_bytes(), b"abc120xy");
        assert!(text.is_cut());
        assert!(text.c_str().is_none());
    }

    #[test]
    fn numbers_at_both_ends() {
        let mut text = Text::<32>::new();
        text.push_u64(0).push(b' ').push_u64(u64::MAX);
        assert_eq!(text.as_bytes(), b"0 18446744073709551615");
    }

    #[test]
    fn a_nul_inside_is_no_path() {
        let mut text = Text::<16>::new();
        text.push_bytes(b"a\0b");
        assert!(text.c_str().is_none());
        text.clear();
        assert_eq!(text.push_bytes(b"/tmp").c_str(), Some(c"/tmp"));
    }

    #[test]
    fn shown_text_stays_on_one_line() {
        let mut text = Text::<32>::new();
        text.push_shown(b"a\nb\x1b[31mtoolong", 8);
        assert_eq!(text.as_bytes(), b"a?b?[31m...");
    }
}
