//! The laboratory's program inside the guest.
//!
//! As `lab init` it is the guest's first process, brings up the target, the networks and the daemons, and
//! runs the script. To the script it is the command that plays the world around the initiator: the
//! controller's answer, the faults of the network, the target's administrator, and the inspector who
//! says what was left behind.

mod boot;
mod daemons;
mod faults;
mod initiator;
mod layout;
mod program;
mod target;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use lab_wire::Failure;

use self::daemons::Daemon;
use self::faults::Rate;
use self::initiator::Setting;
use self::target::Chap;

/// The world around the initiator, for the scripts of the laboratory
///
/// Portals and volumes are counted from 1. A command that names no portal means all of them.
#[derive(Parser)]
#[command(name = "lab")]
enum Command {
    /// Print the connection JSON of a volume, as a controller would hand it out
    Connection {
        /// The volume
        volume: u16,
        /// Leave out the lists of all portals, as a controller does without multipath
        #[arg(long, conflicts_with = "multipath")]
        single: bool,
        /// Include the lists of all portals; the default
        #[arg(long)]
        multipath: bool,
        /// Only these portals, the first of them as the main one
        #[arg(long, value_delimiter = ',', value_name = "PORTAL,…")]
        portals: Vec<u8>,
    },
    /// Drop a share of the packets that arrive at the initiator: 20% or 0.2
    Drop {
        /// The share
        rate: Rate,
        /// From these portals
        portals: Vec<u8>,
    },
    /// Answer every packet to these portals with a TCP reset
    Reject {
        /// At these portals
        portals: Vec<u8>,
    },
    /// Delay what these portals send, in milliseconds
    Delay {
        /// How long
        milliseconds: u32,
        /// At these portals
        portals: Vec<u8>,
    },
    /// Remove every fault of the network
    Heal,
    /// Take a volume away from the initiator, on the target's side
    Unmap {
        /// The volume
        volume: u16,
    },
    /// Give a volume to the initiator, on the target's side
    Map {
        /// The volume
        volume: u16,
        /// At this LUN rather than the volume's number
        #[arg(long)]
        lun: Option<u16>,
    },
    /// Change a volume's size, on the target's side: 128M, 1G or bytes
    Resize {
        /// The volume
        volume: u16,
        /// The new size
        #[arg(value_parser = target::parse_size)]
        size: u64,
    },
    /// Ask for CHAP from the next login on; `lab connection` then hands out names and secrets
    Chap {
        /// Who proves himself to whom
        chap: Chap,
    },
    /// Give a volume a write-back cache, on the target's side
    Cache {
        /// Whether it has one
        switch: Switch,
        /// The volume
        volume: u16,
    },
    /// Let nobody write to any volume, on the target's side; from the next login on
    WriteProtect {
        /// Whether they are protected
        switch: Switch,
    },
    /// Print as JSON what is on the initiator; exit code 1 unless there is nothing
    Leftovers,
    /// Make the initiator as new, by force
    Clean,
    /// Start a daemon, and wait until it answers
    Start {
        /// Which
        daemon: Daemon,
    },
    /// Stop a daemon
    Stop {
        /// Which
        daemon: Daemon,
    },
    /// Stop a daemon and start it anew
    Restart {
        /// Which
        daemon: Daemon,
    },
    /// Stop a daemon in its tracks (SIGSTOP)
    Freeze {
        /// Which
        daemon: Daemon,
    },
    /// Let a frozen daemon go on
    Thaw {
        /// Which
        daemon: Daemon,
    },
    /// Write /etc/multipath.conf with these defaults, and start multipathd anew
    Multipath {
        /// As in find_multipaths=yes
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<Setting>,
    },
    /// Make the folder of the node records read-only
    Readonly {
        /// Whether it is; off takes back `lab full` as well
        switch: Switch,
    },
    /// Put the node records, of which there are none then, on a file system that is full
    Full {
        /// Whether they are; off takes back `lab readonly` as well
        switch: Switch,
    },
    /// The guest's first process
    #[command(hide = true)]
    Init,
    /// Bring everything up and run the script; started by init
    #[command(hide = true)]
    Boot,
}

/// On or off
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// From now on
    On,
    /// No more
    Off,
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("lab: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Init => boot::init()?,
        Command::Boot => boot::boot()?,
        Command::Connection { volume, single, multipath: _, portals } => {
            println!("{}", target::connection(&layout::spec()?, volume, !single, &portals)?);
        }
        Command::Drop { rate, portals } => faults::drop_packets(rate, &layout::portals(&portals)?)?,
        Command::Reject { portals } => faults::reject(&layout::portals(&portals)?)?,
        Command::Delay { milliseconds, portals } => faults::delay(milliseconds, &layout::portals(&portals)?)?,
        Command::Heal => faults::heal()?,
        Command::Unmap { volume } => target::unmap(&layout::spec()?, volume)?,
        Command::Map { volume, lun } => target::map(&layout::spec()?, volume, lun.unwrap_or(volume))?,
        Command::Resize { volume, size } => target::resize(&layout::spec()?, volume, size)?,
        Command::Chap { chap } => target::set_chap(&layout::spec()?, chap)?,
        Command::Cache { switch, volume } => {
            target::set_cache(&layout::spec()?, volume, switch == Switch::On)?
        }
        Command::WriteProtect { switch } => target::write_protect(&layout::spec()?, switch == Switch::On)?,
        Command::Leftovers => {
            let leftovers = initiator::leftovers();
            println!("{:#}", leftovers.to_json());
            return Ok(ExitCode::from(u8::from(!leftovers.is_nothing())));
        }
        Command::Clean => initiator::clean()?,
        Command::Start { daemon } => daemon.start()?,
        Command::Stop { daemon } => daemon.stop()?,
        Command::Restart { daemon } => daemon.restart()?,
        Command::Freeze { daemon } => daemon.freeze()?,
        Command::Thaw { daemon } => daemon.thaw(),
        Command::Multipath { settings } => {
            initiator::configure_multipath(&settings)?;
            Daemon::Multipathd.restart()?;
        }
        Command::Readonly { switch: Switch::On } => initiator::records_read_only()?,
        Command::Full { switch: Switch::On } => initiator::records_full()?,
        Command::Readonly { switch: Switch::Off } | Command::Full { switch: Switch::Off } => {
            initiator::records_as_they_were()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
