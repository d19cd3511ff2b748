//! Our reader of call frame information against gimli's, over every row of every frame description
//! of real objects: the same CFA and the same rule for each register.

use std::collections::BTreeMap;
use std::path::Path;

use gimli::{BaseAddresses, EhFrame, LittleEndian, UnwindContext, UnwindSection};
use leaktrack_engine::unwind::cfi::{CfaRule, Machine, RegisterRule, Row, Wanted};
use leaktrack_engine::unwind::eh_frame;
use leaktrack_engine::unwind::reader::{Reader, Tables};
use leaktrack_engine::unwind::rule::Rule;
use object::{Object, ObjectSection, ObjectSegment};

/// A file's segments at the addresses that it asks for.
struct File<'a>(Vec<(usize, &'a [u8])>);

impl Tables for File<'_> {
    fn bytes_from(&self, addr: usize) -> Option<&[u8]> {
        self.0.iter().find_map(|(start, bytes)| {
            bytes
                .get(addr.checked_sub(*start)?..)
                .filter(|b| !b.is_empty())
        })
    }
}

#[derive(Debug, Default)]
struct Tally {
    frames: usize,
    rows: usize,
    outermost: usize,
    kinds: BTreeMap<&'static str, usize>,
}

/// Compares a file; looks at every `stride`th frame description.
fn compare(path: &Path, stride: usize) -> Tally {
    let bytes = std::fs::read(path).unwrap();
    let object = object::File::parse(&*bytes).unwrap();
    let tables = File(
        object
            .segments()
            .map(|s| (s.address() as usize, s.data().unwrap()))
            .collect(),
    );
    let section = object.section_by_name(".eh_frame").unwrap();
    let header = object.section_by_name(".eh_frame_hdr").unwrap().address();
    let eh_frame = EhFrame::new(section.data().unwrap(), LittleEndian);
    let text = object.section_by_name(".text").unwrap().address();
    let bases = BaseAddresses::default()
        .set_eh_frame(section.address())
        .set_eh_frame_hdr(header)
        .set_text(text);

    let mut tally = Tally::default();
    let mut context = UnwindContext::new();
    let mut machine = Machine::new();
    let mut entries = eh_frame.entries(&bases);
    let mut number = 0;
    while let Some(entry) = entries.next().unwrap() {
        let gimli::CieOrFde::Fde(partial) = entry else {
            continue;
        };
        number += 1;
        if number % stride != 0 {
            continue;
        }
        let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
        if fde.len() == 0 {
            continue;
        }
        tally.frames += 1;
        let mut table = fde.rows(&eh_frame, &bases, &mut context).unwrap();
        while let Some(row) = table.next_row().unwrap() {
            if row.start_address() >= row.end_address() {
                continue;
            }
            for pc in [row.start_address(), row.end_address() - 1] {
                let frame = eh_frame::find(&tables, header as usize, pc as usize)
                    .unwrap_or_else(|| panic!("{path:?}: no description of {pc:#x}"));
                assert_eq!(
                    frame.start as u64,
                    fde.initial_address(),
                    "{path:?} {pc:#x}"
                );
                assert_eq!(frame.end as u64, fde.end_address());
                assert_eq!(frame.signal, fde.is_signal_trampoline());
                let few = machine.rules_at(&frame, pc as usize, Wanted::Few).unwrap();
                let quick = Rule::of_row(few, frame.signal, &tables);
                let ours = machine.rules_at(&frame, pc as usize, Wanted::All).unwrap();
                same_row(
                    ours,
                    row,
                    &tables,
                    section.address(),
                    &format!("{path:?} {pc:#x}"),
                );
                let rule = Rule::of_row(ours, frame.signal, &tables);
                if !frame.signal {
                    assert_eq!(quick, rule, "{path:?} {pc:#x}");
                }
                let kind = match rule {
                    Rule::Sp { .. } => "sp",
                    Rule::Bp { .. } => "bp",
                    Rule::Load { .. } => "load",
                    Rule::Signal => "signal",
                    Rule::End => "end",
                    _ => "general",
                };
                assert_eq!(Rule::unpack(rule.pack()), rule);
                *tally.kinds.entry(kind).or_default() += 1;
                tally.rows += 1;
                tally.outermost += usize::from(ours.register(16) == RegisterRule::Undefined);
            }
        }
    }
    tally
}

