//! Every record comes back as it went in, whatever its values.

mod common;

use common::*;
use leaktrack_recording::*;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

/// What `record` is after a way through a frame and back.
fn back(record: &Record<'_>, look: impl FnOnce(Record<'_>)) {
    let mut measure = Measure::default();
    encode(record, &mut measure).unwrap();
    let bytes = framed(9, record);
    assert_eq!(bytes.len(), measure.0 + FRAME_HEADER_BYTES);

    let mut buffer = vec![0xee; bytes.len()];
    assert_eq!(frame_into(9, record, &mut buffer), Ok(bytes.len()));
    assert_eq!(buffer, bytes);
    assert_eq!(frame_into(9, record, &mut buffer[1..]), Err(Full));

    let mut frames = Frames::new(9, &bytes, 0);
    look(frames.next().unwrap().unwrap().record().unwrap().unwrap());
    assert!(frames.next().is_none());
    assert!(Frames::new(10, &bytes, 0).next().unwrap().is_err());
}

fn check(record: Record<'_>) {
    back(&record, |read| assert_eq!(read, record));
}

/// Numbers of every length.
fn n() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(value, shift)| value >> shift)
}

fn n32() -> impl Strategy<Value = u32> {
    (any::<u32>(), 0..32u32).prop_map(|(value, shift)| value >> shift)
}

fn s() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Exact),
        n().prop_map(|mean_bytes| Mode::Sample { mean_bytes }),
        n32().prop_map(|milli_percent| Mode::Budget { milli_percent }),
        Just(Mode::Dormant),
    ]
}

fn loss((site, values): (u32, [u64; 9])) -> SiteLoss {
    let [since_ms, a, b, c, d, e, f, g, h] = values;
    SiteLoss {
        site,
        since_ms,
        definite_bytes: a,
        definite_blocks: b,
        indirect_bytes: c,
        indirect_blocks: d,
        possible_bytes: e,
        possible_blocks: f,
        reachable_bytes: g,
        reachable_blocks: h,
    }
}

fn delta((site, values): (u32, [u64; 5])) -> SiteDelta {
    let [allocations, frees, allocated_bytes, freed_bytes, temporary] = values;
    SiteDelta {
        site,
        allocations,
        frees,
        allocated_bytes,
        freed_bytes,
        // Many sites have none.
        temporary: temporary.saturating_sub(u64::MAX / 2),
    }
}

fn age((site, values): (u32, [u64; 3])) -> SiteAge {
    let [blocks, oldest_ms, median_ms] = values;
    SiteAge {
        site,
        blocks,
        oldest_ms,
        median_ms,
    }
}

fn delta_list() -> impl Strategy<Value = Vec<SiteDelta>> {
    btree_map(1..=u32::MAX, [n(), n(), n(), n(), n()], 0..50)
        .prop_map(|sites| sites.into_iter().map(delta).collect())
}

fn system() -> impl Strategy<Value = Option<System>> {
    let field = || proptest::option::of(n());
    proptest::option::of(proptest::array::uniform27(field()).prop_map(System::from_values))
}

fn head() -> impl Strategy<Value = SnapshotHead> {
    let values = vec(n(), 32);
    let flags = (any::<bool>(), any::<bool>());
    (values, n32(), n32(), flags, system()).prop_map(|(v, merged, threads, (l, a), system)| {
        SnapshotHead {
            index: v[0] >> 1,
            merged,
            at_ms: v[1],
            rss_bytes: v[2],
            vm_bytes: v[3],
            swap_bytes: v[4],
            minor_faults: v[5],
            major_faults: v[6],
            threads,
            limit_bytes: l.then_some(v[7]),
            limit_is_address_space: l && v[7] % 2 == 1,
            totals: Totals {
                allocations: v[8],
                frees: v[9],
                allocated_bytes: v[10],
                freed_bytes: v[11],
                peak_live_bytes: v[12],
                peak_at_ms: v[13],
                mappings: v[14],
                mapped_bytes: v[15],
                brk_bytes: v[16],
            },
            coverage: Coverage {
                unknown_frees: v[17],
                dropped: v[18],
                nested: v[19],
                replaced: v[20],
                cut_stacks: v[21],
                folded_stacks: v[22],
                broken_stacks: v[23],
                inherited_freed_blocks: v[24],
                inherited_freed_bytes: v[25],
            },
            own_memory_bytes: v[26],
            own_cpu_ms: v[27],
            allocator: a.then_some(AllocatorStats {
                held_bytes: v[28],
                free_bytes: v[29],
                releasable_bytes: v[30],
            }),
            system,
            sampling: (v[31] % 2 == 1).then_some(Sampling {
                mean_bytes: v[31],
                hooks_cpu_us: v[27],
                program_cpu_us: v[26],
            }),
            temporary: (v[30] % 2 == 1).then_some(v[29]),
            rss_peak: (v[31] % 2 == 1).then_some(RssPeak {
                bytes: v[31],
                at_ms: v[1] / 2,
            }),
        }
    })
}

