//! `cargo xtask test`: every check of the project. This list of stages is the only one: `make test`, the
//! pre-commit hook and CI all run it.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::cargo;

/// Which stages
#[derive(clap::Args)]
pub struct Args {
    /// Only what is fast enough to be waited for at each commit
    #[arg(long)]
    fast: bool,
    /// Say which stages there are, and run nothing
    #[arg(long)]
    list: bool,
}

/// One check: what it is in words, and the cargo command that does it.
struct Stage {
    name: &'static str,
    arguments: &'static [&'static str],
    speed: Speed,
}

#[derive(PartialEq, Eq)]
enum Speed {
    /// Seconds, once the dependencies are built.
    Fast,
    /// Tests, and all that boots a guest.
    Slow,
}

const fn stage(name: &'static str, speed: Speed, arguments: &'static [&'static str]) -> Stage {
    Stage { name, arguments, speed }
}

/// What `cargo test` prints is kept here, for `cargo xtask proof --no-run`.
const TEST_OUTPUT: &str = "target/proof/tests.txt";

/// The stages in the order in which they run: what fails soonest comes first. The proof comes last, since it reads
/// what the tests and the laboratory have written down.
const STAGES: &[Stage] = &[
    stage("formatting", Speed::Fast, &["fmt", "--all", "--check"]),
    stage(
        "clippy, warnings denied",
        Speed::Fast,
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
    ),
    stage(
        "engine, seam and simulated host have no clock, thread or file",
        Speed::Fast,
        &["xtask", "lint-bites"],
    ),
    stage(
        "unit, property, command and documentation tests",
        Speed::Slow,
        &["test", "--workspace", "--no-fail-fast"],
    ),
    stage(
        "ten thousand histories on the simulated host, every mark met",
        Speed::Slow,
        &["xtask", "sim", "--fresh", "--runs", "10000", "--cover"],
    ),
    stage(
        "deliberate faults of the engine are found",
        Speed::Slow,
        &[
            "test",
            "--release",
            "--quiet",
            "--package",
            "bowline-sim",
            "--features",
            "sabotage",
            "--test",
            "sabotage",
        ],
    ),
    // Not of the command: there a doc comment is what `--help` says, and its brackets are no links.
    stage(
        "documentation of the libraries, warnings denied",
        Speed::Slow,
        &["doc", "--workspace", "--lib", "--no-deps", "--quiet"],
    ),
    stage(
        "the simulated host and a real kernel show the engine the same",
        Speed::Slow,
        &["xtask", "conformance"],
    ),
    stage("cases of the laboratory, on a real kernel", Speed::Slow, &["xtask", "lab", "cases"]),
    stage("which requirement is proved by which test", Speed::Slow, &["xtask", "proof", "--no-run"]),
];

/// Runs the stages until one fails. The exit code is 0, or 1 when a stage failed.
pub fn main(args: &Args) -> ExitCode {
    let stages: Vec<&Stage> =
        STAGES.iter().filter(|stage| !args.fast || stage.speed == Speed::Fast).collect();
    if args.list {
        stages.iter().for_each(|stage| println!("{:50} {}", stage.name, command_line(stage)));
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let mut table = String::new();
    for (number, stage) in (1..).zip(&stages) {
        let stage_began = Instant::now();
        println!("== {number}/{}  {}: {}", stages.len(), stage.name, command_line(stage));
        let outcome = ensure_component(stage).and_then(|()| run(stage));
        let seconds = stage_began.elapsed().as_secs_f64();
        if let Err(why) = outcome {
            println!("\ntest: FAILED after {:.0} s in stage {number}, {}: {why}", since(began), stage.name);
            println!("test: again, this stage alone:  {}", command_line(stage));
            return ExitCode::FAILURE;
        }
        println!("== {number}/{}  passed in {seconds:.1} s, {:.0} s in all\n", stages.len(), since(began));
        table += &format!("  {seconds:7.1} s  {}\n", stage.name);
    }
    println!("{table}test: ok, {} stages in {:.0} s", stages.len(), since(began));
    ExitCode::SUCCESS
}

fn since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

/// The command as a person types it.
fn command_line(stage: &Stage) -> String {
    let flags = environment(stage).iter().map(|(name, value)| format!("{name}='{value}' "));
    format!("{}cargo {}", flags.collect::<String>(), stage.arguments.join(" "))
}

/// rustdoc takes its flags from the environment only.
fn environment(stage: &Stage) -> &'static [(&'static str, &'static str)] {
    match stage.arguments[0] {
        "doc" => &[("RUSTDOCFLAGS", "-D warnings")],
        _ => &[],
    }
}

fn run(stage: &Stage) -> Result<(), String> {
    let ended = match stage.arguments[0] {
        "test" if stage.arguments.contains(&"--workspace") => run_tests(stage),
        _ => cargo::run(stage.arguments, environment(stage)),
    };
    match ended {
        Ok(0) => Ok(()),
        Ok(code) => Err(format!("exit code {code}")),
        Err(error) => Err(format!("cannot start cargo: {error}")),
    }
}

/// The tests, their output kept whole and shown without the hundreds of lines that say `ok`.
fn run_tests(stage: &Stage) -> io::Result<u8> {
    let kept = Path::new(cargo::ROOT).join(TEST_OUTPUT);
    kept.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = fs::File::create(kept)?;
    let mut child = cargo::command(stage.arguments, environment(stage)).stdout(Stdio::piped()).spawn()?;
    let mut passed = 0;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            file.write_all(&line)?;
            file.write_all(b"\n")?;
            let text = String::from_utf8_lossy(&line);
            match says_ok(&text) {
                true => passed += u32::from(text.ends_with(" ok")),
                false => println!("{text}"),
            }
        }
    }
    let code = cargo::code(child.wait()?);
    println!("{passed} tests passed; all that they printed is in {TEST_OUTPUT}");
    Ok(code)
}

