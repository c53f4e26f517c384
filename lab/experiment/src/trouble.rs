//! What goes wrong in a run, and when.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lab_experiment::{Cell, Fault};
use lab_wire::{Backend, Context, Failure};
use rustix::process::{Signal, kill_process};

use crate::data;
use crate::lab::lab;
use crate::observe::Device;
use crate::programs::{limited, running};

/// The volume that is asked for, and where.
pub const VOLUME: u16 = 1;
/// The one whose devices were left at its LUN.
pub const OTHER: u16 = 2;
/// How long a portal that flaps is dead, and alive.
const FLAP: Duration = Duration::from_secs(5);
/// What is done to it in turn.
const FLAPPING: [&[&str]; 2] = [&["drop", "100%", "1"], &["heal"]];
/// A login takes about so long from when its session appears, and the others begin with it.
const A_LOGIN: Duration = Duration::from_millis(300);
/// How long multipathd is away.
const AWAY: Duration = Duration::from_secs(5);
/// How often to look for the first session.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The other volume's device is made within this.
const LIMIT: Duration = Duration::from_secs(120);
/// When no session has come by then, none will.
const NO_SESSION: Duration = Duration::from_secs(60);

/// A fault in force.
pub struct Trouble {
    fault: Fault,
    over: Arc<AtomicBool>,
    hands: Vec<JoinHandle<Result<(), Failure>>>,
    /// What the kernel calls the volume whose device was left at the LUN.
    other: Option<String>,
    strike: Strike,
    healed: Option<Instant>,
}

/// When what is done by hand is done, in seconds since the fault was begun.
#[derive(Clone)]
pub struct Strike {
    since: Instant,
    at: Arc<OnceLock<f64>>,
}

impl Strike {
    /// Now; the first time counts.
    pub fn now(&self) {
        let _ = self.at.set(self.since.elapsed().as_secs_f64());
    }
}

impl Trouble {
    /// Whatever is wrong before the attach begins, and whatever will happen in its middle.
    /// What is random in it is that share of what it may be.
    pub fn begin(fault: Fault, half: u8, share: f64) -> Result<Self, Failure> {
        let halves: (Vec<String>, Vec<String>) = (
            (1..=half).map(|n| n.to_string()).collect(),
            (half + 1..=2 * half).map(|n| n.to_string()).collect(),
        );
        let on = |words: &[&str], portals: &[String]| {
            let words: Vec<&str> = words.iter().copied().chain(portals.iter().map(String::as_str)).collect();
            lab(&words)
        };
        let mut trouble = Self {
            fault,
            over: Arc::default(),
            hands: Vec::new(),
            other: None,
            strike: Strike { since: Instant::now(), at: Arc::default() },
            healed: None,
        };
        match fault {
            Fault::None | Fault::UnmappedBeforeDetach | Fault::DirtyAllDead | Fault::CallerKilled => {}
            Fault::Drop10 => lab(&["drop", "10%"])?,
            Fault::Drop20 => lab(&["drop", "20%"])?,
            Fault::Drop30 => lab(&["drop", "30%"])?,
            Fault::Drop50 => lab(&["drop", "50%"])?,
            Fault::Drop100 => lab(&["drop", "100%"])?,
            Fault::Drop20FirstHalf => on(&["drop", "20%"], &halves.0)?,
            Fault::Drop20SecondHalf => on(&["drop", "20%"], &halves.1)?,
            Fault::Drop100FirstHalf => on(&["drop", "100%"], &halves.0)?,
            Fault::Drop100SecondHalf => on(&["drop", "100%"], &halves.1)?,
            Fault::RejectFirstHalf => on(&["reject"], &halves.0)?,
            Fault::Delay200 => lab(&["delay", "200"])?,
            Fault::RecordsReadOnly => lab(&["readonly", "on"])?,
            Fault::RecordsFull => lab(&["full", "on"])?,
            Fault::LunReused => trouble.other = Some(leave_another_volume()?),
            Fault::Flap => {
                lab(FLAPPING[0])?;
                trouble.begin_hand(|over, _| flap(over));
            }
            Fault::IscsidKilled => {
                trouble.begin_hand(move |over, strike| kill_iscsid(over, A_LOGIN.mul_f64(share), strike));
            }
            Fault::MultipathdStopped => trouble.begin_hand(stop_multipathd),
        }
        Ok(trouble)
    }

    /// Work beside the attach.
    fn begin_hand(
        &mut self,
        work: impl FnOnce(&AtomicBool, &Strike) -> Result<(), Failure> + Send + 'static,
    ) {
        let (over, strike) = (Arc::clone(&self.over), self.strike.clone());
        self.hands.push(thread::spawn(move || work(&over, &strike)));
    }

    /// For whoever runs this and strikes himself.
    pub fn strike(&self) -> &Strike {
        &self.strike
    }

    /// When it has struck, in seconds since it was begun.
    pub fn struck(&self) -> Option<f64> {
        self.strike.at.get().copied()
    }

    /// Whether one of the disks below this device is the one that another volume has left.
    pub fn is_stale(&self, device: &Device) -> bool {
        self.other.as_ref().is_some_and(|other| device.identities().contains(other))
    }