/// Freed and live blocks by octave, and how many octaves to keep of them.
fn lived() -> impl Strategy<Value = (Option<Octaves>, Octaves, usize)> {
    let octaves = || core::array::from_fn::<_, OCTAVES, _>(|_| n());
    (prop::option::of(octaves()), octaves(), 0..=OCTAVES)
}

fn by_size() -> impl Strategy<Value = BySize> {
    (
        core::array::from_fn::<_, SIZE_CLASSES, _>(|_| n()),
        0..=SIZE_CLASSES,
    )
        .prop_map(|(mut classes, used)| {
            classes[used..].fill(0);
            classes
        })
}

fn fault_count() -> impl Strategy<Value = FaultCount> {
    (n(), n()).prop_map(|(minor, major)| FaultCount { minor, major })
}

/// As it is said of the classes, found by going through them.
#[test]
fn a_size_is_in_the_class_that_it_fits_in() {
    let ends: Vec<u64> = (0..SIZE_CLASSES - 1).map(|class| 8 << class).collect();
    for &end in &ends {
        for bytes in [end - 1, end, end + 1, end + end / 2] {
            let class = ends.iter().position(|&end| bytes <= end);
            assert_eq!(
                size_class(bytes),
                class.unwrap_or(SIZE_CLASSES - 1),
                "{bytes}"
            );
        }
    }
    assert_eq!(size_class(0), 0);
    assert_eq!(size_class(u64::MAX), SIZE_CLASSES - 1);
}

