use super::*;
use crate::testing::{FakeHost, block_on};
use proptest::prelude::*;

const IQN: &str = "iqn.2026-11.net.example:volume-1";
const LIMIT: Duration = Duration::from_secs(5);
const RECORD: &str = include_str!("../../../../testdata/open-iscsi/2.1.8/record");
const LOCK: &str = "/run/lock/iscsi/lock.write";

fn endpoint(portal: &str) -> Endpoint {
    let iface = Iface::default();
    Endpoint { iqn: IQN.parse().unwrap(), portal: portal.parse().unwrap(), iface }
}

fn path(rest: &str) -> String {
    format!("/etc/iscsi/nodes/{IQN}/{rest}")
}

fn secrets() -> ChapSecrets {
    ChapSecrets {
        password: Secret::new("hush-hush-1".into()),
        password_in: Some(Secret::new("hush-hush-2".into())),
    }
}

#[test]
fn both_layouts_and_ipv6_are_found_and_garbage_is_passed_over() {
    let host = FakeHost::default()
        .file(&path("10.0.0.1,3260"), RECORD)
        .file(&path("10.0.0.2,3260,1/iser"), RECORD)
        .file(&path("fd00::1,3260,2/default"), RECORD)
        .file(&path("portal.example,3260,1/default"), RECORD)
        .file(&path("10.0.0.3,3260,1"), "a file where a directory should be")
        .file(&path("10.0.0.4,99999,1/default"), RECORD)
        .file("/etc/iscsi/nodes/README", "hello");
    let found: Vec<_> = all_records(&host)
        .unwrap()
        .into_iter()
        .map(|r| (r.endpoint.portal.to_string(), r.endpoint.iface.to_string(), r.tpgt))
        .collect();
    let expected = [
        ("10.0.0.1:3260", "default", None),
        ("10.0.0.2:3260", "iser", Some(1)),
        ("[fd00::1]:3260", "default", Some(2)),
    ];
    assert_eq!(found, expected.map(|(portal, iface, tpgt)| (portal.into(), iface.into(), tpgt)));
    assert_eq!(records_of(&host, &IQN.parse().unwrap()).unwrap().len(), 3);
}

/// C18: iscsiadm knows a record by the name of its directory, byte by byte.
#[test]
fn c18_a_record_is_found_in_any_letter_case_and_keeps_its_own() {
    let host =
        FakeHost::default().file("/etc/iscsi/nodes/iqn.2026-11.net.example:Volume-1/10.0.0.1,3260", RECORD);
    let found = records_of(&host, &IQN.parse().unwrap()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].endpoint, endpoint("10.0.0.1"));
    assert_eq!(found[0].endpoint.iqn.to_string(), "iqn.2026-11.net.example:Volume-1");
}

#[test]
fn the_older_root_is_used_where_the_newer_is_not_there() {
    let older = path("10.0.0.2,3260");
    let newer = format!("/var/lib/iscsi/nodes/{IQN}/10.0.0.1,3260,1/default");
    let host = FakeHost::default().file(&older, RECORD);
    assert_eq!(all_records(&host).unwrap()[0].path, older);
    let upgraded = host.file(&newer, RECORD);
    assert_eq!(
        all_records(&upgraded).unwrap().iter().map(|record| &record.path).collect::<Vec<_>>(),
        [&newer]
    );
    assert!(all_records(&FakeHost::default()).unwrap().is_empty());
}

#[test]
fn an_unreadable_database_is_an_error_and_not_an_empty_one() {
    let host = FakeHost::default().file(&path("10.0.0.1,3260"), RECORD).error(&path("10.0.0.1,3260"), 5);
    assert!(all_records(&host).is_err());
    assert!(all_records(&FakeHost::default().error("/etc/iscsi/nodes", 13)).is_err());
}

#[test]
fn settings_are_read_but_never_a_secret() {
    let host =
        FakeHost::default().file(&path("10.0.0.1,3260"), format!("{RECORD}node.session.auth.password = x\n"));
    let record = records_of(&host, &IQN.parse().unwrap()).unwrap().remove(0);
    let keys = ["node.session.scan", "node.session.auth.password", "node.session.auth.username", "absent"];
    let settings = settings_of(&host, &record, &keys).unwrap();
    assert_eq!(settings.into_iter().collect::<Vec<_>>(), [("node.session.scan".into(), "auto".into())]);
}

#[test]
fn a_call_names_target_portal_and_interface_and_is_never_killed() {
    let host = FakeHost::default().ends(0, "");
    let endpoint = endpoint("[fd00::1]:3260");
    block_on(create_record(&host, &endpoint, LIMIT)).unwrap();
    let call = format!("iscsiadm -m node -T {IQN} -p [fd00::1]:3260 -I default");
    assert_eq!(host.log(), [format!("{call} -o new")]);
    assert!(host.ran().iter().all(|program| program.abandon));
}

