//! The identity of a SCSI disk in the words of udev's scsi_id, from bytes the kernel keeps in sysfs.
//!
//! multipath takes its WWID from udev's `ID_SERIAL`, which is what scsi_id prints; both end up in the map's UUID
//! and in the wwids file. So these are scsi_id's rules, step by step (systemd 252
//! `src/udev/scsi_id/scsi_serial.c` and `src/shared/udev-util.c`), applied to the pages of the first scan.

use crate::names::Wwid;

/// scsi_id asks for so many bytes of a page, and sees no more (`SCSI_INQ_BUFF_LEN`).
const SEEN: usize = 254;

const BINARY: u8 = 1;
const ASCII: u8 = 2;
const VENDOR_SPECIFIC: u8 = 0;
const T10_VENDOR: u8 = 1;
const EUI_64: u8 = 2;
const NAA: u8 = 3;

/// Designator type and, for NAA, its format, best first; of each, binary comes before ASCII
/// (`id_search_list`). NAA 6 is IEEE Registered Extended, 5 IEEE Registered.
const SEARCH: [(u8, Option<u8>); 6] = [
    (NAA, Some(6)),
    (NAA, Some(5)),
    (NAA, None),
    (EUI_64, None),
    (T10_VENDOR, None),
    (VENDOR_SPECIFIC, None),
];

/// Vendor and model of the standard INQUIRY data, as sysfs shows them: padded with spaces to 8 and 16 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Product<'a> {
    /// `vendor`
    pub vendor: &'a [u8],
    /// `model`
    pub model: &'a [u8],
}

impl Product<'_> {
    fn padded(&self) -> Vec<u8> {
        let mut text = field(self.vendor, 8);
        text.append(&mut field(self.model, 16));
        text
    }
}

/// The identity in VPD page 0x83 (the page whole, with its header of four bytes); `None` when it has none
/// for the logical unit, or a blank one. `product` is used for a vendor-specific designator alone.
pub fn wwid_from_vpd83(page: &[u8], product: Product<'_>) -> Option<Wwid> {
    let page = &page[..page.len().min(SEEN)];
    if page.get(1) != Some(&0x83) {
        return None;
    }
    // Old EMC Symmetrix: no designators, but sixteen bytes of NAA; the byte that is reserved in a designator
    // is not zero in them.
    if *page.get(6)? != 0 {
        let length = usize::from(page[3]).min(page.len() - 4);
        return named(NAA, hex(&page[4..4 + length]));
    }
    SEARCH
        .iter()
        .flat_map(|(kind, format)| [BINARY, ASCII].map(|code| (*kind, *format, code)))
        .find_map(|(kind, format, code)| {
            designators(page)
                .find(|found| found.is(kind, format, code))
                .map(|found| (kind, code, found.value))
        })
        .and_then(|(kind, code, value)| {
            let mut text = match kind {
                VENDOR_SPECIFIC => product.padded(),
                _ => Vec::new(),
            };
            match code {
                ASCII => text.extend_from_slice(value),
                _ => text.append(&mut hex(value)),
            }
            named(kind, text)
        })
}

/// The identity made of VPD page 0x80: `S`, vendor, model and serial number. `None` without a serial number:
/// scsi_id would print vendor and model alone, which tell no two volumes apart.
pub fn wwid_from_vpd80(page: &[u8], product: Product<'_>) -> Option<Wwid> {
    let length = usize::from(*page.get(3)?);
    let serial = page.get(4..)?;
    let serial = &serial[..length.min(serial.len())];
    if page[1] != 0x80 || serial.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
        return None;
    }
    normal([b"S".as_slice(), &product.padded(), serial].concat())
}

/// The identity from the kernel's own words (`wwid` in sysfs, Linux 6.1 `scsi_vpd_lun_id`): `naa.`, `eui.` or
/// `t10.`; `None` for other forms, which scsi_id does not use.
pub fn wwid_from_sysfs(text: &str) -> Option<Wwid> {
    let (form, rest) = text.trim_matches(['\n', '\0']).split_once('.')?;
    match form {
        "naa" => named(NAA, rest.trim().to_ascii_lowercase().into_bytes()),
        "eui" => named(EUI_64, rest.trim().to_ascii_lowercase().into_bytes()),
        // The kernel has escaped what does not print (`%pE`), so the bytes are not these any more.
        "t10" if !rest.contains('\\') => named(T10_VENDOR, rest.as_bytes().to_vec()),
        _ => None,
    }
}

/// One designator of page 0x83.
struct Designator<'a> {
    code_set: u8,
    association: u8,
    kind: u8,
    value: &'a [u8],
}

impl Designator<'_> {
    fn is(&self, kind: u8, format: Option<u8>, code_set: u8) -> bool {
        let format_fits = format.is_none_or(|format| self.value.first().is_some_and(|b| b >> 4 == format));
        self.association == 0 && self.kind == kind && self.code_set == code_set && format_fits
    }
}

/// The designators that are there whole.
fn designators(page: &[u8]) -> impl Iterator<Item = Designator<'_>> {
    let length = usize::from(page[2]) << 8 | usize::from(page[3]);
    let mut rest = &page[4..page.len().min(4 + length)];
    std::iter::from_fn(move || {
        let (head, tail) = rest.split_at_checked(4)?;
        let (value, tail) = tail.split_at_checked(usize::from(head[3]))?;
        rest = tail;
        Some(Designator {
            code_set: head[0] & 0x0f,
            association: head[1] & 0x30,
            kind: head[1] & 0x0f,
            value,
        })
    })
}

fn named(kind: u8, text: Vec<u8>) -> Option<Wwid> {
    // Blank (an IBM 3542 whose LUN is not configured, by scsi_id's comment): no identity.
    if text.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
        return None;
    }
    normal([&[b'0' + kind], text.as_slice()].concat())
}

/// What scsi_id prints as `ID_SERIAL`: the text up to a NUL, white space at the ends gone and runs of it one
/// underscore (`udev_replace_whitespace`), then every character that is neither plain nor UTF-8 an
/// underscore (`udev_replace_chars`).
fn normal(text: Vec<u8>) -> Option<Wwid> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    // udev takes `\x` for an escape and leaves it; a Wwid cannot hold one.
    if text.windows(2).any(|pair| pair == b"\\x") {
        return None;
    }
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let words: Vec<&[u8]> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    let mut name = String::new();
    for chunk in words.join(&b'_').utf8_chunks() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii();
        name.extend(chunk.valid().chars().map(|c| if plain(c) { c } else { '_' }));
        name.extend(chunk.invalid().iter().map(|_| '_'));
    }
    name.parse().ok()
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn field(text: &[u8], width: usize) -> Vec<u8> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut text = text[..text.len().min(width)].to_vec();
    text.resize(width, b' ');
    text
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
