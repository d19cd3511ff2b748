//! All stacks as one tree from the outermost frames inwards; each frame and each string once.

use std::collections::HashMap;

use serde::Serialize;

use crate::model::Frame;

/// The frame was inlined into the next one outwards.
const INLINED: u32 = 1;
/// It passes memory on to whoever called it: libc, standard libraries, allocators.
const PLUMBING: u32 = 2;

/// Stacks in the making, and as written.
#[derive(Debug, Default, Serialize)]
pub struct Stacks {
    /// Function names, files, modules, build-ids.
    pub strings: Vec<String>,
    /// Per frame function, file, line, module, build-id, offset, flags: strings by index, -1 for
    /// unknown.
    pub frames: Vec<(i64, i64, i64, i64, i64, u64, u32)>,
    /// Per node its parent (0: none; nodes count from 1) and its frame.
    pub nodes: Vec<(u32, u32)>,
    #[serde(skip)]
    string_at: HashMap<String, i64>,
    #[serde(skip)]
    frame_at: HashMap<(i64, i64, i64, i64, i64, u64, u32), u32>,
    #[serde(skip)]
    node_at: HashMap<(u32, u32), u32>,
}

impl Stacks {
    /// Adds a stack, innermost first, and returns the node of its innermost frame; 0 for an empty
    /// one.
    pub fn add(&mut self, frames: &[Frame], plumbing: &[bool]) -> u32 {
        let mut node = 0;
        for (index, frame) in frames.iter().enumerate().rev() {
            let plumbing = plumbing.get(index).copied().unwrap_or(false);
            let frame = self.frame(frame, plumbing);
            let next = self.nodes.len() as u32 + 1;
            let key = (node, frame);
            node = *self.node_at.entry(key).or_insert(next);
            if node == next {
                self.nodes.push(key);
            }
        }
        node
    }

    /// The index of a string.
    pub fn string(&mut self, text: &str) -> i64 {
        if let Some(at) = self.string_at.get(text) {
            return *at;
        }
        let at = self.strings.len() as i64;
        self.strings.push(clean(text));
        self.string_at.insert(text.to_owned(), at);
        at
    }

    fn frame(&mut self, frame: &Frame, plumbing: bool) -> u32 {
        let mut known = |text: Option<&str>| text.map_or(-1, |text| self.string(text));
        let key = (
            known(frame.function.as_deref()),
            known(frame.file.as_deref()),
            frame.line.map_or(-1, i64::from),
            known((!frame.module.is_empty()).then_some(&frame.module)),
            known((!frame.build_id.is_empty()).then_some(&frame.build_id)),
            // A line has many addresses; where it is known they are one frame.
            if frame.line.is_some() {
                0
            } else {
                frame.offset
            },
            u32::from(frame.inlined) * INLINED + u32::from(plumbing) * PLUMBING,
        );
        let next = self.frames.len() as u32;
        let at = *self.frame_at.entry(key).or_insert(next);
        if at == next {
            self.frames.push(key);
        }
        at
    }
}

/// Without characters that steer a terminal or turn the direction of text.
pub fn clean(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if harmful(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_frames_are_stored_once() {
        let frame = |name: &str| Frame {
            function: Some(name.to_owned()),
            module: "/opt/app".to_owned(),
            ..Frame::default()
        };
        let mut stacks = Stacks::default();
        let a = stacks.add(&[frame("a"), frame("main")], &[true, false]);
        let b = stacks.add(&[frame("b"), frame("main")], &[false, false]);
        assert_eq!((a, b), (2, 3));
        assert_eq!(stacks.nodes, [(0, 0), (1, 1), (1, 2)]);
        assert_eq!(stacks.strings, ["main", "/opt/app", "a", "b"]);
        assert_eq!(stacks.frames[1].6, PLUMBING);
        assert_eq!(stacks.add(&[], &[]), 0);
    }

    #[test]
    fn names_cannot_turn_the_text() {
        assert_eq!(clean("a\u{202e}b\u{1b}[2J"), "a\u{fffd}b\u{fffd}[2J");
    }
}
