//! AVX2: registers of four numbers instead of two.

use std::arch::x86_64::{
    __m256d, _mm256_add_pd, _mm256_loadu_pd, _mm256_mul_pd, _mm256_setzero_pd, _mm256_storeu_pd,
};

use super::Work;

fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

/// See [`super::dots`].
pub fn dots<const N: usize>(a: &[f64], others: [&[f64]; N]) -> Option<[f64; N]> {
    // SAFETY: the processor has what the function is compiled for, which is all that it asks for.
    has_avx2().then(|| unsafe { dots_avx2(a, others) })
}

/// See [`super::compiled`].
pub fn compiled<W: Work>(work: W) -> W::Outcome {
    if has_avx2() {
        // SAFETY: as above.
        unsafe { compiled_avx2(work) }
    } else {
        work.run()
    }
}

#[target_feature(enable = "avx2")]
fn compiled_avx2<W: Work>(work: W) -> W::Outcome {
    work.run()
}

/// The same operations in the same order as `stats::sums`, written out: the compiler makes shuffles of that.
#[target_feature(enable = "avx2")]
fn dots_avx2<const N: usize>(a: &[f64], others: [&[f64]; N]) -> [f64; N] {
    let halves = |chunk: &[f64; 8]| -> [__m256d; 2] {
        let [low, high] = [0, 4].map(|at| chunk[at..].as_ptr());
        // SAFETY: four numbers follow both, and the loads ask for no alignment.
        unsafe { [_mm256_loadu_pd(low), _mm256_loadu_pd(high)] }
    };
    let (chunks, rest, parts) = in_chunks(a, others);
    let mut sums = [[_mm256_setzero_pd(); 2]; N];
    for (at, chunk) in chunks.iter().enumerate() {
        let [low, high] = halves(chunk);
        for (sums, (others, _)) in sums.iter_mut().zip(&parts) {
            let [other_low, other_high] = halves(&others[at]);
            sums[0] = _mm256_add_pd(sums[0], _mm256_mul_pd(low, other_low));
            sums[1] = _mm256_add_pd(sums[1], _mm256_mul_pd(high, other_high));
        }
    }
    let mut results = [0.0; N];
    for (result, ([low, high], (_, other))) in results.iter_mut().zip(sums.iter().zip(&parts)) {
        *result = summed(_mm256_add_pd(*low, *high), rest, other);
    }
    results
}

/// A column in whole registers, and what is left of it.
type Chunks<'a> = (&'a [[f64; 8]], &'a [f64]);

/// `a`, and each of `others` with as many chunks.
#[inline(always)]
fn in_chunks<'a, const N: usize>(
    a: &'a [f64],
    others: [&'a [f64]; N],
) -> (&'a [[f64; 8]], &'a [f64], [Chunks<'a>; N]) {
    let parts = others.map(|other| other.as_chunks::<8>());
    let (chunks, rest) = a.as_chunks::<8>();
    let all = parts.iter().map(|(chunks, _)| chunks.len());
    let count = all.fold(chunks.len(), usize::min);
    let parts = parts.map(|(chunks, rest)| (&chunks[..count], rest));
    (&chunks[..count], rest, parts)
}

/// The sum of `four`, and of what did not fill a register.
#[inline]
#[target_feature(enable = "avx2")]
fn summed(four: __m256d, rest: &[f64], other: &[f64]) -> f64 {
    let rest: f64 = rest.iter().zip(other).map(|(a, b)| a * b).sum();
    let mut parts = [0.0; 4];
    // SAFETY: there is room for four numbers, and the store asks for no alignment.
    unsafe { _mm256_storeu_pd(parts.as_mut_ptr(), four) };
    let [a, b, c, d] = parts;
    rest + ((a + b) + (c + d))
}