/// Whether a line of libtest is of no interest: a test that passed, or what stands around it.
fn says_ok(line: &str) -> bool {
    let passed = line.starts_with("test ") && line.ends_with(" ok");
    passed || line.is_empty() || line.starts_with("running ") || line.starts_with("test result: ok.")
}

/// rustfmt and clippy are parts of Rust that a minimal installation leaves out.
fn ensure_component(stage: &Stage) -> Result<(), String> {
    let (program, component) = match stage.arguments[0] {
        "fmt" => ("rustfmt", "rustfmt"),
        "clippy" => ("cargo-clippy", "clippy"),
        _ => return Ok(()),
    };
    let present = |program: &str| {
        let probe =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    };
    if present(program) {
        return Ok(());
    }
    println!("test: installing {component}");
    let _ = Command::new("rustup").args(["component", "add", component]).status();
    match present(program) {
        true => Ok(()),
        false => Err(format!("this machine lacks {component}. Run:  rustup component add {component}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_stages_come_first_and_boot_nothing() {
        let first_slow = STAGES.iter().position(|stage| stage.speed == Speed::Slow).unwrap();
        assert!(STAGES[first_slow..].iter().all(|stage| stage.speed == Speed::Slow));
        assert!(STAGES[..first_slow].iter().all(|stage| !stage.arguments.contains(&"lab")));
    }

    #[test]
    fn what_failed_is_shown_and_what_passed_is_not() {
        assert!(says_ok("test plan::tests::c3 ... ok") && says_ok("test result: ok. 3 passed; 0 failed"));
        assert!(
            !says_ok("test plan::tests::c3 ... FAILED")
                && !says_ok("test result: FAILED. 2 passed; 1 failed")
        );
        assert!(!says_ok("thread 'c3' panicked at src/lib.rs:1:1:"));
    }

    #[test]
    fn a_stage_is_shown_as_it_is_typed() {
        let doc = STAGES.iter().find(|stage| stage.arguments[0] == "doc").unwrap();
        assert_eq!(
            command_line(doc),
            "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --lib --no-deps --quiet"
        );
    }
}
