//! Results on standard output: JSON, or text for people rendered from the same struct. And the few rules of
//! writing: a reader that has left is no error and no panic, and foreign text cannot steer the terminal.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};

use bowline::inspect::{AttachmentReport, Inspection};
use bowline::report::{Connected, Disconnected, FailedPath, Outcome, PathReport, PathState};
use bowline::{Error, ErrorKind};
use serde::Serialize;

/// Writes to standard output. That nobody reads it any more (`bowline man | head -1`) is no error: the verb
/// has done its work.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes a result, as JSON or as text.
pub fn result<T: Serialize>(report: &T, human: fn(&T) -> String, json: bool) -> Result<(), Error> {
    deliver(&if json { json_text(report) } else { human(report) })
}

/// Writes a result to standard output; a full disk behind it is told.
pub fn deliver(text: &str) -> Result<(), Error> {
    print(text).map_err(|error| {
        Error::new(ErrorKind::Host, "the result cannot be written to standard output").cause(error)
    })
}

/// Writes to standard error. Where even that fails there is nobody left to tell.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Warnings for a person; a program finds them in its JSON.
pub fn warn(warnings: &[String], json: bool) {
    if !json {
        warnings.iter().for_each(|warning| complain(&format!("warning: {}\n", printable(warning))));
    }
}

/// One JSON object with its newline: on one line for programs, spread out on a terminal.
pub fn json_text<T: Serialize>(value: &T) -> String {
    let text = match io::stdout().is_terminal() {
        true => serde_json::to_string_pretty(value),
        false => serde_json::to_string(value),
    };
    text.expect("reports have text keys only, so they can be JSON") + "\n"
}

