//! One run: what was wished for, and what was seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cell, Contender, Fault};

/// The kind of leftover that is counted apart.
pub const WWIDS: &str = "wwids";

/// What the guest is asked to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The cell.
    pub cell: Cell,
    /// Who does the work.
    pub contender: Contender,
    /// Whatever is random in it follows from this.
    pub seed: u64,
}

/// One run, a line of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What was wished for.
    #[serde(flatten)]
    pub wish: Wish,
    /// What is known outside of the guest alone.
    #[serde(flatten)]
    pub outside: Outside,
    /// On what.
    pub versions: Versions,
    /// Where the caller was killed on purpose: the attach that was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<Step>,
    /// When a fault that is done by hand struck, in seconds since shortly before the attach; nothing where it did not, and of all
    /// other faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub struck: Option<f64>,
    /// The attach.
    pub attach: Step,
    /// What the attach handed out; nothing where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_out: Option<HandedOut>,
    /// What became of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// The detach; nothing where there was nothing to detach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detach: Option<Step>,
    /// What was on the host when the last of these had ended, by kind.
    pub leftovers: BTreeMap<String, usize>,
    /// Where the detach failed: what a second one did after everything was healed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What was on the host some seconds after everything was healed, by kind: what was given up may still come then. Unknown in
    /// older lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_healing: Option<BTreeMap<String, usize>>,
    /// Why the host could not be made clean afterwards, by force; nothing where it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_cleaned: Option<String>,
}

/// What is known of a line outside of the guest alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// When it ended, in seconds since 1970, by the clock of the machine outside.
    #[serde(default)]
    pub ended: u64,
    /// The commit that was run; ends with `+` where the tree differed from it.
    #[serde(default)]
    pub commit: String,
    /// So many guests ran side by side at most, its own included; not known of the oldest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<usize>,
    /// How often it was begun before, in a guest where the experiment itself could not go on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub abandoned: usize,
}

/// Whether nothing is left but lines in multipath's list of WWIDs.
pub fn is_clean(left: &BTreeMap<String, usize>) -> bool {
    left.keys().all(|kind| kind == WWIDS)
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What a run was made on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The kernel.
    pub kernel: String,
    /// open-iscsi.
    pub open_iscsi: String,
    /// multipath-tools.
    pub multipath_tools: String,
    /// The contender, as it says itself.
    pub contender: String,
}

impl Versions {
    /// The host's, in words.
    pub fn host(&self) -> String {
        let Self { kernel, open_iscsi, multipath_tools, .. } = self;
        format!("Linux {kernel}, open-iscsi {open_iscsi}, multipath-tools {multipath_tools}")
    }
}

/// One call of the contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it said, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// It says that it did it, and that data may be lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loss_told: bool,
    /// Programs started, its own included; none where the kernel could not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<usize>,
    /// Peak memory of its process, or of its processes together where each volume has one, with their helpers, in KiB. (Up to commit
    /// `0cd3d3b` without helpers, and of the first volume's alone; of bowline's library without its helper up to `ffa8684`.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// How a call ended, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It says that it did it.
    Ok,
    /// It says that it could not.
    Failed,
    /// The experiment killed it: because it took too long, or on purpose.
    Killed,
    /// It ended without an answer.
    Died,
}

/// What an attach handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOut {
    /// Whether it is a multipath map.
    pub map: bool,
    /// How many working paths it had when the attach returned; unknown where device-mapper did not answer.
    pub paths: Option<usize>,
    /// And 10 s later.
    pub paths_later: Option<usize>,
    /// What was on the host then, by kind; unknown in older lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub there: Option<BTreeMap<String, usize>>,
    /// Whether it is the volume that was asked for; unknown where it could not be read.
    pub right_volume: Option<bool>,
    /// Whether a disk below it is the one that another volume has left: whoever asks the host for the identity of what
    /// he got is told the other's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// What became of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Bytes that were to be written.
    pub bytes: usize,
    /// Why they were not; nothing where they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_written: Option<String>,
    /// How long the writing took, in seconds.
    pub write_seconds: f64,
    /// Whether what is read through the device is what was written; unknown where it could not be read.
    pub read_back: Option<bool>,
    /// Whether the experiment's own process still had the device open when the detach began: it was killed, and hung in the kernel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Whether the target has it after a detach that said it succeeded; unknown where it was not written, or there was no such
    /// detach.
    pub on_target: Option<bool>,
}

/// The second detach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// The detach.
    pub detach: Step,
    /// What was on the host after it.
    pub leftovers: BTreeMap<String, usize>,
}

impl Step {
    /// Whether it says that it did it.
    pub fn ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }
}

