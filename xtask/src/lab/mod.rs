//! `cargo xtask lab`: a whole host with real iSCSI, on a machine that has none.
//!
//! The order of a run is the order of the files: [`tools`] it needs, the [`recipe`] and the [`image`]
//! made from it (cached), the static [`binaries`] under test, the [`payload`] disk that carries them,
//! the [`machine`] that boots, and the [`follow`] that stays with it to its verdict.

mod binaries;
mod cases;
pub mod command;
mod follow;
mod image;
mod initrd;
mod machine;
mod payload;
mod recipe;
mod steps;
pub mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use lab_wire::{Backend, Failure, Family, Spec, Target};

pub use self::binaries::Programs;
pub use self::cases::{CAMPAIGNS, Case, Line, Sources, all as all_cases, read as results_of, side_by_side};
pub use self::follow::{Stream, Verdict, follow};
pub use self::machine::Place;
pub use self::payload::{Brought, Script};
use self::recipe::Recipe;
pub use self::steps::Steps;

/// What `cargo xtask lab` can do
#[derive(Subcommand)]
pub enum Command {
    /// Boot the guest, run a script in it as root, exit with its exit code
    ///
    /// 124: the script or the guest hung. 125: the guest died. 6: this machine lacks a tool. 1: the
    /// laboratory itself failed.
    Run(RunArgs),
    /// Run the cases of lab/cases, several in one guest; results go to target/proof/lab.json
    Cases(cases::CasesArgs),
    /// Run what takes too long for every test run: the long cases, all on Debian 13, the basic ones with tgt
    Soak(cases::SoakArgs),
    /// Build the guest's image, if its recipe changed since the last time
    Image {
        /// The Debian release in the guest
        #[arg(long, value_enum, default_value_t = Suite::Bookworm)]
        suite: Suite,
    },
}

/// A run's options
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    shape: Shape,
    /// Keep the guest's disk and its console's log, and say where
    #[arg(long)]
    keep: bool,
    /// Bring what the script leaves in /out to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How long the script may run
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
    /// The script (any executable), and its arguments
    #[arg(last = true, required = true, value_name = "SCRIPT")]
    script: Vec<String>,
}

/// What the guest and its target look like
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Shape {
    /// The Debian release in the guest
    #[arg(long, value_enum, default_value_t = Suite::Bookworm)]
    suite: Suite,
    /// The iSCSI target's implementation
    #[arg(long, value_enum, default_value_t = Target::Lio)]
    target: Target,
    /// How the target offers its volumes
    #[arg(long, value_enum, default_value_t = Backend::OneIqn)]
    backend: Backend,
    /// The addresses that the portals listen on
    #[arg(long, value_enum, default_value_t = Family::Ipv4)]
    family: Family,
    /// How many portals, each on a network of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    portals: u8,
    /// How many volumes; volume n is LUN n
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=200))]
    volumes: u16,
}

/// The Debian releases that the guest can be
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Debian 12: open-iscsi 2.1.8, multipath-tools 0.9.4, Linux 6.1
    Bookworm,
    /// Debian 13: open-iscsi 2.1.11, multipath-tools 0.11.1, Linux 6.12
    Trixie,
}

/// Why a command of the laboratory ends without a verdict of the script.
pub enum Stop {
    /// This machine lacks something; the sentence says how to get it.
    Lacking(String),
    /// The laboratory failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Runs the command; the exit code is the script's, or one of those that [`Command::Run`] lists.
pub fn main(command: Command) -> ExitCode {
    let result = match command {
        Command::Run(args) => run(&args),
        Command::Cases(args) => cases::main(&args),
        Command::Soak(args) => cases::soak(&args),
        Command::Image { suite } => build_image(suite),
    };
    told(result)
}

/// The exit code of a command, which has said why where it is not the script's.
pub fn told(result: Result<u8, Stop>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Stop::Lacking(what)) => {
            eprintln!("lab: {what}");
            ExitCode::from(6)
        }
        Err(Stop::Failed(failure)) => {
            eprintln!("lab: {failure}");
            ExitCode::from(1)
        }
    }
}

fn build_image(suite: Suite) -> Result<u8, Stop> {
    let mut steps = Steps::start();
    let repo = repository();
    image::ready(&repo, &Recipe::read(&repo, suite)?, &mut steps)?;
    Ok(0)
}

fn run(args: &RunArgs) -> Result<u8, Stop> {
    let mut steps = Steps::start();
    let shape = &args.shape;
    let ready = Ready::make(shape, &mut steps)?;
    let place = machine::Place::make(&ready.repo, args.keep)?;
    let script = payload::Script::locate(&ready.repo, &args.script[0])?;
    let spec = Spec {
        script: script.in_guest.clone(),
        args: args.script[1..].to_vec(),
        collect: args.out.is_some(),
        ..shape.spec(args.timeout)
    };
    let machine = ready.boot(&place, &script, &spec, &mut steps)?;
    let verdict = follow::follow(machine, args.timeout, None, args.out.as_deref(), follow::pass, &mut steps)?;
    verdict.report(&place.console());
    Ok(verdict.exit_code())
}

/// Everything that a guest is booted from.
pub struct Ready {
    repo: PathBuf,
    image: image::Image,
    binaries: Vec<PathBuf>,
    brought: Vec<Brought>,
}

impl Ready {
    /// Sees to it that the image and the programs are there.
    fn make(shape: &Shape, steps: &mut Steps) -> Result<Self, Stop> {
        Self::with(shape.suite, binaries::PROGRAMS, Vec::new(), steps)
    }

    /// The same with other programs, and with more on the second disk.
    pub fn with(
        suite: Suite,
        programs: Programs,
        brought: Vec<Brought>,
        steps: &mut Steps,
    ) -> Result<Self, Stop> {
        let repo = repository();
        tools::ensure(tools::RUN)?;
        let image = image::ready(&repo, &Recipe::read(&repo, suite)?, steps)?;
        let binaries = binaries::build(&repo, programs)?;
        steps.done("programs built");
        Ok(Self { repo, image, binaries, brought })
    }

    /// Boots a guest in that place.
    pub fn boot(
        &self,
        place: &machine::Place,
        script: &payload::Script,
        spec: &Spec,
        steps: &mut Steps,
    ) -> Result<machine::Machine, Failure> {
        let payload = payload::make(&self.repo, place.folder(), &self.binaries, script, &self.brought, spec)?;
        steps.done("second disk made");
        let machine = machine::Machine::boot(&self.image, &payload, place)?;
        steps.say(&format!("booting with {}", machine.accelerator()));
        Ok(machine)
    }
}

impl Suite {
    /// Debian's name for it.
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

impl Shape {
    /// A run of this shape, of no script yet.
    fn spec(&self, timeout: Duration) -> Spec {
        Spec {
            target: self.target,
            family: self.family,
            portals: self.portals,
            volumes: self.volumes,
            backend: self.backend,
            script: String::new(),
            args: Vec::new(),
            collect: false,
            timeout: timeout.as_secs().max(1),
        }
    }
}

/// The repository's root: where this package's folder lies in.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A duration as the project writes it: `500ms`, `120s`, `10m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        unit => Err(format!("`{unit}` is not a unit: write 500ms, 120s or 10m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_duration("10").is_err());
        assert!(parse_duration("m").is_err());
    }
}
