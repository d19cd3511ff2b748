//! Suppressions: LeakSanitizer's `leak:` lines and valgrind's `.supp` blocks, in one file or many.
//!
//! A suppressed site stays in the report and keeps its verdict; it is no finding.

use crate::glob;
use crate::model::identity::file_name;
use crate::model::{Frame, Site};

/// Suppressions in the order of their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppressions(Vec<Suppression>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Suppression {
    /// As the report names it.
    name: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// Any frame's function, file or module contains the pattern.
    Leak(String),
    /// The frames match these, from the innermost on; `from_malloc` if the first is one of the
    /// allocator's functions, which valgrind's stacks begin with and the report's may not.
    Stack {
        /// As written.
        lines: Vec<Line>,
        /// Without the first line they may match, too.
        from_malloc: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Function(String),
    Object(String),
    Source(String),
    /// `...`: any number of frames.
    Any,
}

/// A line that is no suppression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: {what}; allowed are LeakSanitizer's `leak:PATTERN` and valgrind's {{ … }} blocks"
)]
pub struct SyntaxError {
    line: usize,
    what: String,
}

impl Suppressions {
    /// Adds those of a file's `text`.
    pub fn add(&mut self, text: &str) -> Result<(), SyntaxError> {
        let mut lines = text
            .lines()
            .map(str::trim)
            .enumerate()
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        while let Some((index, line)) = lines.next() {
            let fail = |index: usize, what: String| {
                Err(SyntaxError {
                    line: index + 1,
                    what,
                })
            };
            if let Some(pattern) = line.strip_prefix("leak:") {
                self.0.push(Suppression {
                    name: line.to_owned(),
                    rule: Rule::Leak(pattern.trim().to_owned()),
                });
            } else if line == "{" {
                let mut block = Vec::new();
                loop {
                    match lines.next() {
                        Some((_, "}")) => break,
                        Some(line) => block.push(line),
                        None => return fail(index, "a block without its closing brace".to_owned()),
                    }
                }
                match valgrind(&block) {
                    Ok(suppression) => self.0.extend(suppression),
                    Err((at, what)) => return fail(at.unwrap_or(index), what),
                }
            } else if ![
                "race:",
                "called_from_lib:",
                "thread:",
                "mutex:",
                "signal:",
                "deadlock:",
            ]
            .iter()
            .any(|other| line.starts_with(other))
            {
                return fail(index, format!("`{line}` is no suppression"));
            }
        }
        Ok(())
    }

    /// The first suppression that matches a site, by name.
    pub fn of(&self, site: &Site) -> Option<&str> {
        if self.0.is_empty() {
            return None; // most often, and sites are many
        }
        self.matching(&site.frames().collect::<Vec<_>>())
    }

    /// The first suppression that matches a stack, by name.
    fn matching(&self, frames: &[&Frame]) -> Option<&str> {
        self.0
            .iter()
            .find(|suppression| match &suppression.rule {
                Rule::Leak(pattern) => frames.iter().any(|frame| leak_matches(pattern, frame)),
                Rule::Stack { lines, from_malloc } => {
                    let rest = lines.get(1..).filter(|_| *from_malloc);
                    stack_matches(lines, frames)
                        || rest.is_some_and(|rest| stack_matches(rest, frames))
                }
            })
            .map(|suppression| suppression.name.as_str())
    }
}

/// `None` for blocks that are not about leaks.
fn valgrind(block: &[(usize, &str)]) -> Result<Option<Suppression>, (Option<usize>, String)> {
    let [(_, name), (_, kind), rest @ ..] = block else {
        return Err((None, "a block needs a name and a kind".to_owned()));
    };
    let Some((_, what)) = kind.split_once(':') else {
        return Err((Some(block[1].0), format!("`{kind}` is no kind")));
    };
    if what.trim() != "Leak" {
        return Ok(None);
    }
    let mut lines = Vec::new();
    for (at, line) in rest {
        lines.push(match line.split_once(':') {
            Some(("fun", pattern)) => Line::Function(demangled(pattern)),
            Some(("obj", pattern)) => Line::Object(pattern.to_owned()),
            Some(("src", pattern)) => Line::Source(pattern.to_owned()),
            Some(("match-leak-kinds", _)) => continue,
            _ if *line == "..." => Line::Any,
            _ => return Err((Some(*at), format!("`{line}` is no frame"))),
        });
    }
    let first = lines.first();
    let from_malloc = first.is_some_and(
        |line| matches!(line, Line::Function(function) if names_an_allocator(function)),
    );
    Ok(Some(Suppression {
        name: (*name).to_owned(),
        rule: Rule::Stack { lines, from_malloc },
    }))
}