impl HandedOut {
    /// How much of a kind a detach has to take apart. Older lines know paths and map alone.
    fn had(&self, kind: &str) -> usize {
        match (&self.there, kind) {
            (Some(there), _) => there.get(kind).copied().unwrap_or_default(),
            (None, "maps") => usize::from(self.map),
            (None, _) => self.paths.unwrap_or_default(),
        }
    }
}

impl Run {
    /// What was left when all was done: after the last detach or after an attach that failed, and what there was after the
    /// healing; of each kind the more.
    pub fn left(&self) -> BTreeMap<String, usize> {
        let mut left = self.retry.as_ref().map_or(&self.leftovers, |retry| &retry.leftovers).clone();
        for (kind, count) in self.after_healing.iter().flatten() {
            let most = left.entry(kind.clone()).or_default();
            *most = (*most).max(*count);
        }
        left
    }

    /// Whether a detach failed and had taken something apart, but not all: then what was left counts, whatever a second one has done. A
    /// detach that refuses leaves the attachment whole, with its map, its disks and its sessions.
    pub fn stopped_half_way(&self) -> bool {
        let (Some(_), Some(out)) = (&self.retry, &self.handed_out) else { return false };
        let left = |kind: &str| self.leftovers.get(kind).copied().unwrap_or_default();
        let whole = ["sessions", "scsi_devices", "maps"].into_iter().all(|kind| left(kind) >= out.had(kind));
        !whole && !is_clean(&self.leftovers)
    }

    /// Whether nothing was, but for lines in multipath's list of WWIDs: they grow, and harm nobody.
    pub fn clean(&self) -> bool {
        is_clean(&self.left())
    }

    /// Whether nothing was at all.
    pub fn spotless(&self) -> bool {
        self.left().is_empty()
    }

    /// Whether a detach was needed.
    pub fn attached(&self) -> bool {
        self.attach.ok()
    }

    /// Whether the detach said that it did it, with no help but that of the time.
    pub fn detached(&self) -> bool {
        self.detach.as_ref().is_some_and(Step::ok)
    }

    /// Whether data that had been written is not on the target after a last detach that said no such thing.
    pub fn lost_untold(&self) -> bool {
        let last = self.retry.as_ref().map(|retry| &retry.detach).or(self.detach.as_ref());
        self.lost() && !last.is_some_and(|detach| detach.loss_told)
    }

    /// Whether that was the only detach.
    pub fn lost_silently(&self) -> bool {
        self.lost_untold() && self.retry.is_none()
    }

    /// Whether a detach before it had failed.
    pub fn lost_after_a_failure(&self) -> bool {
        self.lost_untold() && self.retry.is_some()
    }

    /// Whether data that had been written is not on the target after a detach.
    pub fn lost(&self) -> bool {
        self.data.as_ref().is_some_and(|data| data.on_target == Some(false))
    }

    /// Whether what was read through the device is not what had been written to it.
    pub fn differs(&self) -> bool {
        self.data.as_ref().is_some_and(|data| data.read_back == Some(false))
    }

    /// Every call but the one that was cut off on purpose.
    pub fn calls(&self) -> impl Iterator<Item = &Step> {
        let retry = self.retry.as_ref().map(|retry| &retry.detach);
        [Some(&self.attach), self.detach.as_ref(), retry].into_iter().flatten()
    }

    /// Whether one of them was killed, because it took too long, or ended without an answer.
    pub fn hung(&self) -> bool {
        self.calls().any(|call| matches!(call.outcome, Outcome::Killed | Outcome::Died))
    }

    /// Whether a fault that is done by hand was not, or not before the attach was over: what came out of the run says nothing of it.
    pub fn missed(&self) -> bool {
        match self.fault() {
            Fault::CallerKilled => self.cut_off.as_ref().is_none_or(|cut| cut.outcome != Outcome::Killed),
            Fault::IscsidKilled | Fault::MultipathdStopped => {
                self.struck.is_none_or(|struck| struck >= self.attach.seconds)
            }
            Fault::DirtyAllDead => self.attached() && self.struck.is_none(),
            _ => false,
        }
    }

