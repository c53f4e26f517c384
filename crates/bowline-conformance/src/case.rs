//! A case: what it shows, which host it needs, and its steps.

use crate::action::{self, Action};

/// How the target offers its volumes; both hosts have four portals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// One target behind all portals.
    OneIqn,
    /// One for each portal, with the same volumes.
    IqnPerPortal,
}

/// The addresses of the portals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 10.0.N.2
    Ipv4,
    /// fd00:0:0:N::2
    Ipv6,
}

/// A case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file's name without `.case`; that of the laboratory's case whose behaviour it is.
    pub name: String,
    /// What it shows.
    pub sentence: String,
    /// Too long for every test run.
    pub soak: bool,
    /// How the target offers its volumes.
    pub backend: Backend,
    /// The addresses of the portals.
    pub family: Family,
    /// What happens, one thing after another.
    pub steps: Vec<Step>,
}

/// A step of a case.
#[derive(Debug, Clone)]
pub struct Step {
    /// As it is written.
    pub text: String,
    /// What it means.
    pub action: Action,
}

impl Case {
    /// Reads one: first what it shows, as a comment; then what host it needs, where that is not the usual one (`backend
    /// iqn-per-portal`, `family ipv6`, `soak`); then a step a line.
    ///
    /// # Errors
    /// A line that cannot be understood, by its number; or there is no step, or no sentence.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let comment = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
        let mut case = Self {
            name: name.to_owned(),
            sentence: comment.collect::<Vec<_>>().join(" "),
            soak: false,
            backend: Backend::OneIqn,
            family: Family::Ipv4,
            steps: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                ["soak"] => case.soak = true,
                ["backend", "iqn-per-portal"] => case.backend = Backend::IqnPerPortal,
                ["family", "ipv6"] => case.family = Family::Ipv6,
                words => {
                    let action =
                        action::parse(words).map_err(|why| format!("{name}, line {number}: {why}"))?;
                    case.steps.push(Step { text: words.join(" "), action });
                }
            }
        }
        match (case.sentence.is_empty(), case.steps.is_empty()) {
            (true, _) => Err(format!("{name} does not say first what it shows")),
            (_, true) => Err(format!("{name} has no step")),
            _ => Ok(case),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Connect, Wait};

    #[test]
    fn a_case() {
        let text = "# Two of four\n# are dead.\nsoak\nfamily ipv6\n\ndrop 2 4\nconnect 1 min-paths=2  # a map\nwait 4 paths of 1\n";
        let case = Case::parse("half-dead", text).unwrap();
        assert_eq!(case.sentence, "Two of four are dead.");
        assert!(case.soak && case.family == Family::Ipv6 && case.backend == Backend::OneIqn);
        let connect = Connect { min_paths: Some(2), ..Connect::of(1) };
        let actions: Vec<Action> = case.steps.into_iter().map(|step| step.action).collect();
        let wait = Action::Wait(Wait::Paths { count: 4, volume: 1 });
        assert_eq!(actions, [Action::Drop(vec![2, 4]), Action::Connect(connect), wait]);
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        let error = Case::parse("x", "# A case.\nconnect 1\nconect 1\n").unwrap_err();
        assert!(error.contains("x, line 3") && error.contains("conect 1"), "{error}");
        assert!(Case::parse("x", "connect 1\n").is_err() && Case::parse("x", "# Nothing.\n").is_err());
    }
}