proptest! {
    #[test]
    fn faults(
        times in [n(), n(), n(), n()],
        counts in (fault_count(), fault_count(), proptest::array::uniform7(fault_count())),
        (source, error, seen) in (0..5_usize, n32(), proptest::option::of(n().prop_map(|v| v >> 1))),
        list in btree_map(1..=u32::MAX, (fault_count(), n32(), n()), 0..50),
        touched in btree_map(1..=u32::MAX, [n(), n(), n(), n()], 0..20),
        seen_major in proptest::option::of(n().prop_map(|v| v >> 1)),
    ) {
        use FaultSource::{All, Off, Refused, TooMany, User};
        let list: Vec<SiteFault> = list
            .into_iter()
            .map(|(site, (count, touch_module, touch_offset))| SiteFault { site, count, touch_module, touch_offset })
            .collect();
        let mut sites = Bytes::default();
        let mut writer = FaultWriter::new(&mut sites);
        list.iter().for_each(|site| writer.push(site).unwrap());
        let touched: Vec<SiteTouch> = touched
            .into_iter()
            .map(|(site, [compared, in_order, first_ms, last_ms])| SiteTouch { site, compared, in_order, first_ms, last_ms })
            .collect();
        let mut touches = Bytes::default();
        let mut writer = TouchWriter::new(&mut touches);
        touched.iter().for_each(|touch| writer.push(touch).unwrap());
        let [at_ms, period, since_ms, lost] = times;
        let (before, all, regions) = counts;
        let source = [Off, All, User, Refused, TooMany][source];
        let faults = Faults { at_ms, source, error, period, since_ms, before, all, seen, lost, regions, seen_major, touches: &touches.0, sites: &sites.0 };
        assert!(faults.sites().eq(list));
        assert!(faults.touches().eq(touched));
        check(Record::Faults(faults));
    }

    #[test]
    fn process(
        ids in any::<([u8; 16], Option<[u8; 16]>)>(),
        forked in any::<bool>(),
        small in [n32(), n32(), n32(), n32()],
        large in [n(), n(), n(), n(), n()],
        mode in mode(),
        text in [s(), s(), s(), s(), s()],
    ) {
        let [pid, ppid, depth, page_bytes] = small;
        let [started_unix_ns, start_ticks, interval_ms, inherited_bytes, inherited_blocks] = large;
        let [exe, host, allocator, options, version] = text.each_ref().map(Vec::as_slice);
        let (id, parent) = ids;
        check(Record::Process(Process {
            id, parent, pid, ppid, forked, exe, host, started_unix_ns, start_ticks, mode, depth,
            interval_ms, page_bytes, inherited_bytes, inherited_blocks, allocator, options, version,
        }));
    }

    #[test]
    fn strings(a in s(), b in s(), tid in n32()) {
        check(Record::Arg(&a));
        check(Record::Label { key: &a, value: &b });
        check(Record::Env { name: &a, value: &b });
        check(Record::Thread { tid, name: &a });
    }

    #[test]
    fn code(name in s(), nodes in btree_set(1u32.., 0..40)) {
        let mut packed = Bytes::default();
        let mut writer = CodeWriter::new(&mut packed);
        nodes.iter().for_each(|node| writer.push(*node).unwrap());
        let code = Code { name: &name, nodes: &packed.0 };
        assert!(code.nodes().eq(nodes.iter().copied()));
        check(Record::Code(code));
    }

    #[test]
    fn modules(id in n32(), v in [n(), n(), n(), n()], generation in n32(), a in s(), b in s()) {
        let [bias, start, end, at_ms] = v;
        let (path, build_id) = (&a[..], &b[..]);
        check(Record::Module(Module { id, bias, start, end, generation, at_ms, path, build_id }));
        check(Record::ModuleGone { id, at_ms });
        check(Record::Content { module: id, hash: at_ms });
    }

    #[test]
    fn nodes(a in n32(), b in n32(), module in n32(), offset in n(), exact in any::<bool>()) {
        let (parent, id) = (a.min(b), a.max(b).max(a.min(b).saturating_add(1)));
        prop_assume!(parent < id);
        check(Record::Node(Node { id, parent, module, offset, exact }));
    }

    #[test]
    fn sites(
        v in [n32(), n32(), n32()],
        first_seen_ms in n(),
        flags in any::<[bool; 3]>(),
        call in 0..Call::ALL.len(),
    ) {
        let [id, leaf, thread] = v;
        let call = Call::ALL[call];
        assert_eq!(Call::of(call as u32), call);
        let [mmap, cut, folded] = flags;
        let kind = if mmap { SiteKind::Mmap } else { SiteKind::Heap };
        check(Record::Site(Site { id, leaf, kind, cut, folded, first_seen_ms, thread, call }));
    }

    #[test]
    fn snapshots(head in head(), list in delta_list()) {
        let deltas = deltas(&list);
        let of_sites = temporary(&list);
        let temporary = Some(of_sites.as_slice());
        let record = Record::Snapshot(Snapshot { head, temporary, deltas: &deltas });
        back(&record, |read| {
            let Record::Snapshot(snapshot) = read else { panic!("{read:?}") };
            assert_eq!(snapshot.head, head);
            assert!(snapshot.deltas().eq(list.iter().copied()));
            let some = |site: u32| site % 3 == 1;
            let kept = list.iter().filter(|delta| some(delta.site)).copied();
            assert!(snapshot.deltas().only(some).eq(kept));
        });

        let mut streamed = Bytes::default();
        let mut writer = encode_snapshot(&head, temporary, &mut streamed).unwrap();
        list.iter().for_each(|delta| writer.push(delta).unwrap());
        assert_eq!(framed_payload(9, &streamed.0), framed(9, &record));
    }

    #[test]
    fn age_lists(at_ms in n(), list in btree_map(1..=u32::MAX, [n(), n(), n()], 0..50)) {
        let list: Vec<_> = list.into_iter().map(age).collect();
        let ages = ages(&list);
        let record = Record::Ages(Ages { at_ms, ages: &ages });
        back(&record, |read| {
            let Record::Ages(read) = read else { panic!("{read:?}") };
            assert_eq!(read.at_ms, at_ms);
            assert!(read.ages().eq(list.iter().copied()));
        });

        let mut streamed = Bytes::default();
        let mut writer = encode_ages(at_ms, &mut streamed).unwrap();
        list.iter().for_each(|age| writer.push(age).unwrap());
        assert_eq!(framed_payload(9, &streamed.0), framed(9, &record));
    }

    #[test]
    fn accounts(v in [n(), n(), n(), n()], w in [n(), n(), n(), n()], x in [n(), n(), n(), n()],
                pss in any::<Option<u64>>(), by_mincore in any::<bool>(),
                list in btree_map(1..=u32::MAX, [n(), n(), n()], 0..20),
                places in btree_map(1..=u32::MAX, [n(), n(), n(), n()], 0..5)) {
        let places: Vec<NumaNode> = places.into_iter().map(|(number, [resident_bytes, host_bytes, host_free_bytes, threads])| NumaNode {
            number, resident_bytes, host_bytes, host_free_bytes, threads,
        }).collect();
        let mut nodes = Bytes::default();
        let mut writer = NumaNodeWriter::new(&mut nodes);
        places.iter().for_each(|node| writer.push(node).unwrap());
        let [at_ms, rss_bytes, swap_bytes, huge_bytes] = v;
        let [mappings, duration_us, cpu_us, live_bytes] = w;
        let [untouched_bytes, live_swapped_bytes, skipped_bytes, stacks] = x;
        let head = AccountHead {
            at_ms, rss_bytes, pss_bytes: pss, swap_bytes, huge_bytes, mappings, duration_us, cpu_us,
            live_bytes, untouched_bytes, live_swapped_bytes, skipped_bytes, stacks, by_mincore,
        };
        let list: Vec<Part> = list.into_iter().map(|(number, [a, b, c])| Part {
            number, resident_bytes: a, proportional_bytes: b, swapped_bytes: c,
        }).collect();
        let mut parts = Bytes::default();
        let mut writer = PartWriter::new(&mut parts);
        list.iter().for_each(|part| writer.push(part).unwrap());
        back(&Record::Account(Account { head, nodes: &nodes.0, parts: &parts.0 }), |read| {
            let Record::Account(read) = read else { panic!("{read:?}") };
            assert_eq!(read.head, head);
            assert!(read.parts().eq(list.iter().copied()));
            assert!(read.nodes().eq(places.iter().copied()));
        });
    }

    #[test]
    fn residencies_and_arenas(at_ms in n(), list in btree_map(1..=u32::MAX, [n(), n(), n(), n(), n(), n(), n()], 0..20)) {
        let sites: Vec<SiteResidency> = list.iter().map(|(site, v)| SiteResidency {
            site: *site, live_bytes: v[0], resident_bytes: v[1], swapped_bytes: v[2],
            pinned_pages: v[3], pinned_bytes: v[4],
        }).collect();
        let mut whole = Bytes::default();
        let mut writer = encode_residency(at_ms, &mut whole).unwrap();
        sites.iter().for_each(|site| writer.push(site).unwrap());
        let mut packed = Bytes::default();
        let mut writer = ResidencyWriter::new(&mut packed);
        sites.iter().for_each(|site| writer.push(site).unwrap());
        let record = Record::Residency(Residency { at_ms, sites: &packed.0 });
        assert_eq!(framed_payload(9, &whole.0), framed(9, &record));
        back(&record, |read| {
            let Record::Residency(read) = read else { panic!("{read:?}") };
            assert_eq!(read.at_ms, at_ms);
            assert!(read.sites().eq(sites.iter().copied()));
        });

        let arenas: Vec<Arena> = list.iter().map(|(number, v)| Arena {
            number: *number, held_bytes: v[0], resident_bytes: v[1], live_bytes: v[2],
            overhead_bytes: v[3], free_bytes: v[4], releasable_bytes: v[5], top_bytes: v[6],
        }).collect();
        let mut whole = Bytes::default();
        let mut writer = encode_arenas(at_ms, &mut whole).unwrap();
        arenas.iter().for_each(|arena| writer.push(arena).unwrap());
        let mut packed = Bytes::default();
        let mut writer = ArenaWriter::new(&mut packed);
        arenas.iter().for_each(|arena| writer.push(arena).unwrap());
        let record = Record::Arenas(Arenas { at_ms, arenas: &packed.0 });
        assert_eq!(framed_payload(9, &whole.0), framed(9, &record));
        back(&record, |read| {
            let Record::Arenas(read) = read else { panic!("{read:?}") };
            assert_eq!(read.at_ms, at_ms);
            assert!(read.arenas().eq(arenas.iter().copied()));
        });
    }

    #[test]
    fn areas_and_blocks(
        head in [n(), n(), n(), n(), n(), n(), n()],
        incomplete in any::<bool>(),
        areas in vec(([0u64..1 << 30, 0..1 << 20], [n(), n(), n()], any::<[u32; 2]>(), 1..=u32::MAX, s()), 0..20),
        blocks in btree_map(1..=u64::MAX, [n(), n(), n()], 0..20),
        site in any::<u32>(),
    ) {
        let mut end = 0;
        let areas: Vec<Area> = areas.iter().map(|([gap, pages], [resident, swapped, inner], [kind, which], ranges, name)| {
            let start = end + gap;
            end = start + pages;
            Area {
                start, pages: *pages, kind: *kind, which: *which, resident_pages: *resident,
                swapped_pages: *swapped, gap_pages: *inner, ranges: *ranges, name,
            }
        }).collect();
        let [at_ms, known_blocks, known_bytes, sites, sites_looked_at, largest, oldest] = head;
        let head = AreasHead { at_ms, incomplete };
        let mut whole = Bytes::default();
        let mut writer = encode_areas(&head, &mut whole).unwrap();
        areas.iter().for_each(|area| writer.push(area).unwrap());
        let mut packed = Bytes::default();
        let mut writer = AreaWriter::new(&mut packed);
        areas.iter().for_each(|area| writer.push(area).unwrap());
        let record = Record::Areas(Areas { head, areas: &packed.0 });
        assert_eq!(framed_payload(9, &whole.0), framed(9, &record));
        back(&record, |read| {
            let Record::Areas(read) = read else { panic!("{read:?}") };
            assert_eq!(read.head, head);
            assert!(read.areas().eq(areas.iter().copied()));
        });

        let blocks: Vec<LiveBlock> = blocks.iter().map(|(address, v)| LiveBlock {
            address: *address, bytes: v[0], site, age_ms: v[1], resident_bytes: v[2],
        }).collect();
        let head = BlocksHead {
            at_ms, incomplete, known_blocks, known_bytes, sites, sites_looked_at, largest, oldest,
        };
        let mut whole = Bytes::default();
        let mut writer = encode_blocks(&head, &mut whole).unwrap();
        blocks.iter().for_each(|block| writer.push(block).unwrap());
        let mut packed = Bytes::default();
        let mut writer = BlockWriter::new(&mut packed);
        blocks.iter().for_each(|block| writer.push(block).unwrap());
        let record = Record::Blocks(Blocks { head, blocks: &packed.0 });
        assert_eq!(framed_payload(9, &whole.0), framed(9, &record));
        back(&record, |read| {
            let Record::Blocks(read) = read else { panic!("{read:?}") };
            assert_eq!(read.head, head);
            assert!(read.blocks().eq(blocks.iter().copied()));
        });
    }

    #[test]
    fn size_lists(
        head in [n(), n()],
        list in btree_map(1..=u32::MAX, (prop::option::of(0..u64::MAX), prop::option::of(by_size())), 0..20),
    ) {
        let [at_ms, least_allocations] = head;
        let list: Vec<_> = list
            .into_iter()
            .map(|(site, (temporary, allocated))| SiteSizes { site, temporary, allocated })
            .collect();
        let packed = sizes(&list);
        let record = Record::Sizes(Sizes { at_ms, least_allocations, sizes: &packed });
        back(&record, |read| {
            let Record::Sizes(read) = read else { panic!("{read:?}") };
            assert_eq!((read.at_ms, read.least_allocations), (at_ms, least_allocations));
            assert!(read.sizes().eq(list.iter().copied()));
        });

        let mut streamed = Bytes::default();
        let mut writer = encode_sizes(at_ms, least_allocations, &mut streamed).unwrap();
        list.iter().for_each(|site| writer.push(site).unwrap());
        assert_eq!(framed_payload(9, &streamed.0), framed(9, &record));
    }

    #[test]
    fn lifetime_lists(
        head in [n(), n(), n()],
        list in btree_map(1..=u32::MAX, lived(), 0..20),
    ) {
        let [at_ms, epoch_us, least_blocks] = head;
        let head = LifetimesHead { at_ms, epoch_us, least_blocks };
        let list: Vec<_> = list
            .into_iter()
            .map(|(site, (mut freed, mut live, used))| {
                live[used..].fill(0);
                if let Some(freed) = &mut freed {
                    freed[0] = 0; // is not stored
                    freed[used.max(1)..].fill(0);
                }
                SiteLifetimes { site, freed, live }
            })
            .collect();
        let packed = lifetimes(&list);
        let record = Record::Lifetimes(Lifetimes { head, lifetimes: &packed });
        back(&record, |read| {
            let Record::Lifetimes(read) = read else { panic!("{read:?}") };
            assert_eq!(read.head, head);
            assert!(read.lifetimes().eq(list.iter().copied()));
        });

        let mut streamed = Bytes::default();
        let mut writer = encode_lifetimes(&head, &mut streamed).unwrap();
        list.iter().for_each(|site| writer.push(site).unwrap());
        assert_eq!(framed_payload(9, &streamed.0), framed(9, &record));
    }

    #[test]
    fn scans(at_ms in n(), duration_ms in n(), flags in 0..8u8, passes in n32(), why_not in s()) {
        for kind in [ScanKind::Exit, ScanKind::Live, ScanKind::Fork] {
            check(Record::Scan(Scan {
                at_ms,
                kind,
                duration_ms,
                complete: flags & 1 != 0,
                lower_bound: flags & 2 != 0,
                partial: flags & 4 != 0,
                passes,
                unread_threads: passes / 3,
                excused_per_site: duration_ms / 5,
                blocks: at_ms / 7,
                why_not: &why_not,
                freed_since: at_ms / 11,
            }));
        }
    }

    #[test]
    fn loss_lists(at_ms in n(), list in btree_map(1..=u32::MAX, [n(), n(), n(), n(), n(), n(), n(), n(), n()], 0..50)) {
        let list: Vec<_> = list.into_iter().map(loss).collect();
        let mut packed = Bytes::default();
        let mut writer = LossWriter::new(&mut packed);
        list.iter().for_each(|loss| writer.push(loss).unwrap());
        let record = Record::Losses(Losses { at_ms, losses: &packed.0 });
        back(&record, |read| {
            let Record::Losses(read) = read else { panic!("{read:?}") };
            assert_eq!(read.at_ms, at_ms);
            assert!(read.losses().eq(list.iter().copied()));
        });

        let mut streamed = Bytes::default();
        let mut writer = encode_losses(at_ms, &mut streamed).unwrap();
        list.iter().for_each(|loss| writer.push(loss).unwrap());
        assert_eq!(framed_payload(9, &streamed.0), framed(9, &record));
    }

    #[test]
    fn events(at_ms in n(), text in s(), status in any::<i32>()) {
        use EventKind::*;
        for kind in [Mark, Alert, Scan, Enable, Disable, Dlopen, Limit, Exec, Note] {
            check(Record::Event { at_ms, kind, text: &text });
        }
        for kind in [EndKind::Exit, EndKind::FastExit] {
            check(Record::End { at_ms, kind, status });
        }
    }

    #[test]
    fn headers(
        id in any::<[u8; 16]>(),
        created in n(),
        kind in 0..=6u8,
        level in any::<u8>(),
        blocks in 1..=u32::MAX,
        seq in n(),
    ) {
        let header = FileHeader::new(id, created);
        prop_assert_eq!(FileHeader::decode(&header.encode()), Some(header));
        let kind = match kind {
            0 => SegmentKind::Free,
            1 => SegmentKind::Defs,
            2 => SegmentKind::Snapshots,
            3 => SegmentKind::Ages,
            4 => SegmentKind::Events,
            5 => SegmentKind::Symbols,
            other => SegmentKind::Other(other),
        };
        let header = SegmentHeader { kind, level, blocks, seq };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Some(header));
    }
}

