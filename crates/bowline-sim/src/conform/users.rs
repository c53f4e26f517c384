//! Whoever was given a device: writes, reads, keeps it open.

use std::time::Duration;

use super::stage::SimStage;
use crate::model::{self, blocks};

/// A close that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

impl SimStage {
    /// Writes through to the target; false when the device refuses, or the write did not get there.
    pub(super) async fn write_through(&mut self, node: &str, volume: u64) -> Result<bool, String> {
        if self.sim.with(|world| world.storage.volumes[volume as usize].read_only) {
            return Ok(false);
        }
        let used = model::begin_use(&self.sim, node, 1).ok_or_else(|| format!("{node} is not there"))?;
        let _ = blocks::fsync(&self.sim, used.block).await;
        model::end_use(&self.sim, &used, PATIENCE).await;
        self.written.entry(volume).or_default().extend(&used.writes);
        Ok(self.sim.with(|world| used.writes.is_subset(&world.storage.volumes[volume as usize].written)))
    }

    /// Reads: it is that volume which answers, and every write is on it.
    pub(super) async fn read_back(&mut self, node: &str, volume: u64) -> Result<bool, String> {
        let used = model::begin_use(&self.sim, node, 0).ok_or_else(|| format!("{node} is not there"))?;
        let read = blocks::commands(&self.sim, used.block, 1).await;
        model::end_use(&self.sim, &used, PATIENCE).await;
        let written = self.written.get(&volume).cloned().unwrap_or_default();
        Ok(self.sim.with(|world| {
            read == Ok(volume as usize) && written.is_subset(&world.storage.volumes[volume as usize].written)
        }))
    }

    /// Writes to the page cache, and closes in the background.
    pub(super) fn write_and_close(&mut self, node: &str) -> Result<(), String> {
        let used = model::begin_use(&self.sim, node, 1).ok_or_else(|| format!("{node} is not there"))?;
        self.uses.push(used.clone());
        let sim = self.sim.clone();
        self.spawner.spawn(&self.sim, async move { model::end_use(&sim, &used, PATIENCE).await });
        Ok(())
    }

    /// Whether somebody has begun to close, and is not done.
    pub(super) fn somebody_closes(&self) -> bool {
        self.uses.iter().any(|used| {
            let there = |world: &mut model::World| {
                world.processes.get(&used.pid).is_some_and(|process| !process.shows(used.block))
            };
            self.sim.with(there)
        })
    }

    /// Everybody closes what he has open.
    pub(super) async fn close_all(&mut self) {
        for used in std::mem::take(&mut self.uses) {
            if self.sim.with(|world| world.is_open(&used)) {
                model::end_use(&self.sim, &used, PATIENCE).await;
            }
        }
    }
}
