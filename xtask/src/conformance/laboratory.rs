//! The cases in guests: those of one shape one after another in one.

use std::time::Duration;

use lab_wire::{Backend, Failure, Family, Spec, Target};
use serde::Deserialize;

use super::{CASES, Case, Played};
use crate::lab::{
    Brought, Place, Programs, Ready, Script, Steps, Stop, Stream, Suite, Verdict, follow, repository,
};

const PROGRAMS: Programs = Programs {
    packages: &["lab", "bowline-cli", "bowline-linux", "lab-conformance"],
    names: &["lab", "bowline", "bowline-helper", "conform"],
};
/// No case takes longer: every verb and every wait in it has a limit.
const LIMIT: Duration = Duration::from_secs(600);
/// What the cases name.
const PORTALS: u8 = 4;
const VOLUMES: u16 = 64;

/// A line of the guest's.
#[derive(Deserialize)]
struct Line {
    case: String,
    seconds: f64,
    #[serde(flatten)]
    played: Played,
}

type Tell<'a> = dyn FnMut(&str, f64, Played) -> Result<(), Failure> + 'a;

/// Plays the cases, and tells of each as it ends.
pub fn play(cases: &[Case], tell: &mut Tell<'_>) -> Result<(), Stop> {
    let brought = Brought { from: repository().join(CASES), to: "conformance".to_owned() };
    let mut steps = Steps::start();
    let ready = Ready::with(Suite::Bookworm, PROGRAMS, vec![brought], &mut steps)?;
    let mut shapes: Vec<(&str, &str)> = Vec::new();
    for case in cases {
        let shape = (case.backend.as_str(), case.family.as_str());
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    for (backend, family) in shapes {
        let of_shape = cases.iter().filter(|case| case.backend == backend && case.family == family);
        let names: Vec<String> = of_shape.map(|case| case.name.clone()).collect();
        in_one_guest(&ready, spec(backend, family, names), tell)?;
    }
    Ok(())
}

fn spec(backend: &str, family: &str, names: Vec<String>) -> Spec {
    let limit = LIMIT * u32::try_from(names.len()).unwrap_or(1);
    Spec {
        target: Target::Lio,
        family: if family == "ipv6" { Family::Ipv6 } else { Family::Ipv4 },
        portals: PORTALS,
        volumes: VOLUMES,
        backend: if backend == "iqn-per-portal" { Backend::IqnPerPortal } else { Backend::OneIqn },
        script: Script::program("conform").in_guest,
        args: names,
        collect: false,
        timeout: limit.as_secs(),
    }
}

fn in_one_guest(ready: &Ready, spec: Spec, tell: &mut Tell<'_>) -> Result<(), Failure> {
    let place = Place::make(&repository(), false)?;
    let mut steps = Steps::start();
    steps.quiet();
    let limit = Duration::from_secs(spec.timeout);
    let machine = ready.boot(&place, &Script::program("conform"), &spec, &mut steps)?;
    let mut text = Vec::new();
    let output = |stream, bytes: &[u8]| {
        if stream == Stream::Err {
            eprint!("{}", String::from_utf8_lossy(bytes));
            return Ok(());
        }
        for &byte in bytes {
            text.push(byte);
            if byte == b'\n' {
                let line = std::mem::take(&mut text);
                let Line { case, seconds, played } = serde_json::from_slice(&line).map_err(|_| {
                    Failure::new(format!("the guest said {}", String::from_utf8_lossy(&line)))
                })?;
                tell(&case, seconds, played)?;
            }
        }
        Ok(())
    };
    let verdict = follow(machine, limit, None, None, output, &mut steps)?;
    if !matches!(verdict, Verdict::Ended(0)) {
        verdict.report(&place.console());
    }
    Ok(())
}
