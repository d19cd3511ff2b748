//! Owns [`Code`]: the name of generated code, and the frames that are in it.
//!
//! Frames in no module have nothing but an address; what a runtime called the code there (a perf
//! map, a jitdump) is read while the process lives and kept here, so that it outlives the process.

use crate::deltas::{Packer, unpack};
use crate::fields::Input;
use crate::sink::{Sink, WriteError};

/// A name of generated code and the frames in it, which were defined before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code<'a> {
    /// As the runtime wrote it.
    pub name: &'a [u8],
    /// Encoded ids of nodes, ascending; read with `nodes()`.
    pub nodes: &'a [u8],
}

impl<'a> Code<'a> {
    /// The ids of its frames, ascending; of malformed bytes those before the first such.
    pub fn nodes(&self) -> CodeNodes<'a> {
        CodeNodes {
            input: Input(self.nodes),
            last: 0,
        }
    }
}

/// The frames of [`Code`].
#[derive(Clone, Debug)]
pub struct CodeNodes<'a> {
    input: Input<'a>,
    last: u32,
}

impl CodeNodes<'_> {
    /// True at the end of a well-formed list.
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for CodeNodes<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (node, []) = unpack(&mut self.input, &mut self.last)?;
        Some(node)
    }
}

/// Packs ids of nodes, the `nodes` of [`Code`].
pub struct CodeWriter<'a>(Packer<'a>);

impl<'a> CodeWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        CodeWriter(Packer { sink, last: 0 })
    }

    /// Appends one; ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, node: u32) -> Result<(), WriteError> {
        self.0.push(node, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::SliceSink;

    #[test]
    fn ids_come_back_and_must_ascend() {
        let mut room = [0; 32];
        let mut sink = SliceSink::new(&mut room);
        let mut writer = CodeWriter::new(&mut sink);
        for node in [7, 8, 300] {
            writer.push(node).unwrap();
        }
        assert_eq!(writer.push(300), Err(WriteError::Disorder));
        let code = Code {
            name: b"JS:*f",
            nodes: sink.written(),
        };
        assert!(code.nodes().eq([7, 8, 300]));
        assert!(code.nodes().ends_well());
        let torn = Code {
            nodes: &code.nodes[..code.nodes.len() - 1],
            ..code
        };
        assert!(!torn.nodes().ends_well());
    }
}
