//! Reachability scans in the report: which were made, and what they found of a site.

use leaktrack_recording::{ScanKind, SiteLoss};

use super::document::{LostReport, Scan};
use super::memory::round;
use crate::human;
use crate::model::{Family, Site, scans};
use crate::verdict::lost::Found;

/// All scans of a family, by time.
pub fn scans(family: &Family) -> Vec<Scan> {
    let mut scans: Vec<Scan> = family
        .present()
        .flat_map(|(index, process)| {
            process.scans.iter().map(move |scan| Scan {
                at_s: round(family.start_s(index) + scan.at_ms as f64 / 1e3),
                kind: name(scan.kind).to_owned(),
                duration_s: round(scan.duration_ms as f64 / 1e3),
                complete: scan.complete,
                why_not: scan.why_not.clone(),
                passes: scan.passes,
                blocks: scan.blocks,
                lower_bound: scan.lower_bound,
                unread_threads: scan.unread_threads,
                excused_per_site: scan.excused_per_site,
                freed_since: scan.freed_since,
            })
        })
        .collect();
    scans.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    scans
}

fn name(kind: ScanKind) -> &'static str {
    match kind {
        ScanKind::Exit => "exit",
        ScanKind::Live => "live",
        ScanKind::Fork => "fork",
    }
}

/// What the last scans found of a site; `None` if none looked at it.
pub fn found(family: &Family, site: &Site) -> Option<Found> {
    let loss = scans::sum(site.parts.iter().filter_map(|part| part.losses))?;
    let mut found: Option<Found> = None;
    for part in &site.parts {
        let Some(one) = part.losses else { continue };
        let process = family.processes.get(part.process)?;
        let start_s = family.start_s(part.process);
        let last = process.scans.iter().rev().find(|scan| scan.complete);
        let Some(scan) = last else { continue };
        let since_s = match one.since_ms {
            0 => None,
            since_ms => Some(start_s + since_ms as f64 / 1e3),
        };
        let at_s = start_s + scan.at_ms as f64 / 1e3;
        let found = found.get_or_insert(Found {
            loss,
            kind: scan.kind,
            at_s,
            since_s: at_s,
        });
        found.at_s = found.at_s.max(at_s);
        found.since_s = since_s.map_or(found.since_s, |since_s| found.since_s.min(since_s));
    }
    found
}

/// A site's losses as the report has them.
pub fn lost_report(family: &Family, site: &Site) -> Option<LostReport> {
    let Found { loss, since_s, .. } = found(family, site)?;
    let SiteLoss {
        since_ms,
        definite_bytes,
        definite_blocks,
        indirect_bytes,
        indirect_blocks,
        possible_bytes,
        possible_blocks,
        reachable_bytes,
        reachable_blocks,
        ..
    } = loss;
    Some(LostReport {
        since_s: (since_ms > 0).then(|| round(since_s)),
        definite_bytes,
        definite_blocks,
        indirect_bytes,
        indirect_blocks,
        possible_bytes,
        possible_blocks,
        reachable_bytes,
        reachable_blocks,
    })
}

/// What a reader should know of the scans that were made, or were not.
pub fn notes(family: &Family) -> Vec<String> {
    let mut notes = Vec::new();
    let made = || family.present().flat_map(|(_, process)| &process.scans);
    let complete = || made().filter(|scan| scan.complete);
    if complete().next().is_none() {
        let why = made().filter_map(|scan| scan.why_not.as_deref()).last();
        notes.push(match why {
            Some(why) => format!("No reachability scan was completed ({why}): whether anything still points to a block is unknown, and no site is called lost."),
            None => "No reachability scan was made: whether anything still points to a block is unknown, and no site is called lost.".to_owned(),
        });
    }
    if complete().any(|scan| scan.lower_bound) {
        notes.push("Not every live block was known to the reachability scan, so memory that is free or unknown counted as holding pointers, too: more blocks may be lost than are called so.".to_owned());
    }
    let excused = complete().map(|scan| (scan.excused_per_site, scan.unread_threads));
    if let Some((blocks, threads)) = excused.max().filter(|(blocks, _)| *blocks > 0) {
        let threads = match threads {
            1 => "one thread".to_owned(),
            threads => format!("{threads} threads"),
        };
        notes.push(format!("The registers of {threads} could not be read without disturbing {}, and may hold up to {blocks} pointers: that many lost blocks of each site are called possibly lost.", if threads == "one thread" { "it" } else { "them" }));
    }
    let freed = made()
        .map(|scan| scan.freed_since)
        .fold(0u64, u64::saturating_add);
    if freed > 0 {
        let (was, it) = match freed {
            1 => ("was", "it"),
            _ => ("were", "them"),
        };
        notes.push(format!("{} that a scan had called lost {was} freed later: the program held {it} where memory does not show it (a pointer that is encrypted, compressed or cut in two, or one that only the kernel has). What else is called lost may be held in the same way.", human::plural(freed, "block")));
    }
    notes
}