#[test]
fn d4_a_record_of_ours_is_removed_under_the_lock_and_one_with_a_tag_by_iscsiadm() {
    let host = FakeHost::default();
    block_on(delete_record(&host, &endpoint("10.0.0.1:3260"), LIMIT)).unwrap();
    assert!(host.log().is_empty());
    let ours = path("10.0.0.1,3260");
    let host = host.file(&ours, RECORD);
    block_on(delete_record(&host, &endpoint("10.0.0.1:3260"), LIMIT)).unwrap();
    assert_eq!(host.log(), [format!("lock {LOCK}"), format!("remove {ours}"), format!("remove {LOCK}")]);
    let with_tag = path("10.0.0.1,3260,1/default");
    let tagged = || FakeHost::default().file(&with_tag, RECORD);
    let delete = |host: &FakeHost| block_on(delete_record(host, &endpoint("10.0.0.1:3260"), LIMIT));
    // 6: "database error", since the directory of another record vanished meanwhile.
    for code in [0, 6, 21] {
        let host = tagged().removes(&with_tag, code);
        delete(&host).unwrap();
        assert_eq!(host.log(), [format!("iscsiadm -m node -T {IQN} -p 10.0.0.1:3260 -I default -o delete")]);
    }
    let stays = delete(&tagged().ends(0, "")).unwrap_err();
    assert!(stays.to_string().contains("still there"), "{stays}");
    assert_eq!(delete(&tagged().ends(15, "")).unwrap_err().code(), Some(Iscsiadm::SessionExists));
}

/// A target of many portals has as many records, and most questions are about one.
#[test]
fn of_other_portals_no_record_is_read() {
    let other = path("10.0.0.2,3260");
    let host = FakeHost::default().file(&path("10.0.0.1,3260"), RECORD).file(&other, RECORD).error(&other, 5);
    assert_eq!(records_of_endpoint(&host, &endpoint("10.0.0.1:3260")).unwrap().len(), 1);
    assert!(records_of(&host, &IQN.parse().unwrap()).is_err());
}

#[test]
fn settings_and_secrets_are_edited_in_one_go_and_what_is_so_already_is_not_written() {
    let file = path("10.0.0.1,3260");
    let host = FakeHost::default().file(&file, RECORD);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let settings = [pair("node.session.scan", "manual"), pair("node.startup", "")];
    block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &settings, None, LIMIT)).unwrap();
    let text = host.text(&file).unwrap();
    assert!(text.contains("node.session.scan = manual\n") && !text.contains("node.startup"));
    assert_eq!(text.lines().count(), RECORD.lines().count() - 1);
    let writes = |host: &FakeHost| host.log().iter().filter(|line| line.starts_with("replace")).count();
    block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &settings, None, LIMIT)).unwrap();
    block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &[], None, LIMIT)).unwrap();
    assert_eq!((writes(&host), host.log().len()), (1, 5));
    let broken = [pair("node.session.scan", "manual\nnode.startup = automatic")];
    assert!(block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &broken, None, LIMIT)).is_err());
}

fn pattern() -> Pattern {
    Pattern { directory: path("").trim_end_matches('/').into(), record: RECORD.as_bytes().to_vec().into() }
}

/// It is what iscsiadm would have made, so it is found by its own portal, and says nothing of the other's.
#[test]
fn a_copy_differs_from_its_pattern_in_address_and_port_alone() {
    let host = FakeHost::default().file(&path("10.0.0.1,3260"), RECORD);
    for (portal, name) in [("10.0.0.2:3261", "10.0.0.2,3261"), ("[fd00::1]:3260", "fd00::1,3260")] {
        let endpoint = endpoint(portal);
        assert!(block_on(copy_record(&host, &pattern(), &endpoint, LIMIT)).unwrap());
        let copies = records_of(&host, &endpoint.iqn).unwrap();
        let copy = copies.iter().find(|record| record.endpoint == endpoint).unwrap();
        assert_eq!((copy.path.as_str(), copy.tpgt), (path(name).as_str(), None));
        let (address, port) = name.split_once(',').unwrap();
        let expected = RECORD.replace("address = 10.0.0.1", &format!("address = {address}"));
        assert_eq!(
            host.text(&path(name)).unwrap(),
            expected.replace("port = 3260", &format!("port = {port}"))
        );
    }
    assert_eq!(host.log()[0], format!("lock {LOCK}"));
}

/// It goes with its last record (iscsiadm's removal and ours): single path lets go of one portal before it tries the next.
#[test]
fn where_the_directory_is_gone_iscsiadm_makes_it_anew() {
    let host = FakeHost::default();
    assert!(!block_on(copy_record(&host, &pattern(), &endpoint("10.0.0.2:3260"), LIMIT)).unwrap());
    assert!(!host.log().iter().any(|line| line.starts_with("replace")));
}

#[test]
fn where_the_portal_has_a_record_iscsiadm_is_left_to_find_the_place() {
    for name in ["10.0.0.2,3260", "10.0.0.2,3260,1/iser"] {
        let host = FakeHost::default().file(&path(name), RECORD);
        assert!(!block_on(copy_record(&host, &pattern(), &endpoint("10.0.0.2:3260"), LIMIT)).unwrap());
        assert!(!host.log().iter().any(|line| line.starts_with("replace")), "{name}");
    }
}

