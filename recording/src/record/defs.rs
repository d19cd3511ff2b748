//! Owns the fields of [`Module`], [`Node`] and [`Site`].

use crate::fields::{Input, Output};
use crate::sink::Full;
use crate::types::{Call, Module, Node, Site, SiteKind};

pub(super) fn put_module(module: &Module<'_>, out: &mut Output<'_>) -> Result<(), Full> {
    out.varint(module.id)?;
    out.varints(&[module.bias, module.start, module.end])?;
    out.varint(module.generation)?;
    out.varint(module.at_ms)?;
    out.bytes(module.path)?;
    out.bytes(module.build_id)
}

pub(super) fn get_module<'a>(input: &mut Input<'a>) -> Option<Module<'a>> {
    let id = input.u32()?;
    let [bias, start, end] = input.varints()?;
    Some(Module {
        id,
        bias,
        start,
        end,
        generation: input.u32()?,
        at_ms: input.varint()?,
        path: input.bytes()?,
        build_id: input.bytes()?,
    })
}

/// The parent is written as its distance, which is small, since stacks are interned from the
/// outside in: most frames come right after their caller.
pub(super) fn put_node(node: &Node, out: &mut Output<'_>) -> Result<(), Full> {
    out.varint(node.id)?;
    out.varint(node.id.wrapping_sub(node.parent))?;
    out.varint(node.module)?;
    out.varint(node.offset)?;
    out.byte(u8::from(node.exact))
}

/// A parent that is not older than its child makes no sense: a tree that was read has no cycle.
pub(super) fn get_node(input: &mut Input<'_>) -> Option<Node> {
    let id = input.u32()?;
    let back = input.u32().filter(|&back| back > 0)?;
    Some(Node {
        id,
        parent: id.checked_sub(back)?,
        module: input.u32()?,
        offset: input.varint()?,
        exact: input.byte()? & 1 != 0,
    })
}

const MMAP: u8 = 1;
const CUT: u8 = 2;
const FOLDED: u8 = 4;

pub(super) fn put_site(site: &Site, out: &mut Output<'_>) -> Result<(), Full> {
    let mmap = match site.kind {
        SiteKind::Heap => 0,
        SiteKind::Mmap => MMAP,
    };
    let cut = if site.cut { CUT } else { 0 };
    let folded = if site.folded { FOLDED } else { 0 };
    out.byte(mmap | cut | folded)?;
    out.varint(site.id)?;
    out.varint(site.leaf)?;
    out.varint(site.first_seen_ms)?;
    out.varint(site.thread)?;
    out.varint(site.call as u32)
}

pub(super) fn get_site(input: &mut Input<'_>) -> Option<Site> {
    let flags = input.byte()?;
    Some(Site {
        kind: if flags & MMAP != 0 {
            SiteKind::Mmap
        } else {
            SiteKind::Heap
        },
        cut: flags & CUT != 0,
        folded: flags & FOLDED != 0,
        id: input.u32()?,
        leaf: input.u32()?,
        first_seen_ms: input.varint()?,
        thread: input.u32()?,
        // A site of the first version ends here.
        call: Call::of(input.u32().unwrap_or(0)),
    })
}
