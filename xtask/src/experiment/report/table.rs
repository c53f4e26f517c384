//! Tables as Markdown, and how figures are written in them.

use super::summary::{Spread, Summary};

/// A table with these headings; every row has as many cells.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    let rule: Vec<String> = headings.iter().map(|_| "---".to_owned()).collect();
    let rows: String = rows.iter().map(|row| line(row)).collect();
    line(&headings) + &line(&rule) + &rows
}

/// `9/10`; a dash of none.
pub fn of(count: usize, all: usize) -> String {
    if all == 0 { "–".to_owned() } else { format!("{count}/{all}") }
}

/// The median, and from where to where where that is not the same.
pub fn spread(values: &[f64], unit: &str) -> String {
    let number = |value: f64| match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    };
    match Spread::of(values) {
        None => "–".to_owned(),
        Some(Spread { median, min, max }) if number(min) == number(max) => {
            format!("{}{unit}", number(median))
        }
        Some(Spread { median, min, max }) => {
            format!("{}{unit} ({}–{})", number(median), number(min), number(max))
        }
    }
}

/// The same with two places; nothing of nothing.
pub fn fine(values: &[f64], unit: &str) -> Option<String> {
    let Spread { median, min, max } = Spread::of(values)?;
    Some(match values.len() {
        1 => format!("{median:.2}{unit}"),
        _ => format!("{median:.2}{unit} ({min:.2}–{max:.2})"),
    })
}

/// What must never happen, where it did; else nothing.
pub fn alarms(summary: &Summary) -> String {
    let alarm = |count: usize, what: &str| (count > 0).then(|| format!("**{count} × {what}**"));
    let all = [
        alarm(summary.wrong, "another volume handed out"),
        alarm(summary.stale, "another volume's left disk handed out"),
        alarm(summary.differs, "something else read back"),
        alarm(summary.lost_silently, "data lost silently"),
        alarm(
            summary.lost_after_a_failure,
            "data lost: one detach failed, the next succeeded and did not say so",
        ),
        alarm(summary.lost - summary.lost_silently - summary.lost_after_a_failure, "data lost, and told"),
        alarm(summary.half_way, "a part left by a detach that failed"),
        alarm(summary.stuck, "left so that force could not take it away"),
        alarm(summary.hung, "hung"),
        alarm(summary.missed, "the fault did not strike"),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(of(9, 10), "9/10");
        assert_eq!(of(0, 0), "–");
        assert_eq!(spread(&[1.0, 2.0, 124.4], " s"), "2.0 s (1.0–124)");
        assert_eq!(spread(&[4.0, 4.0], ""), "4.0");
        assert_eq!(spread(&[], " s"), "–");
    }

    #[test]
    fn a_table_is_markdown() {
        assert_eq!(
            table(&["a", "b"], &[vec!["1".into(), "2".into()]]),
            "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
        );
    }
}
