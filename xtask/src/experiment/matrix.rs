//! What is owed: which cells there are, who runs in them, and how often.

use std::collections::BTreeMap;

use lab_experiment::{Cell, Contender, Fault, Paths, Run, Setting, Work};
use lab_wire::{Backend, Failure, Target};

/// Which part of the matrix is meant.
pub struct Selection {
    /// Words or patterns; none means all.
    pub cells: Vec<String>,
    /// These only.
    pub contenders: Vec<Contender>,
    /// So many more, instead of what is owed.
    pub runs: Option<usize>,
}

/// The selection that shows all kinds in a few minutes.
const SMOKE: &str = "smoke";
const SMOKE_FAULTS: [Fault; 2] = [Fault::None, Fault::Drop10];

/// A run that is missing.
pub type Missing = (Cell, Contender);

/// What is owed and not there.
pub fn missing(selection: &Selection, runs: &[Run]) -> Vec<Missing> {
    let mut there: BTreeMap<Missing, usize> = BTreeMap::new();
    // One whose fault did not strike says nothing of it.
    for run in runs.iter().filter(|run| !run.missed()) {
        *there.entry((run.wish.cell, run.wish.contender)).or_default() += 1;
    }
    let pairs = cells().into_iter().flat_map(|cell| selection.contenders.iter().map(move |c| (cell, *c)));
    pairs
        .filter(|(cell, _)| selection.means(*cell))
        .flat_map(|(cell, contender)| {
            let owed = owed(cell, contender);
            let there = there.get(&(cell, contender)).copied().unwrap_or_default();
            let more = selection.runs.filter(|_| owed > 0).unwrap_or(owed.saturating_sub(there));
            std::iter::repeat_n((cell, contender), more)
        })
        .collect()
}

/// How many runs of a contender are owed in such cells and not there, each cell by itself.
pub fn lacking(cells: impl Fn(Cell) -> bool, contender: Contender, runs: &[Run]) -> usize {
    let contenders = vec![contender];
    let selection = Selection { cells: Vec::new(), contenders, runs: None };
    missing(&selection, runs).into_iter().filter(|(cell, _)| cells(*cell)).count()
}

/// How many are missing of each.
pub fn summary(missing: &[Missing]) -> Vec<(Cell, Contender, usize)> {
    let mut counts: BTreeMap<Missing, usize> = BTreeMap::new();
    for pair in missing {
        *counts.entry(*pair).or_default() += 1;
    }
    counts.into_iter().map(|((cell, contender), count)| (cell, contender, count)).collect()
}

/// Every cell: the whole matrix under loss, and beyond loss the plain setting only.
pub fn cells() -> Vec<Cell> {
    let under_loss = Setting::all().flat_map(|setting| {
        Work::ALL.into_iter().flat_map(move |work| losses().map(move |fault| setting.cell(work, fault)))
    });
    under_loss.chain(Fault::BEYOND_LOSS.map(plain)).collect()
}

/// The setting that most cells and the original have.
pub const MAIN: Setting = Setting { target: Target::Lio, backend: Backend::OneIqn, paths: Paths::Multipath };

/// The original's faults, and what is added to them.
pub fn losses() -> impl Iterator<Item = Fault> {
    Fault::ORIGINAL.into_iter().chain(Fault::HEAVIER)
}

/// A fault in the main setting, of a volume that is used.
pub fn plain(fault: Fault) -> Cell {
    MAIN.cell(Work::Attach, fault)
}

/// Whether it is one of the cells that are run most often.
pub fn is_core(cell: Cell) -> bool {
    cell.setting() == MAIN && Fault::ORIGINAL.contains(&cell.fault)
}

/// Whether it is packets lost, and nothing else.
pub fn is_loss(fault: Fault) -> bool {
    !Fault::BEYOND_LOSS.contains(&fault)
}

/// How often a contender shall run in a cell.
pub fn owed(cell: Cell, contender: Contender) -> usize {
    let beyond_loss = !is_loss(cell.fault);
    match contender {
        Contender::Bowline if is_core(cell) && matches!(cell.fault, Fault::Drop10 | Fault::Drop20) => 40,
        Contender::Bowline | Contender::OsBrick if is_core(cell) => 10,
        Contender::Bowline => 3,
        Contender::OsBrick if beyond_loss => 3,
        Contender::OsBrick => 1,
        Contender::BowlineLibrary if is_core(cell) || beyond_loss => 3,
        Contender::OsBrick112 if is_core(cell) => 3,
        Contender::BowlineLibrary | Contender::OsBrick112 | Contender::Floor => 0,
    }
}

