//! The page's data: the report's document, packed.
//!
//! Every number is the document's own; nothing is computed or rounded here.

use std::collections::HashSet;
use std::io;

use serde_json::{Map, Value, json};

use super::super::document::{
    AddressSpace, AreaReport, BlockReport, Blocks, Group, Report, SiteReport,
};
use super::super::text;
use super::columns::columns;
use super::curves;
use super::stacks::{Stacks, clean};

/// What a page of up to [`PAGE_SITES`] sites may take, the program in it included.
const PAGE_BYTES: usize = 1_950_000;
/// Sites that fit into [`PAGE_BYTES`]; a page of more may be larger in proportion.
const PAGE_SITES: usize = 5_000;
/// What style and script take, roughly.
const PROGRAM_BYTES: usize = 135_000;
/// What addresses may take, but for those of one process.
const PLACES_BYTES: usize = 250_000;
/// The first sites keep all points of their curves: findings, then by live bytes.
const FULL_CURVES: usize = 100;

/// A tab in quoted source.
const TAB: &str = "    ";

/// Findings shown as such, the worst; all of them are in the table.
const FINDINGS: usize = 100;

/// The data as JSON.
pub fn json(report: &Report) -> io::Result<String> {
    let mut stacks = Stacks::default();
    let leaves: Vec<u32> = report
        .sites
        .iter()
        .enumerate()
        .map(|(index, site)| {
            let plumbing = report.extra.plumbing.get(index);
            let plumbing = plumbing.map(Vec::as_slice).unwrap_or_default();
            stacks.add(&site.frames, plumbing)
        })
        .collect();
    let source = source(report, &mut stacks);
    let mut page = Map::new();
    let mut put = |name: &str, value: Value| page.insert(name.to_owned(), value);
    let mut head = value(&without_lists(report))?;
    if let Value::Object(fields) = &mut head {
        // Whole sites, which are among the others.
        fields.remove("fault_sites");
        fields.remove("filled_sites");
    }
    put("report", head);
    put("answer", answer(report)?);
    put("findings", findings(report)?);
    put("source", source);
    let rows: io::Result<Vec<Value>> = report.sites.iter().map(row).collect();
    put("sites", columns(rows?));
    put("leaf", json!(leaves));
    put("timeline", columns(rows_of(&report.timeline)?));
    put("places", places(report)?);
    put("stacks", stacks.json());
    let mut text = serde_json::to_string(&page)?;
    let room = (PAGE_BYTES * report.sites.len().div_ceil(PAGE_SITES).max(1))
        .saturating_sub(PROGRAM_BYTES + text.len());
    // The object is open again for one more field.
    text.pop();
    text.push_str(",\"curves\":");
    text.push_str(&curves_within(report, room).to_string());
    text.push('}');
    Ok(text)
}

fn value(of: &impl serde::Serialize) -> io::Result<Value> {
    Ok(cleaned(serde_json::to_value(of)?))
}

fn rows_of<T: serde::Serialize>(list: &[T]) -> io::Result<Vec<Value>> {
    list.iter().map(value).collect()
}

/// All strings without characters that turn or steer text.
fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(list) => Value::Array(list.into_iter().map(cleaned).collect()),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (clean(&name), cleaned(value)))
            .collect(),
        other => other,
    }
}

/// The document without what is packed on its own.
fn without_lists(report: &Report) -> Report {
    let mut head = report.clone();
    head.sites.clear();
    head.groups.clear();
    head.timeline.clear();
    head.address_space.clear();
    head.blocks.clear();
    head
}

/// Address spaces and single blocks of as many processes as there is room for, those that hold most
/// first; of one in any case.
fn places(report: &Report) -> io::Result<Value> {
    let mut indices: Vec<usize> = (report.blocks.iter().map(|blocks| blocks.process))
        .chain(report.address_space.iter().map(|space| space.process))
        .collect();
    indices.sort_unstable();
    indices.dedup();
    let blocks = |index: usize| report.blocks.iter().find(|it| it.process == index);
    indices.sort_by_key(|index| std::cmp::Reverse(blocks(*index).map_or(0, |it| it.known_bytes)));
    let on_page: HashSet<&str> = report.sites.iter().map(|site| site.id.as_str()).collect();
    let mut list = Vec::new();
    let mut taken = 0;
    for index in &indices {
        let space = report.address_space.iter().find(|it| it.process == *index);
        let space = space.map(|space| {
            let head = AddressSpace {
                areas: Vec::new(),
                ..space.clone()
            };
            let areas: Vec<&AreaReport> = space.areas.iter().collect();
            table(&head, &areas, "start", &|_, _| {})
        });
        let blocks = blocks(*index).map(|blocks| {
            let head = Blocks {
                list: Vec::new(),
                ..blocks.clone()
            };
            let mut list: Vec<&BlockReport> = blocks.list.iter().collect();
            list.sort_by_key(|block| address(&block.address));
            // Of sites of the page their names are there already.
            table(&head, &list, "address", &|block, fields| {
                let known = block.site.as_deref().is_some_and(|id| on_page.contains(id));
                fields.remove("file");
                fields.remove("line");
                if known {
                    fields.remove("function");
                }
            })
        });
        let place = json!({
            "process": index, "areas": space.transpose()?, "blocks": blocks.transpose()?,
        });
        let bytes = place.to_string().len();
        if !list.is_empty() && taken + bytes > PLACES_BYTES {
            break;
        }
        taken += bytes;
        list.push(place);
    }
    Ok(json!({ "left_out": indices.len() - list.len(), "list": list }))
}