fn same_row(
    ours: &Row,
    theirs: &gimli::UnwindTableRow<usize>,
    tables: &File,
    eh_frame: u64,
    place: &str,
) {
    let expression = |addr: usize, len: u32, theirs: &gimli::UnwindExpression<usize>| {
        let (offset, length) = (theirs.offset as u64, theirs.length);
        assert_eq!(
            (addr as u64, len as usize),
            (eh_frame + offset, length),
            "{place}"
        );
        assert!(Reader::at(tables, addr).is_some());
    };
    match (ours.cfa, theirs.cfa()) {
        (
            CfaRule::Register { register, offset },
            gimli::CfaRule::RegisterAndOffset {
                register: r,
                offset: o,
            },
        ) => {
            assert_eq!((register, offset), (u64::from(r.0), *o), "{place}");
        }
        (CfaRule::Expression { len, addr }, gimli::CfaRule::Expression(e)) => {
            expression(addr, len, e)
        }
        (a, b) => panic!("{place}: {a:?} against {b:?}"),
    }
    for number in 0..17u16 {
        let rule = ours.register(usize::from(number));
        use gimli::RegisterRule as G;
        match (rule, theirs.register(gimli::Register(number))) {
            (RegisterRule::Same, None) | (RegisterRule::Undefined, Some(G::Undefined)) => {}
            (RegisterRule::Same, Some(G::SameValue)) => {}
            (RegisterRule::At(a), Some(G::Offset(b))) => assert_eq!(a, b, "{place}"),
            (RegisterRule::Is(a), Some(G::ValOffset(b))) => assert_eq!(a, b, "{place}"),
            (RegisterRule::Register(a), Some(G::Register(b))) => {
                assert_eq!(a, u64::from(b.0), "{place}")
            }
            (RegisterRule::AtExpression { len, addr }, Some(G::Expression(e))) => {
                expression(addr, len, &e)
            }
            (RegisterRule::IsExpression { len, addr }, Some(G::ValExpression(e))) => {
                expression(addr, len, &e)
            }
            (a, b) => panic!("{place}: register {number}: {a:?} against {b:?}"),
        }
    }
}

fn find(candidates: &[&str]) -> Option<std::path::PathBuf> {
    candidates
        .iter()
        .map(Path::new)
        .find(|p| p.exists())
        .map(|p| p.canonicalize().unwrap())
}

#[test]
fn libc() {
    let path = find(&["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"]).unwrap();
    let tally = compare(&path, 1);
    println!("{tally:?}");
    assert!(tally.outermost > 0 && tally.kinds["signal"] > 0);
}

#[test]
fn ourselves() {
    let tally = compare(&std::env::current_exe().unwrap(), 1);
    println!("{tally:?}");
    assert!(tally.frames > 1000);
}

#[test]
fn whatever_else_is_installed() {
    let others = [
        (1, &["/usr/lib/x86_64-linux-gnu/libstdc++.so.6"][..]),
        (1, &["/usr/lib/x86_64-linux-gnu/libcrypto.so.3"][..]),
        (1, &["/lib64/ld-linux-x86-64.so.2"][..]),
        (3, &["/usr/bin/python3"][..]),
        (3, &["/usr/bin/gdb"][..]),
        (31, &["/usr/bin/node"][..]),
    ];
    for (stride, path) in others {
        if let Some(path) = find(path) {
            println!("{path:?}: {:?}", compare(&path, stride));
        }
    }
}
