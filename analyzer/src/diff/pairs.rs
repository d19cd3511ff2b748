//! Finds a site of one run in another: by `id`, then by functions and files, then by the rest of
//! the stack.
//!
//! Never guesses: where two sites could be meant, none is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::document::{MatchedBy, Renamed};
use crate::model::identity::{file_name, stable_name};
use crate::report::document::SiteReport;

/// The same site in two runs; one side is empty if it is only in the other.
#[derive(Debug, Default)]
pub struct Pair<'a> {
    /// In the old run; several if several call sites have the same functions and files.
    pub old: Vec<&'a SiteReport>,
    /// In the new run.
    pub new: Vec<&'a SiteReport>,
    /// How they were found; `None` for a site of one run.
    pub by: Option<MatchedBy>,
    /// Functions that have another name now.
    pub renamed: Vec<Renamed>,
}

/// A frame without what changes from build to build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Token<'a> {
    /// Function and file name.
    Function(&'a str, &'a str),
    /// Without symbols an address means something within one build only.
    Address(&'a str, &'a str, u64),
    /// Consecutive frames in anonymous memory.
    Jit,
}

impl Token<'_> {
    fn shown(&self) -> String {
        match self {
            Self::Function(function, "") => (*function).to_owned(),
            Self::Function(function, file) => format!("{function} ({file})"),
            Self::Address(module, _, offset) => format!("{module}+{offset:#x}"),
            Self::Jit => "[jit]".to_owned(),
        }
    }
}

/// A stack as tokens, with the kind of memory.
type Signature<'a> = (&'a str, Vec<Token<'a>>);

fn signature(site: &SiteReport) -> Signature<'_> {
    let mut tokens = Vec::with_capacity(site.frames.len());
    for frame in &site.frames {
        let token = match &frame.function {
            Some(function) => Token::Function(
                stable_name(function),
                file_name(frame.file.as_deref().unwrap_or_default()),
            ),
            None if frame.module.is_empty() => Token::Jit,
            None => Token::Address(file_name(&frame.module), &frame.build_id, frame.offset),
        };
        if token != Token::Jit || tokens.last() != Some(&Token::Jit) {
            tokens.push(token);
        }
    }
    (&site.kind, tokens)
}

/// All sites of both runs, each in one pair.
pub fn pairs<'a>(old: &'a [SiteReport], new: &'a [SiteReport]) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    let (mut old_left, mut new_left) = by_id(old, new, &mut pairs);
    let all = |sites: &'a [SiteReport]| -> HashSet<Token<'a>> {
        sites.iter().flat_map(|site| signature(site).1).collect()
    };
    by_signature(
        &mut old_left,
        &mut new_left,
        &Renames::default(),
        &mut pairs,
    );
    let mut renames = Renames::default();
    while !old_left.is_empty() && !new_left.is_empty() {
        let (before, after) = (all(old), all(new));
        let known = renames.0.len();
        renames.learn(&old_left, &new_left, &before, &after);
        if renames.0.len() == known {
            break;
        }
        by_signature(&mut old_left, &mut new_left, &renames, &mut pairs);
    }
    by_modules(&mut old_left, &mut new_left, &mut pairs);
    pairs.extend(old_left.into_iter().map(|site| Pair {
        old: vec![site],
        ..Pair::default()
    }));
    pairs.extend(new_left.into_iter().map(|site| Pair {
        new: vec![site],
        ..Pair::default()
    }));
    pairs
}

type Left<'a> = Vec<&'a SiteReport>;

/// Same build. A module without build-id may have been replaced under the same path: then the
/// names must agree, too.
fn by_id<'a>(
    old: &'a [SiteReport],
    new: &'a [SiteReport],
    pairs: &mut Vec<Pair<'a>>,
) -> (Left<'a>, Left<'a>) {
    let mut by_id: HashMap<&str, &SiteReport> =
        new.iter().map(|site| (site.id.as_str(), site)).collect();
    let mut old_left = Vec::new();
    for site in old {
        let sure = |other: &&SiteReport| {
            let has_id =
                |frame: &crate::model::Frame| frame.module.is_empty() || !frame.build_id.is_empty();
            site.frames.iter().all(has_id) || signature(site) == signature(other)
        };
        match by_id.get(site.id.as_str()).copied().filter(sure) {
            Some(other) => {
                by_id.remove(site.id.as_str());
                pairs.push(Pair {
                    old: vec![site],
                    new: vec![other],
                    by: Some(MatchedBy::Id),
                    renamed: Vec::new(),
                });
            }
            None => old_left.push(site),
        }
    }
    let left = |site: &&SiteReport| by_id.contains_key(site.id.as_str());
    (old_left, new.iter().filter(left).collect())
}

/// Same functions and files, once the old ones are called by their new names. Several call sites
/// within one function keep their order of lines; if their number changed, they count together.
fn by_signature<'a>(
    old_left: &mut Left<'a>,
    new_left: &mut Left<'a>,
    renames: &Renames<'a>,
    pairs: &mut Vec<Pair<'a>>,
) {
    let mut groups: BTreeMap<Signature<'a>, (Left<'a>, Left<'a>)> = BTreeMap::new();
    for site in old_left.drain(..) {
        let renamed = renames.apply(signature(site));
        groups.entry(renamed).or_default().0.push(site);
    }
    for site in new_left.drain(..) {
        groups.entry(signature(site)).or_default().1.push(site);
    }
    for (_, (mut old, mut new)) in groups {
        if old.is_empty() || new.is_empty() {
            old_left.append(&mut old);
            new_left.append(&mut new);
            continue;
        }
        let lines = |site: &&SiteReport| -> Vec<(Option<u32>, u64)> {
            let frames = site.frames.iter();
            frames.map(|frame| (frame.line, frame.offset)).collect()
        };
        old.sort_by_key(lines);
        new.sort_by_key(lines);
        let same_number = old.len() == new.len();
        let each: Vec<(Left<'a>, Left<'a>)> = match same_number {
            true => old
                .into_iter()
                .map(|one| vec![one])
                .zip(new.into_iter().map(|one| vec![one]))
                .collect(),
            false => vec![(old, new)],
        };
        for (old, new) in each {
            let renamed = old.first().map_or_else(Vec::new, |site| renames.of(site));
            pairs.push(Pair {
                by: Some(match renamed.is_empty() {
                    true => MatchedBy::Key,
                    false => MatchedBy::Stack,
                }),
                old,
                new,
                renamed,
            });
        }
    }
}

