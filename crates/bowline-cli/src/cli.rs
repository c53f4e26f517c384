//! The arguments. What `--help` says is written here, and nowhere else: the man page is made from it.

use std::ffi::OsString;
use std::time::Duration;

use bowline_host::{Iqn, Lun, Portal, Wwid};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::durations;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, also when nothing had to change
  1  a bug of bowline
  2  bad usage or input; nothing was touched
  3  could not attach; what it began is undone, what was attached stays
  4  something is left behind, and named
  5  refused (in use, or the flush failed); everything is intact
  6  this host cannot do it (not root, iscsid or multipathd missing)
  7  another volume, or attached by others; nothing is attached";

const EXAMPLES: &str = "\
Examples:
  bowline connect volume.json
  bowline connect --portal 10.0.1.2 --iqn iqn.2026-01.org.example:v1 --lun 1
  bowline inspect
  bowline disconnect volume.json";

const CONNECT_EXAMPLES: &str = "\
Examples:
  # The JSON of a storage controller, from a file or from standard input
  bowline connect volume.json
  get-connection | bowline connect - --json

  # One target behind two portals, and the identity it must have
  bowline connect --portal 10.0.1.2 --portal 10.0.2.2 --lun 1 \\
      --iqn iqn.2026-01.org.example:v1 --wwid 3600140512345678

  # One path only, and no longer than half a minute
  bowline connect volume.json --single-path --deadline 30s

With one --iqn, all portals lead to that target; with as many as there are
portals, each portal leads to its own. Paths that are missing when it returns
are brought in the background until the deadline. Interrupted (SIGINT, SIGTERM,
SIGHUP), it undoes what it did before it ends; a second signal ends it at once.";

const DISCONNECT_EXAMPLES: &str = "\
Examples:
  bowline disconnect volume.json
  bowline disconnect /dev/mapper/mpatha
  get-connection | bowline disconnect -

  # The data does not matter any more: give it ten seconds, then go on
  bowline disconnect volume.json --force --flush-timeout 10s

Without --force no data is lost silently: where it cannot be written, the
command stops, and everything stays as it was. To disconnect what is not
connected is a success.";

const INSPECT_EXAMPLES: &str = "\
Examples:
  bowline inspect
  bowline inspect /dev/mapper/mpatha
  bowline inspect --json";

/// Attach and detach iSCSI volumes over several paths
///
/// Attaches iSCSI volumes with dm-multipath through open-iscsi, so that it works on networks that lose
/// packets, and detaches them so that nothing stays behind.
#[derive(Debug, Parser)]
#[command(name = "bowline", bin_name = "bowline", version, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Attach a volume, and print the device to open
    ///
    /// The volume is described by a CONNECTION, or by --portal, --iqn and --lun. One that is attached already
    /// is left as it is, and shown.
    #[command(after_help = format!("{CONNECT_EXAMPLES}\n\n{EXIT_CODES}"))]
    Connect(ConnectArgs),
    /// Detach a volume, and remove all that its attachment made
    #[command(after_help = format!("{DISCONNECT_EXAMPLES}\n\n{EXIT_CODES}"))]
    Disconnect(DisconnectArgs),
    /// Show attachments and their paths, and what is left over and why; change nothing
    #[command(after_help = format!("{INSPECT_EXAMPLES}\n\n{EXIT_CODES}"))]
    Inspect(InspectArgs),
    /// Bring the paths that connect did not wait for; connect starts it by itself
    #[command(hide = true)]
    Finish(FinishArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  bowline completions bash > /etc/bash_completion.d/bowline")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    #[command(after_help = "Example:\n  bowline man | man -l -")]
    Man,
}

impl Verb {
    /// Whether the result is asked for as JSON.
    pub fn json(&self) -> bool {
        match self {
            Self::Connect(args) => args.report.json,
            Self::Disconnect(args) => args.report.json,
            Self::Inspect(args) => args.json,
            Self::Finish(_) | Self::Completions { .. } | Self::Man => false,
        }
    }
}

