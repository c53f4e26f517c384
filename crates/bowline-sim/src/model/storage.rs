//! Targets, what they export, and what has arrived on the volumes.

use std::collections::{BTreeMap, BTreeSet};

/// Something to store data on.
#[derive(Debug, Clone)]
pub struct Volume {
    /// NAA 6 designator: 32 hexadecimal digits.
    pub naa: String,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Writes that have arrived.
    pub written: BTreeSet<u64>,
    /// It has a write-back cache: only then does the kernel send a flush to it (Linux 6.1 `sd_read_cache_type`,
    /// `blkdev_issue_flush`).
    pub write_cache: bool,
    /// It lets nobody write.
    pub read_only: bool,
}

/// A target.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub iqn: String,
    /// The portals it is reached at.
    pub portals: BTreeSet<usize>,
    /// What it exports, by LUN.
    pub luns: BTreeMap<u64, usize>,
    /// What it asks for in CHAP: the secret.
    pub chap: Option<String>,
    /// What it proves itself with, where it is asked (mutual CHAP).
    pub chap_in: Option<String>,
}

/// Everything on the other side of the network.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Targets.
    pub targets: Vec<Target>,
}

impl Volume {
    /// Number `n`.
    pub fn new(n: usize) -> Self {
        let naa = format!("6001405{:0>25x}", 0x00b2_a3f1_e9c0_d84d_u64 + n as u64);
        let sectors = 2_097_152 + n as u64 * 2048;
        Self { naa, sectors, written: BTreeSet::new(), write_cache: true, read_only: false }
    }

    /// Its identity in multipath's words (interfaces: a naa `wwid` is `3` and the digits).
    pub fn wwid(&self) -> String {
        format!("3{}", self.naa)
    }

    /// VPD page 0x83 with its NAA designator (SPC-4 7.8.5): header, then code set binary, association LUN, type NAA.
    pub fn page83(&self) -> Vec<u8> {
        let mut page = vec![0, 0x83, 0, 20, 1, 3, 0, 16];
        let digit = |at: usize| u8::from_str_radix(&self.naa[at..at + 2], 16).unwrap_or(0);
        page.extend((0..32).step_by(2).map(digit));
        page
    }
}

impl Storage {
    /// The target of a name, as targets compare names: byte by byte (findings: "A target whose name has capitals …").
    pub fn target(&self, iqn: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.iqn == iqn)
    }

    /// The volume behind a LUN.
    pub fn exported(&self, iqn: &str, lun: u64) -> Option<usize> {
        self.target(iqn)?.luns.get(&lun).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bowline_host::scsi::{Product, wwid_from_vpd83};

    #[test]
    fn the_page_of_a_volume_is_read_as_its_wwid() {
        for volume in [Volume::new(0), Volume::new(5)] {
            assert_eq!(volume.naa.len(), 32);
            let read = wwid_from_vpd83(&volume.page83(), Product::default()).unwrap();
            assert_eq!(read.as_str(), volume.wwid());
        }
    }
}