/// Text of foreign origin (a target, a program, a controller), made harmless for a terminal and one line.
pub fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if steers(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// What connect did.
pub fn connected(report: &Connected) -> String {
    let word = if report.changed { "attached" } else { "already attached" };
    // One that is there and does not work is in both.
    let there = report.paths.iter().map(|path| (&path.portal, &path.iqn));
    let wanted: BTreeSet<_> =
        there.chain(report.failed_paths.iter().map(|path| (&path.portal, &path.iqn))).collect();
    let working = report.paths.iter().filter(|path| path.state == PathState::Active).count();
    let mut text = format!("{word} {}\n", printable(&report.device_node));
    text += &format!("  id     {}\n", printable(&report.id));
    text += &format!("  wwid   {}\n", report.wwid.as_ref().map_or("unknown", |wwid| wwid.as_str()));
    text += &format!("  size   {}\n", size(report.size));
    text += &format!("  paths  {working} of {}\n\n", wanted.len());
    text + &paths(&report.paths, &report.failed_paths)
}

/// How disconnect ended.
pub fn disconnected(report: &Disconnected) -> String {
    let word = match report.outcome {
        Outcome::Clean => "detached, nothing is left behind",
        Outcome::DataMayBeLost => "detached, nothing is left behind; data may be lost",
        Outcome::Leftovers => "detached in part, something is left behind",
        Outcome::Unchanged => "not attached, nothing had to change",
    };
    let lines = report.leftovers.iter().map(|line| format!("left behind: {}\n", printable(line)));
    format!("{word}\n{}", lines.collect::<String>())
}

/// What is there.
pub fn inspection(report: &Inspection) -> String {
    let mut text = String::new();
    if report.attachments.is_empty() {
        text += "no attachments\n";
    }
    text += &report.attachments.iter().map(attachment).collect::<Vec<_>>().join("\n");
    if !report.leftovers.is_empty() {
        let lines = report.leftovers.iter().map(|l| {
            vec![
                String::new(),
                printable(&l.kind).into(),
                printable(&l.name).into(),
                printable(&l.reason).into(),
            ]
        });
        text += &format!("\nleftovers\n{}", table(&lines.collect::<Vec<_>>()));
    }
    text
}

fn attachment(report: &AttachmentReport) -> String {
    let device = report.device_node.as_deref().unwrap_or("no device");
    let mut text = format!("{}  {}\n", printable(&report.id), printable(device));
    let mut line = |name: &str, value: &str| text += &format!("  {name:<8} {}\n", printable(value));
    if let Some(volume) = &report.volume {
        line("volume", volume);
    }
    line("phase", &report.phase);
    if let Some(wwid) = &report.wwid {
        line("wwid", wwid.as_str());
    }
    for problem in &report.problems {
        line("problem", problem);
    }
    let missing: Vec<FailedPath> = report
        .missing
        .iter()
        .map(|path| FailedPath {
            portal: path.endpoint.portal,
            iqn: path.endpoint.iqn.clone(),
            reason: "missing".into(),
        })
        .collect();
    text + &paths(&report.paths, &missing)
}

/// The paths that are there, then those that are not, with the reason.
fn paths(there: &[PathReport], failed: &[FailedPath]) -> String {
    let mut rows = vec![["", "PORTAL", "DEVICE", "LUN", "STATE", "IQN"].map(String::from).to_vec()];
    for path in there {
        let state = match path.state {
            PathState::Active => "active",
            PathState::Failed => "failed",
            PathState::NotInMap => "not in the map",
        };
        let (portal, lun) = (path.portal.to_string(), path.lun.to_string());
        rows.push(vec![
            String::new(),
            portal,
            path.device.to_string(),
            lun,
            state.into(),
            path.iqn.to_string(),
        ]);
    }
    let mut text = table(&rows[..if there.is_empty() { 0 } else { rows.len() }]);
    let failed: Vec<Vec<String>> = failed
        .iter()
        .map(|path| {
            let reason = printable(&path.reason).into_owned();
            vec![String::new(), path.portal.to_string(), path.iqn.to_string(), reason]
        })
        .collect();
    if !failed.is_empty() {
        text += &format!("  without:\n{}", table(&failed));
    }
    text
}

/// Columns as wide as their widest cell, two spaces apart; the last one is as it is.
fn table(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|i| width(i).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Bytes as a person reads them, with the exact number where it is rounded.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (1..units.len()).take_while(|i| bytes >> (10 * i) > 0).last().unwrap_or(0);
    let scale = 1u64 << (10 * unit);
    match bytes % scale {
        0 => format!("{} {}", bytes / scale, units[unit]),
        _ => format!("{:.1} {} ({bytes} B)", bytes as f64 / scale as f64, units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Connected {
        let path = |portal: &str, device: &str, state| PathReport {
            portal: portal.parse().unwrap(),
            iqn: "iqn.a:1".parse().unwrap(),
            lun: bowline_host::Lun(1),
            device: device.parse().unwrap(),
            state,
        };
        Connected {
            schema: 1,
            id: "a1b2".into(),
            device_node: "/dev/mapper/mpatha".into(),
            wwid: Some("3600140512345678".parse().unwrap()),
            map: Some("mpatha".parse().unwrap()),
            size: 3 << 30,
            paths: vec![
                path("10.0.0.1", "sda", PathState::Active),
                path("[fe80::1]", "sdaa", PathState::NotInMap),
            ],
            failed_paths: vec![FailedPath {
                portal: "10.0.0.3:3261".parse().unwrap(),
                iqn: "iqn.a:1".parse().unwrap(),
                reason: "login timed out\n\u{1b}[31m".into(),
            }],
            changed: true,
            warnings: vec![],
            unfinished: false,
        }
    }

    #[test]
    fn connect_for_people() {
        assert_eq!(
            connected(&report()),
            "attached /dev/mapper/mpatha\n\
             \x20 id     a1b2\n\
             \x20 wwid   3600140512345678\n\
             \x20 size   3 GiB\n\
             \x20 paths  1 of 3\n\
             \n\
             \x20 PORTAL          DEVICE  LUN  STATE           IQN\n\
             \x20 10.0.0.1:3260   sda     1    active          iqn.a:1\n\
             \x20 [fe80::1]:3260  sdaa    1    not in the map  iqn.a:1\n\
             \x20 without:\n\
             \x20 10.0.0.3:3261  iqn.a:1  login timed out\\n\\u{1b}[31m\n"
        );
    }

    #[test]
    fn a_path_that_is_there_and_does_not_work_is_counted_once() {
        let mut report = report();
        report.failed_paths.push(FailedPath {
            portal: report.paths[1].portal,
            iqn: report.paths[1].iqn.clone(),
            reason: "its session is lost".into(),
        });
        assert!(connected(&report).contains("\n  paths  1 of 3\n"), "{}", connected(&report));
    }

    #[test]
    fn connect_for_programs() {
        let value = serde_json::to_value(report()).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["paths"][0]["state"], "active");
        assert_eq!(value["paths"][1]["portal"], "[fe80::1]:3260");
        for key in ["id", "device_node", "wwid", "map", "failed_paths", "changed", "warnings"] {
            assert!(value.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn disconnect_for_people() {
        let report = |outcome, leftovers: &[&str]| Disconnected {
            schema: 1,
            outcome,
            leftovers: leftovers.iter().map(|l| l.to_string()).collect(),
            warnings: vec![],
        };
        assert_eq!(disconnected(&report(Outcome::Clean, &[])), "detached, nothing is left behind\n");
        assert_eq!(
            disconnected(&report(Outcome::Leftovers, &["session 3"])),
            "detached in part, something is left behind\nleft behind: session 3\n"
        );
    }

    /// B5: each attachment with what is missing, each leftover with its reason.
    #[test]
    fn b5_inspect_for_people() {
        let connected = report();
        let report = Inspection {
            schema: 1,
            attachments: vec![AttachmentReport {
                id: "a1b2".into(),
                volume: Some("vol-1".into()),
                phase: "attached".into(),
                device_node: Some(connected.device_node),
                wwid: connected.wwid,
                map: connected.map,
                paths: connected.paths[..1].to_vec(),
                missing: bowline::Connection::from_parts(
                    &["10.0.0.2".parse().unwrap()],
                    &["iqn.a:1".parse().unwrap()],
                    bowline_host::Lun(1),
                )
                .unwrap()
                .paths,
                problems: vec!["one path of two".into()],
            }],
            leftovers: vec![bowline::inspect::Leftover {
                kind: "session".into(),
                name: "7".into(),
                reason: "its attachment is gone".into(),
            }],
        };
        assert_eq!(
            inspection(&report),
            "a1b2  /dev/mapper/mpatha\n\
             \x20 volume   vol-1\n\
             \x20 phase    attached\n\
             \x20 wwid     3600140512345678\n\
             \x20 problem  one path of two\n\
             \x20 PORTAL         DEVICE  LUN  STATE   IQN\n\
             \x20 10.0.0.1:3260  sda     1    active  iqn.a:1\n\
             \x20 without:\n\
             \x20 10.0.0.2:3260  iqn.a:1  missing\n\
             \n\
             leftovers\n\
             \x20 session  7  its attachment is gone\n"
        );
        let nothing = Inspection { schema: 1, attachments: vec![], leftovers: vec![] };
        assert_eq!(inspection(&nothing), "no attachments\n");
    }

    #[test]
    fn sizes() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1 << 20), "1 MiB");
        assert_eq!(size((1 << 30) + (1 << 29)), "1.5 GiB (1610612736 B)");
        assert_eq!(size(u64::MAX), "16.0 EiB (18446744073709551615 B)");
    }
}
