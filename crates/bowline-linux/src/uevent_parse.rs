//! udev's message of an event, as a pure function of its bytes (systemd 252 `src/libsystemd/sd-device/device-monitor.c`): a header,
//! whose numbers are native but for the magic one and the hashes, then KEY=value strings, each with a NUL, at the offset that
//! the header names.

use bowline_host::host::Uevent;

const UDEV_PREFIX: &[u8] = b"libudev\0";
const UDEV_MAGIC: u32 = 0xfeed_cafe;

/// Parses a message of udev; `None` when it is none.
pub(crate) fn udev(message: &[u8]) -> Option<Uevent> {
    let word = |at: usize| message.get(at..at + 4)?.try_into().ok();
    if !message.starts_with(UDEV_PREFIX) || u32::from_be_bytes(word(8)?) != UDEV_MAGIC {
        return None;
    }
    let start = u32::from_ne_bytes(word(16)?) as usize;
    let length = u32::from_ne_bytes(word(20)?) as usize;
    event(message.get(start..start.checked_add(length)?)?)
}

/// Every volume's events wake every process that listens, so nothing is kept of one but what is asked for.
fn event(bytes: &[u8]) -> Option<Uevent> {
    let (mut devpath, mut dm_uuid) = (None, None);
    for field in bytes.split(|byte| *byte == 0) {
        let Some(end) = field.iter().position(|byte| *byte == b'=') else { continue };
        let place = match &field[..end] {
            b"DEVPATH" => &mut devpath,
            b"DM_UUID" => &mut dm_uuid,
            _ => continue,
        };
        // A value may hold any byte: a wrong one must not hide the event.
        *place = Some(String::from_utf8_lossy(&field[end + 1..]).into_owned());
    }
    Some(Uevent { devpath: devpath?, dm_uuid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIELDS: &[u8] =
        b"ACTION=add\0DEVPATH=/devices/platform/host2/session1/target2:0:0/2:0:0:1/block/sdb\0\
        SUBSYSTEM=block\0MAJOR=8\0MINOR=16\0DEVNAME=sdb\0DEVTYPE=disk\0SEQNUM=4711\0";

    fn from_udev(fields: &[u8]) -> Vec<u8> {
        let mut message = UDEV_PREFIX.to_vec();
        message.extend(UDEV_MAGIC.to_be_bytes());
        for word in [40, 40, fields.len() as u32, 1, 2, 3, 4] {
            message.extend(word.to_ne_bytes());
        }
        message.extend(fields);
        message
    }

    #[test]
    fn a_message_of_udev() {
        let event = udev(&from_udev(&[FIELDS, b"DM_UUID=mpath-36001\0"].concat())).unwrap();
        assert!(event.devpath.ends_with("/block/sdb"));
        assert_eq!(event.dm_uuid.as_deref(), Some("mpath-36001"));
    }

    #[test]
    fn what_the_kernel_says_is_none_of_udevs() {
        assert_eq!(udev(&[b"add@/devices/x\0", FIELDS].concat()), None);
    }

    #[test]
    fn a_header_that_points_outside_is_refused() {
        for (at, value) in [(16, 41), (16, u32::MAX), (20, u32::MAX), (8, 0)] {
            let mut message = from_udev(FIELDS);
            message[at..at + 4].copy_from_slice(&value.to_ne_bytes());
            assert_eq!(udev(&message), None, "{value} at {at}");
        }
        assert_eq!(udev(UDEV_PREFIX), None);
    }

    #[test]
    fn a_value_may_hold_an_equals_sign_or_wrong_bytes() {
        let event = udev(&from_udev(b"DEVPATH=/x=y\0A=b=c\0DM_UUID=\xff\0")).unwrap();
        assert_eq!(event.devpath, "/x=y");
        assert!(event.dm_uuid.is_some());
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            words in proptest::array::uniform7(any::<u32>()),
        ) {
            let mut message = UDEV_PREFIX.to_vec();
            message.extend(UDEV_MAGIC.to_be_bytes());
            words.iter().for_each(|word| message.extend((word % 400).to_ne_bytes()));
            message.extend(&bytes);
            let _ = udev(&message);
            let _ = udev(&bytes);
        }
    }
}
