//! What goes wrong.

use clap::ValueEnum;

/// What goes wrong, from before the attach until after the detach unless it says otherwise. The first half of the
/// portals is the one that holds the portal named first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Fault {
    /// Nothing
    None,
    /// 10 % of the packets that arrive are dropped, on all portals
    #[value(name = "drop-10")]
    Drop10,
    /// 20 %, on all portals
    #[value(name = "drop-20")]
    Drop20,
    /// All packets, on all portals
    #[value(name = "drop-100")]
    Drop100,
    /// 20 %, on the first half
    #[value(name = "drop-20-first-half")]
    Drop20FirstHalf,
    /// 20 %, on the second half
    #[value(name = "drop-20-second-half")]
    Drop20SecondHalf,
    /// All packets, on the first half
    #[value(name = "drop-100-first-half")]
    Drop100FirstHalf,
    /// All packets, on the second half
    #[value(name = "drop-100-second-half")]
    Drop100SecondHalf,
    /// 30 %, on all portals
    #[value(name = "drop-30")]
    Drop30,
    /// 50 %, on all portals
    #[value(name = "drop-50")]
    Drop50,
    /// The first half answers every packet with a reset
    RejectFirstHalf,
    /// All portals answer 200 ms late
    #[value(name = "delay-200")]
    Delay200,
    /// The first portal is dead for 5 s, alive for 5 s, and so on
    Flap,
    /// The array takes the volume away before the detach
    UnmappedBeforeDetach,
    /// Another volume's devices were left at this LUN
    LunReused,
    /// iscsid is killed during the logins, and started again
    IscsidKilled,
    /// multipathd stops during the attach, and starts 5 s later
    MultipathdStopped,
    /// All portals die while data is under way, the detach is tried, and all are healed
    DirtyAllDead,
    /// open-iscsi's node database cannot be written
    RecordsReadOnly,
    /// The disk that it is on is full
    RecordsFull,
    /// The caller is killed at a random moment of the attach, and the volume attached anew
    CallerKilled,
}

impl Fault {
    /// The eight of the original experiment (T1).
    pub const ORIGINAL: [Self; 8] = [
        Self::None,
        Self::Drop10,
        Self::Drop20,
        Self::Drop100,
        Self::Drop20FirstHalf,
        Self::Drop20SecondHalf,
        Self::Drop100FirstHalf,
        Self::Drop100SecondHalf,
    ];
    /// What T1 adds, since commands were seen to hang for ever above 30 %.
    pub const HEAVIER: [Self; 2] = [Self::Drop30, Self::Drop50];
    /// What nobody tests.
    pub const BEYOND_LOSS: [Self; 11] = [
        Self::RejectFirstHalf,
        Self::Delay200,
        Self::Flap,
        Self::UnmappedBeforeDetach,
        Self::LunReused,
        Self::IscsidKilled,
        Self::MultipathdStopped,
        Self::DirtyAllDead,
        Self::RecordsReadOnly,
        Self::RecordsFull,
        Self::CallerKilled,
    ];

    /// The fault as a person says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "no fault",
            Self::Drop10 => "10 % dropped, all portals",
            Self::Drop20 => "20 % dropped, all portals",
            Self::Drop30 => "30 % dropped, all portals",
            Self::Drop50 => "50 % dropped, all portals",
            Self::Drop100 => "100 % dropped, all portals",
            Self::Drop20FirstHalf => "20 % dropped, first half",
            Self::Drop20SecondHalf => "20 % dropped, second half",
            Self::Drop100FirstHalf => "100 % dropped, first half",
            Self::Drop100SecondHalf => "100 % dropped, second half",
            Self::RejectFirstHalf => "first half answers with resets",
            Self::Delay200 => "all portals 200 ms late",
            Self::Flap => "first portal flaps",
            Self::UnmappedBeforeDetach => "unmapped on the array before the detach",
            Self::LunReused => "another volume's devices at this LUN",
            Self::IscsidKilled => "iscsid killed during the logins",
            Self::MultipathdStopped => "multipathd stopped during the attach, started 5 s later",
            Self::DirtyAllDead => "all portals dead while data is under way, then healed",
            Self::RecordsReadOnly => "node database read-only",
            Self::RecordsFull => "node database full",
            Self::CallerKilled => "caller killed during the attach, volume attached anew",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_in_one_list() {
        let mut listed: Vec<Fault> = [&Fault::ORIGINAL[..], &Fault::HEAVIER, &Fault::BEYOND_LOSS].concat();
        listed.sort();
        let mut all = Fault::value_variants().to_vec();
        all.sort();
        assert_eq!(listed, all);
    }
}
