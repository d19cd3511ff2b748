//! A flame graph as SVG: one file that opens in any browser, with search and zoom.
//!
//! The root is at the foot, as flame graphs have it; a box is as wide as what it adds up, and its
//! colour is that of its module. Names become text here and in the script, never markup.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Measure, name, program};
use crate::human;
use crate::model::identity::file_name;
use crate::report::Report;

const STYLE: &str = include_str!("flamegraph/style.css");
const SCRIPT: &str = include_str!("flamegraph/script.js");

/// Columns of the picture; the script knows it, too.
const WIDTH: f64 = 1200.0;
/// Blank at each side.
const MARGIN: f64 = 10.0;
/// Height of a row of boxes.
const ROW: usize = 18;
/// Above the boxes: title, search; below them: what a box says.
const HEAD: usize = 56;
const FOOT: usize = 36;
/// Narrower boxes are left out.
const LEAST: f64 = 0.05;
/// Columns of a character.
const CHARACTER: f64 = 7.3;

/// A box: a function of a module, called by the boxes below.
#[derive(Default)]
struct Node {
    name: String,
    module: String,
    value: u64,
    depth: usize,
    /// By name and module, so that the picture is the same each time.
    children: BTreeMap<(String, String), usize>,
}

/// Boxes by index; the first is the root.
struct Tree(Vec<Node>);

impl Tree {
    fn of(report: &Report, measure: Measure) -> Self {
        let mut tree = Self(vec![Node {
            name: "all".to_owned(),
            ..Node::default()
        }]);
        for site in &report.sites {
            let value = measure.of(site);
            if value == 0 {
                continue;
            }
            let mut at = 0;
            tree.add(at, value);
            for frame in site.frames.iter().rev() {
                let module = file_name(&frame.module).to_owned();
                at = tree.child(at, name(frame), module);
                tree.add(at, value);
            }
        }
        tree
    }

    fn add(&mut self, at: usize, value: u64) {
        if let Some(node) = self.0.get_mut(at) {
            node.value = node.value.saturating_add(value);
        }
    }

    fn child(&mut self, of: usize, name: String, module: String) -> usize {
        let next = self.0.len();
        let key = (name, module);
        let Some(parent) = self.0.get_mut(of) else {
            return of;
        };
        if let Some(known) = parent.children.get(&key) {
            return *known;
        }
        let depth = parent.depth + 1;
        parent.children.insert(key.clone(), next);
        self.0.push(Node {
            name: key.0,
            module: key.1,
            depth,
            ..Node::default()
        });
        next
    }

    /// Calls `f` with each box that is wide enough and the sum of what is left of it.
    fn each(&self, least: u64, mut f: impl FnMut(&Node, u64)) {
        let mut open = vec![(0, 0)];
        while let Some((at, left)) = open.pop() {
            let Some(node) = self.0.get(at).filter(|node| node.value >= least) else {
                continue;
            };
            f(node, left);
            let mut x = left;
            for child in node.children.values() {
                open.push((*child, x));
                x += self.0.get(*child).map_or(0, |child| child.value);
            }
        }
    }
}

/// Writes the picture; one that says so if there is nothing to show.
pub fn write(report: &Report, measure: Measure, out: &mut dyn Write) -> io::Result<()> {
    let (words, unit) = measure.words();
    let title = escape(&format!("{}: {words}", program(report)));
    let tree = Tree::of(report, measure);
    let all = tree.0.first().map_or(0, |root| root.value);
    if all == 0 {
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"60\"><text x=\"20\" y=\"35\" font-family=\"sans-serif\">{title}: nothing at any call site</text></svg>"
        )?;
        return out.flush();
    }
    let scale = (WIDTH - 2.0 * MARGIN) / all as f64;
    let least = (LEAST / scale).ceil() as u64;
    let mut deepest = 0;
    tree.each(least, |node, _| deepest = deepest.max(node.depth));
    let height = HEAD + (deepest + 1) * ROW + FOOT;
    writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" data-unit=\"{}\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"{}\" y=\"24\" text-anchor=\"middle\">{title}</text>\n\
         <text class=\"button\" id=\"reset\" x=\"{MARGIN}\" y=\"24\" tabindex=\"0\" role=\"button\" visibility=\"hidden\">Reset zoom</text>\n\
         <text class=\"button\" id=\"case\" x=\"{}\" y=\"24\" tabindex=\"0\" role=\"button\" text-anchor=\"end\">Aa</text>\n\
         <text class=\"button\" id=\"search\" x=\"{}\" y=\"24\" tabindex=\"0\" role=\"button\" text-anchor=\"end\">Search</text>\n\
         <text id=\"says\" x=\"{MARGIN}\" y=\"{}\"> </text>\n\
         <text id=\"matched\" x=\"{}\" y=\"{}\" text-anchor=\"end\"> </text>\n\
         <g id=\"frames\">",
        escape(unit),
        WIDTH / 2.0,
        WIDTH - MARGIN,
        WIDTH - MARGIN - 36.0,
        height - 12,
        WIDTH - MARGIN,
        height - 12,
    )?;
    let mut written = Ok(());
    tree.each(least, |node, left| {
        if written.is_ok() {
            written = write_box(node, left, all, scale, height, unit, out);
        }
    });
    written?;
    write!(
        out,
        "</g>\n<script><![CDATA[\n{SCRIPT}]]></script>\n</svg>\n"
    )?;
    out.flush()
}

fn write_box(
    node: &Node,
    left: u64,
    all: u64,
    scale: f64,
    height: usize,
    unit: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let x = MARGIN + left as f64 * scale;
    let width = node.value as f64 * scale;
    let y = height - FOOT - (node.depth + 1) * ROW;
    let share = match node.value {
        value if value == all => "100%".to_owned(),
        value => format!("{:.2}%", value as f64 / all as f64 * 100.0),
    };
    let room = ((width - 6.0) / CHARACTER).max(0.0) as usize;
    writeln!(
        out,
        "<g data-x=\"{left}\" data-w=\"{}\" data-n=\"{}\"><title>{} ({} {}, {share})</title>\
         <rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{}\" fill=\"{}\"/>\
         <text x=\"{:.2}\" y=\"{}\">{}</text></g>",
        node.value,
        escape(&node.name),
        escape(&node.name),
        human::count(node.value),
        escape(unit),
        ROW - 1,
        colour(node),
        x + 3.0,
        y + 13,
        escape(&cut(&node.name, room)),
    )
}

/// As much of a name as fits, nothing if that is too little to read.
fn cut(name: &str, room: usize) -> String {
    if name.chars().count() <= room {
        return name.to_owned();
    }
    match room {
        0..3 => String::new(),
        _ => name.chars().take(room - 2).chain("..".chars()).collect(),
    }
}

/// A hue for the module, a lightness for the function.
fn colour(node: &Node) -> String {
    if node.depth == 0 {
        return "hsl(0,0%,75%)".to_owned();
    }
    let hue = fnv(&node.module) % 360;
    let light = 66 + fnv(&node.name) % 16;
    format!("hsl({hue},62%,{light}%)")
}

/// FNV-1a: the same in every run.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Text as markup that shows it; what XML cannot hold, or what turns text, is replaced.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in crate::report::text::page::clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
