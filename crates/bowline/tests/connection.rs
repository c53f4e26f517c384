//! Connection properties: one test for each rule, and properties that hold for any input.

use bowline::connection::{MAX_BYTES, MAX_PATHS};
use bowline::journal::id_of;
use bowline::{Connection, ConnectionError};
use bowline_host::Lun;
use serde_json::{Value, json};

const IQN: &str = "iqn.2010-10.org.openstack:volume-1";

fn read(value: &Value) -> Result<Connection, ConnectionError> {
    Connection::from_json(value.to_string().as_bytes())
}

/// One portal, one IQN, one LUN, and further keys.
fn single(extra: Value) -> Value {
    let mut data = json!({"target_portal": "10.0.0.1:3260", "target_iqn": IQN, "target_lun": 1});
    data.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    data
}

fn lists(portals: &[&str], iqns: &[&str], luns: Value) -> Value {
    json!({"target_portals": portals, "target_iqns": iqns, "target_luns": luns})
}

/// The paths as text, one each.
fn paths(value: &Value) -> Vec<String> {
    let connection = read(value).unwrap();
    connection.paths.iter().map(|p| format!("{} {} {}", p.endpoint.portal, p.endpoint.iqn, p.lun)).collect()
}

#[track_caller]
fn refused(value: &Value, key: &str, problem: &str) {
    let error = read(value).expect_err("this must be refused");
    assert_eq!(error.key, key, "{error}");
    assert!(error.problem.contains(problem), "{error}");
}

#[test]
fn the_data_object_and_the_whole_are_the_same() {
    let whole = json!({"driver_volume_type": "iscsi", "data": single(json!({}))});
    assert_eq!(paths(&whole), [format!("10.0.0.1:3260 {IQN} 1")]);
    assert_eq!(paths(&whole), paths(&single(json!({"unknown": {"deep": [1]}, "encrypted": false}))));
}

#[test]
fn another_volume_type_is_refused() {
    refused(&json!({"driver_volume_type": "rbd", "data": {}}), "driver_volume_type", "\"rbd\"");
    refused(&json!({"driver_volume_type": 3, "data": {}}), "driver_volume_type", "a number");
    refused(&json!({"data": {}}), "driver_volume_type", "missing");
    refused(&json!({"driver_volume_type": "iscsi"}), "data", "missing");
    refused(&json!({"driver_volume_type": "iscsi", "data": []}), "data", "a list");
    refused(
        &json!({"driver_volume_type": "iscsi", "data": single(json!({"target_lun": []}))}),
        "data.target_lun",
        "a list; expected a whole number",
    );
}

#[test]
fn what_is_no_json_object_is_told_by_its_place() {
    let error = Connection::from_json(b"{\n \"auth_password\": hunter2}").unwrap_err();
    assert_eq!(error.to_string(), "connection: is no valid JSON (line 2, column 19); expected a JSON object");
    let error = Connection::from_json(b"{\"auth_password\": \"hunt").unwrap_err();
    assert!(error.problem.starts_with("ends too early (line 1"), "{error}");
    assert!(!error.to_string().contains("hunt"));
    refused(&json!(["x"]), "connection", "is a list; expected a JSON object");
    let error = Connection::from_json(b"").unwrap_err();
    assert_eq!(error.key, "connection");
}

#[test]
fn size_depth_and_count_are_bounded() {
    let error = Connection::from_json(&vec![b' '; MAX_BYTES + 1]).unwrap_err();
    assert!(error.problem.contains("larger than"), "{error}");
    let deep = "[".repeat(100_000);
    assert_eq!(Connection::from_json(deep.as_bytes()).unwrap_err().key, "connection");
    let many: Vec<String> = (0..=MAX_PATHS).map(|i| format!("10.0.{}.{}", i / 200, i % 200)).collect();
    let mut data = single(json!({"target_portals": many}));
    refused(&data, "target_portals", "257 entries; expected at most 256");
    data["target_portals"] = json!(["10.0.0.1"]);
    assert!(read(&data).is_ok());
}

