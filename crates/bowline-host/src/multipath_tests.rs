use super::*;
use crate::testing::{FakeHost, block_on};
use proptest::prelude::*;

const LIMIT: Duration = Duration::from_secs(5);
const WWID: &str = "36001405b2a3f1e9c0d84d6b8f7a1c2e3";

#[test]
fn replies_of_0_9_4_and_of_0_11_1_mean_the_same() {
    for (reply, meaning) in [
        ("ok", Reply::Ok),
        ("ok\n", Reply::Ok),
        ("timeout", Reply::NotExecuted),
        ("fail\ntimeout\n", Reply::NotExecuted),
        ("blacklisted\n", Reply::Blacklisted),
        ("fail", Reply::Failed("fail".into())),
        ("fail\nmap or partition in use\n", Reply::Failed("map or partition in use".into())),
        ("delayed", Reply::Failed("delayed".into())),
        ("permission deny: need to be root", Reply::Failed("permission deny: need to be root".into())),
        ("", Reply::Failed("".into())),
    ] {
        assert_eq!(parse_reply(reply), meaning, "{reply:?}");
    }
}

#[test]
fn commands_are_spelled_so() {
    let host = ["ok"; 5].iter().fold(FakeHost::default(), |host, reply| host.replies(reply));
    let (device, wwid, name) = ("sdb".parse().unwrap(), WWID.parse().unwrap(), "mpatha".parse().unwrap());
    block_on(async {
        add_path(&host, &device, LIMIT).await.unwrap();
        del_path(&host, &device, LIMIT).await.unwrap();
        add_map(&host, &wwid, LIMIT).await.unwrap();
        del_map(&host, &name, LIMIT).await.unwrap();
        disable_queueing(&host, &name, LIMIT).await.unwrap();
        assert!(del_map(&host, &name, LIMIT).await.unwrap_err().is_timeout());
    });
    assert_eq!(
        host.log()[..5],
        [
            "add path sdb",
            "del path sdb",
            &format!("add map {WWID}"),
            "del map mpatha",
            "disablequeueing map mpatha"
        ]
    );
}

#[test]
fn paths_are_read_with_orphans_and_unknown_ones() {
    let host = FakeHost::default().replies(include_str!("../../../testdata/multipathd/0.9.4/show-paths-raw"));
    let paths = block_on(paths(&host, LIMIT)).unwrap();
    let facts: Vec<_> = paths
        .iter()
        .map(|p| (p.device.as_str(), p.wwid.as_ref().map(Wwid::as_str), p.map.as_ref().map(MapName::as_str)))
        .collect();
    assert_eq!(facts, [("sda", Some(WWID), Some("mpatha")), ("sdb", Some(WWID), None), ("sdc", None, None)]);
}

#[test]
fn no_paths_is_ok_and_a_refusal_is_an_error() {
    for none in ["ok", "ok\n", ""] {
        assert!(block_on(paths(&FakeHost::default().replies(none), LIMIT)).unwrap().is_empty());
    }
    for refusal in ["timeout", "fail\ntimeout\n", "fail"] {
        let error = block_on(paths(&FakeHost::default().replies(refusal), LIMIT)).unwrap_err();
        assert!(error.to_string().contains(refusal.lines().last().unwrap()), "{error}");
        assert!(block_on(daemon(&FakeHost::default().replies(refusal), LIMIT)).is_err());
    }
    assert_eq!(block_on(daemon(&FakeHost::default().replies("pid 7 idle\n"), LIMIT)).unwrap(), "pid 7 idle");
}

#[test]
fn the_wwids_file_is_read_as_multipath_reads_it() {
    let file = include_str!("../../../testdata/multipathd/0.9.4/wwids");
    let host = FakeHost::default().file(WWIDS_FILE, file);
    let on_file = |wwid: &str| wwid_on_file(&host, &wwid.parse().unwrap()).unwrap();
    assert!(on_file(WWID));
    assert!(!on_file("36001405000000000000000000000dead"), "commented out by multipath -w");
    assert!(!on_file(&WWID[..20]));
    assert!(!wwid_on_file(&FakeHost::default(), &WWID.parse().unwrap()).unwrap());
    assert!(wwid_on_file(&FakeHost::default().error(WWIDS_FILE, 5), &WWID.parse().unwrap()).is_err());
}

