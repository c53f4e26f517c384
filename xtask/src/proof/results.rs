//! Which unit tests ran and how they ended: libtest's lines.

use std::collections::BTreeMap;

/// Whether each test passed, by function name. One that ran more than once passed if it did every time.
pub(super) type Results = BTreeMap<String, bool>;

/// Reads libtest's `test path::to::name ... ok`. A doc test's line (`file.rs - item (line 3)`) names no function.
pub(super) fn of_libtest(text: &str) -> Results {
    let mut results = Results::new();
    for line in text.lines() {
        let Some((path, ending)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            continue;
        };
        let path = path.trim_end_matches(" - should panic");
        let passed = match ending.trim() {
            "ok" => true,
            text if text.starts_with("FAILED") => false,
            // Ignored, or a benchmark: it proves nothing.
            _ => continue,
        };
        if !path.contains(' ') {
            let name = path.rsplit("::").next().unwrap_or(path).to_owned();
            results.entry(name).and_modify(|all| *all &= passed).or_insert(passed);
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ran_and_ended_counts() {
        let text = "running 5 tests\ntest plan::tests::c1_a ... ok\ntest d4_b - should panic ... ok\n\
            test c2_c ... FAILED\ntest c3_d ... ignored\ntest src/lib.rs - x::y (line 3) ... ok\n";
        let expected = [("c1_a", true), ("c2_c", false), ("d4_b", true)];
        assert_eq!(of_libtest(text), expected.map(|(name, ok)| (name.to_owned(), ok)).into());
    }

    #[test]
    fn a_test_that_failed_once_has_not_passed() {
        let text = "test a::c1_x ... ok\ntest b::c1_x ... FAILED\ntest c::c1_x ... ok\n";
        assert_eq!(of_libtest(text), [("c1_x".to_owned(), false)].into());
    }
}
