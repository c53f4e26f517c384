//! One run: from a clean host, through attach, data and detach under a fault, to what is left.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lab_experiment::{
    Data, Fault, HandedOut, LONGEST_RUN, Outcome, Outside, Paths, Retry, Run, Step, Wish, Work,
};
use lab_wire::Failure;

use crate::contender::{self, Contend, Volume, longest_call};
use crate::data::{self, Access, Accessing, Ended};
use crate::left::Left;
use crate::observe::{self, Device};
use crate::trouble::{self, OTHER, Trouble, VOLUME};
use crate::{host, lab};

/// Half of the portals: the laboratory's target has four.
const HALF: u8 = 2;
/// Nobody waits longer than this for a call.
const CALL_LIMIT: Duration = Duration::from_secs(1000);
/// Nor for the data.
const DATA_LIMIT: Duration = Duration::from_secs(120);
/// For one block.
const BLOCK_LIMIT: Duration = Duration::from_secs(60);
/// After everything was healed a write that was stuck gets so long.
const HEALED_LIMIT: Duration = Duration::from_secs(240);
/// When the paths are counted a second time.
const LATER: Duration = Duration::from_secs(10);
/// The image of a volume that is created, in bytes.
const IMAGE: usize = 2 << 20;
/// What is written to a volume that is used, in bytes.
const LITTLE: usize = 256 << 10;
/// No caller is killed sooner: nothing would have been begun.
const SOONEST: Duration = Duration::from_millis(50);
/// A writer on dead paths is waited for so long until it hangs.
const HANGS_BY: Duration = Duration::from_secs(20);
/// And hangs still after this: any process hangs for a moment, as one that reads its own program from the disk does.
const STILL: Duration = Duration::from_secs(1);
/// Between two tries of a login nothing of it is there to see. iscsid makes the next one 3 s after a connection that failed, and 5 s after
/// an error of its own (open-iscsi 2.1.8, `usr/initiator.c`, `ISCSI_CONN_ERR_REOPEN_DELAY` and `ISCSI_INTERNAL_ERR_REOPEN_DELAY`);
/// where nothing is wrong any more its session is there well within the 2 s that it has besides.
const FAIR_CHANCE: Duration = Duration::from_secs(7);
/// An attach that is to be cut off takes seconds, since nothing is wrong; no call of the rehearsals has longer.
const REHEARSAL_LIMIT: Duration = Duration::from_secs(120);
/// And no rehearsal is begun later.
const REHEARSALS: Duration = Duration::from_secs(300);

/// What a run takes, in seconds, if everything in it takes as long as it may: rehearsals and the last of them, start, attach and two
/// detaches, a look at the device, its data, and the laboratory's own part.
const LONGEST: u64 = REHEARSALS.as_secs()
    + 2 * longest_call(REHEARSAL_LIMIT)
    + 3 * longest_call(CALL_LIMIT)
    + LATER.as_secs()
    + 2 * observe::LIMIT.as_secs()
    + BLOCK_LIMIT.as_secs()
    + HANGS_BY.as_secs()
    + STILL.as_secs()
    + 2 * DATA_LIMIT.as_secs()
    + HEALED_LIMIT.as_secs()
    + 2 * data::DYING_LIMIT.as_secs()
    + FAIR_CHANCE.as_secs()
    + lab::LONGEST;
const _: () = assert!(LONGEST <= LONGEST_RUN.as_secs());

