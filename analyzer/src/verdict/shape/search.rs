//! Where something is highest, without knowing how it runs.

/// The golden section, less 1.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// About where `worth` is highest between `low` and `high`, if it has one top there: by so many golden sections
/// (Kiefer 1953), each of which asks for one value more.
pub fn golden(
    (mut low, mut high): (f64, f64),
    sections: usize,
    mut worth: impl FnMut(f64) -> f64,
) -> f64 {
    let inner = |low: f64, high: f64| {
        let part = GOLDEN * (high - low);
        (high - part, low + part)
    };
    let (mut left, mut right) = inner(low, high);
    let (mut at_left, mut at_right) = (worth(left), worth(right));
    for section in 1..=sections {
        if at_left >= at_right {
            high = right;
            (right, at_right) = (left, at_left);
            left = inner(low, high).0;
            if section < sections {
                at_left = worth(left);
            }
        } else {
            low = left;
            (left, at_left) = (right, at_right);
            right = inner(low, high).1;
            if section < sections {
                at_right = worth(right);
            }
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::golden;

    #[test]
    fn the_top_of_a_hill_is_found_with_one_value_for_each_section() {
        for top in [-0.9, -0.2, 0.0, 0.31, 0.97] {
            let mut asked = 0;
            let found = golden((-1.0, 1.0), 20, |x| {
                asked += 1;
                -(x - top).powi(2)
            });
            assert!((found - top).abs() < 1e-3, "{found} for {top}");
            assert_eq!(asked, 21);
        }
    }
}
