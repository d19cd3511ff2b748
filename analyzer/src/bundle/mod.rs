//! Makes recordings that can be read on any machine: with their symbols inside, and without what
//! must not leave the host.

mod assemble;
mod redact;

pub use assemble::assemble;
pub use redact::{Redaction, Redactor};

use std::collections::BTreeSet;

use crate::model::Process;
use crate::symbolize::{ModuleRef, Symbolizer, Symbols};

/// Names every address in the stacks of a recording.
pub fn symbols(process: &Process, symbolizer: &mut Symbolizer) -> Symbols {
    let mut symbols = Symbols::default();
    let addresses: BTreeSet<(u32, u64)> = process
        .nodes
        .values()
        .map(|node| {
            (
                node.module,
                node.offset.saturating_sub(u64::from(!node.exact)),
            )
        })
        .collect();
    for (id, svma) in addresses {
        let Some(module) = process.modules.get(&id) else {
            continue;
        };
        let loaded_after_ns = module.at_ms.saturating_mul(1_000_000);
        let module = ModuleRef {
            path: &module.path,
            build_id: &module.build_id,
            content: module.content,
            mapped_bytes: module.mapped_bytes,
            loaded_unix_ns: process.started_unix_ns.saturating_add(loaded_after_ns),
        };
        let mut frames = Vec::new();
        symbolizer.frames(&module, svma, &mut frames);
        symbols.insert(&module, svma, frames);
    }
    symbols
}
