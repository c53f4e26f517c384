//! A benchmark's wish and its record.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Contender, Outside, Step, Versions};

/// What the guest is asked to measure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BenchWish {
    /// So many volumes at once.
    pub volumes: u16,
    /// Whether the sessions are there already.
    pub sessions: Sessions,
    /// Whether the first half of the portals is dead.
    pub dead_half: bool,
    /// Who does the work.
    pub contender: Contender,
    /// The how-many-th time this is; the contenders take turns within one.
    pub round: u32,
}

/// Whether sessions have to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sessions {
    /// None is there
    New,
    /// Another volume keeps them
    Existing,
}

/// One measurement, a line of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// What was wished for.
    #[serde(flatten)]
    pub wish: BenchWish,
    /// What is known outside of the guest alone.
    #[serde(flatten)]
    pub outside: Outside,
    /// On what.
    pub versions: Versions,
    /// The attach of all volumes, until the last call returned.
    pub attach: Step,
    /// Processor time that the host has spent until then, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_processor: Option<f64>,
    /// What was seen meanwhile from outside.
    pub seen: Timed,
    /// What was told of the progress of the first volume, by those who tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<serde_json::Value>,
    /// The detach of all of them, until the last call returned.
    pub detach: Step,
    /// What was told of the progress of the first volume, by those who tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detach_events: Vec<serde_json::Value>,
    /// When nothing of the volumes was on the host any more and udev had nothing under way, in seconds since the begin of the
    /// detach; nothing where it did not come to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<f64>,
    /// Processor time that the host has spent on it, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detach_processor: Option<f64>,
    /// The detach of the volume that kept the sessions, or that was there before new ones. (Up to commit `ffa8684` it was not
    /// recorded, and before new sessions what it left was not counted.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper_detach: Option<Step>,
    /// What was on the host at the end, by kind, that volume's included; and what was there of the others after their detach.
    pub leftovers: BTreeMap<String, usize>,
    /// Why the host could not be made clean afterwards, by force; nothing where it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_cleaned: Option<String>,
}

/// Moments of an attach, in seconds since its begin; nothing where it did not come to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// The first map has its name below /dev.
    pub first_map: Option<f64>,
    /// Every volume's map has.
    pub all_maps: Option<f64>,
    /// And each has a path over every portal that lives.
    pub all_paths: Option<f64>,
}