/// B1 and C9 rest on it: multipath reads what is written here, and what it wrote itself is changed as it would.
#[test]
fn an_identity_goes_on_the_file_and_off_it_as_multipath_does_it() {
    let wwid = WWID.parse().unwrap();
    let file = |text: &str| FakeHost::default().file(WWIDS_FILE, text);
    let text = |host: &FakeHost| String::from_utf8(host.read(WWIDS_FILE).unwrap()).unwrap();
    let (on, off) =
        (format!("# Valid WWIDs:\n/1{WWID}/\n/{WWID}/\n"), format!("# Valid WWIDs:\n/1{WWID}/\n#{WWID}/\n"));
    for (before, claimed) in [
        (on.clone(), on.clone()),
        (off.clone(), on.clone()),
        (format!("/1{WWID}/\n"), format!("/1{WWID}/\n/{WWID}/\n")),
        (format!("/1{WWID}/"), format!("/1{WWID}/\n/{WWID}/\n")),
        (String::new(), format!("/{WWID}/\n")),
        (format!("/{}", &WWID[..9]), format!("/{}#\n/{WWID}/\n", &WWID[..9])),
        ("/".into(), format!("/#\n/{WWID}/\n")),
    ] {
        let host = file(&before);
        block_on(claim_wwid(&host, &wwid, LIMIT)).unwrap();
        assert_eq!(text(&host), claimed);
        assert!(wwid_on_file(&host, &wwid).unwrap());
        block_on(forget_wwid(&host, &wwid, LIMIT)).unwrap();
        assert_eq!(
            text(&host),
            claimed
                .replace(&format!("\n/{WWID}"), &format!("\n#{WWID}"))
                .replace(&format!("/{WWID}/\n"), &format!("#{WWID}/\n"))
        );
        assert!(!wwid_on_file(&host, &wwid).unwrap());
        assert_eq!(host.log(), [""; 0], "no program runs");
    }
    let twice = file(&format!("/{WWID}/\n/{WWID}/\n"));
    block_on(forget_wwid(&twice, &wwid, LIMIT)).unwrap();
    assert!(!wwid_on_file(&twice, &wwid).unwrap());
}

#[test]
fn where_there_is_no_wwids_file_multipath_makes_it() {
    let host = FakeHost::default().ends(0, "").ends(1, "first\nneed to be root\n");
    let wwid = WWID.parse().unwrap();
    block_on(forget_wwid(&host, &wwid, LIMIT)).unwrap();
    block_on(claim_wwid(&host, &wwid, LIMIT)).unwrap();
    assert_eq!(host.log(), [format!("multipath -a {WWID}")]);
    let error = block_on(claim_wwid(&host, &wwid, LIMIT)).unwrap_err();
    assert!(error.to_string().ends_with("exit code 1: need to be root"), "{error}");
}

#[test]
fn the_lock_of_the_wwids_file_is_waited_for_no_longer_than_allowed() {
    let locked = FakeHost::default().file(WWIDS_FILE, "").error(WWIDS_FILE, 11);
    assert!(block_on(forget_wwid(&locked, &WWID.parse().unwrap(), LIMIT)).unwrap_err().is_timeout());
    let readonly = FakeHost::default().file(WWIDS_FILE, "").error(WWIDS_FILE, 30);
    let error = block_on(claim_wwid(&readonly, &WWID.parse().unwrap(), LIMIT)).unwrap_err().to_string();
    assert!(error.contains(WWIDS_FILE) && error.contains("Read-only"), "{error}");
}

/// It suspends the map before it removes it, so it is left to end by itself.
#[test]
fn a_map_goes_without_multipathd_by_multipath_f() {
    let host = FakeHost::default().ends(0, "").ends(1, "mpatha: map in use\n");
    let name: MapName = "mpatha".parse().unwrap();
    block_on(flush_map(&host, &name, LIMIT)).unwrap();
    assert_eq!(host.log(), ["multipath -f mpatha"]);
    assert!(host.ran()[0].abandon && host.ran()[0].keeps_locks);
    let error = block_on(flush_map(&host, &name, LIMIT)).unwrap_err();
    assert!(error.to_string().ends_with("exit code 1: mpatha: map in use"), "{error}");
}

/// How 0.9.4's `lookup_wwid` reads: byte by byte, and where a line differs it goes on behind the next line end, which is the
/// next line's if the difference was the line end itself.
fn multipath_finds(text: &[u8], wwid: &str) -> bool {
    let mut rest = text.iter();
    while let Some(first) = rest.next() {
        let mut wanted = wwid.bytes();
        let differs = *first != b'/'
            || loop {
                match (rest.next(), wanted.next()) {
                    (None, _) => return false,
                    (Some(b'/'), None) => return true,
                    (Some(byte), Some(expected)) if *byte == expected => {}
                    _ => break true,
                }
            };
        if differs && !rest.any(|byte| *byte == b'\n') {
            return false;
        }
    }
    false
}

proptest! {
    #[test]
    fn any_answer_is_read(text in "\\PC*|[a-z|\n%\\[\\]-]*") {
        parse_reply(&text);
        parse_paths(&text);
        on_file(&text, WWID);
        let changed = |patches: Vec<Patch>| {
            let mut bytes = text.clone().into_bytes();
            patches.iter().for_each(|patch| patch.apply(&mut bytes));
            String::from_utf8(bytes).unwrap()
        };
        prop_assert!(on_file(&changed(put_on(text.as_bytes(), WWID)), WWID));
        prop_assert!(!on_file(&changed(take_off(text.as_bytes(), WWID)), WWID));
    }

    /// However the last line was cut short.
    #[test]
    fn multipath_finds_what_was_put_on(text in "([/#][3-5]{1,4}/\n){0,3}([/#][3-5]{0,4}/?)?", wwid in "[3-5]{1,4}") {
        let mut bytes = text.into_bytes();
        put_on(&bytes, &wwid).iter().for_each(|patch| patch.apply(&mut bytes));
        prop_assert!(multipath_finds(&bytes, &wwid), "{}", String::from_utf8_lossy(&bytes));
    }
}
