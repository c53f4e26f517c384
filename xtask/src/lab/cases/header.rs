//! The header of a case: what it shows, which guest it needs, which rules it proves, how long it may take.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use lab_wire::{Context, Failure};

use crate::lab::{Shape, parse_duration};

/// What cases source; no case itself.
const LIBRARY: &str = "lib";

/// One script of `lab/cases`.
#[derive(Debug)]
pub struct Case {
    /// The file's name without `.sh`.
    pub name: String,
    /// What it shows.
    pub sentence: String,
    /// The guest that it needs.
    pub shape: Shape,
    /// The ids of the rules that it proves.
    pub proves: Vec<String>,
    /// How long it may take.
    pub limit: Duration,
    /// Too long for every test run: `make soak`.
    pub soak: bool,
    /// It keeps every core busy, and is measured by its deadline: no other guest runs beside it.
    pub alone: bool,
    /// It needs nothing that only LIO has, and shows what any target must do.
    pub any_target: bool,
}

/// The flags of `cargo xtask lab run` in the header.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    shape: Shape,
}

/// Every case of the folder, by name.
pub fn read_all(folder: &Path) -> Result<Vec<Case>, Failure> {
    let entries = fs::read_dir(folder).context(|| format!("cannot read {}", folder.display()))?;
    let mut cases = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "sh") && name != LIBRARY {
            let text = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
            cases.push(parse(&name, &text).context(|| format!("the header of {}", path.display()))?);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// Reads the comment at the top of a script.
fn parse(name: &str, text: &str) -> Result<Case, Failure> {
    let lines = text.lines().skip_while(|line| line.starts_with("#!"));
    let comment: Vec<&str> = lines.map_while(|line| line.strip_prefix('#')).map(str::trim).collect();
    let field = |key: &str| {
        let value = comment.iter().find_map(|line| line.strip_prefix(key));
        value.map(str::trim).ok_or_else(|| Failure::new(format!("there is no line `# {key} …`")))
    };
    let flags = Flags::try_parse_from(field("lab:")?.split_whitespace())
        .map_err(|error| Failure::new(format!("# lab: {error}")))?;
    let limit = parse_duration(field("limit:")?).map_err(|why| Failure::new(format!("# limit: {why}")))?;
    let proves: Vec<String> = field("proves:")?.split_whitespace().map(str::to_owned).collect();
    if let Some(wrong) = proves.iter().find(|id| !is_id(id)) {
        return Err(Failure::new(format!("# proves: `{wrong}` is not the id of a rule, as C3")));
    }
    let words = comment.iter().take_while(|line| !line.starts_with("lab:")).copied();
    let sentence = words.collect::<Vec<_>>().join(" ").trim().to_owned();
    if sentence.is_empty() {
        return Err(Failure::new("it does not say first what it shows"));
    }
    let says = |word| comment.contains(&word);
    Ok(Case {
        name: name.to_owned(),
        sentence,
        shape: flags.shape,
        proves,
        limit,
        soak: says("soak"),
        alone: says("alone"),
        any_target: says("any target"),
    })
}

/// A capital letter and a number.
fn is_id(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && word.len() > 1
        && letters.all(|c| c.is_ascii_digit())
}

impl Case {
    /// As the guest's hand wants it: the name and the seconds.
    pub fn argument(&self) -> String {
        format!("{}={}", self.name, self.limit.as_secs().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#!/bin/bash\n# Four paths\n# make a map.\n# lab: --portals 4 --volumes 8\n\
                        # proves: C3 D14\n# limit: 60s\nset -eu\n# proves: nothing\n";

    #[test]
    fn a_header() {
        let case = parse("four", GOOD).unwrap();
        assert_eq!(case.sentence, "Four paths make a map.");
        assert_eq!(case.proves, ["C3", "D14"]);
        assert_eq!((case.shape.portals, case.shape.volumes), (4, 8));
        assert_eq!(case.argument(), "four=60");
        assert!(!case.soak && !case.alone && !case.any_target);
        let says =
            |word| parse("four", &GOOD.replace("# limit: 60s", &format!("# limit: 60s\n# {word}"))).unwrap();
        assert!(says("soak").soak && says("alone").alone && says("any target").any_target);
    }

    #[test]
    fn a_header_that_lacks_something_is_refused() {
        for (line, replacement) in [
            ("# lab: --portals 4 --volumes 8", "# lab: --portals none"),
            ("# lab: --portals 4 --volumes 8", "# other"),
            ("# proves: C3 D14", "# proves: C3, D14"),
            ("# limit: 60s", "# limit: long"),
            ("# limit: 60s", "# other"),
            ("# Four paths\n# make a map.\n", ""),
        ] {
            let text = GOOD.replace(line, replacement);
            assert!(parse("four", &text).is_err(), "{text}");
        }
    }
}