#[test]
fn lists_are_parallel() {
    let luns = json!([3, "4"]);
    let data = lists(&["10.0.0.1:3260", "[fe80::2]:3261"], &["iqn.a:1", "iqn.a:2"], luns);
    assert_eq!(paths(&data), ["10.0.0.1:3260 iqn.a:1 3", "[fe80::2]:3261 iqn.a:2 4"]);
    refused(
        &lists(&["10.0.0.1"], &["iqn.a:1", "iqn.a:2"], json!([1])),
        "target_iqns",
        "has 2 entries; expected 1",
    );
    refused(&lists(&["10.0.0.1"], &["iqn.a:1"], json!([1, 2])), "target_luns", "has 2 entries; expected 1");
    refused(&lists(&["10.0.0.1", "x"], &["iqn.a:1"], json!([1])), "target_portals[1]", "a portal");
    refused(&json!({"target_portals": "10.0.0.1"}), "target_portals", "a string; expected a list");
}

#[test]
fn one_lun_serves_all_paths() {
    let data =
        json!({"target_portals": ["10.0.0.1", "10.0.0.2"], "target_iqns": [IQN, IQN], "target_lun": 7});
    assert_eq!(paths(&data), [format!("10.0.0.1:3260 {IQN} 7"), format!("10.0.0.2:3260 {IQN} 7")]);
    let mut data = data;
    data["target_luns"] = json!([]);
    assert_eq!(paths(&data).len(), 2);
    data["target_lun"] = Value::Null;
    refused(&data, "target_lun", "missing");
}

#[test]
fn lists_without_their_partners_leave_the_single_triple() {
    let data = single(json!({"target_portals": ["10.0.0.2"], "target_luns": [9, 9]}));
    assert_eq!(paths(&data), [format!("10.0.0.1:3260 {IQN} 1")]);
    refused(&json!({"target_iqn": IQN, "target_lun": 1}), "target_portal", "missing");
    refused(&json!({"target_portal": "10.0.0.1", "target_lun": 1}), "target_iqn", "missing");
    refused(&json!({"target_portal": "10.0.0.1", "target_iqn": IQN}), "target_lun", "missing");
}

/// C18: letter case, a portal group tag or the spelling of an address makes no second path; a target's name stays as it
/// was written first.
#[test]
fn c18_duplicates_are_dropped_in_normal_form() {
    let data = lists(
        &["[FE80::A]:3260,1", "[fe80:0::a]:3260", "10.0.0.1:3260,2", "10.0.0.1"],
        &["IQN.A:1", "iqn.a:1", "iqn.a:1", "iqn.a:2"],
        json!([1, "1", 1, 1]),
    );
    assert_eq!(
        paths(&data),
        ["[fe80::a]:3260 IQN.A:1 1", "10.0.0.1:3260 iqn.a:1 1", "10.0.0.1:3260 iqn.a:2 1"]
    );
}

/// C16, C18: a volume is known by its target's name in any letter case.
#[test]
fn c16_c18_the_letter_case_makes_no_other_volume() {
    let paths = |iqn: &str| read(&single(json!({"target_iqn": iqn}))).unwrap().paths;
    let (written, folded) =
        (paths("iqn.2000-01.com.example:Array.Target-1"), paths("iqn.2000-01.com.example:array.target-1"));
    assert_eq!(written, folded);
    assert_eq!(id_of(&written), id_of(&folded));
    assert_eq!(written[0].endpoint.iqn.as_str(), "iqn.2000-01.com.example:Array.Target-1");
}

#[test]
fn one_endpoint_with_two_luns_is_refused() {
    let data = lists(&["10.0.0.1", "10.0.0.1:3260"], &["iqn.a:1", "IQN.A:1"], json!([1, 2]));
    refused(&data, "target_luns[1]", "has LUN 1 already");
}

/// C18: LUNs as numbers and as strings, above 255, and the addressing modes.
#[test]
fn c18_luns_and_their_addressing() {
    for (number, mode, expected) in [
        (json!(0), Value::Null, 0),
        (json!("12"), json!("SAM"), 12),
        (json!(16383), json!(""), 16383),
        (json!(255), json!("SAM2"), 255),
        (json!("256"), json!("SAM2"), 16640),
        (json!(1), json!("SAM3-flat"), 16385),
        (json!(16383), json!("SAM3-flat"), 32767),
        (json!(4_611_686_018_427_387_904u64), json!("transparent"), 1 << 62),
    ] {
        let data = single(json!({"target_lun": number, "addressing_mode": mode}));
        assert_eq!(read(&data).unwrap().paths[0].lun, Lun(expected), "{data}");
    }
    for wrong in
        [json!(-1), json!(1.0), json!(1e3), json!(true), json!(""), json!("-1"), json!("+1"), json!("0x1")]
    {
        refused(&single(json!({"target_lun": wrong})), "target_lun", "whole number");
    }
    refused(&single(json!({"target_lun": 16384})), "target_lun", "expected 0 to 16383");
    refused(&single(json!({"target_lun": 16384, "addressing_mode": "SAM2"})), "target_lun", "too large");
    refused(&single(json!({"addressing_mode": "sam9"})), "addressing_mode", "SAM3-flat");
}

