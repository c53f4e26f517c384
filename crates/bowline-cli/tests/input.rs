//! Connections that cannot be read or are wrong, and what is checked before the host is touched.

#[allow(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use common::{Place, Ran};
use serde_json::{Value, json};

const SECRET: &str = "correct-horse-battery";

fn connection(extra: Value) -> Value {
    let mut data = json!({
        "target_portals": ["10.0.0.1:3260", "10.0.0.2:3260"],
        "target_iqns": ["iqn.2026-01.org.example:v1", "iqn.2026-01.org.example:v1"],
        "target_luns": [1, 1],
        "auth_method": "CHAP", "auth_username": "user", "auth_password": SECRET,
    });
    data.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"driver_volume_type": "iscsi", "data": data})
}

/// Exit code 2, the key or place in words and in JSON, for connect and disconnect, nothing touched.
#[track_caller]
fn wrong(place: &Place, source: &str, input: &[u8], expected: &str) {
    for verb in ["connect", "disconnect"] {
        let ran = place.feed(&[verb, source], input);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.starts_with("error: the connection "), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{ran:?}");
        let ran = place.feed(&[verb, source, "--json"], input);
        assert_eq!(ran.code, 2);
        assert_eq!(ran.error()["kind"], "input");
        assert!(!ran.error()["causes"][0].as_str().unwrap().is_empty());
    }
    place.assert_untouched();
}

#[test]
fn files_that_cannot_be_read() {
    let place = Place::new();
    wrong(&place, "./absent.json", b"", "caused by: 1. No such file or directory");
    wrong(&place, "state/", b"", "it is a directory; expected a file");
    let huge = place.file("huge.json", vec![b' '; (1 << 20) + 1]);
    wrong(&place, &huge, b"", "larger than 1048576 bytes");
    wrong(&place, "-", &vec![b' '; 3 << 20], "larger than 1048576 bytes");
    wrong(&place, "/dev/stdin", b"", "ends too early");
    wrong(&place, "-", b"", "ends too early (line 1, column 0)");
    wrong(&place, "-", b"\xff\xfe", "is no valid JSON (line 1");
}

#[test]
fn wrong_keys_are_named() {
    let place = Place::new();
    for (extra, expected) in [
        (json!({"target_luns": [1]}), "data.target_luns: has 1 entries; expected 2"),
        (json!({"target_portals": ["10.0.0.1", "x"]}), "data.target_portals[1]: \"x\" is not a portal"),
        (json!({"target_luns": [1, -2]}), "data.target_luns[1]: is no whole number"),
        (json!({"auth_method": "SRP"}), "data.auth_method: is unknown; expected CHAP or None"),
        (json!({"addressing_mode": 3}), "data.addressing_mode: is a number; expected a string"),
    ] {
        wrong(&place, "-", connection(extra).to_string().as_bytes(), expected);
    }
    wrong(&place, "-", b"{\"driver_volume_type\":\"rbd\",\"data\":{}}", "driver_volume_type: is \"rbd\"");
}

/// B3: two identities that contradict each other.
#[test]
fn b3_contradicting_identities() {
    let place = Place::new();
    let file = place.file("c.json", connection(json!({"wwid": "3600a"})).to_string());
    let ran = place.run(&["connect", &file, "--wwid", "3600b"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--wwid 3600b contradicts the connection, whose wwid is 3600a"), "{ran:?}");
    place.assert_untouched();
}

/// B8: whatever is wrong with a connection, no output shows its secret; nor does a refusal to take it as an
/// argument.
#[test]
fn b8_no_output_shows_a_secret() {
    let place = Place::new();
    let whole = connection(json!({})).to_string();
    let mut inputs = vec![
        connection(json!({"auth_password": [SECRET]})).to_string(),
        connection(json!({"auth_password": {SECRET: SECRET}})).to_string(),
        connection(json!({"auth_password": format!("{SECRET}\n")})).to_string(),
        connection(json!({"auth_username": null})).to_string(),
        connection(json!({"auth_password_in": SECRET})).to_string(),
        connection(json!({"discovery_auth_password": SECRET.repeat(40)})).to_string(),
        connection(json!({"target_luns": [1]})).to_string(),
        whole.replace(&format!("\"{SECRET}\""), SECRET),
    ];
    let at = whole.find(SECRET).unwrap();
    inputs.extend((at..at + SECRET.len() + 2).map(|cut| whole[..cut].to_string()));
    for input in &inputs {
        for extra in ["--json", "--progress=json"] {
            let ran = place.feed(&["connect", "-", extra], input.as_bytes());
            assert_eq!(ran.code, 2, "{ran:?}");
            for part in [&ran.stdout, &ran.stderr] {
                assert!(!part.contains(&SECRET[..7]), "{ran:?}");
            }
        }
    }
    for verb in ["connect", "disconnect"] {
        let ran = place.run(&[verb, &whole]);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains("not the JSON itself") && !ran.stderr.contains(SECRET), "{ran:?}");
    }
    place.assert_untouched();
}

/// A copy of the command that another user can run, wherever this one was built. Made by another process: a
/// descriptor of ours that is open for writing could be inherited by a child of another test, and the kernel
/// runs no program that somebody has open for writing (ETXTBSY).
fn for_everyone(place: &Place) -> PathBuf {
    let copy = place.0.join("bowline");
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_bowline")).arg(&copy).status().unwrap().success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// Exit code 6 for anyone but root, before anything is touched; and a file that may not be read is told as
/// such. Root runs this as nobody.
#[test]
fn not_root() {
    let place = Place::new();
    let program = for_everyone(&place);
    let file = place.file("c.json", connection(json!({})).to_string());
    let as_nobody = |args: &[&str]| {
        let mut command = place.command_at(&program, args);
        if fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me)).unwrap() == 0 {
            command.uid(65534).gid(65534);
        }
        Ran::from(command.output().unwrap())
    };
    for (verb, which) in [("connect", file.as_str()), ("disconnect", &file), ("disconnect", "/dev/mapper/x")]
    {
        let ran = as_nobody(&[verb, which]);
        assert_eq!(ran.code, 6, "{ran:?}");
        assert_eq!(
            ran.stderr,
            format!(
                "error: {verb} needs root; nothing was touched\nhint: run it as root: sudo bowline {verb} …\n"
            )
        );
        let ran = as_nobody(&[verb, which, "--json"]);
        assert_eq!((ran.code, ran.error()["kind"].as_str()), (6, Some("host")));
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = as_nobody(&["connect", &file]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
    place.assert_untouched();
}

/// B5: looking changes nothing.
#[test]
fn b5_inspect_where_nothing_is() {
    let place = Place::new();
    let ran = place.run(&["inspect"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "no attachments\n"), "{ran:?}");
    let ran = place.run(&["inspect", "--json"]);
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value, json!({"schema": 1, "attachments": [], "leftovers": []}));
    place.assert_untouched();
}
