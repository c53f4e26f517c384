//! The bytes of device-mapper's ioctls: `struct dm_ioctl`, `dm_target_deps` and `dm_target_spec` of
//! Linux 6.1 `include/uapi/linux/dm-ioctl.h`, by explicit offsets.

use bowline_host::names::DevNumber;

/// Size of `struct dm_ioctl`: also part of every request's number.
pub(crate) const HEADER: usize = 312;
const NAME: (usize, usize) = (48, 128);
const UUID: (usize, usize) = (176, 129);
/// Size of `struct dm_target_spec`.
const SPEC: usize = 40;

/// DM_STATUS_TABLE_FLAG: DM_TABLE_STATUS answers with the table instead of the status.
pub(crate) const STATUS_TABLE: u32 = 1 << 4;
/// DM_NOFLUSH_FLAG: asking for the status must not commit anything (thin and cache targets would).
pub(crate) const NO_FLUSH: u32 = 1 << 11;
const SUSPENDED: u32 = 1 << 1;
const ACTIVE_PRESENT: u32 = 1 << 5;
const BUFFER_FULL: u32 = 1 << 8;
const INTERNALLY_SUSPENDED: u32 = 1 << 18;

/// Which device a request is about. The kernel refuses a name beside a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Nothing,
    Name(&'a str),
    Uuid(&'a str),
}

/// A request of `size` bytes in all; `None` when the name does not fit its field with a final NUL.
pub(crate) fn request(key: Key<'_>, flags: u32, size: usize) -> Option<Vec<u8>> {
    let mut buffer = vec![0; size.max(HEADER)];
    let data_size = u32::try_from(buffer.len()).ok()?;
    // Version 4.0.0: the kernel takes any minor version up to its own.
    put(&mut buffer, 0, 4);
    put(&mut buffer, 12, data_size);
    put(&mut buffer, 16, HEADER as u32);
    put(&mut buffer, 28, flags);
    let (text, (start, room)) = match key {
        Key::Nothing => return Some(buffer),
        Key::Name(name) => (name, NAME),
        Key::Uuid(uuid) => (uuid, UUID),
    };
    if text.is_empty() || text.len() >= room || text.contains('\0') {
        return None;
    }
    buffer[start..start + text.len()].copy_from_slice(text.as_bytes());
    Some(buffer)
}

fn put(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

/// A reply of the kernel. Every access is bounded: a reply that contradicts itself yields `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a>(pub(crate) &'a [u8]);

impl Reply<'_> {
    /// Major and minor version of the kernel's interface.
    pub(crate) fn version(&self) -> Option<(u32, u32)> {
        Some((self.u32(0)?, self.u32(4)?))
    }

    /// Whether the answer did not fit the buffer.
    pub(crate) fn is_cut(&self) -> bool {
        self.flag(BUFFER_FULL)
    }

    /// Whether I/O is held back, by a request or by the kernel for its own purposes.
    pub(crate) fn is_suspended(&self) -> bool {
        self.flag(SUSPENDED) || self.flag(INTERNALLY_SUSPENDED)
    }

    /// Whether there is a live table.
    pub(crate) fn has_live_table(&self) -> bool {
        self.flag(ACTIVE_PRESENT)
    }

    /// How often the device is open.
    pub(crate) fn open_count(&self) -> Option<u32> {
        self.u32(24)
    }

    /// The device's number.
    pub(crate) fn number(&self) -> Option<DevNumber> {
        Some(dev_number(self.u64(40)?))
    }

    /// The device's name.
    pub(crate) fn name(&self) -> Option<String> {
        self.string(NAME.0, NAME.0 + NAME.1)
    }

    /// The device's UUID; empty when it has none.
    pub(crate) fn uuid(&self) -> Option<String> {
        self.string(UUID.0, UUID.0 + UUID.1)
    }

    /// The answer to DM_TABLE_DEPS.
    pub(crate) fn deps(&self) -> Option<Vec<DevNumber>> {
        let start = self.data_start()?;
        let count = self.u32(start)? as usize;
        // The bound keeps a wrong count from allocating: each number takes eight bytes of the reply.
        if count > self.0.len() / 8 {
            return None;
        }
        (0..count).map(|index| Some(dev_number(self.u64(start + 8 + 8 * index)?))).collect()
    }

    /// The answer to DM_TABLE_STATUS: one line a target, `START LENGTH TYPE TEXT`.
    pub(crate) fn targets(&self) -> Option<Vec<String>> {
        let first = self.data_start()?;
        let count = self.u32(20)?;
        let mut at = first;
        let mut lines = Vec::new();
        for _ in 0..count {
            let (start, length) = (self.u64(at)?, self.u64(at + 8)?);
            let next = self.u32(at + 20)? as usize;
            let kind = self.string(at + 24, at + SPEC)?;
            // From the kernel, `next` counts from the first target, not from this one.
            let after = first.checked_add(next)?;
            if after < at + SPEC {
                return None;
            }
            let text = self.string(at + SPEC, after)?;
            lines.push(format!("{start} {length} {kind} {}", text.trim_end()).trim_end().to_owned());
            at = after;
        }
        Some(lines)
    }

    fn data_start(&self) -> Option<usize> {
        self.u32(16).map(|start| start as usize)
    }

    fn flag(&self, flag: u32) -> bool {
        self.u32(28).is_some_and(|flags| flags & flag != 0)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..at.checked_add(4)?)?;
        bytes.try_into().ok().map(u32::from_ne_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let bytes = self.0.get(at..at.checked_add(8)?)?;
        bytes.try_into().ok().map(u64::from_ne_bytes)
    }

    /// The text from `start` to its NUL, at the latest to `end`.
    fn string(&self, start: usize, end: usize) -> Option<String> {
        let field = self.0.get(start..end.min(self.0.len()))?;
        let text = field.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// Takes apart what the kernel's `huge_encode_dev` put together: 12 bits of major above the low 8 bits of
/// minor, the other 12 bits of minor on top (Linux 6.1 `include/linux/kdev_t.h`).
fn dev_number(encoded: u64) -> DevNumber {
    let major = (encoded & 0xf_ff00) >> 8;
    let minor = (encoded & 0xff) | ((encoded >> 12) & 0xf_ff00);
    DevNumber { major: major as u32, minor: minor as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a kernel answers for a multipath map with two paths.
    fn reply(flags: u32, targets: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = request(Key::Uuid("mpath-36001405abc"), flags, HEADER).unwrap();
        put(&mut bytes, 4, 47);
        put(&mut bytes, 20, targets);
        put(&mut bytes, 24, 2);
        bytes[40..48].copy_from_slice(&0xfd03_u64.to_ne_bytes());
        bytes[48..54].copy_from_slice(b"mpatha");
        bytes.extend_from_slice(data);
        bytes
    }

    fn target(start: u64, length: u64, kind: &str, text: &str, next: u32) -> Vec<u8> {
        let mut bytes = [start.to_ne_bytes(), length.to_ne_bytes()].concat();
        bytes.extend_from_slice(&0_i32.to_ne_bytes());
        bytes.extend_from_slice(&next.to_ne_bytes());
        let mut name = kind.as_bytes().to_vec();
        name.resize(16, 0);
        bytes.extend_from_slice(&name);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn the_header_is_read() {
        let bytes = reply(ACTIVE_PRESENT, 0, &[]);
        let reply = Reply(&bytes);
        assert_eq!(reply.version(), Some((4, 47)));
        assert_eq!(reply.name().as_deref(), Some("mpatha"));
        assert_eq!(reply.uuid().as_deref(), Some("mpath-36001405abc"));
        assert_eq!(reply.number(), Some(DevNumber { major: 253, minor: 3 }));
        assert_eq!(reply.open_count(), Some(2));
        assert!(reply.has_live_table() && !reply.is_suspended() && !reply.is_cut());
    }

    #[test]
    fn deps_are_read() {
        let mut data = 2_u64.to_ne_bytes().to_vec();
        if cfg!(target_endian = "big") {
            data = [2_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat();
        }
        data.extend_from_slice(&0x800_u64.to_ne_bytes());
        data.extend_from_slice(&0x4110_u64.to_ne_bytes());
        let bytes = reply(0, 0, &data);
        let expected = [DevNumber { major: 8, minor: 0 }, DevNumber { major: 65, minor: 16 }];
        assert_eq!(Reply(&bytes).deps().unwrap(), expected);
    }

    #[test]
    fn targets_are_chained_from_the_first() {
        let status = "2 0 0 0 1 1 A 0 1 2 8:16 A 0 0 1 ";
        let length = target(0, 0, "", status, 0).len() as u32;
        let mut data = target(0, 2048, "multipath", status, length);
        data.extend(target(2048, 8, "error", "", length + 48));
        let bytes = reply(0, 2, &data);
        assert_eq!(
            Reply(&bytes).targets().unwrap(),
            [format!("0 2048 multipath {}", status.trim_end()), "2048 8 error".into()]
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let looping = target(0, 8, "error", "", 0);
        assert_eq!(Reply(&reply(0, 2, &looping)).targets(), None);
        assert_eq!(Reply(&reply(0, 1, &looping[..20])).targets(), None);
        assert_eq!(Reply(&reply(0, 0, &u64::MAX.to_ne_bytes())).deps(), None);
        assert_eq!(Reply(&[]).number(), None);
    }

    #[test]
    fn large_device_numbers_are_decoded() {
        let encode = |major: u64, minor: u64| (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
        for (major, minor) in [(8, 0), (253, 255), (253, 256), (259, 1_048_575), (4095, 0)] {
            let number = dev_number(encode(major, minor));
            assert_eq!((u64::from(number.major), u64::from(number.minor)), (major, minor));
        }
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(request(Key::Name(&"x".repeat(127)), 0, HEADER).is_some());
        assert!(request(Key::Name(&"x".repeat(128)), 0, HEADER).is_none());
        assert!(request(Key::Uuid(&"x".repeat(129)), 0, HEADER).is_none());
        assert!(request(Key::Uuid(""), 0, HEADER).is_none());
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..800), start in 0u32..900) {
            if bytes.len() >= HEADER {
                put(&mut bytes, 16, start);
                put(&mut bytes, 20, start % 5);
            }
            let reply = Reply(&bytes);
            let _ = (reply.deps(), reply.targets(), reply.name(), reply.uuid(), reply.number(), reply.version());
        }
    }
}