/// Functions of the old run by their token in the new one.
#[derive(Debug, Default)]
struct Renames<'a>(HashMap<Token<'a>, Token<'a>>);

impl<'a> Renames<'a> {
    fn apply(&self, (kind, mut tokens): Signature<'a>) -> Signature<'a> {
        for token in &mut tokens {
            if let Some(to) = self.0.get(token) {
                *token = to.clone();
            }
        }
        (kind, tokens)
    }

    fn of(&self, site: &'a SiteReport) -> Vec<Renamed> {
        let mut seen = BTreeSet::new();
        let (_, tokens) = signature(site);
        let known = tokens
            .into_iter()
            .filter_map(|token| Some((token.clone(), self.0.get(&token)?)));
        known
            .filter(|(from, _)| seen.insert(from.clone()))
            .map(|(from, to)| Renamed {
                from: from.shown(),
                to: to.shown(),
            })
            .collect()
    }

    /// A function that is nowhere in the new run stands where one stands that was nowhere in the
    /// old run, all other frames being equal: it was renamed, unless another could be meant.
    fn learn(
        &mut self,
        old_left: &[&'a SiteReport],
        new_left: &[&'a SiteReport],
        before: &HashSet<Token<'a>>,
        after: &HashSet<Token<'a>>,
    ) {
        let old = holes(
            old_left.iter().map(|site| self.apply(signature(site))),
            |token| !after.contains(token),
        );
        let new = holes(new_left.iter().map(|site| signature(site)), |token| {
            !before.contains(token)
        });
        let mut forth: HashMap<Token<'a>, BTreeSet<Token<'a>>> = HashMap::new();
        let mut back: HashMap<Token<'a>, BTreeSet<Token<'a>>> = HashMap::new();
        for (rest, gone) in &old {
            let Some(come) = new.get(rest) else { continue };
            for from in gone {
                forth
                    .entry(from.clone())
                    .or_default()
                    .extend(come.iter().cloned());
            }
            for to in come {
                back.entry(to.clone())
                    .or_default()
                    .extend(gone.iter().cloned());
            }
        }
        for (from, to) in forth {
            let mut to = to.into_iter();
            if let (Some(to), None) = (to.next(), to.next())
                && back.get(&to).is_some_and(|all| all.len() == 1)
            {
                self.0.insert(from, to);
            }
        }
    }
}

/// Hash of a stack with one function left out, wherever it stands.
type Rest = u64;

/// For each stack and each function in it that `may_change`: what it is without that function.
fn holes<'a>(
    signatures: impl Iterator<Item = Signature<'a>>,
    may_change: impl Fn(&Token<'a>) -> bool,
) -> HashMap<Rest, BTreeSet<Token<'a>>> {
    let mut holes: HashMap<Rest, BTreeSet<Token<'a>>> = HashMap::new();
    for (kind, tokens) in signatures {
        let named = tokens
            .iter()
            .filter(|token| matches!(token, Token::Function(..)) && may_change(token));
        for token in named.collect::<BTreeSet<_>>() {
            if tokens.iter().any(|other| other != token) {
                let mut hasher = DefaultHasher::new();
                kind.hash(&mut hasher);
                for other in &tokens {
                    (other != token).then_some(other).hash(&mut hasher);
                }
                let rest = holes.entry(hasher.finish()).or_default();
                rest.insert(token.clone());
            }
        }
    }
    holes
}

/// Libraries without symbols that were rebuilt: their frames count by module alone, if that leaves
/// one site on each side.
fn by_modules<'a>(old_left: &mut Left<'a>, new_left: &mut Left<'a>, pairs: &mut Vec<Pair<'a>>) {
    let mut groups: HashMap<Signature<'a>, (Left<'a>, Left<'a>)> = HashMap::new();
    let loose = |site: &'a SiteReport| {
        let (kind, mut tokens) = signature(site);
        let mut named = false;
        for token in &mut tokens {
            match token {
                Token::Address(module, ..) => *token = Token::Address(module, "", 0),
                Token::Function(..) => named = true,
                Token::Jit => {}
            }
        }
        named.then_some((kind, tokens))
    };
    for site in old_left.iter() {
        if let Some(signature) = loose(site) {
            groups.entry(signature).or_default().0.push(site);
        }
    }
    for site in new_left.iter() {
        if let Some(signature) = loose(site) {
            groups.entry(signature).or_default().1.push(site);
        }
    }
    let (mut old_found, mut new_found) = (HashSet::new(), HashSet::new());
    for (old, new) in groups.into_values() {
        if let ([before], [after]) = (old.as_slice(), new.as_slice()) {
            old_found.insert(before.id.as_str());
            new_found.insert(after.id.as_str());
            pairs.push(Pair {
                by: Some(MatchedBy::Stack),
                old,
                new,
                renamed: Vec::new(),
            });
        }
    }
    old_left.retain(|site| !old_found.contains(site.id.as_str()));
    new_left.retain(|site| !new_found.contains(site.id.as_str()));
}
