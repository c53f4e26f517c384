//! What a case needs of a host: somebody who does what a step says, and bowline.

use std::time::Duration;

use bowline_host::Host;
use serde_json::Value;

use crate::action::{Action, Connect, Disconnect};

/// What a verb answered, as the command prints it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// The object of `--json`.
    pub said: Value,
    /// The objects of `--progress json`, in their order.
    pub events: Vec<Value>,
}

/// A host with four portals and 64 volumes, of which number n is LUN n. An error is a fault of the stage's, in a sentence.
pub trait Stage {
    /// As the engine sees it.
    fn host(&self) -> &dyn Host;

    /// The connection of a volume, by all portals, as its controller hands it out (the `data` object).
    fn connection(&self, volume: u64) -> Result<Value, String>;

    /// The identity of a volume.
    fn wwid(&self, volume: u64) -> String;

    /// Attaches a volume; as the command does, with a process that brings the missing paths.
    fn connect(&mut self, connection: &Value, how: &Connect) -> impl Future<Output = Result<Answer, String>>;

    /// Detaches a volume.
    fn disconnect(
        &mut self,
        connection: &Value,
        how: &Disconnect,
    ) -> impl Future<Output = Result<Answer, String>>;

    /// Writes to a volume by its device node, through to the target; whether that was possible.
    fn write(&mut self, node: &str, volume: u64) -> impl Future<Output = Result<bool, String>>;

    /// Whether the device node shows what was written to the volume before.
    fn verify(&mut self, node: &str, volume: u64) -> impl Future<Output = Result<bool, String>>;

    /// Somebody opens a device, and keeps it open.
    fn open(&mut self, node: &str) -> impl Future<Output = Result<(), String>>;

    /// Somebody writes to the page cache of a device and closes it; that is not waited for.
    fn write_cached(&mut self, node: &str) -> impl Future<Output = Result<(), String>>;

    /// Whoever has something open, or hangs, ends.
    fn close(&mut self) -> impl Future<Output = Result<(), String>>;

    /// Does to network, target, daemons and configuration what a step says.
    fn act(&mut self, action: &Action) -> impl Future<Output = Result<(), String>>;

    /// Whether somebody still brings missing paths.
    fn finisher_runs(&self) -> bool;

    /// Whether somebody hangs in the closing of a device.
    fn closer_hangs(&self) -> bool;

    /// Waits until udev has nothing under way.
    fn settle(&self) -> impl Future<Output = Result<(), String>>;

    /// Lets time pass.
    fn pause(&self, time: Duration) -> impl Future<Output = ()>;

    /// What is on the host at the end, by other eyes than the engine's: how many of each kind.
    fn left(&self) -> Result<Value, String>;
}
