//! Malformed unwind tables: whatever the bytes, reading them ends, and never panics.

use leaktrack_engine::unwind::cfi::{COLUMNS, CfaRule, Machine, RegisterRule, Wanted};
use leaktrack_engine::unwind::eh_frame;
use leaktrack_engine::unwind::expression::{self, Context};
use leaktrack_engine::unwind::reader::Tables;
use leaktrack_engine::unwind::rule::Rule;
use object::{Object, ObjectSection, ObjectSegment};

#[derive(Clone)]
struct Damaged(Vec<(usize, Vec<u8>)>);

impl Tables for Damaged {
    fn bytes_from(&self, addr: usize) -> Option<&[u8]> {
        self.0.iter().find_map(|(start, bytes)| {
            bytes
                .get(addr.checked_sub(*start)?..)
                .filter(|b| !b.is_empty())
        })
    }
}

struct Anything(u64);

impl Context for Anything {
    fn register(&self, number: u64) -> Option<u64> {
        (number < 17).then_some(self.0.rotate_left(number as u32))
    }
    fn word(&mut self, addr: u64) -> Option<u64> {
        (addr & 1 == 0).then_some(addr ^ self.0)
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Does all that a walk does with the description of an address. True if there was one.
fn use_all(tables: &Damaged, machine: &mut Machine, header: usize, pc: usize) -> bool {
    let Some(frame) = eh_frame::find(tables, header, pc) else {
        return false;
    };
    let few = machine.rules_at(&frame, pc, Wanted::Few).is_some();
    let row = machine.rules_at(&frame, pc, Wanted::All).copied();
    assert_eq!(few, row.is_some());
    let Some(row) = row else {
        return false;
    };
    let rule = Rule::of_row(&row, frame.signal, tables);
    assert_ne!(rule.pack(), 0);
    let evaluate =
        |addr, len| expression::evaluate(tables, addr, len, Some(8), &mut Anything(pc as u64));
    if let CfaRule::Expression { len, addr } = row.cfa {
        evaluate(addr, len);
    }
    for rule in (0..COLUMNS).map(|column| row.register(column)) {
        if let RegisterRule::AtExpression { len, addr } | RegisterRule::IsExpression { len, addr } =
            rule
        {
            evaluate(addr, len);
        }
    }
    true
}

#[test]
fn damaged_tables_of_libc() {
    let path = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"];
    let bytes = path.iter().find_map(|p| std::fs::read(p).ok()).unwrap();
    let object = object::File::parse(&*bytes).unwrap();
    let section = |name: &str| object.section_by_name(name).unwrap();
    let header = section(".eh_frame_hdr").address() as usize;
    let segment = object
        .segments()
        .find(|s| s.address() <= header as u64 && (header as u64) < s.address() + s.size())
        .unwrap();
    let start = segment.address() as usize;
    let whole = Damaged(vec![(start, segment.data().unwrap().to_vec())]);
    let text = section(".text").address() as usize
        ..(section(".text").address() + section(".text").size()) as usize;
    let tables = [section(".eh_frame_hdr"), section(".eh_frame")]
        .map(|s| (s.address() as usize - start, s.size()));

    let mut seed = 0x1234_5678_9abc_def1;
    let mut machine = Machine::new();
    let (mut found, mut lost) = (0, 0);
    for round in 0..60 {
        let mut damaged = whole.clone();
        let bytes = &mut damaged.0[0].1;
        for _ in 0..1 << (round % 14) {
            let (at, len) = tables[(!random(&mut seed).is_multiple_of(4)) as usize];
            let at = at + (random(&mut seed) % len) as usize;
            match random(&mut seed) % 3 {
                0 => bytes[at] = random(&mut seed) as u8,
                1 => bytes[at] ^= 1 << (random(&mut seed) % 8),
                _ => bytes[at] = [0, 0xff, 0x7f, 0x80][(random(&mut seed) % 4) as usize],
            }
        }
        if round % 5 == 4 {
            let len = bytes.len() - (random(&mut seed) % tables[1].1) as usize;
            bytes.truncate(len);
        }
        for _ in 0..1500 {
            let pc = text.start + random(&mut seed) as usize % text.len();
            match use_all(&damaged, &mut machine, header, pc) {
                true => found += 1,
                false => lost += 1,
            }
        }
    }
    assert!(found > 1000 && lost > 1000, "{found} {lost}");
}

/// An object without a search table is read from end to end.
#[test]
fn without_a_search_table() {
    let path = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"];
    let bytes = path.iter().find_map(|p| std::fs::read(p).ok()).unwrap();
    let object = object::File::parse(&*bytes).unwrap();
    let header = object.section_by_name(".eh_frame_hdr").unwrap().address() as usize;
    let segments: Vec<_> = object
        .segments()
        .map(|s| (s.address() as usize, s.data().unwrap().to_vec()))
        .collect();
    let (with, mut without) = (Damaged(segments.clone()), Damaged(segments));
    for (start, bytes) in &mut without.0 {
        if let Some(at) = header
            .checked_sub(*start)
            .filter(|at| *at + 4 < bytes.len())
        {
            bytes[at + 2] = 0xff;
            bytes[at + 3] = 0xff;
        }
    }
    let text = object.section_by_name(".text").unwrap();
    for pc in (text.address()..text.address() + text.size()).step_by(39_999) {
        let [a, b] = [&with, &without].map(|t| {
            eh_frame::find(t, header, pc as usize).map(|f| (f.start, f.end, f.instructions.addr))
        });
        assert_eq!(a, b, "{pc:#x}");
    }
}

#[test]
fn random_expressions() {
    let mut seed = 99;
    for _ in 0..200_000 {
        let len = 1 + random(&mut seed) as usize % 24;
        let code: Vec<u8> = (0..len).map(|_| random(&mut seed) as u8).collect();
        let tables = Damaged(vec![(0x1000, code)]);
        expression::evaluate(&tables, 0x1000, len as u32, None, &mut Anything(seed));
        expression::as_register_offset(&tables, 0x1000, len as u32);
    }
}
