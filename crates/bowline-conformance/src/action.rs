//! What a step can say. Portals and volumes are counted from 1; a step that names no portal means all.

/// What happens in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// bowline attaches a volume.
    Connect(Connect),
    /// bowline detaches a volume.
    Disconnect(Disconnect),
    /// Whoever was given the volume writes to it, through to the target, and closes it.
    Write(u64),
    /// What was written before is read back.
    Verify(u64),
    /// The engine looks at the host.
    Look,
    /// Time passes until something is so.
    Wait(Wait),
    /// What these portals send is lost.
    Drop(Vec<usize>),
    /// These portals refuse connections, and reset those there are.
    Reject(Vec<usize>),
    /// A round trip to these portals takes so many milliseconds longer.
    Delay(u64, Vec<usize>),
    /// The network is in order.
    Heal,
    /// The target exports a volume no more.
    Unmap(u64),
    /// It exports it, at that LUN.
    Map {
        /// The volume.
        volume: u64,
        /// The LUN.
        lun: u64,
    },
    /// Whether the target asks for CHAP.
    Chap(Chap),
    /// Whether the volume has a write-back cache.
    Cache(u64, bool),
    /// Whether the target lets anybody write.
    WriteProtect(bool),
    /// multipath.conf, and multipathd anew.
    Multipath(Multipath),
    /// A daemon is stopped, or started.
    Daemon(Daemon, Power),
    /// Somebody else works on the same host.
    Others(Others),
}

/// How a volume is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The volume.
    pub volume: u64,
    /// At which LUN, where that is not its number.
    pub lun: Option<u64>,
    /// `--min-paths`
    pub min_paths: Option<u32>,
    /// `--single-path`
    pub single_path: bool,
    /// `--allow-single-device`
    pub allow_single_device: bool,
    /// `--deadline`, in seconds.
    pub deadline: Option<u64>,
    /// `--wwid`: that of this volume.
    pub wwid: Option<u64>,
    /// Whether the controller's CHAP is passed on as it is.
    pub secret: Secret,
    /// The controller grants no writing.
    pub read_only: bool,
}

impl Connect {
    /// As the command does it without an option.
    pub fn of(volume: u64) -> Self {
        Self {
            volume,
            lun: None,
            min_paths: None,
            single_path: false,
            allow_single_device: false,
            deadline: None,
            wwid: None,
            secret: Secret::AsIs,
            read_only: false,
        }
    }
}

/// What becomes of the controller's CHAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// It is passed on.
    AsIs,
    /// There is none.
    None,
    /// The initiator's is wrong.
    Wrong,
    /// The target's is wrong.
    WrongIn,
}

/// How a volume is detached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// The volume.
    pub volume: u64,
    /// At which LUN, where that is not its number.
    pub lun: Option<u64>,
    /// `--force`
    pub force: bool,
    /// `--flush-timeout`, in seconds.
    pub flush_timeout: Option<u64>,
    /// `--deadline`, in seconds.
    pub deadline: Option<u64>,
}

/// What is waited for. None takes longer than a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The volume's map can be used, has so many paths, and the kernel uses all of them.
    Paths {
        /// How many.
        count: usize,
        /// The volume.
        volume: u64,
    },
    /// There are so many devices of the volume.
    Devices {
        /// How many.
        count: usize,
        /// The volume.
        volume: u64,
    },
    /// Nobody brings missing paths any more.
    NoFinisher,
    /// Whoever closes a device hangs in it.
    CloserHangs,
    /// udev has nothing under way, so it has no device open.
    Udev,
    /// So many seconds are over.
    Seconds(u64),
}

/// CHAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chap {
    /// Nobody is asked.
    Off,
    /// The initiator proves himself.
    OneWay,
    /// The target, too.
    Mutual,
}

/// A setting of multipath.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multipath {
    /// `find_multipaths yes`
    FindYes,
    /// `find_multipaths no`
    FindNo,
    /// `find_multipaths greedy`
    FindGreedy,
    /// `user_friendly_names yes`
    FriendlyNames,
    /// The target's vendor is on the blacklist.
    Blacklist,
    /// As the distribution has it.
    Default,
}

/// A daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// open-iscsi's.
    Iscsid,
    /// multipath's.
    Multipathd,
}

/// What becomes of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It ends.
    Stop,
    /// It is started, and answers.
    Start,
}

/// What somebody else does, by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Makes a record for a portal, with settings of his own.
    Record(usize),
    /// Logs in at a portal, without a scan.
    Login(usize),
    /// Logs out at a portal.
    Logout(usize),
    /// Scans for a LUN at a portal.
    Scan(usize, u64),
    /// Deletes the device of a LUN at a portal.
    Delete(usize, u64),
    /// Asks multipathd for a map of a volume.
    Map(u64),
    /// Opens the device that was handed out for a volume, and keeps it open.
    Open(u64),
    /// Opens the disk of a LUN at a portal, and keeps it open.
    OpenDisk(usize, u64),
    /// Closes whatever he has open.
    Close,
    /// Writes to the page cache of the device that was handed out for a volume, and closes it.
    WriteCached(u64),
}

/// What the words of a line mean.
///
/// # Errors
/// They mean nothing; they are in the error.
pub fn parse(words: &[&str]) -> Result<Action, String> {
    understood(words).ok_or_else(|| format!("`{}` is no step", words.join(" ")))
}

