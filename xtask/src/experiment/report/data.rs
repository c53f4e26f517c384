//! The runs by cell and contender.

use std::collections::{BTreeMap, BTreeSet};

use lab_experiment::{Cell, Contender, Run};

use super::summary::Summary;
use crate::experiment::matrix::{self, MAIN};

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

    /// What they come to, where there are any.
    pub fn get(&self, cell: Cell, contender: Contender) -> Option<&Summary> {
        self.by.get(&(cell, contender))
    }
}

/// Whether it is loss in the main setting.
pub fn is_main(cell: &Cell) -> bool {
    cell.setting() == MAIN && matrix::is_loss(cell.fault)
}
