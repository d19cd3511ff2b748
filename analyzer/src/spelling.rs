//! Finds what a misspelt word was meant to be.

/// The candidate that `word` is nearest to, if it is near enough to have been meant: one slip in
/// three letters, at least one; two letters that changed places are one slip.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = (word.chars().count() / 3).max(1);
    let with_distance = candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate));
    // The first of several that are equally near.
    let nearest = with_distance.min_by_key(|(distance, _)| *distance)?;
    (nearest.0 <= near).then_some(nearest.1)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let keys = ["output", "mode", "interval", "only"];
        assert_eq!(nearest("ouptut", keys), Some("output"));
        assert_eq!(nearest("intervall", keys), Some("interval"));
        assert_eq!(nearest("mod", keys), Some("mode"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("mode", []), None);
    }
}
