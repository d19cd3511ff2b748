//! Which recordings belong together: those of processes that forked or exec'd from one another.

use std::borrow::Borrow;

use super::process::Process;

/// Index of each process's parent in `processes`, `None` for a root.
///
/// A parent is known by its recording's id; else, on one host, the same process before its exec
/// (pid and start time), or the process whose pid is the child's ppid and which ran at its start;
/// for want of them the first of the family.
pub fn parents<P: Borrow<Process>>(processes: &[P]) -> Vec<Option<usize>> {
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(processes.len());
    let all = || processes.iter().map(Borrow::borrow).enumerate();
    for (index, child) in all() {
        let others = || all().filter(|(other, _)| *other != index);
        let found = others()
            .find(|(_, other)| child.parent == Some(other.id))
            .or_else(|| before_exec(child, others()))
            .or_else(|| others().find(|(_, other)| is_by_pid(child, other)))
            .or_else(|| others().find(|(_, other)| is_first_of_family(child, other)))
            .map(|(other, _)| other);
        parents.push(found);
    }
    break_cycles(&mut parents);
    parents
}

fn before_exec<'a>(
    child: &Process,
    others: impl Iterator<Item = (usize, &'a Process)>,
) -> Option<(usize, &'a Process)> {
    others
        .filter(|(_, other)| {
            other.host == child.host
                && other.pid == child.pid
                && other.start_ticks == child.start_ticks
                && other.started_unix_ns < child.started_unix_ns
        })
        .max_by_key(|(_, other)| other.started_unix_ns)
}

/// The recording of the parent may have been folded (option `family-disk`).
fn is_first_of_family(child: &Process, other: &Process) -> bool {
    child.parent.is_some() && child.family == Some(other.id)
}

fn is_by_pid(child: &Process, other: &Process) -> bool {
    let ended_unix_ns = other
        .started_unix_ns
        .saturating_add(other.last_record_ms.saturating_mul(1_000_000));
    let slack_ns = 2_000_000_000_u64.max(other.interval_ms.saturating_mul(2_000_000));
    child.parent.is_none()
        && child.ppid != 0
        && other.host == child.host
        && other.pid == child.ppid
        && other.start_ticks <= child.start_ticks
        && other.started_unix_ns <= child.started_unix_ns
        && child.started_unix_ns <= ended_unix_ns.saturating_add(slack_ns)
}

/// For each process whether its memory went away because it became another program whose
/// recording is here too.
pub fn superseded(processes: &[Process], parents: &[Option<usize>]) -> Vec<bool> {
    let mut superseded = vec![false; processes.len()];
    for (child, parent) in processes.iter().zip(parents) {
        let before = parent.and_then(|index| Some((index, processes.get(index)?)));
        let same = before.filter(|(_, before)| {
            before.pid == child.pid
                && before.start_ticks == child.start_ticks
                && before.host == child.host
        });
        if let Some(slot) = same.and_then(|(index, _)| superseded.get_mut(index)) {
            *slot = true;
        }
    }
    superseded
}

/// Damaged ids could make a process its own ancestor: such a link is cut.
fn break_cycles(parents: &mut [Option<usize>]) {
    for index in 0..parents.len() {
        let mut at = index;
        for _ in 0..=parents.len() {
            match parents.get(at).copied().flatten() {
                Some(parent) => at = parent,
                None => break,
            }
            if at == index {
                if let Some(link) = parents.get_mut(index) {
                    *link = None;
                }
                break;
            }
        }
    }
}

/// The root of each process.
pub fn roots(parents: &[Option<usize>]) -> Vec<usize> {
    (0..parents.len())
        .map(|index| {
            let mut at = index;
            for _ in 0..parents.len() {
                match parents.get(at).copied().flatten() {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            at
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_cut() {
        let mut parents = vec![Some(1), Some(2), Some(0), Some(0)];
        break_cycles(&mut parents);
        let roots = roots(&parents);
        assert_eq!(parents.iter().filter(|parent| parent.is_none()).count(), 1);
        assert!(roots.iter().all(|root| *root == roots[0]));
    }
}