fn names_an_allocator(pattern: &str) -> bool {
    const NAMES: &[&str] = &[
        "malloc",
        "calloc",
        "realloc",
        "memalign",
        "posix_memalign",
        "aligned_alloc",
        "reallocarray",
        "operator new",
        "operator new[]",
        "_Znwm",
        "_Znam",
    ];
    let bare = pattern.split_once('(').map_or(pattern, |(head, _)| head);
    NAMES.iter().any(|name| glob::matches(bare, name)) && !bare.trim_matches('*').is_empty()
}

/// valgrind writes mangled names, reports have demangled ones.
fn demangled(pattern: &str) -> String {
    if pattern.contains(['*', '?']) {
        return pattern.to_owned();
    }
    if let Ok(name) = rustc_demangle::try_demangle(pattern) {
        return format!("{name:#}");
    }
    if pattern.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(pattern)
        && let Ok(name) = symbol.demangle()
    {
        return name;
    }
    pattern.to_owned()
}

/// LeakSanitizer: a substring with `*`, anchored by `^` and `$`.
fn leak_matches(pattern: &str, frame: &Frame) -> bool {
    let head = pattern.strip_prefix('^');
    let tail = head.unwrap_or(pattern).strip_suffix('$');
    let middle = tail.or(head).unwrap_or(pattern);
    let full = format!(
        "{}{middle}{}",
        if head.is_some() { "" } else { "*" },
        if tail.is_some() { "" } else { "*" }
    );
    [
        frame.function.as_deref(),
        frame.file.as_deref(),
        Some(frame.module.as_str()),
    ]
    .into_iter()
    .flatten()
    .any(|text| glob::matches(&full, text))
}

/// Matches like a glob whose letters are frames.
fn stack_matches(lines: &[Line], frames: &[&Frame]) -> bool {
    let (mut line, mut frame) = (0, 0);
    let mut any: Option<(usize, usize)> = None;
    loop {
        match (lines.get(line), frames.get(frame)) {
            // Frames beyond the last line may be anything.
            (None, _) => return true,
            (Some(Line::Any), _) => {
                any = Some((line, frame));
                line += 1;
            }
            (Some(pattern), Some(one)) if line_matches(pattern, one) => {
                line += 1;
                frame += 1;
            }
            (Some(_), None) => return false,
            (Some(_), Some(_)) => match any {
                Some((at, from)) => {
                    line = at + 1;
                    frame = from + 1;
                    any = Some((at, frame));
                }
                None => return false,
            },
        }
    }
}

fn line_matches(line: &Line, frame: &Frame) -> bool {
    match line {
        Line::Any => true,
        Line::Object(pattern) => glob::matches(pattern, &frame.module),
        Line::Function(pattern) => frame.function.as_deref().is_some_and(|function| {
            glob::matches(pattern, function) || glob::matches(pattern, crate::blame::bare(function))
        }),
        Line::Source(pattern) => {
            let (file, number) = pattern
                .split_once(':')
                .map_or((pattern.as_str(), None), |(file, number)| {
                    (file, number.parse::<u32>().ok())
                });
            frame.file.as_deref().is_some_and(|path| {
                glob::matches(file, path) || glob::matches(file, file_name(path))
            }) && number.is_none_or(|number| frame.line == Some(number))
        }
    }
}

/// A suppression for one call stack and no other: a block as valgrind writes them, with every frame.
/// Sites with the same functions on other lines match, too: they have the same `key`.
pub fn exactly(title: &str, frames: &[Frame]) -> String {
    // A star in a name is a star in a pattern: any one character is as close as it gets.
    let literal = |text: &str| text.replace('*', "?").replace(['\n', '\r'], "?");
    let mut block = format!("{{\n   {}\n   Memcheck:Leak\n", literal(title));
    let mut last = String::new();
    for frame in frames {
        let line = match &frame.function {
            Some(function) => format!("fun:{}", literal(function)),
            None if frame.module.is_empty() => "...".to_owned(),
            None => format!("obj:{}", literal(&frame.module)),
        };
        // Generated code is one run of frames, however many.
        if line != "..." || last != line {
            block.push_str(&format!("   {line}\n"));
        }
        last = line;
    }
    block.push_str("}\n");
    block
}

