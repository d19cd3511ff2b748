//! Stacks of a family, resolved once: nodes become frames, shared between sites.
//!
//! Frames of leaktrack itself are dropped here and appear nowhere.

use std::sync::Arc;

// Faster than std's hash function; nobody gains by collisions in a report on a recording of theirs.
use hashbrown::HashMap;
use leaktrack_recording as format;
use leaktrack_recording::SiteKind;

use super::frame::Frame;
use super::identity::{ContentHashes, KeyPart, Place, file_name};
use super::process::{ByNumber, Module, Process};
use crate::blame::Role;
use crate::symbolize::{CodeName, ModuleRef, SymbolOptions, Symbolizer, Symbols};

/// No stack is longer than this, whatever a damaged recording says.
const LONGEST: usize = 4096;

/// A machine frame: where it is, and its frames as people read them, innermost inlined first.
#[derive(Clone, Debug)]
pub struct MachineFrame {
    /// Its part in the site's `id`.
    pub place: Place,
    /// At least one.
    pub frames: Arc<[Frame]>,
    /// Of each of these, its part in the site's `key`.
    pub key: Box<[KeyPart]>,
    /// Of each of these, what it does.
    pub roles: Box<[Role]>,
}

impl MachineFrame {
    /// With what follows from the names of its frames.
    pub fn new(place: Place, frames: Arc<[Frame]>) -> Self {
        Self {
            place,
            key: frames.iter().map(KeyPart::of).collect(),
            roles: frames.iter().map(Role::of).collect(),
            frames,
        }
    }
}

/// A stack, innermost first. A long recording has millions of frames in hundreds of thousands of stacks, all of
/// the same few hundreds or thousands.
pub type Stack = Box<[Arc<MachineFrame>]>;

/// Resolves the stacks of a family's processes.
#[derive(Debug)]
pub struct Stacks {
    symbolizer: Symbolizer,
    hashes: ContentHashes,
    known: HashMap<(Place, u64), Arc<MachineFrame>>,
    /// Ids and keys of whole stacks; `None`: not kept.
    identities: Option<Identities>,
}

/// Ids and keys of stacks that were seen before. To compute them is most of what it takes to read a recording again.
#[derive(Debug, Default)]
pub struct Identities(HashMap<StackAddresses, (String, String)>);

/// Kind of the memory, and the addresses of the frames: made once, they stay, so that they tell stacks apart.
type StackAddresses = (SiteKind, Box<[usize]>);

impl Identities {
    fn of(kind: SiteKind, stack: &[Arc<MachineFrame>]) -> StackAddresses {
        let address = |frame: &Arc<MachineFrame>| Arc::as_ptr(frame) as usize;
        (kind, stack.iter().map(address).collect())
    }

    /// Id and key of a stack seen before.
    pub fn get(&self, kind: SiteKind, stack: &Stack) -> Option<(String, String)> {
        self.0.get(&Self::of(kind, stack)).cloned()
    }

    /// Keeps them.
    pub fn keep(&mut self, kind: SiteKind, stack: &Stack, id: &str, key: &str) {
        let names = || (id.to_owned(), key.to_owned());
        self.0.entry(Self::of(kind, stack)).or_insert_with(names);
    }
}

/// Resolves the stacks of one process, which share most of their nodes.
#[derive(Debug)]
pub struct OfProcess<'a> {
    stacks: &'a mut Stacks,
    process: &'a Process,
    identities: ByNumber<Arc<[u8]>>,
    /// The frames at nodes; `None` in leaktrack itself.
    by_node: ByNumber<Option<Arc<MachineFrame>>>,
}

impl Stacks {
    /// Nothing is opened before the first stack.
    pub fn new(options: SymbolOptions) -> Self {
        Self {
            symbolizer: Symbolizer::new(options),
            hashes: ContentHashes::default(),
            known: HashMap::new(),
            identities: None,
        }
    }

