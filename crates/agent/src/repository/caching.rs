//! What the library tells of its cache: it is there for speed, and nothing is missing that could not be kept in it.

/// How the library begins what it tells of its cache.
const OF_CACHE: &str = "Error in cache backend";

/// Whether what the library tells is of its cache, and so of nothing that was backed up or restored.
pub fn is_of_cache(told: &str) -> bool {
    told.starts_with(OF_CACHE)
}

/// Takes what is told of the cache out of all that is told; returns the rest, and why the cache failed first, if it did.
pub(super) fn apart(told: Vec<String>) -> (Vec<String>, Option<String>) {
    let (of_cache, rest): (Vec<String>, Vec<String>) =
        told.into_iter().partition(|text| is_of_cache(text));
    (rest, of_cache.first().map(|text| reason(text).to_owned()))
}

/// Returns the innermost reason of what the library tells: the system's, if it names one.
pub(super) fn reason(text: &str) -> &str {
    let told = |place: usize| text[place..].find(')').map(|end| &text[..=place + end]);
    let system = text.rfind("(os error ").and_then(told);
    system.unwrap_or(text).rsplit(": ").next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_is_full_is_no_loss() {
        let full = "Error in cache backend writing Pack,0123abcd: Failed to write the content of the buffer. (kind: \
                    related to input/output operations): caused by: No space left on device (os error 28)";
        let denied = "ignoring error: /a: Permission denied (os error 13)";
        let (rest, why) = apart([denied, full, full].map(str::to_owned).to_vec());
        assert_eq!(rest, [denied]);
        assert_eq!(why.as_deref(), Some("No space left on device (os error 28)"));
        assert_eq!(apart(vec![denied.to_owned()]), (vec![denied.to_owned()], None));
    }

    #[test]
    fn a_reason_is_the_innermost_and_no_more() {
        let denied = "Permission denied (os error 13)";
        // One line for each: what is told, and why.
        let table = [
            (format!("ignoring error: /a: {denied}"), denied),
            (format!("ignoring error: /a: {denied} : More {{ tail: None }}"), denied),
            ("one: two: three \n".to_owned(), "three"),
            ("one".to_owned(), "one"),
            ("a: cut (os error 1".to_owned(), "cut (os error 1"),
        ];
        for (text, why) in table {
            assert_eq!(reason(&text), why, "{text}");
        }
    }
}
