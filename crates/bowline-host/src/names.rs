//! A type for every identifier, so that a LUN cannot be taken for a session and no unchecked text reaches a
//! path or a command line. Parsing is validation: a value of these types is safe to put into a path below
//! sysfs or into an argument.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is not the identifier it should be: what was wrong, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}: {why}")]
pub struct NameError {
    /// The text as it was given, cut to 80 characters.
    pub value: String,
    /// What was expected, with its article: "an IQN".
    pub expected: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl NameError {
    fn new(value: &str, expected: &'static str, why: impl Into<String>) -> Self {
        let mut short: String = value.chars().take(80).collect();
        if short.len() < value.len() {
            short.push('…');
        }
        Self { value: short, expected, why: why.into() }
    }
}

/// Serializes through `Display` and `FromStr`, so that a state file is validated as strictly as user input.
macro_rules! text_form {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.to_string()
            }
        }
    };
}

/// An iSCSI name of a target: `iqn.`, `eui.` or `naa.` form. Two names are the same whatever their letter case (RFC 7143,
/// 4.2.7), but targets have names with capitals (Synology's do), and open-iscsi and targets compare byte by byte (open-iscsi
/// 2.1.8 `iscsi_match_session`, Linux 6.1 `iscsit_get_tiqn_for_login`): so it is passed on as it was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Iqn {
    written: String,
    folded: String,
}
text_form!(Iqn);

impl Iqn {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The name in lower case: what it is compared by.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

impl PartialEq for Iqn {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Iqn {}

impl PartialOrd for Iqn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Iqn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl Hash for Iqn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Display for Iqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for Iqn {
    type Err = NameError;
    /// At most 223 bytes (RFC 7143, 4.2.7.1) of letters, digits, `-`, `.`, `:` and, as targets in the field
    /// use it, `_`. Nothing else: the name becomes a directory of open-iscsi's database.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = |why: &str| Err(NameError::new(text, "an iSCSI name", why));
        let written = text.trim();
        let name = written.to_ascii_lowercase();
        if !["iqn.", "eui.", "naa."].iter().any(|prefix| name.starts_with(prefix)) {
            return bad("it must begin with iqn., eui. or naa.");
        }
        if name.len() <= 4 || name.len() > 223 {
            return bad("it must have 5 to 223 characters");
        }
        if let Some(wrong) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || "-.:_".contains(*c))) {
            return bad(&format!("it contains {wrong:?}; only letters, digits and - . : _ are allowed"));
        }
        Ok(Self { written: written.into(), folded: name })
    }
}

/// Where a target listens: address and TCP port. The target portal group tag of `host:port,tpgt` is accepted
/// and dropped: open-iscsi learns it at login, and no two portals of one target differ in it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Portal {
    /// The target's address.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
}
text_form!(Portal);

impl Portal {
    /// The port IANA gave to iSCSI.
    pub const DEFAULT_PORT: u16 = 3260;
}

impl fmt::Display for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.port),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

impl FromStr for Portal {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let expected = "a portal (ADDRESS[:PORT], with an IPv6 address in brackets)";
        let bad = |why: String| NameError::new(text, expected, why);
        let trimmed = text.trim();
        let plain = match trimmed.rsplit_once(',') {
            Some((front, tag)) if !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_digit()) => front,
            Some(_) => return Err(bad("what follows the comma is no portal group tag".into())),
            None => trimmed,
        };
        if let Ok(address) = plain.parse::<Ipv6Addr>() {
            return Ok(Self { address: address.into(), port: Self::DEFAULT_PORT });
        }
        let (address, port) = match plain.strip_prefix('[') {
            Some(rest) => {
                let (address, tail) =
                    rest.split_once(']').ok_or_else(|| bad("the bracket is not closed".into()))?;
                let address: Ipv6Addr = address.parse().map_err(|_| bad("no IPv6 address".into()))?;
                let port = match tail {
                    "" => None,
                    _ => Some(tail.strip_prefix(':').ok_or_else(|| bad("a colon must follow".into()))?),
                };
                (IpAddr::V6(address), port)
            }
            None => {
                let (address, port) = match plain.split_once(':') {
                    Some((address, port)) => (address, Some(port)),
                    None => (plain, None),
                };
                let address =
                    address.parse().map_err(|_| bad("the address is no IPv4 or IPv6 address".into()))?;
                (IpAddr::V4(address), port)
            }
        };
        let port = match port {
            None => Self::DEFAULT_PORT,
            Some(digits) => digits
                .parse::<u16>()
                .ok()
                .filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| bad("the port must be a number from 1 to 65535".into()))?,
        };
        Ok(Self { address, port })
    }
}

/// A logical unit number as Linux shows it in H:C:T:L (`scsilun_to_int` of the eight bytes on the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lun(pub u64);

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Lun {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>()
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or_else(|| NameError::new(text, "a LUN", "it must be a whole number, 0 or more"))
    }
}

