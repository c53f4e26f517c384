//! The network between this host and one portal.

use std::time::Duration;

use super::World;

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They arrive, apart from loss.
    Up,
    /// They vanish.
    BlackHole,
    /// Connections are refused, and those that stand are reset.
    Reject,
    /// Connections and logins work; no SCSI command and no ping is answered (findings: "A scan lands while its session is
    /// released").
    Silent,
}

/// The way to one portal.
#[derive(Debug, Clone)]
pub struct Link {
    /// What becomes of packets.
    pub mode: Mode,
    /// Round trip.
    pub delay: Duration,
    /// Packets lost of a thousand.
    pub loss: u64,
    /// How often the connection was reset: one that was made before is gone.
    pub resets: u64,
}

/// TCP's first retransmission (Linux `TCP_RTO_MIN`); it doubles.
const RETRANSMISSION: Duration = Duration::from_millis(200);

impl Link {
    /// A link in order.
    pub fn new(delay: Duration) -> Self {
        Self { mode: Mode::Up, delay, loss: 0, resets: 0 }
    }

    /// Whether a request of SCSI or a ping is answered.
    pub fn answers(&self) -> bool {
        self.mode == Mode::Up
    }

    /// Whether a connection can be made, and a login done over it.
    pub fn connects(&self) -> bool {
        matches!(self.mode, Mode::Up | Mode::Silent)
    }
}

impl World {
    /// How long so many round trips to a portal take, where packets arrive at all: loss costs retransmissions.
    pub fn trips(&mut self, portal: usize, trips: u32) -> Duration {
        let Link { delay, loss, .. } = self.links[portal];
        let mut time = delay * trips;
        for _ in 0..trips {
            let mut wait = RETRANSMISSION;
            while wait < Duration::from_secs(13) && self.random.in_thousand(loss) {
                time += wait;
                wait *= 2;
            }
        }
        time
    }

    /// Changes a link.
    pub fn set_link(&mut self, portal: usize, change: impl FnOnce(&mut Link)) {
        let link = &mut self.links[portal];
        change(link);
        let link = link.clone();
        self.note(
            "network",
            format_args!("portal {portal}: {:?}, {:?}, loss {}‰", link.mode, link.delay, link.loss),
        );
        self.touch();
    }
}
