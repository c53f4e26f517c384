//! Which test names which requirement: read from the sources, by name (`fn c13_…`) or doc comment (`/// C13: …`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// The requirements that each test names, by the test's function name.
pub(super) type Named = BTreeMap<String, BTreeSet<String>>;

/// Reads every Rust file below a folder.
pub(super) fn read(folder: &Path, named: &mut Named) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, named)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests_in(&fs::read_to_string(&path)?, named);
        }
    }
    Ok(())
}

/// A test is a `#[test]`, other attributes, and a function; what it proves may stand in the comment above.
fn tests_in(text: &str, named: &mut Named) {
    let mut proves = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            proves.extend(leading_ids(doc));
        } else if line.starts_with("#[") {
            is_test |= line == "#[test]";
        } else {
            let name = function(line).filter(|_| is_test);
            if let Some(name) = name {
                proves.extend(ids_of_name(name));
                if !proves.is_empty() {
                    named.entry(name.to_owned()).or_default().append(&mut proves);
                }
            }
            (is_test, proves) = (false, BTreeSet::new());
        }
    }
}

fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// `c1_d9_what_it_does`: C1 and D9.
fn ids_of_name(name: &str) -> Vec<String> {
    name.split('_').map_while(|word| id(&word.to_ascii_uppercase())).collect()
}

/// `C1, D9: what it does`: C1 and D9. A comment that mentions an id later on is about something else.
fn leading_ids(doc: &str) -> Vec<String> {
    doc.split_whitespace().map_while(|word| id(word.trim_end_matches([',', ':', '.']))).collect()
}

fn id(word: &str) -> Option<String> {
    let digits = word.strip_prefix(['C', 'D', 'B', 'K', 'T'])?;
    let fits = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proved(text: &str) -> Vec<(String, Vec<String>)> {
        let mut named = Named::new();
        tests_in(text, &mut named);
        named.into_iter().map(|(name, ids)| (name, ids.into_iter().collect())).collect()
    }

    fn is(name: &str, ids: &[&str]) -> Vec<(String, Vec<String>)> {
        vec![(name.to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())]
    }

    #[test]
    fn ids_stand_in_the_name_or_at_the_head_of_the_comment() {
        assert_eq!(proved("#[test]\nfn c13_own_scan() {"), is("c13_own_scan", &["C13"]));
        assert_eq!(proved("#[test]\nfn c1_d9_left() {"), is("c1_d9_left", &["C1", "D9"]));
        assert_eq!(proved("/// C14, B7: why.\n#[test]\nfn turn() {"), is("turn", &["B7", "C14"]));
        assert_eq!(proved("#[test]\n#[ignore]\n  fn d4_x(a in 0..3) {"), is("d4_x", &["D4"]));
    }

    #[test]
    fn what_is_no_test_or_names_nothing_proves_nothing() {
        assert_eq!(proved("fn c13_helper() {}\n/// C3\nfn builder() {}"), []);
        assert_eq!(proved("/// As C3 says\n#[test]\nfn something() {"), []);
        assert_eq!(proved("#[test]\nfn cd_rom_c1() {\n/// D4\nlet x;\n#[test]\nfn d_4() {"), []);
    }
}
