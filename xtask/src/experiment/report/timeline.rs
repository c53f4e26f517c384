//! Where the time of a benchmark goes, from what bowline and the floor have told meanwhile.

use lab_experiment::{Bench, Contender, Sessions};

use super::summary::Spread;
use super::table::table;

/// Of one volume over new sessions, with all portals alive.
pub fn section(all: &[Bench]) -> String {
    let of_one: Vec<&Bench> = all
        .iter()
        .filter(|line| line.wish.volumes == 1 && line.wish.sessions == Sessions::New && !line.wish.dead_half)
        .filter(|line| line.attach.ok() && line.detach.ok())
        .collect();
    udevs_share(all) + &attach(&of_one) + &detach(&of_one)
}

fn by<'a>(all: &[&'a Bench], contender: Contender) -> Vec<&'a Bench> {
    all.iter().copied().filter(|line| line.wish.contender == contender).collect()
}

/// When the last event of these names was.
fn last(events: &[serde_json::Value], names: &[&str]) -> Option<f64> {
    let named =
        events.iter().filter(|event| event["event"].as_str().is_some_and(|name| names.contains(&name)));
    named.filter_map(|event| event["at"].as_f64()).reduce(f64::max)
}

/// Of the floor, what passes between the last disk and the last map.
fn udevs_share(all: &[Bench]) -> String {
    let share = |line: &Bench| {
        let (disks, maps) = (last(&line.events, &["disks"])?, last(&line.events, &["maps"])?);
        Some(100.0 * (maps - disks) / maps)
    };
    let of = |volumes: u16| -> Option<String> {
        let floors = all.iter().filter(|line| {
            let wish = &line.wish;
            (wish.contender, wish.volumes, wish.sessions) == (Contender::Floor, volumes, Sessions::New)
        });
        let Spread { median, min, max } = Spread::of(&floors.filter_map(share).collect::<Vec<_>>())?;
        let volumes = if volumes == 1 { "one volume".to_owned() } else { format!("{volumes} at once") };
        Some(format!("{median:.0} % ({min:.0}–{max:.0}) for {volumes}"))
    };
    let told: Vec<String> = [1, 4, 16, 32].into_iter().filter_map(of).collect();
    if told.is_empty() {
        return String::new();
    }
    format!(
        "## What of the floor is udev's\n\nSo much of the floor's time, over new sessions, passes between the last disk and the last usable map: {}. In it the \
         floor's driver does nothing but wait: for udev's rules for each disk, for multipathd, and for udev's rules for the map. (udev is at work \
         before, too, on the first disks.)\n\n",
        told.join(", ")
    )
}

/// Of bowline's own attaches, when each step of each path was over.
fn attach(all: &[&Bench]) -> String {
    let ours = by(all, Contender::Bowline);
    let Some(measured) = ours.last() else { return String::new() };
    let row = |event: &serde_json::Value| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let at = event["at"].as_f64().unwrap_or_default();
        vec![format!("{at:.2}"), text(&event["endpoint"]["portal"]), text(&event["event"]).replace('_', " ")]
    };
    let rows: Vec<Vec<String>> = measured.events.iter().map(row).collect();
    format!(
        "## Where bowline's own time goes\n\nThe last measured attach of one volume over new sessions, from its events.\n\n{}",
        table(&["at, s", "path", "what"], &rows)
    )
}

/// What each of these is by: bowline's event, the floor's mark.
const STEPS: [(&str, &[&str], &str); 4] = [
    ("flushed", &["flushed"], "flushed"),
    ("map removed", &["map_removed"], "map_removed"),
    ("last disk gone", &["device_gone"], "disks_gone"),
    ("last session gone", &["path_gone", "path_released"], "logged_out"),
];

/// The steps of a detach, beside the floor's.
fn detach(all: &[&Bench]) -> String {
    let (ours, floors) = (by(all, Contender::Bowline), by(all, Contender::Floor));
    let of = |lines: &[&Bench], names: &[&str]| -> Vec<f64> {
        lines.iter().filter_map(|line| last(&line.detach_events, names)).collect()
    };
    let told = |values: &[f64]| match Spread::of(values) {
        None => "–".to_owned(),
        Some(Spread { median, min, max }) => format!("{median:.2} ({min:.2}–{max:.2})"),
    };
    let mut rows: Vec<Vec<String>> = STEPS
        .iter()
        .map(|(step, events, mark)| {
            vec![(*step).to_owned(), told(&of(&floors, &[mark])), told(&of(&ours, events))]
        })
        .collect();
    if of(&ours, STEPS[0].1).is_empty() {
        return String::new();
    }
    let returned = |lines: &[&Bench]| told(&lines.iter().map(|line| line.detach.seconds).collect::<Vec<_>>());
    rows.push(vec!["returned".to_owned(), returned(&floors), returned(&ours)]);
    format!(
        "\n## Where a detach's time goes\n\nOf one volume over new sessions, seconds until each step was over. bowline's events count from when its \
         engine begins, so the start of the command is in the last line alone, with its end and the helper's.\n\n{}",
        table(&["step", "floor", "bowline"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(contender: &str, events: &str) -> Bench {
        let step = r#"{"outcome":"ok","seconds":0.5}"#;
        serde_json::from_str(&format!(
            r#"{{"volumes":1,"sessions":"new","dead_half":false,"contender":"{contender}","round":0,
            "versions":{{"kernel":"","open_iscsi":"","multipath_tools":"","contender":""}},"attach":{step},
            "seen":{{"first_map":1,"all_maps":1,"all_paths":null}},"detach":{step},"detach_events":{events},"leftovers":{{}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_step_is_over_with_the_last_of_its_events() {
        let all = [
            line("floor", r#"[{"at":0.1,"event":"flushed"},{"at":0.2,"event":"map_removed"}]"#),
            line(
                "bowline",
                r#"[{"at":0.2,"event":"flushed"},{"at":0.3,"event":"device_gone"},{"at":0.4,"event":"device_gone"}]"#,
            ),
        ];
        let text = section(&all);
        assert!(text.contains("| flushed | 0.10 (0.10–0.10) | 0.20 (0.20–0.20) |"), "{text}");
        assert!(text.contains("| last disk gone | – | 0.40 (0.40–0.40) |"), "{text}");
        assert!(text.contains("| returned | 0.50 (0.50–0.50) | 0.50 (0.50–0.50) |"), "{text}");
    }

    #[test]
    fn of_what_was_not_recorded_nothing_is_told() {
        assert!(!section(&[line("bowline", "[]")]).contains("a detach's time"));
    }
}