/// The name of an open-iscsi interface binding (`default`, `iser`, an offload interface's name).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Iface(String);
text_form!(Iface);

impl Iface {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Iface {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for Iface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Iface {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fine = !text.is_empty()
            && text.len() <= 64
            && !text.starts_with(['-', '.'])
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c));
        match fine {
            true => Ok(Self(text.into())),
            false => Err(NameError::new(
                text,
                "an iSCSI interface name",
                "it must have 1 to 64 letters, digits or - . _ : and begin with a letter or digit",
            )),
        }
    }
}

/// The kernel's number of an iSCSI session (`sessionN`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sid(pub u32);

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kernel's number of a SCSI host (`hostN`). The machine itself is the [`crate::Host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScsiHost(pub u32);

impl fmt::Display for ScsiHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host{}", self.0)
    }
}

/// Host, channel, target and LUN of a SCSI device: its name under `/sys/class/scsi_device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hctl {
    /// SCSI host.
    pub host: ScsiHost,
    /// Channel (bus).
    pub channel: u32,
    /// Target.
    pub target: u32,
    /// Logical unit.
    pub lun: Lun,
}
text_form!(Hctl);

impl fmt::Display for Hctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.host.0, self.channel, self.target, self.lun)
    }
}

impl Hctl {
    /// The address in the path of a device below a SCSI host:
    /// `/devices/platform/host2/session1/target2:0:0/2:0:0:1/block/sdb`.
    pub fn in_path(path: &str) -> Option<Self> {
        path.split('/').find_map(|part| part.parse().ok())
    }
}

impl FromStr for Hctl {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::new(text, "a SCSI address", "expected HOST:CHANNEL:TARGET:LUN");
        let mut numbers = text.split(':');
        let mut next = || numbers.next().and_then(|n| n.parse::<u64>().ok()).ok_or_else(bad);
        let (host, channel, target, lun) = (next()?, next()?, next()?, next()?);
        let small = |n: u64| u32::try_from(n).map_err(|_| bad());
        if numbers.next().is_some() {
            return Err(bad());
        }
        Ok(Self {
            host: ScsiHost(small(host)?),
            channel: small(channel)?,
            target: small(target)?,
            lun: Lun(lun),
        })
    }
}

/// The identity of a volume in the one normal form: the words of udev's scsi_id and of multipath
/// (`3` + NAA in hex, `2` + EUI-64 in hex, `1` + T10 vendor id, `S…`), which is what the device-mapper UUID,
/// the wwids file and `ID_SERIAL` hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wwid(String);
text_form!(Wwid);

impl Wwid {
    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The device-mapper UUID multipathd gives to the map of this volume (libmultipath `UUID_PREFIX`).
    pub fn map_uuid(&self) -> String {
        format!("mpath-{}", self.0)
    }
}

impl fmt::Display for Wwid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Wwid {
    type Err = NameError;
    /// At most 127 bytes (libmultipath `WWID_SIZE` 128) without slash, quote, white space or control
    /// character: it becomes part of paths and of multipathd's command lines. An upper-case NAA or EUI form
    /// is folded to lower case.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let bad = |why: &str| Err(NameError::new(text, "a WWID", why));
        if text.is_empty() || text.len() > 127 {
            return bad("it must have 1 to 127 characters");
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || "/\"'\\".contains(c))
            || text.starts_with('-')
        {
            return bad("it must contain no white space, slash, quote or backslash, and not begin with -");
        }
        let hex = text.len() >= 17 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match hex {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Ok(Self(text.into())),
        }
    }
}

/// The name of a multipath map: its alias, under `/dev/mapper`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MapName(String);
text_form!(MapName);

impl MapName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MapName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fine = !text.is_empty()
            && text.len() <= 127
            && !text.starts_with('-')
            && !text.chars().any(|c| c.is_control() || c.is_whitespace() || "/\"'".contains(c));
        match fine {
            true => Ok(Self(text.into())),
            false => Err(NameError::new(
                text,
                "a map name",
                "it must have 1 to 127 characters, no white space, slash or quote, and not begin with -",
            )),
        }
    }
}

/// A kernel block device number. Names are reused; within one observation the number is what identifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DevNumber {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl fmt::Display for DevNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for DevNumber {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        text.trim()
            .split_once(':')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }))
            .ok_or_else(|| NameError::new(text, "a device number", "expected MAJOR:MINOR"))
    }
}

/// The kernel's name of a block device (`sda`, `dm-3`): one path component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockName(String);
text_form!(BlockName);

impl BlockName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The node devtmpfs makes for it.
    pub fn device_node(&self) -> String {
        format!("/dev/{}", self.0)
    }
}

impl fmt::Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BlockName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fine = !text.is_empty()
            && text.len() <= 31
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_!".contains(&b));
        match fine {
            true => Ok(Self(text.into())),
            false => {
                Err(NameError::new(text, "a block device name", "expected a kernel name such as sda or dm-3"))
            }
        }
    }
}
