//! Owns names that came inside a recording, and how they are written there.
//!
//! ```text
//! content  version n (1), strings, modules
//! strings  count n, each s
//! modules  count n, each: path s, build_id s, addresses
//! addresses  count n, each: address - address before n, frames
//! frames   count n, each: function n, file n, line n, inlined n
//! ```
//!
//! `n` is an unsigned varint (LEB128), `s` a length `n` and so many bytes. Function and file are
//! numbers of strings from 1; 0 stands for none, as does line 0.

use std::collections::{BTreeMap, HashMap};

use leaktrack_recording::Recording;

use crate::bundle::Redactor;
use crate::model::Frame;
use crate::symbolize::{ModuleRef, hex};

const VERSION: u64 = 1;

/// Path and build-id of a module.
type Key = (Vec<u8>, Vec<u8>);

/// Frames by module and address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    modules: BTreeMap<Key, BTreeMap<u64, Vec<Frame>>>,
}

impl Symbols {
    /// What is inside a recording; nothing of parts that are damaged.
    pub fn of(recording: &Recording<'_>) -> Self {
        let mut all = Self::default();
        for segment in recording.symbols() {
            for frame in segment.frames().flatten() {
                if let Some(symbols) = Self::decode(frame.payload) {
                    all.modules.extend(symbols.modules);
                }
            }
        }
        all
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// Addresses that have a function's name, and all addresses.
    pub fn counts(&self) -> (usize, usize) {
        let frames = || self.modules.values().flat_map(BTreeMap::values);
        let named = frames().filter(|frames| frames.iter().any(|frame| frame.function.is_some()));
        (named.count(), frames().count())
    }

    /// Puts in the frames at an address.
    pub fn insert(&mut self, module: &ModuleRef<'_>, svma: u64, frames: Vec<Frame>) {
        let key = (module.path.to_vec(), module.build_id.to_vec());
        self.modules.entry(key).or_default().insert(svma, frames);
    }

    /// The frames at an address.
    pub fn frames(&self, module: &ModuleRef<'_>, svma: u64) -> Option<&[Frame]> {
        let key = (module.path.to_vec(), module.build_id.to_vec());
        self.modules.get(&key)?.get(&svma).map(Vec::as_slice)
    }

    /// The same without what a redactor takes out.
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        let mut out = Self::default();
        for ((path, build_id), addresses) in &self.modules {
            let path = redactor.path(path);
            for (&svma, frames) in addresses {
                let mut frames = frames.clone();
                frames.iter_mut().for_each(|frame| redactor.frame(frame));
                let module = ModuleRef {
                    path: &path,
                    build_id,
                    ..ModuleRef::default()
                };
                out.insert(&module, svma, frames);
            }
        }
        out
    }

    /// The content of a segment.
    pub fn encode(&self) -> Vec<u8> {
        let mut strings = Strings::default();
        let mut modules = Vec::new();
        put(&mut modules, self.modules.len() as u64);
        for ((path, build_id), addresses) in &self.modules {
            put_bytes(&mut modules, path);
            put_bytes(&mut modules, build_id);
            put(&mut modules, addresses.len() as u64);
            let mut before = 0;
            for (&svma, frames) in addresses {
                put(&mut modules, svma - before);
                before = svma;
                put(&mut modules, frames.len() as u64);
                for frame in frames {
                    put(&mut modules, strings.number(frame.function.as_deref()));
                    put(&mut modules, strings.number(frame.file.as_deref()));
                    put(&mut modules, frame.line.unwrap_or(0).into());
                    put(&mut modules, frame.inlined.into());
                }
            }
        }
        let mut out = Vec::new();
        put(&mut out, VERSION);
        put(&mut out, strings.list.len() as u64);
        for string in &strings.list {
            put_bytes(&mut out, string.as_bytes());
        }
        out.extend(modules);
        out
    }

    /// The reverse; `None` if the bytes make no sense.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        if input.number()? != VERSION {
            return None;
        }
        let mut strings = Vec::new();
        for _ in 0..input.number()? {
            strings.push(String::from_utf8_lossy(input.bytes()?).into_owned());
        }
        let string = |number: u64| match number.checked_sub(1) {
            None => Some(None),
            Some(at) => Some(Some(strings.get(usize::try_from(at).ok()?)?.clone())),
        };
        let mut all = Self::default();
        for _ in 0..input.number()? {
            let key = (input.bytes()?.to_vec(), input.bytes()?.to_vec());
            let module = String::from_utf8_lossy(&key.0).into_owned();
            let build_id = hex(&key.1);
            let mut addresses = BTreeMap::new();
            let mut svma = 0_u64;
            for _ in 0..input.number()? {
                svma = svma.checked_add(input.number()?)?;
                let mut frames = Vec::new();
                for _ in 0..input.number()? {
                    frames.push(Frame {
                        function: string(input.number()?)?,
                        file: string(input.number()?)?,
                        line: u32::try_from(input.number()?).ok().filter(|line| *line > 0),
                        module: module.clone(),
                        build_id: build_id.clone(),
                        offset: svma,
                        inlined: input.number()? != 0,
                    });
                }
                addresses.insert(svma, frames);
            }
            all.modules.insert(key, addresses);
        }
        Some(all)
    }
}

/// Numbers strings from 1 in the order of their first use.
#[derive(Default)]
struct Strings {
    numbers: HashMap<String, u64>,
    list: Vec<String>,
}

impl Strings {
    fn number(&mut self, string: Option<&str>) -> u64 {
        let Some(string) = string else { return 0 };
        if let Some(&number) = self.numbers.get(string) {
            return number;
        }
        self.list.push(string.to_owned());
        let number = self.list.len() as u64;
        self.numbers.insert(string.to_owned(), number);
        number
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (ModuleRef<'static>, Symbols) {
        let module = ModuleRef {
            path: b"/bin/x",
            build_id: &[1, 0xab],
            ..ModuleRef::default()
        };
        let frame = |function: Option<&str>, line, inlined| Frame {
            function: function.map(str::to_owned),
            file: function.map(|name| format!("{name}.c")),
            line,
            module: "/bin/x".to_owned(),
            build_id: "01ab".to_owned(),
            offset: 0x1234,
            inlined,
        };
        let mut symbols = Symbols::default();
        symbols.insert(
            &module,
            0x1234,
            vec![
                frame(Some("inner"), Some(3), true),
                frame(Some("outer"), None, false),
            ],
        );
        let mut nameless = frame(None, None, false);
        nameless.offset = u64::MAX;
        symbols.insert(&module, u64::MAX, vec![nameless]);
        (module, symbols)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let (module, symbols) = sample();
        let read = Symbols::decode(&symbols.encode()).unwrap();
        assert_eq!(read, symbols);
        assert_eq!(
            read.frames(&module, 0x1234).unwrap()[0].function.as_deref(),
            Some("inner")
        );
        assert_eq!(read.frames(&module, 0x1235), None);
        assert_eq!(read.counts(), (1, 2));
    }

    #[test]
    fn damage_is_survived() {
        let bytes = sample().1.encode();
        for len in 0..bytes.len() {
            assert_eq!(Symbols::decode(&bytes[..len]), None, "{len}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                Symbols::decode(&damaged);
            }
        }
    }
}
