//! Work on many items at once: as many threads as the machine has cores.

use std::sync::Mutex;

/// `work` on each of `items`; the results in their order. Each thread takes the next few whenever it has done
/// its last: some items take a thousand times as long as others, and lie together.
pub fn map<T: Send, R: Send>(items: &mut [T], work: impl Fn(&mut T) -> R + Sync) -> Vec<R> {
    // Below this many items a thread costs more than it saves.
    const WORTH_IT: usize = 64;
    /// Portions for each thread.
    const PORTIONS: usize = 64;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if threads == 1 || items.len() < WORTH_IT {
        return items.iter_mut().map(work).collect();
    }
    let portion = items.len().div_ceil(threads * PORTIONS);
    let portions = Mutex::new(items.chunks_mut(portion).enumerate());
    let next = || portions.lock().ok()?.next();
    let worker = || {
        let mut done = Vec::new();
        while let Some((place, items)) = next() {
            done.push((place, items.iter_mut().map(&work).collect::<Vec<R>>()));
        }
        done
    };
    let mut done: Vec<(usize, Vec<R>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(join).collect()
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

/// `work` on each of so many shares at once; the results in their order.
pub fn shares<R: Send>(shares: u32, work: impl Fn(u32) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = (1..shares)
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let mut results = vec![work(0)];
        results.extend(others.into_iter().map(join));
        results
    })
}

/// Both at once.
pub fn both<A, B: Send>(one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        (one(), join(other))
    })
}

fn join<R>(worker: std::thread::ScopedJoinHandle<'_, R>) -> R {
    worker
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_keep_the_order() {
        let mut items: Vec<u32> = (0..1_000).collect();
        let doubled = super::map(&mut items, |item| *item * 2);
        assert!(
            doubled
                .iter()
                .enumerate()
                .all(|(index, value)| *value as usize == 2 * index)
        );
        assert!(super::map(&mut [] as &mut [u32], |item| *item).is_empty());
    }
}
