//! The runs by cell and contender, and the cells that the report tells of.

use std::collections::{BTreeMap, BTreeSet};

use lab_experiment::{Cell, Contender, Fault, Paths, Run, Work};
use lab_wire::{Backend, Target};

use super::summary::{Spread, Summary};
use crate::experiment::matrix;

/// All runs, by cell and contender.
pub struct Data<'a> {
    pub runs: &'a [Run],
    pub by: BTreeMap<(Cell, Contender), Summary>,
}

impl<'a> Data<'a> {
    pub fn of(runs: &'a [Run]) -> Self {
        let keys: BTreeSet<(Cell, Contender)> =
            runs.iter().map(|run| (run.wish.cell, run.wish.contender)).collect();
        let of = |key: &(Cell, Contender)| {
            Summary::of(runs.iter().filter(|run| (run.wish.cell, run.wish.contender) == *key))
        };
        Self { runs, by: keys.into_iter().map(|key| (key, of(&key))).collect() }
    }

    /// Those who ran in any of these cells.
    pub fn contenders(&self, cells: impl Fn(&Cell) -> bool) -> Vec<Contender> {
        let ran: BTreeSet<Contender> =
            self.by.keys().filter(|(cell, _)| cells(cell)).map(|(_, contender)| *contender).collect();
        ran.into_iter().collect()
    }

    pub fn get(&self, cell: Cell, contender: Contender) -> Option<&Summary> {
        self.by.get(&(cell, contender))
    }

    /// What was measured under a fault in the main setting, of both uses together.
    pub fn in_both_uses(
        &self,
        fault: Fault,
        contender: Contender,
        values: fn(&Summary) -> &Vec<f64>,
    ) -> Option<Spread> {
        let cells = [Work::Create, Work::Attach].map(|work| in_setting(MAIN, work, fault));
        let summaries = cells.into_iter().filter_map(|cell| self.get(cell, contender));
        Spread::of(&summaries.flat_map(values).copied().collect::<Vec<_>>())
    }
}

/// The setting that most cells and the original have.
pub const MAIN: Setting = (Target::Lio, Backend::OneIqn, Paths::Multipath);
pub type Setting = (Target, Backend, Paths);

pub fn in_setting((target, backend, paths): Setting, work: Work, fault: Fault) -> Cell {
    Cell { target, backend, paths, work, fault }
}

pub fn faults() -> impl Iterator<Item = Fault> {
    Fault::ORIGINAL.into_iter().chain(Fault::HEAVIER)
}

pub fn is_main(cell: &Cell) -> bool {
    (cell.target, cell.backend, cell.paths) == MAIN && matrix::is_loss(cell.fault)
}
