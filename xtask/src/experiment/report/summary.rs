//! What all runs of one cell by one contender come to.

use lab_experiment::{Data, HandedOut, Paths, Run, Step, WWIDS};

/// What runs come to.
#[derive(Debug, Default, PartialEq)]
pub struct Summary {
    /// How many there were.
    pub runs: usize,
    /// In how many all succeeded: the attach, the data, the detach, the data was on the target, and nothing was left.
    pub whole: usize,
    /// In how many of those a map was handed out, where one was asked for.
    pub whole_with_map: usize,
    /// In how many the attach succeeded.
    pub attached: usize,
    /// In how many of those the detach did.
    pub detached: usize,
    /// In how many of the others a second detach did, after everything was healed.
    pub detached_later: usize,
    /// In how many of those attached a multipath map was handed out, where one was asked for.
    pub maps: usize,
    /// In how many something was left on the host after the last detach, or after an attach that failed.
    pub left: usize,
    /// In how many a detach failed and left a part of the attachment, whatever a second one did.
    pub half_way: usize,
    /// In how many what was left could not even be taken away by force.
    pub stuck: usize,
    /// In how many a line was left in multipath's list of WWIDs.
    pub wwids: usize,
    /// In how many the device was of another volume.
    pub wrong: usize,
    /// In how many it was made of a disk that another volume had left.
    pub stale: usize,
    /// In how many what was read through the device was not what had been written.
    pub differs: usize,
    /// In how many a detach said that it succeeded, and data that had been written was not on the target.
    pub lost: usize,
    /// In how many of those it did not say that data may be lost.
    pub lost_silently: usize,
    /// And in how many neither did, of two of which the first failed.
    pub lost_after_a_failure: usize,
    /// In how many a call was killed, because it took too long, or ended without an answer.
    pub hung: usize,
    /// How many more there were in which the fault was not done, so that they say nothing of it.
    pub missed: usize,
    /// Paths at return, of each attach that succeeded.
    pub paths: Vec<f64>,
    /// Paths 10 s later.
    pub paths_later: Vec<f64>,
    /// Seconds of each attach that succeeded.
    pub attach_seconds: Vec<f64>,
    /// Seconds of each attach that failed.
    pub failed_seconds: Vec<f64>,
    /// Seconds of each detach that succeeded.
    pub detach_seconds: Vec<f64>,
    /// Seconds of each first detach that failed.
    pub refused_seconds: Vec<f64>,
    /// Programs that each attach that succeeded started.
    pub programs: Vec<f64>,
    /// Peak memory of each call, in MiB.
    pub memory: Vec<f64>,
}

impl Summary {
    /// Of these runs.
    pub fn of<'a>(runs: impl Iterator<Item = &'a Run>) -> Self {
        let mut all = Self::default();
        runs.for_each(|run| all.add(run));
        all
    }

    fn add(&mut self, run: &Run) {
        let is = usize::from;
        if run.missed() {
            self.missed += 1;
            return;
        }
        self.runs += 1;
        self.left += is(!run.clean());
        self.half_way += is(run.stopped_half_way());
        self.stuck += is(run.not_cleaned.is_some());
        self.wwids += is(run.left().contains_key(WWIDS));
        let with_map =
            run.handed_out.as_ref().is_some_and(|out| out.map) || run.wish.cell.paths == Paths::Single;
        self.whole += is(whole(run));
        self.whole_with_map += is(whole(run) && with_map);
        self.hung += is(run.hung());
        self.memory.extend(run.calls().filter_map(|call| call.memory).map(|kib| as_f64(kib) / 1024.0));
        self.differs += is(run.differs());
        self.lost += is(run.lost());
        self.lost_silently += is(run.lost_silently());
        self.lost_after_a_failure += is(run.lost_after_a_failure());
        if !run.attached() {
            self.failed_seconds.push(run.attach.seconds);
            return;
        }
        self.attached += 1;
        self.attach_seconds.push(run.attach.seconds);
        self.programs.extend(run.attach.programs.map(|count| as_f64(count as u64)));
        if let Some(handed_out) = &run.handed_out {
            self.maps += is(handed_out.map && run.wish.cell.paths == Paths::Multipath);
            self.wrong += is(handed_out.right_volume == Some(false));
            self.stale += is(handed_out.stale);
            let paths = |count: Option<usize>| count.map(|count| as_f64(count as u64));
            self.paths.extend(paths(handed_out.paths));
            self.paths_later.extend(paths(handed_out.paths_later));
        }
        self.detached_later += is(run.retry.as_ref().is_some_and(|retry| retry.detach.ok()));
        match &run.detach {
            Some(detach) if detach.ok() => {
                self.detached += 1;
                self.detach_seconds.push(detach.seconds);
            }
            Some(detach) => self.refused_seconds.push(detach.seconds),
            None => {}
        }
    }
}

