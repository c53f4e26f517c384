//! Uevents: of the kernel (group 1), and of udev once its rules have run (group 2).

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use bowline_host::host::{Uevent, UeventNotice};

use super::{BlockId, World};

/// Who listens.
#[derive(Default)]
pub struct Uevents {
    /// Subscribers by number.
    pub subscribers: BTreeMap<u64, Subscriber>,
}

/// One listener.
#[derive(Default)]
pub struct Subscriber {
    /// What it has not taken yet.
    pub queue: VecDeque<UeventNotice>,
    /// Who waits for the next.
    pub waker: Option<Waker>,
}

/// A socket's buffer holds some hundred events (128 MiB asked for by udev, far less by us).
const MOST: usize = 500;

impl Uevents {
    fn tell(&mut self, notice: &UeventNotice) {
        for subscriber in self.subscribers.values_mut() {
            if subscriber.queue.len() >= MOST {
                subscriber.queue.clear();
                subscriber.queue.push_back(UeventNotice::Lost);
            } else {
                subscriber.queue.push_back(notice.clone());
            }
            if let Some(waker) = subscriber.waker.take() {
                waker.wake();
            }
        }
    }

    /// The buffers run over (ENOBUFS): what was in them is gone.
    pub fn lose(&mut self) {
        self.subscribers.values_mut().for_each(|subscriber| subscriber.queue.clear());
        self.tell(&UeventNotice::Lost);
    }
}

/// Of which group an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Group 1.
    Kernel,
    /// Group 2.
    Udev,
}

impl World {
    /// Tells of a block device.
    pub fn block_event(&mut self, from: From, action: &str, block: BlockId) {
        let Some(devpath) = self.devpath(block) else { return };
        let dm_uuid = match (from, block) {
            (From::Udev, BlockId::Map(id)) => self.maps.get(&id).map(|map| format!("mpath-{}", map.wwid)),
            _ => None,
        };
        self.tell(from, action, "block", devpath, dm_uuid);
    }

    /// Tells of something.
    pub fn event(&mut self, from: From, action: &str, subsystem: &str, devpath: String) {
        self.tell(from, action, subsystem, devpath, None);
    }

    fn tell(&mut self, from: From, action: &str, subsystem: &str, devpath: String, dm_uuid: Option<String>) {
        let event = Uevent {
            processed: from == From::Udev,
            action: action.into(),
            subsystem: subsystem.into(),
            devpath,
            dm_uuid,
        };
        self.uevents.tell(&UeventNotice::Event(event));
    }
}
