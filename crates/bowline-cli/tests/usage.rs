//! What the command says of itself, and how it takes being used wrongly.

#[allow(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::process::Stdio;

use common::{Place, Ran};

/// Compares with a file in `tests/snapshots`; `BOWLINE_BLESS=1` writes it anew.
#[track_caller]
fn snapshot(name: &str, text: &str) {
    let path = format!("{}/tests/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BOWLINE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "{name} changed; BOWLINE_BLESS=1 accepts it.\n--- expected\n{expected}\n--- now\n{text}"
    );
}

#[test]
fn help() {
    let place = Place::new();
    for (name, args) in [
        ("help", &["--help"][..]),
        ("help-connect", &["connect", "--help"]),
        ("help-disconnect", &["disconnect", "--help"]),
        ("help-inspect", &["inspect", "--help"]),
    ] {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 100));
        snapshot(name, &ran.stdout);
    }
    place.assert_untouched();
}

#[test]
fn only_what_works_is_offered() {
    let place = Place::new();
    let man = place.run(&["man"]).stdout.replace('\\', "");
    for absent in ["extend", "recover", "tend ", "discover ", "bowline check"] {
        assert!(!man.contains(absent), "{absent}");
    }
    for verb in ["extend", "recover", "tend", "discover", "properties", "check"] {
        assert_eq!(place.run(&[verb]).code, 2);
    }
}

#[test]
fn man_page_and_completions() {
    let place = Place::new();
    let man = place.run(&["man"]);
    assert_eq!((man.code, man.stderr.as_str()), (0, ""));
    for section in ["BOWLINE CONNECT", "BOWLINE DISCONNECT", "BOWLINE INSPECT", "EXIT STATUS"] {
        assert_eq!(man.stdout.matches(&format!(".SH \"{section}\"")).count(), 1, "{section}");
    }
    assert_eq!(man.stdout.matches(".TH ").count(), 1);
    for shell in ["bash", "zsh", "fish"] {
        let ran = place.run(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("single-path"), "{shell}");
    }
    assert_eq!(place.run(&["completions", "csh"]).code, 2);
    assert!(place.run(&["--version"]).stdout.starts_with("bowline 0."));
}

#[track_caller]
fn wrong(args: &[&str], message: &str) {
    let place = Place::new();
    let ran = place.run(args);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {ran:?}");
    assert!(args.is_empty() || ran.stderr.starts_with("error: "), "{ran:?}");
    assert!(ran.stderr.contains(message), "{args:?}: {ran:?}");

    let mut with_json = args.to_vec();
    with_json.push("--json");
    let ran = place.run(&with_json);
    let error = ran.error();
    assert_eq!((ran.code, error["kind"].as_str()), (2, Some("input")), "{ran:?}");
    place.assert_untouched();
}

/// Exit code 2: told in words and as JSON, and nothing is touched.
#[test]
fn wrong_usage() {
    let portal = ["connect", "--portal", "10.0.0.1"];
    wrong(&[], "Usage: bowline");
    wrong(&["conect"], "similar");
    wrong(&["connect"], "no volume is named; expected a CONNECTION, or --portal, --iqn and --lun");
    wrong(&portal, "--iqn");
    wrong(&["connect", "--lun", "1"], "--portal");
    wrong(&["connect", "file", "--lun", "1"], "cannot be used with");
    wrong(&["connect", "--portal", "example.org", "--iqn", "iqn.a:1", "--lun", "1"], "is not a portal");
    wrong(&["connect", "--portal", "10.0.0.1", "--iqn", "../../etc", "--lun", "1"], "is not an iSCSI name");
    wrong(&["connect", "--portal", "10.0.0.1", "--iqn", "iqn.a:1", "--lun", "0x1"], "is not a LUN");
    wrong(
        &["connect", "--portal", "10.0.0.1", "--iqn", "iqn.a:1", "--lun", "16384"],
        "--lun: LUN 16384 is too large",
    );
    wrong(&["connect", "file", "--deadline", "30"], "a whole number with its unit");
    wrong(&["connect", "file", "--deadline", "0s"], "more than 0");
    wrong(&["connect", "file", "--wwid", "a b"], "is not a WWID");
    wrong(&["connect", "file", "--single-path", "--allow-single-device"], "cannot be used with");
    wrong(&["connect", "file", "--quiet", "--progress", "plain"], "cannot be used with");
    wrong(&["disconnect"], "CONNECTION|ATTACHMENT-ID|DEVICE");
    wrong(&["disconnect", "/dev/../etc/passwd"], "is no device");
    wrong(&["disconnect", "a b"], "neither a file, nor a device");
    wrong(&["inspect", "a", "b"], "unexpected argument");
}

/// What follows `--` is no option: JSON was not asked for.
#[test]
fn json_as_an_operand() {
    let ran = Place::new().run(&["inspect", "a", "--", "--json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
}

/// A reader that has left before the first byte is no error and no panic.
#[test]
fn closed_standard_output() {
    let place = Place::new();
    for args in [&["man"][..], &["--help"], &["inspect"], &["inspect", "--json"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = Ran::from(place.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = Ran::from(place.command(&["connect", "absent"]).stderr(writer).output().unwrap());
    assert_eq!(ran.code, 2);
}

#[test]
fn full_standard_output_is_told() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = Ran::from(Place::new().command(&["man"]).stdout(full).output().unwrap());
    assert_eq!(ran.code, 6);
    assert!(ran.stderr.starts_with("error: the result cannot be written"), "{ran:?}");
}