/// Whether all of it succeeded: the right volume, with no disk of another, was written, read and detached, the target has it, and nothing
/// is left.
pub fn whole(run: &Run) -> bool {
    let written = |data: &Data| {
        data.not_written.is_none() && data.read_back == Some(true) && data.on_target == Some(true)
    };
    let right = |out: &HandedOut| out.right_volume == Some(true) && !out.stale;
    run.attach.ok()
        && run.handed_out.as_ref().is_some_and(right)
        && run.data.as_ref().is_some_and(written)
        && run.detach.as_ref().is_some_and(Step::ok)
        && run.clean()
}

/// A count or a size as it is reckoned with.
pub fn as_f64(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts and sizes of this experiment are far below 2^52")]
    let float = number as f64;
    float
}

/// Median, least and most; nothing of nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the values are below it.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of these values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_and_ends() {
        let spread = Spread { median: 2.0, min: 1.0, max: 9.0 };
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), Some(spread));
        assert_eq!(Spread::of(&[1.0, 3.0, 1.0, 9.0]).unwrap().median.to_bits(), 2.0_f64.to_bits());
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn runs_are_counted_by_what_was_seen() {
        let run = |rest: &str| -> Run {
            let head = r#"{"cell":"lio/one-iqn/multipath/create/none","contender":"bowline","seed":7,"versions":
                {"kernel":"","open_iscsi":"","multipath_tools":"","contender":""},"#;
            serde_json::from_str(&format!("{head}{rest}}}")).unwrap()
        };
        let ok = r#""outcome":"ok","seconds":2"#;
        let out = r#""handed_out":{"map":true,"paths":4,"paths_later":4,"right_volume":true}"#;
        let data = |on_target| {
            format!(r#""data":{{"bytes":1,"write_seconds":1,"read_back":true,"on_target":{on_target}}}"#)
        };
        let runs = [
            run(&format!(
                r#""attach":{{{ok},"memory":2048}},{out},{},"detach":{{{ok}}},"leftovers":{{}}"#,
                data(true)
            )),
            run(&format!(r#""attach":{{{ok}}},{out},{},"detach":{{{ok}}},"leftovers":{{}}"#, data(false))),
            run(&format!(
                r#""attach":{{{ok}}},"detach":{{"outcome":"failed","seconds":1}},"leftovers":{{"maps":1}},
                "retry":{{"detach":{{{ok}}},"leftovers":{{}}}}"#
            )),
            run(r#""attach":{"outcome":"killed","seconds":900},"leftovers":{"sessions":4}"#),
        ];
        let all = Summary::of(runs.iter());
        assert_eq!((all.runs, all.attached, all.detached, all.whole), (4, 3, 2, 1));
        assert_eq!(all.detached_later, 1);
        assert_eq!((all.left, all.lost, all.hung, all.maps, all.wrong), (1, 1, 1, 2, 0));
        assert_eq!(all.lost_silently, 1);
        assert_eq!(all.memory, [2.0]);
        assert_eq!(all.failed_seconds, [900.0]);
        assert_eq!(all.refused_seconds, [1.0]);
    }

    #[test]
    fn all_well_is_all_of_it() {
        let run = |out: &str, data: &str, left: &str| -> Run {
            let line = format!(
                r#"{{"cell":"lio/one-iqn/multipath/create/none","contender":"bowline","seed":7,"versions":
                {{"kernel":"","open_iscsi":"","multipath_tools":"","contender":""}},"attach":{{"outcome":"ok","seconds":2}},
                "handed_out":{{"map":true,"paths":4,"paths_later":4,{out}}},"data":{{"bytes":1,"write_seconds":1,{data}}},
                "detach":{{"outcome":"ok","seconds":2}},"leftovers":{{{left}}}}}"#
            );
            serde_json::from_str(&line).unwrap()
        };
        let (right, there) = (r#""right_volume":true"#, r#""read_back":true,"on_target":true"#);
        assert!(whole(&run(right, there, "")) && whole(&run(right, there, r#""wwids":1"#)));
        assert!(!whole(&run(r#""right_volume":true,"stale":true"#, there, "")));
        assert!(
            !whole(&run(r#""right_volume":false"#, there, ""))
                && !whole(&run(r#""right_volume":null"#, there, ""))
        );
        assert!(!whole(&run(right, r#""read_back":null,"on_target":true"#, "")));
        assert!(!whole(&run(right, r#""read_back":true,"on_target":null"#, "")));
        assert!(!whole(&run(right, &format!(r#"{there},"not_written":"why""#), "")));
        assert!(!whole(&run(right, there, r#""sessions":1"#)));
    }

    #[test]
    fn a_run_whose_fault_did_not_strike_counts_as_that_alone() {
        let line = r#"{"cell":"lio/one-iqn/multipath/attach/iscsid-killed","contender":"bowline","seed":7,"versions":
            {"kernel":"","open_iscsi":"","multipath_tools":"","contender":""},"attach":{"outcome":"ok","seconds":2},"leftovers":{}}"#;
        let all = Summary::of([serde_json::from_str(line).unwrap()].iter());
        assert_eq!(all, Summary { missed: 1, ..Summary::default() });
    }
}
