//! What is aimed at, and whether the figures reach it: a table made from the data, with the cause where one is known.

use super::summary::Spread;
use super::table::{fine, table};

/// One aim.
pub struct Goal {
    /// What it is.
    pub aim: String,
    /// What was seen.
    pub seen: String,
    /// Whether that reaches it; nothing where it was not measured.
    pub reached: Option<bool>,
    /// What is known of the cause where it is not reached; empty where nothing is.
    pub cause: &'static str,
    /// How much of what it is to be judged by was not measured yet.
    pub missing: usize,
    /// How many measurements, of how many, do not reach it, though their median does.
    pub above: Option<(usize, usize)>,
}

impl Goal {
    /// All of so many shall be so; nothing was measured where there were none.
    pub fn all(aim: impl Into<String>, good: usize, of: usize) -> Self {
        Self::share(aim, good, of, 100)
    }

    /// At least so many in a hundred shall be so.
    pub fn share(aim: impl Into<String>, good: usize, of: usize, percent: usize) -> Self {
        let reached = (of > 0).then_some(good * 100 >= of * percent);
        Self { aim: aim.into(), seen: format!("{good} of {of}"), reached, cause: "", missing: 0, above: None }
    }

    /// A figure shall be at most this.
    pub fn at_most(aim: impl Into<String>, seen: Option<f64>, most: f64, unit: &str) -> Self {
        let seen: Vec<f64> = seen.into_iter().collect();
        Self::median_at_most(aim, &seen, most, unit)
    }

    /// The median of figures shall be at most this.
    pub fn median_at_most(aim: impl Into<String>, seen: &[f64], most: f64, unit: &str) -> Self {
        let above = seen.iter().filter(|one| **one > most).count();
        Self {
            aim: aim.into(),
            seen: fine(seen, unit).unwrap_or_else(|| "–".to_owned()),
            reached: Spread::of(seen).map(|spread| spread.median <= most),
            cause: "",
            missing: 0,
            above: (above > 0).then_some((above, seen.len())),
        }
    }

    /// What is known of the cause, should it not be reached.
    pub fn because(self, cause: &'static str) -> Self {
        Self { cause, ..self }
    }

    /// So many of those that it is judged by did not come so far: then it is not reached, whatever the others have come to.
    pub fn failed(self, failed: usize) -> Self {
        match failed {
            0 => self,
            failed => Self { seen: format!("{}; {failed} failed", self.seen), reached: Some(false), ..self },
        }
    }

    /// So much of what it is to be judged by was not measured yet: until then it may be reached so far only.
    pub fn missing(self, missing: usize) -> Self {
        Self { missing, ..self }
    }
}

/// The section of a report.
pub fn section(goals: &[Goal]) -> String {
    let rows: Vec<Vec<String>> = goals
        .iter()
        .map(|goal| {
            let reached = match (goal.reached, goal.missing, goal.above) {
                (None, ..) => "not measured yet".to_owned(),
                (Some(true), 0, None) => "yes".to_owned(),
                (Some(true), 0, Some((above, of))) => format!("by the median; {above} of {of} above"),
                (Some(true), missing, _) => format!("so far; {missing} more are to be measured"),
                (Some(false), ..) => "**no**".to_owned(),
            };
            vec![goal.aim.clone(), goal.seen.clone(), reached]
        })
        .collect();
    let mut text = format!("## What bowline aims at\n\n{}\n", table(&["aim", "seen", "reached"], &rows));
    let causes = causes(goals);
    if !causes.is_empty() {
        text += &format!("Why some are not reached:\n\n{causes}\n");
    }
    text
}

/// The causes that are known of what is not reached, each once, with all that it holds for.
fn causes(goals: &[Goal]) -> String {
    let mut causes: Vec<(&str, Vec<&str>)> = Vec::new();
    for goal in goals.iter().filter(|goal| goal.reached == Some(false) && !goal.cause.is_empty()) {
        match causes.iter_mut().find(|(cause, _)| *cause == goal.cause) {
            Some((_, aims)) => aims.push(&goal.aim),
            None => causes.push((goal.cause, vec![&goal.aim])),
        }
    }
    causes.iter().map(|(cause, aims)| format!("- *{}*: {cause}\n", aims.join("*; *"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_reached_says_why_and_what_is_not_measured_says_so() {
        let goals = [
            Goal::all("nothing is left", 10, 10).because("?"),
            Goal::share("most attach", 9, 10, 95).because("a slow reader"),
            Goal::share("most detach", 8, 10, 95).because("a slow reader"),
            Goal::all("no run", 0, 0).because("?"),
            Goal::at_most("fast", Some(1.5), 1.3, " ×"),
            Goal::at_most("faster", None, 1.3, " ×"),
            Goal::all("few", 2, 2).missing(8),
            Goal::at_most("sometimes", Some(1.0), 1.3, " ×").failed(1),
            Goal::median_at_most("mostly", &[1.0, 1.2, 1.4], 1.3, " ×"),
            Goal::median_at_most("rarely", &[1.0, 1.4, 1.4], 1.3, " ×"),
        ];
        let text = section(&goals);
        assert!(text.contains("| nothing is left | 10 of 10 | yes |"));
        assert!(text.contains("| most attach | 9 of 10 | **no** |"));
        assert!(text.contains("| no run | 0 of 0 | not measured yet |"));
        assert!(
            text.contains("| fast | 1.50 × | **no** |") && text.contains("| faster | – | not measured yet |")
        );
        assert!(text.contains("| few | 2 of 2 | so far; 8 more are to be measured |"));
        assert!(text.contains("| mostly | 1.20 × (1.00–1.40) | by the median; 1 of 3 above |"));
        assert!(text.contains("| rarely | 1.40 × (1.00–1.40) | **no** |"));
        assert!(text.contains("| sometimes | 1.00 ×; 1 failed | **no** |"));
        assert!(text.contains("- *most attach*; *most detach*: a slow reader\n"));
        assert_eq!(text.matches("- *").count(), 1, "only a cause that is known is told, and once");
    }
}