    /// Whatever happens between the last write and the detach.
    pub fn before_detach(&self) -> Result<(), Failure> {
        match self.fault {
            Fault::UnmappedBeforeDetach => lab(&["unmap", &VOLUME.to_string()]),
            _ => Ok(()),
        }
    }

    /// How long everything has been well again.
    pub fn healed_for(&self) -> Duration {
        self.healed.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Everything is well again.
    pub fn heal(&mut self) -> Result<(), Failure> {
        self.make_well()?;
        self.healed.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn make_well(&mut self) -> Result<(), Failure> {
        self.over.store(true, Ordering::Relaxed);
        for hand in self.hands.drain(..) {
            hand.join().unwrap_or_else(|_| Err(Failure::new("the hand that makes trouble panicked")))?;
        }
        lab(&["heal"])?;
        match self.fault {
            Fault::RecordsReadOnly | Fault::RecordsFull => lab(&["readonly", "off"]),
            Fault::UnmappedBeforeDetach => match lab(&["map", &VOLUME.to_string()]) {
                // It was never taken away: the run did not come so far.
                Err(error) if error.to_string().contains("in use") => Ok(()),
                done => done,
            },
            _ => Ok(()),
        }
    }
}

/// The first portal, which is dead already, comes back and dies until it is over.
fn flap(over: &AtomicBool) -> Result<(), Failure> {
    for next in FLAPPING.iter().cycle().skip(1) {
        let until = Instant::now() + FLAP;
        while Instant::now() < until {
            if over.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        lab(next)?;
    }
    Ok(())
}

/// iscsid dies so long after the first session has appeared, which is before its login has ended.
fn kill_iscsid(over: &AtomicBool, after: Duration, strike: &Strike) -> Result<(), Failure> {
    // Found before: to start a program for it takes as long as the login.
    let iscsid = running("iscsid");
    if iscsid.is_empty() {
        return Err(Failure::new("iscsid does not run"));
    }
    if !session_comes(over) {
        return Ok(());
    }
    thread::sleep(after);
    for pid in iscsid {
        kill_process(pid, Signal::KILL).context(|| "cannot kill iscsid")?;
    }
    strike.now();
    thread::sleep(Duration::from_secs(1));
    lab(&["start", "iscsid"])
}

/// multipathd goes away when the first session appears, and comes back.
fn stop_multipathd(over: &AtomicBool, strike: &Strike) -> Result<(), Failure> {
    if !session_comes(over) {
        return Ok(());
    }
    lab(&["stop", "multipathd"])?;
    strike.now();
    thread::sleep(AWAY);
    lab(&["start", "multipathd"])
}

/// Waits for the first session; false where none comes.
fn session_comes(over: &AtomicBool) -> bool {
    let end = Instant::now() + NO_SESSION;
    while Instant::now() < end && !over.load(Ordering::Relaxed) {
        if fs::read_dir("/sys/class/iscsi_session").is_ok_and(|mut sessions| sessions.next().is_some()) {
            return true;
        }
        thread::sleep(LOOK_AGAIN);
    }
    false
}

/// A session over the first portal, made by hand, with the device of another volume at the LUN that now is the
/// volume's: somebody did not clean up before the array used the LUN again. Returns what the kernel calls the other.
fn leave_another_volume() -> Result<String, Failure> {
    let (volume, other) = (VOLUME.to_string(), OTHER.to_string());
    lab(&["unmap", &volume])?;
    lab(&["unmap", &other])?;
    lab(&["map", &other, "--lun", &volume])?;
    let connection = crate::lab::connection(VOLUME)?;
    let (iqn, portal) = (&connection["target_iqn"], &connection["target_portal"]);
    let (iqn, portal) = (iqn.as_str().unwrap_or_default(), portal.as_str().unwrap_or_default());
    let script = format!(
        "set -e; node=\"iscsiadm -m node -T {iqn} -p {portal}\"
         $node -o new; $node -o update -n node.session.scan -v manual; $node --login
         for host in /sys/class/iscsi_host/host*; do echo 0 0 {volume} >/sys/class/scsi_host/${{host##*/}}/scan; done
         udevadm settle
         cat /sys/class/scsi_device/*:{volume}/device/wwid"
    );
    let output = limited(LIMIT, "sh").args(["-c", &script]).output().context(|| "cannot start sh")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::new(format!("the other volume's device cannot be made: {said}")));
    }
    let identity =
        String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().trim().to_owned();
    lab(&["unmap", &other])?;
    lab(&["map", &volume])?;
    lab(&["map", &other])?;
    Ok(identity)
}

/// Whether the target shows nothing but the volume that is asked for: one with an IQN for all portals is the volume's own, as Cinder's LVM driver
/// makes one for each, and one with an IQN for each portal serves many.
pub fn is_alone(cell: Cell) -> bool {
    cell.backend == Backend::OneIqn && cell.fault != Fault::LunReused
}

/// Empties and signs every volume that a run may meet.
pub fn sign_volumes(seed: u64) -> Result<(), Failure> {
    [VOLUME, OTHER].into_iter().try_for_each(|volume| data::sign(volume, seed))
}
