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
    let mut portions = items.chunks_mut(portion);
    let done = batches(
        || portions.next(),
        |items| items.iter_mut().map(&work).collect::<Vec<R>>(),
    );
    done.into_iter().flatten().collect()
}

/// `work` on each batch that `next` makes, until it makes none; the results in their order. `next` is called by one
/// thread at a time.
pub fn batches<B, R: Send>(
    next: impl FnMut() -> Option<B> + Send,
    work: impl Fn(B) -> R + Sync,
) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = Mutex::new((0_usize, next));
    let next = || {
        let (place, make) = &mut *next.lock().ok()?;
        *place += 1;
        Some((*place, make()?))
    };
    let worker = || {
        let mut done = Vec::new();
        while let Some((place, batch)) = next() {
            done.push((place, work(batch)));
        }
        done
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let mut done = worker();
        done.extend(others.into_iter().flat_map(join));
        done
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
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

    #[test]
    fn results_of_batches_keep_the_order_in_which_these_were_made() {
        let mut made = 0_u32..1_000;
        let work = |batch: u32| {
            // Every third takes longer than those after it.
            let spun = (0..batch % 3 * 10_000)
                .fold(0_u64, |sum, n| std::hint::black_box(sum + u64::from(n)));
            std::hint::black_box(spun);
            batch
        };
        let done = super::batches(|| made.next(), work);
        assert_eq!(done, (0..1_000).collect::<Vec<_>>());
    }
}