/// A hexadecimal address.
fn address(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0)
}

/// A list by address as columns, with what is true of all of it; addresses as differences.
fn table<T: serde::Serialize>(
    head: &impl serde::Serialize,
    list: &[&T],
    name: &str,
    trim: &dyn Fn(&T, &mut Map<String, Value>),
) -> io::Result<Value> {
    let mut rows = Vec::new();
    let mut at = String::new();
    let mut last = 0;
    for item in list {
        let mut row = value(item)?;
        if let Value::Object(fields) = &mut row {
            let here = fields.remove(name);
            let here = address(here.as_ref().and_then(Value::as_str).unwrap_or_default());
            curves::vlq(curves::zigzag(last, here), &mut at);
            last = here;
            trim(item, fields);
        }
        rows.push(row);
    }
    Ok(json!({ "head": value(head)?, "count": list.len(), "at": at, "columns": columns(rows) }))
}

/// What the text says beyond the document.
fn answer(report: &Report) -> io::Result<Value> {
    let extra = &report.extra;
    let details = [text::not_seen(report), text::details(report)].concat();
    Ok(cleaned(json!({
        "name": text::name(report),
        "sentence": text::sentence(report),
        "details": details,
        "subjects": text::subjects(report),
        "commands": text::commands(report),
        "paths": extra.paths,
        "rate": extra.finding_rate,
        "limit_in_s": extra.limit_in_s,
        "counts": extra.counts,
        "left_out": extra.left_out,
        "left_out_bytes": extra.left_out_bytes,
        "filtered_findings": extra.filtered_findings,
        "not_listed": text::left_out(report),
        "suppressed": extra.suppressed,
        "live": extra.live_growth.as_ref().map(|opinion| json!({
            "verdict": opinion.verdict, "pattern": opinion.pattern, "rate": opinion.rate,
            "why": opinion.why,
        })),
    })))
}

/// Findings as people count them: blamed lines, each with its sites.
fn findings(report: &Report) -> io::Result<Value> {
    let finding = |group: &Group| {
        let members = text::members(report, group);
        let first = members.first().and_then(|index| report.sites.get(*index));
        let opinion = text::opinion_on(report, group);
        let alone = first.filter(|_| group.sites.len() == 1);
        let rate = match (alone, opinion) {
            (Some(site), _) => json!(site.growth.rate),
            (None, Some(opinion)) if opinion.rate.is_some() => json!(opinion.rate),
            _ => group
                .rate
                .map_or(Value::Null, |rate| json!({ "value": rate })),
        };
        json!({
            "key": group.key, "live_bytes": group.live_bytes, "peak_live_bytes": group.peak_live_bytes, "verdict": group.verdict,
            "lost_bytes": group.lost_bytes, "lost_blocks": group.lost_blocks, "lost_sites": group.lost_sites,
            "rate": rate, "sites": members, "stacks": group.sites.len(),
            "pattern": alone.map_or_else(
                || opinion.map(|opinion| opinion.pattern),
                |site| Some(site.growth.pattern),
            ),
            "limit_in_s": alone.map_or_else(
                || opinion.and_then(|opinion| opinion.limit_in_s),
                |site| site.growth.limit_in_s,
            ),
            "why": text::why_on(report, group, first),
            "advice": text::advice_on(report, group, first),
        })
    };
    let shown = report.extra.findings.iter().take(FINDINGS);
    Ok(cleaned(shown.map(finding).collect()))
}

/// A site without its stack and its curve.
fn row(site: &SiteReport) -> io::Result<Value> {
    let light = SiteReport {
        series: Vec::new(),
        frames: Vec::new(),
        blame: None,
        suppression: match site.verdict.is_finding() {
            true => site.suppression.clone(),
            false => String::new(),
        },
        ..site.clone()
    };
    let mut row = value(&light)?;
    if let Value::Object(fields) = &mut row {
        fields.remove("series");
        fields.remove("frames");
        fields.remove("key");
        // Three numbers for each age: too much for every site of a page.
        if let Some(Value::Object(lifetimes)) = fields.get_mut("lifetimes") {
            lifetimes.remove("survival");
        }
        let blamed = site.blame.as_ref().map(|blame| blame.frame);
        // A block of several lines; line breaks in strings do not pass.
        let lines: Vec<&str> = light.suppression.lines().collect();
        fields.insert("suppression".to_owned(), json!(lines));
        fields.insert("blame".to_owned(), json!(blamed));
        if site.by_process.len() < 2 {
            fields.remove("by_process");
        }
    }
    Ok(row)
}