    /// For who reads the same recordings, or those of one program, again and again.
    pub fn remembering(mut self) -> Self {
        self.identities = Some(Identities::default());
        self
    }

    /// What is remembered, if anything is.
    pub fn identities(&mut self) -> Option<&mut Identities> {
        self.identities.as_mut()
    }

    /// Takes names from a recording that has them inside.
    pub fn add_bundled(&mut self, symbols: Arc<Symbols>) {
        self.symbolizer.add_bundled(symbols);
    }

    /// The stacks of `process`.
    pub fn of<'a>(&'a mut self, process: &'a Process) -> OfProcess<'a> {
        OfProcess {
            stacks: self,
            process,
            identities: ByNumber::default(),
            by_node: ByNumber::default(),
        }
    }

    /// The frames at an instruction of a module; `None` if the module is not known, or leaktrack.
    pub fn instruction(
        &mut self,
        process: &Process,
        module: u32,
        offset: u64,
    ) -> Option<Arc<[Frame]>> {
        let known = process.modules.get(&module).filter(|it| !is_own(it))?;
        let node = format::Node {
            id: 1,
            parent: 0,
            module,
            offset,
            exact: true,
        };
        let identity = self.hashes.identity(known);
        let known = Some((known, &identity));
        Some(self.machine_frame(process, &node, known).frames.clone())
    }

    fn machine_frame(
        &mut self,
        process: &Process,
        node: &format::Node,
        module: Option<(&Module, &Arc<[u8]>)>,
    ) -> Arc<MachineFrame> {
        let svma = if node.exact {
            node.offset
        } else {
            node.offset.saturating_sub(1)
        };
        let place = match module {
            Some((_, identity)) => Place::Module(identity.clone(), svma),
            None => match process.code.get(&node.id) {
                Some(name) => Place::Code(CodeName::parse(name)),
                None => Place::Jit,
            },
        };
        let symbolizer = &mut self.symbolizer;
        let mut frames = || {
            if let Place::Code(code) = &place {
                return [symbolizer.generated(code, svma)].into();
            }
            let module = module.map_or_else(ModuleRef::default, |(module, _)| ModuleRef {
                path: &module.path,
                build_id: &module.build_id,
                content: module.content,
                mapped_bytes: module.mapped_bytes,
                loaded_unix_ns: process
                    .started_unix_ns
                    .saturating_add(module.at_ms.saturating_mul(1_000_000)),
            });
            let mut frames = Vec::new();
            symbolizer.frames(&module, svma, &mut frames);
            frames.into()
        };
        let known = self.known.entry((place.clone(), svma));
        let known = known.or_insert_with(|| Arc::new(MachineFrame::new(place.clone(), frames())));
        known.clone()
    }

    /// What the symbolizer could not do.
    pub fn notes(&self) -> &[String] {
        self.symbolizer.notes()
    }
}

impl OfProcess<'_> {
    /// The stack whose innermost node is `leaf`, innermost frame first.
    pub fn resolve(&mut self, leaf: u32) -> Stack {
        let Self {
            stacks,
            process,
            identities,
            by_node,
        } = self;
        let mut stack = Vec::new();
        let mut next = leaf;
        while let Some(node) = process.nodes.get(&next) {
            let frame = by_node.entry(next).or_insert_with(|| {
                let module = process.modules.get(&node.module);
                let foreign = !module.is_some_and(is_own);
                foreign.then(|| {
                    let module = module.map(|module| {
                        let identity = identities
                            .entry(node.module)
                            .or_insert_with(|| stacks.hashes.identity(module));
                        (module, &*identity)
                    });
                    stacks.machine_frame(process, node, module)
                })
            });
            stack.extend(frame.clone());
            if node.parent >= node.id || stack.len() >= LONGEST {
                break;
            }
            next = node.parent;
        }
        stack.into()
    }
}

fn is_own(module: &Module) -> bool {
    file_name(&super::process::text(&module.path)).starts_with("libleaktrack")
}