#[cfg(test)]
mod tests {
    use leaktrack_recording::{Record, Scan as Recorded, SiteKind, SiteLoss};

    use super::super::{ReportOptions, assemble::assemble};
    use crate::testing::Recording;
    use crate::verdict::Verdict;

    #[test]
    fn a_loss_is_a_finding_with_its_evidence() {
        let mut r = Recording::new();
        let lost = r.site(SiteKind::Heap, &[(1, 0x1111), (1, 0x100)]);
        let held = r.site(SiteKind::Heap, &[(1, 0x2222), (1, 0x100)]);
        let gone = r.site(SiteKind::Heap, &[(1, 0x3333), (1, 0x100)]);
        r.every_second(3, |_| {
            vec![
                (lost, 1, 100, 0, 0),
                (held, 1, 64, 0, 0),
                (gone, 1, 8, 1, 8),
            ]
        });
        let loss = |site, since_ms, definite, indirect, reachable| SiteLoss {
            site,
            since_ms,
            definite_blocks: definite,
            definite_bytes: definite * 100,
            indirect_blocks: indirect,
            indirect_bytes: indirect * 100,
            reachable_blocks: reachable,
            reachable_bytes: reachable * 64,
            ..SiteLoss::default()
        };
        r.scan(3000, &[loss(lost, 1000, 2, 1, 0), loss(held, 0, 0, 0, 3)]);
        let report = assemble(
            &r.family(),
            &ReportOptions {
                top: 0,
                show_healthy: true,
                ..ReportOptions::default()
            },
        );
        assert_eq!(report.finding_count, 1);
        assert_eq!(report.scans.len(), 1);
        let worst = report.sites.first().expect("sites");
        assert_eq!(worst.verdict, Verdict::Lost);
        let found = worst.lost.expect("scanned");
        assert_eq!(found.since_s, Some(1.0));
        assert_eq!((found.definite_bytes, found.indirect_blocks), (200, 1));
        assert!(
            worst.why.concat().contains("2 blocks (200 B)"),
            "{:?}",
            worst.why
        );
        // A site that the scan does not name had nothing live; one that it found held is no finding.
        let zeros = report.sites.iter().filter_map(|site| site.lost);
        assert_eq!(zeros.filter(|lost| lost.since_s.is_none()).count(), 2);
    }

    #[test]
    fn sites_of_what_is_possibly_lost_are_told_the_most_bytes_first() {
        let mut r = Recording::new();
        let sites: Vec<u32> = (0..12u64)
            .map(|at| r.site(SiteKind::Heap, &[(1, 0x1000 + at), (1, 0x100)]))
            .collect();
        r.every_second(3, |_| {
            sites.iter().map(|site| (*site, 1, 100, 0, 0)).collect()
        });
        let losses: Vec<SiteLoss> = (1..)
            .zip(&sites)
            .map(|(blocks, site)| SiteLoss {
                site: *site,
                possible_blocks: blocks,
                possible_bytes: blocks * 100,
                ..SiteLoss::default()
            })
            .collect();
        r.scan(3000, &losses);
        let options = ReportOptions {
            top: 0,
            show_healthy: true,
            ..ReportOptions::default()
        };
        let report = assemble(&r.family(), &options);
        assert_eq!(report.finding_count, 0);
        let look = crate::report::Look {
            colour: false,
            width: None,
            unicode: false,
        };
        let mut out = Vec::new();
        crate::report::render_scan(&report, look, &mut out).expect("a text");
        let text = String::from_utf8(out).expect("UTF-8");
        let told: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("  possibly lost  "))
            .collect();
        // The sum of all kinds comes before the sites.
        assert_eq!(told.len(), 1 + 10, "{text}");
        assert!(told[1].ends_with("1.2 KiB in 12 blocks"), "{text}");
        assert!(told[10].ends_with("300 B in 3 blocks"), "{text}");
        assert!(text.contains("2 more sites"), "{text}");
    }

    #[test]
    fn without_a_complete_scan_nothing_is_known() {
        let mut r = Recording::new();
        let site = r.site(SiteKind::Heap, &[(1, 0x1111), (1, 0x100)]);
        r.every_second(3, |_| vec![(site, 1, 100, 0, 0)]);
        r.record(&Record::Scan(Recorded {
            at_ms: 2500,
            why_not: b"the memory limit is too near",
            ..Recorded::default()
        }));
        let report = assemble(&r.family(), &ReportOptions::default());
        assert!(report.sites.iter().all(|site| site.lost.is_none()));
        let notes = report.coverage.notes.concat();
        assert!(notes.contains("too near"), "{notes}");
    }
}
