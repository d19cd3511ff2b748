//! What to do about a verdict, in a sentence or two.

use leaktrack_recording::SiteKind;

use super::opinion::{Opinion, Pattern, Verdict};

/// The advice for `opinion` on a site of `kind`.
pub fn advice(opinion: &Opinion, kind: SiteKind) -> String {
    let release = match kind {
        SiteKind::Heap => "free",
        SiteKind::Mmap => "munmap",
    };
    match (opinion.verdict, opinion.pattern) {
        (Verdict::Lost, _) => format!("Nothing points to these blocks any more: add the missing {release} where the last pointer is dropped."),
        (Verdict::Growing, Pattern::Staircase) if opinion.doubling => {
            "Find who keeps adding to this container, and remove or bound what it holds; `reserve` or `shrink_to_fit` only help with its spare room.".to_owned()
        }
        (Verdict::Growing, Pattern::Staircase) => format!("A batch or job leaves memory behind each time: look for the {release} that its clean-up misses."),
        (Verdict::Growing, Pattern::Periodic) => format!("A task that comes again leaves a residue each time: look for what it allocates and does not {release} before it ends."),
        (Verdict::Growing, Pattern::Accelerating) => "Growth feeds on itself: look for a structure that grows with its own size, or for retries that pile up.".to_owned(),
        (Verdict::Growing, _) => format!("Something is kept each time this line runs: look for its owner's missing {release}, or for a list, map or queue that is never trimmed."),
        (Verdict::Retained | Verdict::Healthy, Pattern::Spike) => "None needed for growth; if the peak decides how much memory the program needs, ask its owner to work in smaller parts.".to_owned(),
        (Verdict::Retained, Pattern::Plateau) => "None needed if this is a cache or a warm-up; bound it if the level is too high.".to_owned(),
        (Verdict::Retained, _) => "None needed: it does not grow.".to_owned(),
        (Verdict::Healthy, _) => "None needed.".to_owned(),
        (Verdict::Unclear, _) => opinion.settle.clone().unwrap_or_else(|| "Record for longer.".to_owned()),
    }
}