/// Source lines as file, line and text; those around blamed lines as file, blamed line, first
/// line and texts.
fn source(report: &Report, stacks: &mut Stacks) -> Value {
    let wanted = report.sites.iter().flat_map(|site| {
        let blamed = site.blame.as_ref().map(|blame| blame.frame);
        let frames = site.frames.iter().enumerate();
        let is_wanted = move |index: usize| site.verdict.is_finding() || blamed == Some(index);
        frames.filter(move |(index, _)| is_wanted(*index))
    });
    let mut places: Vec<(&str, u32)> = wanted
        .filter_map(|(_, frame)| Some((frame.file.as_deref()?, frame.line?)))
        .collect();
    places.sort_unstable();
    places.dedup();
    let mut lines = Vec::new();
    let mut around = Vec::new();
    for (file, line) in places {
        let place = (file.to_owned(), line);
        if let Some(text) = report.extra.source.get(&place) {
            lines.push(json!([
                stacks.string(file),
                line,
                clean(&text.replace('\t', TAB))
            ]));
        }
        if let Some(near) = report.extra.excerpts.get(&place) {
            let first = near.first().map_or(0, |(number, _)| *number);
            let texts: Vec<String> = near
                .iter()
                .map(|(_, text)| clean(&text.replace('\t', TAB)))
                .collect();
            around.push(json!([stacks.string(file), line, first, texts]));
        }
    }
    json!({ "lines": lines, "around": around })
}

/// The curves of all sites in at most so many bytes, unless the coarsest takes more.
fn curves_within(report: &Report, room: usize) -> Value {
    let times = curves::moments(
        report
            .sites
            .iter()
            .flat_map(|site| site.series.iter().map(|point| point.0)),
    );
    let tell_temporary = (report.extra.activity.iter().flatten()).all(|at| at.temporary.is_some());
    let values: Vec<[Vec<u64>; 4]> = report
        .sites
        .iter()
        .enumerate()
        .map(|(index, site)| {
            let activity = report.extra.activity.get(index);
            let activity = activity.map(Vec::as_slice).unwrap_or_default();
            let allocations: Vec<_> = activity.iter().map(|at| (at.t_s, at.allocations)).collect();
            let bytes: Vec<_> = activity
                .iter()
                .map(|at| (at.t_s, at.allocated_bytes))
                .collect();
            let temporary: Vec<_> = activity
                .iter()
                .filter_map(|at| Some((at.t_s, at.temporary.filter(|_| tell_temporary)?)))
                .collect();
            [&site.series, &allocations, &bytes, &temporary]
                .map(|curve| curves::at_moments(curve, &times))
        })
        .collect();
    let pack = |points: usize| {
        let all = curves::samples(times.len(), times.len());
        let some = curves::samples(times.len(), points);
        let packed: Vec<[String; 4]> = values
            .iter()
            .enumerate()
            .map(|(index, curves)| {
                let kept = if index < FULL_CURVES { &all } else { &some };
                curves.each_ref().map(|values| curves::pack(values, kept))
            })
            .collect();
        packed
    };
    let size = |packed: &[[String; 4]]| {
        let of = |curves: &[String; 4]| curves.iter().map(|curve| curve.len() + 3).sum::<usize>();
        packed.iter().map(of).sum::<usize>()
    };
    let mut points = times.len();
    let mut packed = pack(points);
    for fewer in [96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2] {
        if size(&packed) <= room {
            break;
        }
        points = points.min(fewer);
        packed = pack(points);
    }
    let channel = |at: usize| -> Vec<&str> {
        packed
            .iter()
            .map(|curves| curves.get(at).map_or("", String::as_str))
            .collect()
    };
    // Of all sites together at every moment: those that keep few points would show it in leaps.
    let every = curves::samples(times.len(), times.len());
    let all_together = |at: usize| {
        let mut sums = vec![0_u64; times.len()];
        for curve in values.iter().filter_map(|curves| curves.get(at)) {
            for (sum, value) in sums.iter_mut().zip(curve) {
                *sum = sum.saturating_add(*value);
            }
        }
        curves::pack(&sums, &every)
    };
    json!({
        "times": times, "full": FULL_CURVES, "points": points,
        "live": channel(0), "allocations": channel(1), "allocated": channel(2),
        "temporary": tell_temporary.then(|| channel(3)),
        "all_allocations": all_together(1), "all_allocated": all_together(2),
    })
}