/// Runs it; the host must be clean.
///
/// # Errors
/// The laboratory failed. Whatever the contender does is no error, but what is told.
pub fn run(wish: &Wish) -> Result<Run, Failure> {
    let multipath = wish.cell.paths == Paths::Multipath;
    let fault = wish.cell.fault;
    trouble::sign_volumes(wish.seed)?;
    let other_hidden = trouble::is_alone(wish.cell);
    if other_hidden {
        lab::lab(&["unmap", &OTHER.to_string()])?;
    }
    let volume = Volume { connection: lab::connection(VOLUME)?, multipath };
    let cut_off = match fault {
        Fault::CallerKilled => Some(cut_off(wish, &volume)?),
        _ => None,
    };
    let mut contender = contender::ready(wish.contender, None)?;
    let versions = host::versions(contender.version());
    let mut trouble = Trouble::begin(fault, HALF, share(wish.seed))?;
    // What the fault itself has put there is not the contender's.
    let before = if fault == Fault::LunReused { Left::look()? } else { Left::default() };

    let attached = contender.attach(std::slice::from_ref(&volume), CALL_LIMIT)?;
    let mut run = Run {
        wish: wish.clone(),
        outside: Outside::default(),
        versions,
        cut_off,
        struck: None,
        attach: attached.step,
        handed_out: None,
        data: None,
        detach: None,
        leftovers: BTreeMap::new(),
        retry: None,
        after_healing: None,
        not_cleaned: None,
    };
    if run.attach.ok() {
        use_and_detach(
            &mut run,
            attached.devices.into_iter().next().flatten(),
            &volume,
            contender.as_mut(),
            &mut trouble,
            &before,
        )?;
    } else {
        run.leftovers = Left::look()?.beyond(&before);
    }
    if !run.spotless() {
        Left::look()?.tell(&format!("left by {} in {}", run.wish.contender.name(), run.wish.cell));
    }
    run.struck = trouble.struck();
    trouble.heal()?;
    thread::sleep(FAIR_CHANCE.saturating_sub(trouble.healed_for()));
    let left = Left::look()?;
    run.after_healing = Some(left.beyond(&before));
    if run.after_healing.as_ref().is_some_and(|left| !left.is_empty()) {
        left.tell("and after everything was healed");
    }
    if other_hidden {
        lab::lab(&["map", &OTHER.to_string()])?;
    }
    Ok(run)
}

/// An attach whose caller is killed at a random moment of it. How long one takes is seen before, on the same host made clean; where
/// this one was over all the same, it is begun anew and killed in half the time.
fn cut_off(wish: &Wish, volume: &Volume) -> Result<Step, Failure> {
    let volume = std::slice::from_ref(volume);
    let (began, mut limit) = (Instant::now(), REHEARSAL_LIMIT);
    while began.elapsed() < REHEARSALS {
        let mut contender = contender::ready(wish.contender, None)?;
        let attached = contender.attach(volume, limit)?.step;
        if limit < REHEARSAL_LIMIT && attached.outcome == Outcome::Killed {
            return Ok(attached);
        }
        if limit < SOONEST {
            return Err(Failure::new(format!("an attach is over within {} ms", limit.as_millis())));
        }
        limit = match limit {
            REHEARSAL_LIMIT => {
                Duration::from_secs_f64(attached.seconds).mul_f64(share(wish.seed)).max(SOONEST)
            }
            over => over / 2,
        };
        contender.detach(volume, false, REHEARSAL_LIMIT)?;
        drop(contender);
        lab::fresh()?;
    }
    Err(Failure::new(format!("no attach could be cut off within {} s", REHEARSALS.as_secs())))
}

/// All that comes after an attach that says it succeeded.
fn use_and_detach(
    run: &mut Run,
    device: Option<String>,
    volume: &Volume,
    contender: &mut dyn Contend,
    trouble: &mut Trouble,
    before: &Left,
) -> Result<(), Failure> {
    let returned = Instant::now();
    let work = Writing::of(&run.wish);
    let mut stuck = None;
    if let Some(device) = device.as_deref().and_then(Device::behind) {
        let (map, paths, mut stale) = (device.is_map(), device.paths(), trouble.is_stale(&device));
        thread::sleep(LATER.saturating_sub(returned.elapsed()));
        let paths_later = device.paths();
        stale |= trouble.is_stale(&device);
        let there = Some(Left::look()?.beyond(before));
        let right_volume = data::is_volume(&device.node, VOLUME, run.wish.seed, BLOCK_LIMIT)?;
        run.handed_out = Some(HandedOut { map, paths, paths_later, there, right_volume, stale });
        if run.fault() == Fault::DirtyAllDead {
            stuck = Some(work.begin_on_dead_paths(&device.node, trouble)?);
        } else {
            run.data = Some(work.write_and_read(&device.node)?);
        }
    }
    trouble.before_detach()?;
    let force = run.wish.cell.work == Work::Create;
    let detach = contender.detach(std::slice::from_ref(volume), force, CALL_LIMIT)?.step;
    let mut detached = detach.ok();
    run.leftovers = Left::look()?.beyond(before);
    run.detach = Some(detach);
    if !detached {
        trouble.heal()?;
        if let Some(writer) = stuck.take() {
            run.data = Some(work.ended_at_last(writer));
        }
        let again = contender.detach(std::slice::from_ref(volume), force, CALL_LIMIT)?.step;
        detached = again.ok();
        run.retry = Some(Retry { detach: again, leftovers: Left::look()?.beyond(before) });
    } else if let Some(writer) = stuck {
        run.data = Some(work.ended_at_last(writer));
    }
    if let Some(data) = run.data.as_mut().filter(|data| detached && data.not_written.is_none()) {
        data.on_target = Some(work.is_on_target()?);
    }
    Ok(())
}