/// C12: all ones would be taken for every LUN by a scan.
#[test]
fn c12_the_wildcard_lun_is_refused() {
    let data = single(json!({"target_lun": u64::MAX, "addressing_mode": "transparent"}));
    refused(&data, "target_lun", "too large");
}

/// C18: CHAP one-way and mutual, of sessions and of discovery.
#[test]
fn c18_chap() {
    let chap = json!({"auth_method": "CHAP", "auth_username": "u", "auth_password": "p",
        "discovery_auth_method": "CHAP", "discovery_auth_username": "du", "discovery_auth_password": "dp"});
    let connection = read(&single(chap.clone())).unwrap();
    let sessions = connection.chap.unwrap();
    assert_eq!((sessions.username.as_str(), sessions.password.reveal()), ("u", "p"));
    assert!(sessions.mutual.is_none());
    assert_eq!(connection.discovery_chap.unwrap().password.reveal(), "dp");

    let mut mutual = single(chap);
    mutual["auth_username_in"] = json!("ui");
    refused(&mutual, "auth_password_in", "missing");
    mutual["auth_password_in"] = json!("pi");
    let (user, password) = read(&mutual).unwrap().chap.unwrap().mutual.unwrap();
    assert_eq!((user.as_str(), password.reveal()), ("ui", "pi"));

    refused(&single(json!({"auth_method": "CHAP"})), "auth_username", "missing");
    refused(&single(json!({"auth_username": "u"})), "auth_password", "missing");
    refused(&single(json!({"auth_password": "p"})), "auth_username", "missing");
    refused(&single(json!({"auth_method": "SRP"})), "auth_method", "expected CHAP or None");
    assert!(read(&single(json!({"auth_method": null, "auth_username": null}))).unwrap().chap.is_none());
}