#[test]
fn sites_must_ascend() {
    let mut sink = Measure::default();
    let mut writer = DeltaWriter::new(&mut sink);
    assert_eq!(writer.push(&allocated(0, 1)), Err(WriteError::Disorder));
    assert_eq!(writer.push(&allocated(5, 1)), Ok(()));
    assert_eq!(writer.push(&allocated(5, 1)), Err(WriteError::Disorder));
    assert_eq!(writer.push(&allocated(4, 1)), Err(WriteError::Disorder));
}

proptest! {
    #[test]
    fn spreads(at_ms in n(), mean_bytes in n(), sites in btree_map(1..=u32::MAX, [n(), n(), n(), n(), n(), n()], 0..50)) {
        let list: Vec<SiteSpread> = sites
            .into_iter()
            .map(|(site, [samples, sampled_bytes, blocks, bytes, blocks_error_16, bytes_error_16])| SiteSpread {
                site, samples, sampled_bytes, blocks, bytes, blocks_error_16, bytes_error_16,
            })
            .collect();
        let mut buffer = vec![0; 50 * 66];
        let mut sink = SliceSink::new(&mut buffer);
        let mut writer = SpreadWriter::new(&mut sink);
        for spread in &list {
            writer.push(spread).unwrap();
        }
        let spreads = Spreads { head: SpreadsHead { at_ms, mean_bytes }, spreads: sink.written() };
        back(&Record::Spreads(spreads), |read| match read {
            Record::Spreads(read) => assert_eq!((read.head, read.spreads().collect::<Vec<_>>()), (spreads.head, list.clone())),
            other => panic!("{other:?}"),
        });
    }
}