fn understood(words: &[&str]) -> Option<Action> {
    Some(match words {
        ["connect", volume, options @ ..] => Action::Connect(connect(number(volume)?, options)?),
        ["disconnect", volume, options @ ..] => Action::Disconnect(disconnect(number(volume)?, options)?),
        ["write", volume] => Action::Write(number(volume)?),
        ["verify", volume] => Action::Verify(number(volume)?),
        ["look"] => Action::Look,
        ["wait", rest @ ..] => Action::Wait(wait(rest)?),
        ["drop", portals @ ..] => Action::Drop(self::portals(portals)?),
        ["reject", portals @ ..] => Action::Reject(self::portals(portals)?),
        ["delay", milliseconds, portals @ ..] => {
            Action::Delay(number(milliseconds.strip_suffix("ms")?)?, self::portals(portals)?)
        }
        ["heal"] => Action::Heal,
        ["unmap", volume] => Action::Unmap(number(volume)?),
        ["map", volume] => Action::Map { volume: number(volume)?, lun: number(volume)? },
        ["map", volume, "at", lun] => Action::Map { volume: number(volume)?, lun: number(lun)? },
        ["chap", "off"] => Action::Chap(Chap::Off),
        ["chap", "one-way"] => Action::Chap(Chap::OneWay),
        ["chap", "mutual"] => Action::Chap(Chap::Mutual),
        ["cache", "on", volume] => Action::Cache(number(volume)?, true),
        ["cache", "off", volume] => Action::Cache(number(volume)?, false),
        ["write-protect", "on"] => Action::WriteProtect(true),
        ["write-protect", "off"] => Action::WriteProtect(false),
        ["multipath", setting] => Action::Multipath(match *setting {
            "find_multipaths=yes" => Multipath::FindYes,
            "find_multipaths=no" => Multipath::FindNo,
            "find_multipaths=greedy" => Multipath::FindGreedy,
            "user_friendly_names=yes" => Multipath::FriendlyNames,
            "blacklist" => Multipath::Blacklist,
            "default" => Multipath::Default,
            _ => return None,
        }),
        ["stop", daemon] => Action::Daemon(self::daemon(daemon)?, Power::Stop),
        ["start", daemon] => Action::Daemon(self::daemon(daemon)?, Power::Start),
        ["others", rest @ ..] => Action::Others(others(rest)?),
        _ => return None,
    })
}

fn connect(volume: u64, options: &[&str]) -> Option<Connect> {
    let mut connect = Connect::of(volume);
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("lun", lun) => connect.lun = Some(number(lun)?),
            ("min-paths", count) => connect.min_paths = Some(count.parse().ok()?),
            ("single-path", "") => connect.single_path = true,
            ("allow-single-device", "") => connect.allow_single_device = true,
            ("deadline", time) => connect.deadline = Some(seconds(time)?),
            ("wwid", volume) => connect.wwid = Some(number(volume)?),
            ("secret", "none") => connect.secret = Secret::None,
            ("secret", "wrong") => connect.secret = Secret::Wrong,
            ("secret", "wrong-in") => connect.secret = Secret::WrongIn,
            ("read-only", "") => connect.read_only = true,
            _ => return None,
        }
    }
    Some(connect)
}

fn disconnect(volume: u64, options: &[&str]) -> Option<Disconnect> {
    let mut disconnect = Disconnect { volume, lun: None, force: false, flush_timeout: None, deadline: None };
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("lun", lun) => disconnect.lun = Some(number(lun)?),
            ("force", "") => disconnect.force = true,
            ("flush-timeout", time) => disconnect.flush_timeout = Some(seconds(time)?),
            ("deadline", time) => disconnect.deadline = Some(seconds(time)?),
            _ => return None,
        }
    }
    Some(disconnect)
}

fn wait(words: &[&str]) -> Option<Wait> {
    Some(match words {
        [count, "paths", "of", volume] => Wait::Paths { count: count.parse().ok()?, volume: number(volume)? },
        [count, "devices", "of", volume] => {
            Wait::Devices { count: count.parse().ok()?, volume: number(volume)? }
        }
        ["no", "finisher"] => Wait::NoFinisher,
        ["closer", "hangs"] => Wait::CloserHangs,
        ["udev"] => Wait::Udev,
        [time] => Wait::Seconds(seconds(time)?),
        _ => return None,
    })
}

fn others(words: &[&str]) -> Option<Others> {
    let portal = |word: &str| self::portals(&[word])?.pop();
    Some(match words {
        ["record", at] => Others::Record(portal(at)?),
        ["login", at] => Others::Login(portal(at)?),
        ["logout", at] => Others::Logout(portal(at)?),
        ["scan", at, lun] => Others::Scan(portal(at)?, number(lun)?),
        ["delete", at, lun] => Others::Delete(portal(at)?, number(lun)?),
        ["map", volume] => Others::Map(number(volume)?),
        ["open", volume] => Others::Open(number(volume)?),
        ["open-disk", at, lun] => Others::OpenDisk(portal(at)?, number(lun)?),
        ["close"] => Others::Close,
        ["write-cached", volume] => Others::WriteCached(number(volume)?),
        _ => return None,
    })
}

fn daemon(word: &str) -> Option<Daemon> {
    match word {
        "iscsid" => Some(Daemon::Iscsid),
        "multipathd" => Some(Daemon::Multipathd),
        _ => None,
    }
}

fn number(word: &str) -> Option<u64> {
    word.parse().ok()
}

fn seconds(word: &str) -> Option<u64> {
    number(word.strip_suffix('s')?)
}

/// How many portals both hosts have.
pub const PORTALS: usize = 4;

fn portals(words: &[&str]) -> Option<Vec<usize>> {
    let named = words.iter().map(|word| word.parse().ok().filter(|portal| (1..=PORTALS).contains(portal)));
    let named: Vec<usize> = named.collect::<Option<_>>()?;
    Some(if named.is_empty() { (1..=PORTALS).collect() } else { named })
}
