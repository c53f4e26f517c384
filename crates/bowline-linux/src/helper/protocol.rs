//! The messages between a host and its helper.
//!
//! One message is one packet of a SOCK_SEQPACKET socket, so a message is whole or absent and processes that
//! share the socket do not interleave. Numbers are little-endian; a text or byte string follows its length.
//! Both ends come from one build, see [`super::ARGUMENT`]; decoding is strict nevertheless, since one end is
//! root's and forks.

use bowline_host::host::Blocking;
use bowline_host::names::{BlockName, DevNumber};

use super::OperationFailed;

/// No message is longer: what is written to sysfs and what is read are a page at most.
pub(super) const LONGEST: usize = 32 << 10;

/// What a host asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// Perform an operation and report under this number.
    Perform { id: u64, operation: Blocking },
    /// Nobody waits for this operation any more: end it if the kernel lets you.
    Abandon { id: u64 },
}

/// What a helper, or its child, reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// Done; what was read.
    Done { id: u64, bytes: Vec<u8> },
    /// The kernel or a check refused.
    Failed { id: u64, failure: OperationFailed },
    /// Its process ended without a report: killed, or a fault of ours.
    Died { id: u64 },
}

/// A message that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed message between bowline and its helper: {0}")]
pub(super) struct Malformed(&'static str);

const PERFORM: u8 = 1;
const ABANDON: u8 = 2;
const DONE: u8 = 3;
const FAILED: u8 = 4;
const DIED: u8 = 5;

const WRITE_SYSFS: u8 = 1;
const SYNC: u8 = 2;
const READ_FIRST: u8 = 3;

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Abandon { id } => Writer::new(ABANDON, *id).0,
            Self::Perform { id, operation } => {
                let out = Writer::new(PERFORM, *id);
                match operation {
                    Blocking::WriteSysfs { path, text } => {
                        out.byte(WRITE_SYSFS).string(path.as_bytes()).string(text.as_bytes()).0
                    }
                    Blocking::Sync { device, number } => out.byte(SYNC).device(device, *number).0,
                    Blocking::ReadFirst { device, number } => out.byte(READ_FIRST).device(device, *number).0,
                }
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let (kind, id) = (input.byte()?, input.u64()?);
        let request = match kind {
            ABANDON => Self::Abandon { id },
            PERFORM => {
                let operation = match input.byte()? {
                    WRITE_SYSFS => Blocking::WriteSysfs { path: input.text()?, text: input.text()? },
                    SYNC => Blocking::Sync { device: input.device()?, number: input.number()? },
                    READ_FIRST => Blocking::ReadFirst { device: input.device()?, number: input.number()? },
                    _ => return Err(Malformed("unknown operation")),
                };
                Self::Perform { id, operation }
            }
            _ => return Err(Malformed("unknown request")),
        };
        input.end().map(|()| request)
    }
}

impl Report {
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Done { id, .. } | Self::Failed { id, .. } | Self::Died { id } => *id,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Done { id, bytes } => Writer::new(DONE, *id).string(bytes).0,
            Self::Died { id } => Writer::new(DIED, *id).0,
            Self::Failed { id, failure } => {
                let errno = failure.errno.to_le_bytes();
                let lost = u8::from(failure.lost_write);
                Writer::new(FAILED, *id).byte(lost).raw(&errno).string(failure.detail.as_bytes()).0
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let (kind, id) = (input.byte()?, input.u64()?);
        let report = match kind {
            DONE => Self::Done { id, bytes: input.string()?.to_vec() },
            DIED => Self::Died { id },
            FAILED => {
                let lost_write = match input.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed("neither yes nor no")),
                };
                let errno = i32::from_le_bytes(input.array()?);
                Self::Failed { id, failure: OperationFailed { errno, detail: input.text()?, lost_write } }
            }
            _ => return Err(Malformed("unknown report")),
        };
        input.end().map(|()| report)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8, id: u64) -> Self {
        Self(vec![kind]).raw(&id.to_le_bytes())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    fn string(self, bytes: &[u8]) -> Self {
        self.raw(&(bytes.len() as u64).to_le_bytes()).raw(bytes)
    }

    fn device(self, device: &BlockName, number: DevNumber) -> Self {
        self.string(device.as_str().as_bytes())
            .raw(&number.major.to_le_bytes())
            .raw(&number.minor.to_le_bytes())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("it ends early"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u64()?).map_err(|_| Malformed("a length is too large"))?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.string()?.to_vec()).map_err(|_| Malformed("a text is no UTF-8"))
    }

    fn device(&mut self) -> Result<BlockName, Malformed> {
        self.text()?.parse().map_err(|_| Malformed("no name of a block device"))
    }

    fn number(&mut self) -> Result<DevNumber, Malformed> {
        Ok(DevNumber { major: self.u32()?, minor: self.u32()? })
    }

    fn end(&self) -> Result<(), Malformed> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Malformed("it goes on after its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requests() -> Vec<Request> {
        let (device, number) = ("dm-3".parse::<BlockName>().unwrap(), DevNumber { major: 253, minor: 3 });
        let write = Blocking::WriteSysfs { path: "/sys/x/scan".into(), text: "0 0 1".into() };
        vec![
            Request::Perform { id: 1, operation: write },
            Request::Perform { id: 2, operation: Blocking::Sync { device: device.clone(), number } },
            Request::Perform { id: u64::MAX, operation: Blocking::ReadFirst { device, number } },
            Request::Abandon { id: 7 },
        ]
    }

    fn reports() -> Vec<Report> {
        let failure = OperationFailed { errno: 5, detail: "why".into(), lost_write: true };
        vec![
            Report::Done { id: 1, bytes: vec![0; 4096] },
            Report::Failed { id: 2, failure },
            Report::Died { id: 3 },
        ]
    }

    #[test]
    fn messages_come_back_as_they_went() {
        for request in requests() {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        for report in reports() {
            assert_eq!(Report::decode(&report.encode()), Ok(report));
        }
    }

    #[test]
    fn a_message_cut_short_or_too_long_is_refused() {
        for request in requests() {
            let mut bytes = request.encode();
            for length in 0..bytes.len() {
                assert!(Request::decode(&bytes[..length]).is_err(), "{request:?} cut to {length}");
            }
            bytes.push(0);
            assert!(Request::decode(&bytes).is_err());
        }
        for report in reports() {
            let bytes = report.encode();
            assert!(Report::decode(&bytes[..bytes.len() - 1]).is_err());
            assert!(bytes.len() < LONGEST);
        }
    }

    #[test]
    fn a_device_name_with_a_slash_does_not_pass() {
        let (device, number) = ("dm-3".parse::<BlockName>().unwrap(), DevNumber { major: 253, minor: 3 });
        let mut bytes = Request::Perform { id: 1, operation: Blocking::Sync { device, number } }.encode();
        let at = bytes.windows(4).position(|window| window == b"dm-3").unwrap();
        bytes[at] = b'/';
        assert_eq!(Request::decode(&bytes), Err(Malformed("no name of a block device")));
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(kind in 0u8..7, bytes in proptest::collection::vec(0u8..16, 0..80)) {
            let message = [&[kind], bytes.as_slice()].concat();
            let _ = (Request::decode(&message), Report::decode(&message));
        }
    }
}