/// Arguments of connect.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// A file with connection properties, or - for standard input
    ///
    /// JSON as a storage controller hands it out: Cinder's `data` object, or the whole with
    /// `driver_volume_type`.
    pub connection: Option<OsString>,
    /// Where the target listens: ADDRESS[:PORT], an IPv6 address in brackets (repeatable)
    #[arg(long, value_name = "P", requires_all = ["iqn", "lun"], conflicts_with = "connection")]
    pub portal: Vec<Portal>,
    /// The target's name (repeatable)
    #[arg(long, value_name = "I", requires_all = ["portal", "lun"], conflicts_with = "connection")]
    pub iqn: Vec<Iqn>,
    /// The logical unit
    #[arg(long, value_name = "N", requires_all = ["portal", "iqn"], conflicts_with = "connection")]
    pub lun: Option<Lun>,
    /// Use one path only: portals are tried in turn until one works
    #[arg(long, conflicts_with = "allow_single_device")]
    pub single_path: bool,
    /// Return as soon as N paths are in the map; fewer are a failure, more than there are mean all [default: 1,
    /// and those that come within the grace]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "single_path")]
    pub min_paths: Option<u32>,
    /// Wait so long for further paths once enough are in the map: 2s, 500ms [default: none with --min-paths, else as
    /// long as the first took, but 1 to 5 s]
    #[arg(long, value_name = "D", value_parser = durations::parse, conflicts_with = "single_path")]
    pub grace: Option<Duration>,
    /// The identity the volume must have, as multipath prints it; else nothing is attached
    #[arg(long, value_name = "W")]
    pub wwid: Option<Wwid>,
    /// Where no multipath map can be formed, return the single device with a warning instead of failing
    #[arg(long)]
    pub allow_single_device: bool,
    /// Everything ends by then, clean-up included: 120s, 2m, 500ms
    #[arg(long, value_name = "D", default_value = "120s", value_parser = durations::parse)]
    pub deadline: Duration,
    /// How to report.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Arguments of disconnect.
#[derive(Debug, Args)]
pub struct DisconnectArgs {
    /// A file with connection properties or - for standard input, an attachment's id, or a device (/dev/…)
    #[arg(value_name = "CONNECTION|ATTACHMENT-ID|DEVICE")]
    pub which: OsString,
    /// A clean host matters more than the data: go on where data cannot be written
    #[arg(long)]
    pub force: bool,
    /// Succeed although something is left behind, and say what (outcome "leftovers")
    #[arg(long)]
    pub ignore_errors: bool,
    /// Limit of one try to write data back; there are three
    #[arg(long, value_name = "D", default_value = "120s", value_parser = durations::parse)]
    pub flush_timeout: Duration,
    /// Everything ends by then: 120s, 2m, 500ms
    #[arg(long, value_name = "D", default_value = "10m", value_parser = durations::parse)]
    pub deadline: Duration,
    /// How to report.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Arguments of finish.
#[derive(Debug, Args)]
pub struct FinishArgs {
    /// The attachment's id
    pub id: String,
    /// It ends by then
    #[arg(long, value_name = "D", value_parser = durations::parse)]
    pub deadline: Duration,
}

/// Arguments of inspect.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Only this attachment, by its id or its device (/dev/…)
    #[arg(value_name = "ATTACHMENT-ID|DEVICE")]
    pub only: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How a verb reports what it does and how it ended.
#[derive(Debug, Clone, Copy, Args)]
pub struct ReportArgs {
    /// Print one JSON object, also for an error
    #[arg(long)]
    pub json: bool,
    /// Show on standard error what happens
    #[arg(long, value_name = "HOW", default_value = "auto", value_enum)]
    pub progress: Progress,
    /// Show no progress
    #[arg(long, short, conflicts_with = "progress")]
    pub quiet: bool,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Live on a terminal, plain elsewhere
    Auto,
    /// One line for each path, kept up to date
    Live,
    /// One line for each event
    Plain,
    /// One JSON object for each event
    Json,
    /// Nothing
    None,
}
