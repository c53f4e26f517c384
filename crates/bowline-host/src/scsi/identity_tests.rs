use super::*;
use proptest::prelude::*;

const LIO: Product<'static> = Product { vendor: b"LIO-ORG ", model: b"volume-1        " };
const NAA_6: &[u8] = b"\x60\x01\x40\x5b\x2a\x3f\x1e\x9c\x0d\x84\xd6\xb8\xf7\xa1\xc2\xe3";

/// A designator: code set, association and type, value.
fn designator(code_set: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    [&[code_set, kind, 0, value.len() as u8], value].concat()
}

fn page(designators: &[Vec<u8>]) -> Vec<u8> {
    let body = designators.concat();
    [&[0, 0x83, (body.len() >> 8) as u8, body.len() as u8], body.as_slice()].concat()
}

fn wwid(designators: &[Vec<u8>]) -> Option<String> {
    wwid_from_vpd83(&page(designators), LIO).map(String::from)
}

fn t10(text: &str) -> Vec<u8> {
    designator(ASCII, T10_VENDOR, text.as_bytes())
}

/// The order of Linux 6.1 `drivers/target/target_core_spc.c` `spc_emulate_evpd_83`: NAA, T10, then what
/// describes the port and the target device (association 1 and 2).
fn lio() -> Vec<Vec<u8>> {
    vec![
        designator(BINARY, NAA, NAA_6),
        t10("LIO-ORG volume-1:b2a3f1e9-c0d8-4d6b-8f7a-1c2e3d4f5a6b\0"),
        designator(0x50 | BINARY, 0x94, &[0, 0, 0, 1]),
        designator(0x50 | BINARY, 0x95, &[0, 0, 0, 0]),
        designator(0x50 | 3, 0x98, b"iqn.2026-11.net.example:volume-1,t,0x0001\0\0\0"),
        designator(0x50 | 3, 0xa8, b"iqn.2026-11.net.example:volume-1\0\0\0\0"),
    ]
}

/// tgt (`usr/spc.c` `update_vpd_83`): its SCSI id as T10 name, a number of its own as NAA 3, and the SCSI id once
/// more as NAA 6, read as if it were hexadecimal digits.
fn tgt() -> Vec<Vec<u8>> {
    vec![
        t10("IET     00010001\0\0\0\0\0\0\0\0"),
        designator(BINARY, NAA, b"\x30\0\0\x01\0\0\0\x01"),
        designator(BINARY, NAA, b"\x60\0\0\0\0\0\0\0\x0e\0\0\0\0\x01\0\x01"),
    ]
}

#[test]
fn c9_lio_is_known_by_its_naa_and_not_by_what_names_the_port() {
    assert_eq!(wwid(&lio()).as_deref(), Some("36001405b2a3f1e9c0d84d6b8f7a1c2e3"));
    let mut reversed = lio();
    reversed.reverse();
    assert_eq!(wwid(&reversed), wwid(&lio()));
}

#[test]
fn c9_tgt_is_known_by_its_naa_or_its_t10_name() {
    assert_eq!(wwid(&tgt()).as_deref(), Some("360000000000000000e00000000010001"));
    assert_eq!(wwid(&tgt()[..2]).as_deref(), Some("33000000100000001"));
    assert_eq!(wwid(&tgt()[..1]).as_deref(), Some("1IET_00010001"));
}

#[test]
fn text_that_looks_escaped_is_not_guessed_at() {
    // udev leaves `\x` alone, and the kernel's `t10.` form escapes: neither is an identity for a path or a command.
    assert_eq!(wwid(&[t10("ACME \\x20")]), None);
    assert_eq!(wwid_from_sysfs("t10.ACME\\n1"), None);
}

#[test]
fn the_order_is_scsi_ids() {
    let (naa_5, naa_2) = (b"\x50\x01\x02\x03\x04\x05\x06\x07", b"\x20\x01\x02\x03\x04\x05\x06\x07");
    let mut all = vec![
        designator(ASCII, VENDOR_SPECIFIC, b"ser 1"),
        t10("ACME  disk\x011/2"),
        designator(BINARY, EUI_64, b"\x00\x11\x22\x33\x44\x55\x66\x77"),
        designator(BINARY, NAA, naa_2),
        designator(BINARY, NAA, naa_5),
        designator(BINARY, NAA, NAA_6),
    ];
    for expected in [
        "36001405b2a3f1e9c0d84d6b8f7a1c2e3",
        "35001020304050607",
        "32001020304050607",
        "20011223344556677",
        "1ACME_disk_1_2",
        "0LIO-ORG_volume-1_ser_1",
    ] {
        assert_eq!(wwid(&all).as_deref(), Some(expected));
        all.pop();
    }
    assert_eq!(wwid(&all), None);
}

#[test]
fn a_blank_name_and_a_page_cut_short_are_none() {
    assert_eq!(wwid(&[t10("            ")]), None);
    let mut cut = page(&lio());
    cut.truncate(15);
    assert_eq!(wwid_from_vpd83(&cut, LIO), None);
    assert_eq!(wwid_from_vpd83(&[0, 0x80, 0, 0, 0, 0, 0, 0], LIO), None);
}

#[test]
fn a_page_from_before_spc_3_holds_the_naa_bare() {
    let page = [b"\0\x83\0\x10".as_slice(), NAA_6].concat();
    assert_eq!(wwid_from_vpd83(&page, LIO).unwrap().as_str(), "36001405b2a3f1e9c0d84d6b8f7a1c2e3");
}

#[test]
fn the_serial_number_is_the_last_resort() {
    let page = b"\0\x80\0\x08ab cd ef";
    assert_eq!(wwid_from_vpd80(page, LIO).unwrap().as_str(), "SLIO-ORG_volume-1_ab_cd_ef");
    let short = Product { vendor: b"V\n", model: b"M\n" };
    assert_eq!(wwid_from_vpd80(page, short).unwrap().as_str(), "SV_M_ab_cd_ef");
    assert_eq!(wwid_from_vpd80(b"\0\x80\0\x04    ", LIO), None);
    assert_eq!(wwid_from_vpd80(b"\0\x80\0\0", LIO), None);
}

#[test]
fn the_kernels_words_are_translated() {
    let wwid = |text: &str| wwid_from_sysfs(text).map(String::from);
    assert_eq!(
        wwid("naa.6001405b2a3f1e9c0d84d6b8f7a1c2e3\n").as_deref(),
        Some("36001405b2a3f1e9c0d84d6b8f7a1c2e3")
    );
    assert_eq!(wwid("eui.0011223344556677\n").as_deref(), Some("20011223344556677"));
    assert_eq!(wwid("t10.IET     00010001\n").as_deref(), Some("1IET_00010001"));
    assert_eq!(wwid("iqn.2026-11.net.example:volume-1\n"), None);
    assert_eq!(wwid("naa.\n"), None);
}

proptest! {
    #[test]
    fn any_page_is_read(page in prop::collection::vec(any::<u8>(), 0..300), body in prop::collection::vec(0u8..6, 0..60)) {
        wwid_from_vpd83(&page, LIO);
        wwid_from_vpd80(&page, LIO);
        let head = [0, 0x83, 0, body.len() as u8];
        wwid_from_vpd83(&[&head, body.as_slice()].concat(), LIO);
        wwid_from_sysfs(&String::from_utf8_lossy(&page));
    }

    #[test]
    fn any_text_is_read(text in "(naa|eui|t10)\\.\\PC*") {
        wwid_from_sysfs(&text);
    }
}