/// What a run writes.
#[derive(Clone, Copy)]
struct Writing {
    bytes: usize,
    seed: u64,
}

impl Writing {
    fn of(wish: &Wish) -> Self {
        let bytes = if wish.cell.work == Work::Create { IMAGE } else { LITTLE };
        Self { bytes, seed: wish.seed }
    }

    fn write_and_read(self, device: &Path) -> Result<Data, Failure> {
        let (ended, write_seconds) =
            data::access(Access::Write, device, 0, self.bytes, self.seed, DATA_LIMIT)?;
        let mut told = self.told(ended, write_seconds);
        if told.not_written.is_none() {
            let (ended, _) = data::access(Access::Read, device, 0, self.bytes, self.seed, DATA_LIMIT)?;
            told.held = holds(&ended);
            told.read_back = match ended {
                Ended::Well => Some(true),
                Ended::Differs => Some(false),
                Ended::Failed(_) | Ended::Hung { .. } => None,
            };
        }
        Ok(told)
    }

    /// All portals die; then data goes into the page cache, and the last close waits for them.
    fn begin_on_dead_paths(self, device: &Path, trouble: &Trouble) -> Result<Accessing, Failure> {
        // udev has read what it wants to: it shall not hang, too.
        Left::look()?;
        lab::lab(&["drop", "100%"])?;
        let writer = data::begin(Access::Dirty, device, 0, self.bytes, self.seed)?;
        let until = Instant::now() + HANGS_BY;
        while Instant::now() < until {
            if writer.hangs() {
                thread::sleep(STILL);
                if writer.hangs() {
                    trouble.strike().now();
                    break;
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(writer)
    }

    /// The end of that writer, once it can end.
    fn ended_at_last(self, mut writer: Accessing) -> Data {
        let ended = writer.ended(HEALED_LIMIT);
        self.told(ended, writer.seconds())
    }

    fn told(self, ended: Ended, write_seconds: f64) -> Data {
        let held = holds(&ended);
        let not_written = match ended {
            Ended::Well => None,
            Ended::Failed(error) => Some(error),
            Ended::Hung { .. } | Ended::Differs => Some(format!("not over after {write_seconds:.0} s")),
        };
        Data { bytes: self.bytes, not_written, write_seconds, read_back: None, held, on_target: None }
    }

    fn is_on_target(self) -> Result<bool, Failure> {
        data::target_has(VOLUME, 0, self.bytes, self.seed)
    }
}

fn holds(ended: &Ended) -> bool {
    matches!(ended, Ended::Hung { holds: true })
}

/// A share between 0 and 1 that follows from the seed.
fn share(seed: u64) -> f64 {
    let bytes = data::pattern(!seed, 2);
    f64::from(u16::from_le_bytes([bytes[0], bytes[1]])) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_spread_and_repeatable() {
        assert_eq!(share(1).to_bits(), share(1).to_bits());
        let shares: Vec<f64> = (0..100).map(share).collect();
        assert!(shares.iter().any(|share| *share < 0.2) && shares.iter().any(|share| *share > 0.8));
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
    }
}
