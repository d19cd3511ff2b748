//! All stacks as one tree from the outermost frames inwards; each frame and each string once.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::curves::{vlq, zigzag};
use crate::model::Frame;

/// The frame was inlined into the next one outwards.
const INLINED: u64 = 1;
/// It passes memory on to whoever called it: libc, standard libraries, allocators.
const PLUMBING: u64 = 2;

/// A frame: function, file, line, module, build-id (all one more than their index or value, 0 for
/// unknown), offset, flags.
type Packed = [u64; 7];

/// Stacks in the making.
#[derive(Debug, Default)]
pub struct Stacks {
    strings: Vec<String>,
    frames: Vec<Packed>,
    /// Per node its parent (0: none; nodes count from 1) and its frame.
    nodes: Vec<(u32, u32)>,
    string_at: HashMap<String, u64>,
    frame_at: HashMap<Packed, u32>,
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

    /// As written: the strings; the frames, each field as its difference from the frame before; the
    /// nodes, each as its distance from its parent and its frame's difference from the node before.
    pub fn json(&self) -> Value {
        let mut frames = String::new();
        let mut before = Packed::default();
        for frame in &self.frames {
            for (was, now) in before.iter().zip(frame) {
                vlq(zigzag(*was, *now), &mut frames);
            }
            before = *frame;
        }
        let mut nodes = String::new();
        let mut last_frame = 0;
        for (at, (parent, frame)) in (1_u64..).zip(&self.nodes) {
            vlq(at - u64::from(*parent), &mut nodes);
            vlq(zigzag(last_frame, u64::from(*frame)), &mut nodes);
            last_frame = u64::from(*frame);
        }
        json!({ "strings": self.strings, "frames": frames, "nodes": nodes })
    }

    /// The index of a string.
    pub fn string(&mut self, text: &str) -> u64 {
        if let Some(at) = self.string_at.get(text) {
            return *at;
        }
        let at = self.strings.len() as u64;
        self.strings.push(clean(text));
        self.string_at.insert(text.to_owned(), at);
        at
    }

    fn frame(&mut self, frame: &Frame, plumbing: bool) -> u32 {
        let mut known = |text: Option<&str>| text.map_or(0, |text| self.string(text) + 1);
        let key = [
            known(frame.function.as_deref()),
            known(frame.file.as_deref()),
            frame.line.map_or(0, |line| u64::from(line) + 1),
            known((!frame.module.is_empty()).then_some(&frame.module)),
            known((!frame.build_id.is_empty()).then_some(&frame.build_id)),
            // A line has many addresses; where it is known they are one frame.
            if frame.line.is_some() {
                0
            } else {
                frame.offset
            },
            u64::from(frame.inlined) * INLINED + u64::from(plumbing) * PLUMBING,
        ];
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
        .map(|c| match c {
            // Arguments and source have these; a line is what the page has room for.
            '\n' | '\t' => ' ',
            c if harmful(c) => '\u{fffd}',
            c => c,
        })
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
        assert_eq!(stacks.frames[1][6], PLUMBING);
        assert_eq!(stacks.add(&[], &[]), 0);
    }

    #[test]
    fn names_cannot_turn_the_text() {
        assert_eq!(clean("a\u{202e}b\u{1b}[2J"), "a\u{fffd}b\u{fffd}[2J");
        assert_eq!(clean("-c\nimport\tjson"), "-c import json");
    }
}