    /// The fault it ran under.
    pub fn fault(&self) -> Fault {
        self.wish.cell.fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detach_failed(leftovers: &str) -> Run {
        let ok = r#""outcome":"ok","seconds":1"#;
        serde_json::from_str(&format!(
            r#"{{"cell":"lio/one-iqn/multipath/attach/iscsid-killed","contender":"os-brick","seed":7,"struck":0.5,
            "versions":{{"kernel":"","open_iscsi":"","multipath_tools":"","contender":""}},"attach":{{{ok}}},
            "handed_out":{{"map":true,"paths":2,"paths_later":2,"right_volume":true}},
            "detach":{{"outcome":"failed","seconds":1}},"leftovers":{leftovers},
            "retry":{{"detach":{{{ok}}},"leftovers":{{}}}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_detach_that_refuses_leaves_all_of_it() {
        let whole = r#"{"maps":1,"sessions":2,"scsi_devices":2,"node_records":2,"wwids":1}"#;
        assert!(!detach_failed(whole).stopped_half_way());
        for part in [r#"{"sessions":2}"#, r#"{"maps":1,"sessions":1,"scsi_devices":1}"#, r#"{"maps":1}"#] {
            assert!(detach_failed(part).stopped_half_way(), "{part}");
            assert!(detach_failed(part).clean(), "what a second detach did is another question");
        }
        assert!(!detach_failed(r#"{"wwids":1}"#).stopped_half_way());
    }

    #[test]
    fn a_detach_is_half_way_when_less_is_left_than_there_was() {
        let half_way = |left: &str, there: Option<&str>| {
            let mut run = detach_failed(left);
            let out = run.handed_out.as_mut().unwrap();
            out.paths = Some(1);
            out.there = there.map(|kinds| serde_json::from_str(kinds).unwrap());
            run.stopped_half_way()
        };
        let left = r#"{"maps":1,"sessions":2,"scsi_devices":2}"#;
        assert!(!half_way(left, None), "an old line knows of one path alone");
        assert!(!half_way(left, Some(left)));
        assert!(half_way(left, Some(r#"{"maps":1,"sessions":2,"scsi_devices":4}"#)));
        assert!(half_way(left, Some(r#"{"maps":1,"sessions":4,"scsi_devices":2}"#)));
        assert!(half_way(left, Some(r#"{"maps":2,"sessions":2,"scsi_devices":2}"#)));
        let gone_before = r#"{"sessions":2,"scsi_devices":2}"#;
        assert!(half_way(gone_before, None) && !half_way(gone_before, Some(gone_before)));
    }

    #[test]
    fn what_comes_after_the_healing_is_left_over() {
        let came = |kinds: &str| Run {
            after_healing: Some(serde_json::from_str(kinds).unwrap()),
            ..detach_failed(r#"{"maps":1}"#)
        };
        assert!(came("{}").clean() && came("{}").spotless(), "what the second detach took is not left");
        assert!(came(r#"{"wwids":1}"#).clean() && !came(r#"{"wwids":1}"#).spotless());
        assert!(!came(r#"{"sessions":1}"#).clean());
        let mut more = came(r#"{"sessions":2}"#);
        more.retry.as_mut().unwrap().leftovers = [("sessions".to_owned(), 1), ("maps".to_owned(), 1)].into();
        assert_eq!(more.left(), [("maps".to_owned(), 1), ("sessions".to_owned(), 2)].into());
    }

    #[test]
    fn a_loss_is_silent_unless_a_detach_says_so() {
        let data: Data =
            serde_json::from_str(r#"{"bytes":1,"write_seconds":1,"read_back":null,"on_target":false}"#)
                .unwrap();
        let twice = Run { data: Some(data), ..detach_failed("{}") };
        assert!(twice.lost() && twice.lost_after_a_failure() && !twice.lost_silently());
        let mut told = twice.clone();
        told.retry.as_mut().unwrap().detach.loss_told = true;
        assert!(told.lost() && !told.lost_after_a_failure() && !told.lost_silently());
        let mut once = Run { retry: None, ..twice };
        assert!(once.lost_silently() && !once.lost_after_a_failure());
        once.detach.as_mut().unwrap().loss_told = true;
        assert!(!once.lost_silently());
    }

    #[test]
    fn what_strikes_after_the_attach_is_over_has_missed_it() {
        let run = detach_failed("{}");
        assert!(!run.missed());
        assert!(Run { struck: Some(1.5), ..run.clone() }.missed());
        assert!(Run { struck: None, ..run }.missed());
    }

    #[test]
    fn a_run_is_a_line() {
        let line = r#"{"cell":"lio/one-iqn/multipath/create/drop-10","contender":"os-brick-1.12","seed":7,
            "versions":{"kernel":"6.1","open_iscsi":"2.1.8","multipath_tools":"0.9.4","contender":"1.12"},
            "attach":{"outcome":"ok","seconds":1.5},"leftovers":{"maps":1}}"#;
        let run: Run = serde_json::from_str(line).unwrap();
        assert_eq!(run.wish.contender, Contender::OsBrick112);
        assert!(run.attached() && !run.detached() && !run.clean());
        let again = serde_json::to_string(&run).unwrap();
        assert!(!again.contains('\n') && again.contains(r#""contender":"os-brick-1.12""#));
        assert_eq!(serde_json::from_str::<Run>(&again).unwrap(), run);
    }
}