/// A suppression for sites that blame this function; empty without a name: one for the whole
/// module would hide too much.
pub fn suggestion(blamed: Option<&Frame>) -> String {
    let function = blamed.and_then(|frame| frame.function.as_deref());
    function.map_or_else(String::new, |function| {
        format!("leak:{}", crate::blame::bare(function))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str, module: &str) -> Frame {
        Frame {
            function: Some(function.to_owned()),
            file: Some(file.to_owned()),
            line: Some(7),
            module: module.to_owned(),
            ..Frame::default()
        }
    }

    fn matching(text: &str) -> Option<String> {
        let mut suppressions = Suppressions::default();
        suppressions.add(text).expect("well-formed");
        let frames = [
            frame("std::vec::grow", "/rustc/vec.rs", "/opt/app"),
            frame("app::keep", "/src/keep.rs", "/opt/app"),
            frame("main", "/src/main.rs", "/opt/app"),
            frame("__libc_start_main", "", "/lib/libc.so.6"),
        ];
        suppressions
            .matching(&frames.iter().collect::<Vec<_>>())
            .map(str::to_owned)
    }

    #[test]
    fn leak_sanitizer_lines() {
        assert_eq!(
            matching("# known\nleak:app::keep\n").as_deref(),
            Some("leak:app::keep")
        );
        assert_eq!(matching("leak:keep.rs").as_deref(), Some("leak:keep.rs"));
        assert_eq!(matching("leak:libc.so").as_deref(), Some("leak:libc.so"));
        assert_eq!(
            matching("leak:^app::*ep$").as_deref(),
            Some("leak:^app::*ep$")
        );
        assert_eq!(matching("leak:^keep"), None);
        assert_eq!(matching("race:whatever\nleak:nothing"), None);
    }

    #[test]
    fn valgrind_blocks() {
        let block = |lines: &str| {
            format!(
                "{{\n   a name\n   Memcheck:Leak\n   match-leak-kinds: reachable\n{lines}\n}}\n"
            )
        };
        assert_eq!(
            matching(&block("fun:malloc\nfun:std*\nfun:app::keep")).as_deref(),
            Some("a name")
        );
        assert_eq!(
            matching(&block("fun:*alloc\n...\nfun:main")).as_deref(),
            Some("a name")
        );
        assert_eq!(
            matching(&block("...\nobj:*/libc.so*")).as_deref(),
            Some("a name")
        );
        assert_eq!(
            matching(&block("fun:malloc\nfun:_ZN3std3vec4growEv\nsrc:keep.rs:7")),
            None,
            "arguments differ"
        );
        assert_eq!(
            matching(&block("fun:malloc\nobj:/opt/app\nsrc:keep.rs:7")).as_deref(),
            Some("a name")
        );
        assert_eq!(
            matching(&block("fun:malloc\nobj:/opt/app\nsrc:keep.rs:8")),
            None
        );
        assert_eq!(matching(&block("fun:malloc\nfun:main")), None);
        assert_eq!(matching(&block("fun:calloc\n...\nfun:other")), None);
        assert_eq!(matching("{\nx\nMemcheck:Cond\nfun:main\n}"), None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text: &str| {
            Suppressions::default()
                .add(text)
                .expect_err("wrong")
                .to_string()
        };
        assert!(error("leak:a\nlaek:b").starts_with("line 2: `laek:b` is no suppression"));
        assert!(error("{\nname\nMemcheck:Leak").starts_with("line 1: a block without"));
        assert!(
            error("{\nname\nMemcheck:Leak\nfnu:x\n}").starts_with("line 4: `fnu:x` is no frame")
        );
        assert!(error("{\n}").starts_with("line 1: a block needs"));
    }

    #[test]
    fn a_block_for_a_stack_matches_it_and_no_other() {
        let stack = [
            frame("operator new(unsigned long)", "", "/lib/libstdc++.so.6"),
            frame("char* app::keep<int>(int*)", "/src/keep.rs", "/opt/app"),
            Frame::default(),
            Frame::default(),
            Frame {
                module: "/lib/libx.so".to_owned(),
                offset: 5,
                ..Frame::default()
            },
            frame("main", "/src/main.rs", "/opt/app"),
        ];
        let mut suppressions = Suppressions::default();
        suppressions
            .add(&exactly("a *name*", &stack))
            .expect("well-formed");
        let matching = |stack: &[Frame]| {
            let frames: Vec<&Frame> = stack.iter().collect();
            suppressions.matching(&frames).map(str::to_owned)
        };
        assert_eq!(matching(&stack).as_deref(), Some("a ?name?"));
        // The length of a run of generated code is chance.
        assert!(matching(&[&stack[..3], &stack[4..]].concat()).is_some());
        for other in [
            &stack[1..2],
            &stack[..5],
            &[&stack[..2], &stack[4..]].concat()[..3],
            &[&stack[..5], &[frame("start", "", "/opt/app")]].concat(),
        ] {
            assert_eq!(matching(other), None, "{other:?}");
        }
    }

    #[test]
    fn suggestions_match_their_own_site() {
        let blamed = frame("void app::keep<int>(int)", "/src/keep.rs", "/opt/app");
        let mut suppressions = Suppressions::default();
        suppressions
            .add(&suggestion(Some(&blamed)))
            .expect("well-formed");
        assert!(suppressions.matching(&[&blamed]).is_some());
        assert_eq!(suggestion(None), "");
    }
}