#[test]
fn what_exists_is_not_overwritten() {
    let host = FakeHost::default().file(&path("10.0.0.1,3260"), RECORD);
    block_on(create_record(&host, &endpoint("10.0.0.1:3260"), LIMIT)).unwrap();
    let iser = Endpoint { iface: "iser".parse().unwrap(), ..endpoint("10.0.0.1:3260") };
    assert!(block_on(create_record(&host, &iser, LIMIT)).is_err());
    assert!(host.log().is_empty());
}

#[test]
fn c1_a_record_that_the_full_database_cut_short_is_an_error_and_can_be_removed() {
    let cut = path("10.0.0.1,3260");
    let host = FakeHost::default().file(&cut, "");
    assert!(is_torn(b"") && is_torn(&RECORD.as_bytes()[..RECORD.len() / 2]) && !is_torn(RECORD.as_bytes()));
    block_on(delete_record(&host, &endpoint("10.0.0.1:3260"), LIMIT)).unwrap();
    assert_eq!(host.text(&cut), None);
}

#[test]
fn b8_secrets_are_written_between_lock_and_unlock() {
    let file = path("10.0.0.1,3260");
    let host = FakeHost::default().file(&file, RECORD);
    block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &[], Some(&secrets()), LIMIT)).unwrap();
    assert_eq!(host.log(), [format!("lock {LOCK}"), format!("replace {file}"), format!("remove {LOCK}")]);
    let text = host.text(&file).unwrap();
    let added = "node.session.auth.password = hush-hush-1\nnode.session.auth.password_in = hush-hush-2\n# END RECORD\n";
    assert_eq!(text, RECORD.replace("# END RECORD\n", added));

    // A second time the lines are replaced, and a secret for one direction leaves the other alone.
    let host = FakeHost::default().file(&file, &text);
    let one = ChapSecrets { password: Secret::new("new-hush".into()), password_in: None };
    block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &[], Some(&one), LIMIT)).unwrap();
    assert_eq!(host.text(&file).unwrap(), text.replace("hush-hush-1", "new-hush"));
}

#[test]
fn b8_the_lock_is_released_after_a_failure_and_no_secret_is_told() {
    let file = path("10.0.0.1,3260");
    let failing = FakeHost::default().file(&file, RECORD).error(&format!("{file}x"), 28);
    let unwritable = FakeHost::default().file(&file, RECORD).error(&file, 5);
    for (host, portal) in [(failing, "10.0.0.9:3260"), (unwritable, "10.0.0.1:3260")] {
        let error =
            block_on(write_record(&host, &endpoint(portal), &[], Some(&secrets()), LIMIT)).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", secrets()).contains("hush"));
        assert_eq!(host.log(), [format!("lock {LOCK}"), format!("remove {LOCK}")]);
    }
}

#[test]
fn a_busy_lock_is_waited_for_and_given_up_at_the_limit() {
    let host = FakeHost::default().file(&path("10.0.0.1,3260"), RECORD).file(LOCK, "");
    let error =
        block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &[], Some(&secrets()), LIMIT)).unwrap_err();
    assert!(matches!(&error, IscsiError::Host(error) if error.is_timeout()));
    assert_eq!(host.now().0, LIMIT);
    assert!(host.log().is_empty() && host.text(LOCK).is_some(), "somebody else's lock stays");
}

/// C1: a bowline that was killed while it held the lock holds up nobody, neither us nor an iscsiadm that we run.
#[test]
fn c1_the_lock_of_a_bowline_that_died_is_removed() {
    let dead = || FakeHost::default().file(LOCK, "bowline 77\n");
    let host = dead().file(&path("10.0.0.1,3260"), RECORD);
    block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &[], Some(&secrets()), LIMIT)).unwrap();
    assert_eq!((host.text(LOCK), host.now().0.as_secs()), (None, 0));
    let host = dead().ends(0, "");
    block_on(create_record(&host, &endpoint("10.0.0.1:3260"), LIMIT)).unwrap();
    assert_eq!(host.log()[0], format!("break {LOCK}"));
}

#[test]
fn a_secret_that_would_break_the_record_is_refused() {
    for bad in ["", "two\nlines", " blank", "blank ", &"x".repeat(256)] {
        let host = FakeHost::default().file(&path("10.0.0.1,3260"), RECORD);
        let secrets = ChapSecrets { password: Secret::new(bad.into()), password_in: None };
        assert!(
            block_on(write_record(&host, &endpoint("10.0.0.1:3260"), &[], Some(&secrets), LIMIT)).is_err(),
            "{bad:?}"
        );
        assert!(host.log().is_empty());
    }
}

proptest! {
    #[test]
    fn any_directory_name_and_record_is_read(name in "\\PC*|[0-9.:,]*", text in "\\PC*|([a-z.]* = \\PC*\n)*") {
        portal_of(&name);
        iface_in(&text);
        let new = edited(text.as_bytes(), &[("node.session.auth.password", "x")]);
        let new = String::from_utf8_lossy(&new).into_owned();
        let set: Vec<_> = settings(&new).filter(|(key, _)| *key == "node.session.auth.password").collect();
        prop_assert_eq!(set, [("node.session.auth.password", "x")]);
    }
}