/// B8: neither an error nor `Debug` shows a secret, whatever is wrong with it.
#[test]
fn b8_no_secret_is_shown() {
    for wrong in [
        json!(["hunter2"]),
        json!({"hunter2": 1}),
        json!("hunter2\nnode.startup = automatic"),
        json!(" hunter2"),
        json!("hunter2".repeat(99)),
    ] {
        for key in ["auth_password", "auth_password_in", "discovery_auth_password", "auth_username"] {
            let error = read(&single(json!({ key: wrong }))).unwrap_err();
            assert_eq!(error.key, key);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
    let fine = json!({"auth_username": "u", "auth_password": "hunter2",
        "auth_username_in": "v", "auth_password_in": "hunter2"});
    assert!(!format!("{:?}", read(&single(fine)).unwrap()).contains("hunter2"));
}

#[test]
fn names_that_could_leave_their_place_are_refused() {
    for name in ["../../etc", "iqn.a/../b", "-iqn.a", "iqn.a\n", "iqn.\u{0}a", "iqn.a b", "", "--login"] {
        // White space around a name is no part of it.
        if name.trim() == "iqn.a" {
            continue;
        }
        refused(&single(json!({"target_iqn": name})), "target_iqn", "an iSCSI name");
    }
    for name in ["../x", "-x", ".x", "a/b", "a\nb", ""] {
        refused(&single(json!({"iface": name})), "iface", "interface name");
        refused(&single(json!({"target_portal": name})), "target_portal", "a portal");
    }
    for name in ["../x", "-x", "a\u{7}", "a b", ""] {
        refused(&single(json!({"wwid": name})), "wwid", "a WWID");
    }
    refused(&single(json!({"volume_id": "a\u{1b}[2J"})), "volume_id", "control characters");
}

#[test]
fn the_remaining_keys() {
    let data =
        single(json!({"wwid": "3600ABCDEF012345678", "name": "n", "volume_id": "v", "access_mode": "ro",
        "iface": "iser"}));
    let connection = read(&data).unwrap();
    assert_eq!(connection.wwid.unwrap().as_str(), "3600abcdef012345678");
    assert_eq!(connection.volume.as_deref(), Some("v"));
    assert!(connection.read_only);
    assert_eq!(connection.paths[0].endpoint.iface.as_str(), "iser");
    refused(&single(json!({"access_mode": "wo"})), "access_mode", "\"ro\"");
    refused(&single(json!({"access_mode": true})), "access_mode", "a boolean");
}

#[test]
fn of_a_key_given_twice_the_last_counts() {
    let text =
        format!(r#"{{"target_portal":"10.0.0.1","target_iqn":"{IQN}","target_lun":1,"target_lun":2}}"#);
    assert_eq!(Connection::from_json(text.as_bytes()).unwrap().paths[0].lun, Lun(2));
}

#[test]
fn parts_typed_by_a_person() {
    let portals = |n: u8| (0..n).map(|i| format!("10.0.0.{i}").parse().unwrap()).collect::<Vec<_>>();
    let iqns = |n: u8| (0..n).map(|i| format!("iqn.a:{i}").parse().unwrap()).collect::<Vec<_>>();
    let count = |p, i| Connection::from_parts(&portals(p), &iqns(i), Lun(1)).map(|c| c.paths.len());
    assert_eq!((count(1, 1), count(3, 1), count(3, 3), count(1, 3)), (Ok(1), Ok(3), Ok(3), Ok(3)));
    assert_eq!(count(3, 2).unwrap_err().key, "iqn");
    assert_eq!(count(0, 1).unwrap_err().key, "portal");
    assert_eq!(count(1, 0).unwrap_err().key, "iqn");
    assert_eq!(Connection::from_parts(&portals(1), &iqns(1), Lun(16384)).unwrap_err().key, "lun");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&str; 24] = [
        "driver_volume_type",
        "data",
        "target_portal",
        "target_iqn",
        "target_lun",
        "target_portals",
        "target_iqns",
        "target_luns",
        "auth_method",
        "auth_username",
        "auth_password",
        "auth_username_in",
        "auth_password_in",
        "discovery_auth_method",
        "discovery_auth_username",
        "discovery_auth_password",
        "access_mode",
        "volume_id",
        "name",
        "iface",
        "addressing_mode",
        "wwid",
        "encrypted",
        "qos_specs",
    ];

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            prop::sample::select(vec![
                "10.0.0.1", "[::1]:1", IQN, "../../x", "-x", "CHAP", "SAM2", "iscsi", "1"
            ])
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((prop::sample::select(&KEYS[..]), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k.into(), v)).collect())),
            ]
        })
    }

    /// Whatever came in: what is accepted keeps the promises of its type, what is refused names a key.
    fn judge(bytes: &[u8]) {
        match Connection::from_json(bytes) {
            Err(error) => {
                let name = error.key.rsplit('.').next().unwrap().split('[').next().unwrap().to_owned();
                assert!(name == "connection" || KEYS.contains(&name.as_str()), "{error:?}");
                assert!(!error.problem.is_empty() && !error.to_string().chars().any(char::is_control));
            }
            Ok(connection) => {
                assert!((1..=MAX_PATHS).contains(&connection.paths.len()));
                let mut endpoints: Vec<_> = connection.paths.iter().map(|p| &p.endpoint).collect();
                endpoints.sort();
                endpoints.dedup();
                assert_eq!(endpoints.len(), connection.paths.len());
                assert!(connection.paths.iter().all(|p| p.lun.0 != u64::MAX));
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            judge(&bytes);
        }

        #[test]
        fn any_json_value(value in any_json()) {
            judge(value.to_string().as_bytes());
        }

        /// A connection that works, with one key replaced by anything.
        #[test]
        fn one_hostile_key(key in prop::sample::select(&KEYS[..]), value in any_json(), wrapped: bool) {
            let data = single(json!({ key: value }));
            judge(data.to_string().as_bytes());
            if wrapped {
                judge(json!({"driver_volume_type": "iscsi", "data": data}).to_string().as_bytes());
            }
        }

        #[test]
        fn truncated(cut in 0usize..200) {
            let text = json!({"driver_volume_type": "iscsi", "data": single(json!({"auth_password": "hunter2"}))})
                .to_string();
            let cut = cut.min(text.len() - 1);
            let error = Connection::from_json(&text.as_bytes()[..cut]).unwrap_err();
            prop_assert_eq!(&error.key, "connection");
            prop_assert!(!error.to_string().contains("hunt"));
        }

        /// B8: a secret that stands at a wrong place of the right key stays unseen.
        #[test]
        fn b8_secret_of_any_shape(nested in any_json()) {
            let value = json!({"auth_username": "u", "auth_password": [nested, "hunter2"]});
            let error = read(&single(value)).unwrap_err();
            let shown = format!("{error:?}");
            prop_assert!(!shown.contains("hunter2"));
        }
    }
}
