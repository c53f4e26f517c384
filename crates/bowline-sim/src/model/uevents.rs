//! Uevents of block devices, as udev tells them once its rules have run.

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

impl World {
    /// udev has dealt with what happened to a block device.
    pub fn block_event(&mut self, block: BlockId) {
        let Some(devpath) = self.devpath(block) else { return };
        let dm_uuid = match block {
            BlockId::Map(id) => self.maps.get(&id).map(|map| format!("mpath-{}", map.wwid)),
            _ => None,
        };
        self.uevents.tell(&UeventNotice::Event(Uevent { devpath, dm_uuid }));
    }

    /// The same of one that is gone.
    pub fn event(&mut self, devpath: String) {
        self.uevents.tell(&UeventNotice::Event(Uevent { devpath, dm_uuid: None }));
    }
}