impl Selection {
    /// Refuses a pattern that means no cell, and contenders that never run in the cells that are meant: a slip of the pen would look like a
    /// matrix that is complete.
    pub fn check(&self) -> Result<(), Failure> {
        for pattern in &self.cells {
            if !cells().into_iter().any(|cell| matches(pattern, cell)) {
                return Err(Failure::new(format!(
                    "`{pattern}` means no cell: expected a word like `drop-20` or `single`, a name with * like `{}`, or `{SMOKE}`",
                    "lio/one-iqn/*/drop-20"
                )));
            }
        }
        let runs = |who: &Contender| cells().into_iter().any(|cell| self.means(cell) && owed(cell, *who) > 0);
        match self.contenders.iter().any(runs) {
            true => Ok(()),
            false => Err(Failure::new("none of these contenders runs in any of these cells")),
        }
    }

    fn means(&self, cell: Cell) -> bool {
        self.cells.is_empty() || self.cells.iter().any(|pattern| matches(pattern, cell))
    }
}

/// Whether a pattern means the cell: the small selection, a word of its name, or the name with * in it.
fn matches(pattern: &str, cell: Cell) -> bool {
    let name = cell.to_string();
    if pattern == SMOKE {
        return SMOKE_FAULTS.into_iter().map(plain).any(|smoke| smoke == cell);
    }
    name.split('/').any(|word| word == pattern) || like(pattern, &name)
}

/// Whether the text is like the pattern, in which * stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| like(tail, rest))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(cells: &[&str]) -> Selection {
        let cells = cells.iter().map(|cell| (*cell).to_owned()).collect();
        Selection { cells, contenders: vec![Contender::Bowline, Contender::OsBrick], runs: None }
    }

    /// T6: the cells that convinced reviewers are run ten times by both, and those under loss forty times.
    #[test]
    fn t6_the_core_is_owed_most() {
        assert_eq!(cells().len(), 160 + Fault::BEYOND_LOSS.len());
        let core: Vec<Cell> = cells().into_iter().filter(|cell| is_core(*cell)).collect();
        assert_eq!(core.len(), 16);
        for cell in core {
            assert!(owed(cell, Contender::Bowline) >= 10 && owed(cell, Contender::OsBrick) >= 10, "{cell}");
        }
        assert!(cells().into_iter().all(|cell| owed(cell, Contender::Bowline) >= 3));
        assert_eq!(owed(plain(Fault::Drop20), Contender::Bowline), 40);
    }

    #[test]
    fn a_pattern_is_a_word_or_has_stars() {
        let count = |pattern: &str| cells().into_iter().filter(|cell| matches(pattern, *cell)).count();
        assert_eq!(count("smoke"), 2);
        assert_eq!(count("tgt"), 80);
        assert_eq!(count("lio/one-iqn/multipath/*/drop-10"), 2);
        assert_eq!(count("*flap"), 1);
        assert_eq!(count("nothing"), 0);
    }

    #[test]
    fn a_selection_that_means_nothing_is_refused() {
        assert!(all(&["drop-20", "smoke"]).check().is_ok());
        let why = all(&["drop-20", "sunshine"]).check().unwrap_err().to_string();
        assert!(why.contains("sunshine") && why.contains("smoke"), "{why}");
        let floor = Selection { contenders: vec![Contender::Floor], ..all(&[]) };
        assert!(floor.check().is_err());
        let old = Selection { contenders: vec![Contender::OsBrick112], ..all(&["tgt"]) };
        assert!(old.check().is_err());
    }

    #[test]
    fn what_is_there_is_not_missing() {
        let selection = all(&["*/multipath/attach/flap"]);
        let missing = super::missing(&selection, &[]);
        assert_eq!(missing.len(), 6);
        assert_eq!(summary(&missing)[0].2, 3);
        let line = r#"{"cell":"lio/one-iqn/multipath/attach/flap","contender":"bowline","seed":7,"versions":
            {"kernel":"","open_iscsi":"","multipath_tools":"","contender":""},
            "attach":{"outcome":"ok","seconds":1.5},"leftovers":{}}"#;
        let run: Run = serde_json::from_str(line).unwrap();
        assert_eq!(super::missing(&selection, std::slice::from_ref(&run)).len(), 5);
        let once = Selection { runs: Some(1), ..selection };
        assert_eq!(super::missing(&once, &[run]).len(), 2);
    }
}
