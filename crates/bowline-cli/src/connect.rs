//! `bowline connect`.

use std::time::{Duration, Instant};

use bowline::policy::ConnectOptions;
use bowline::{Connection, ConnectionError, Error, ErrorKind, Observer};
use bowline_host::Host;

use crate::cli::ConnectArgs;
use crate::{finish, host, input, output, run};

/// What a connect has made that ran into a bug of ours is removed within this.
const UNDO_LIMIT: Duration = Duration::from_secs(60);

/// Attaches a volume and prints the device to open.
pub fn main(args: &ConnectArgs) -> Result<(), Error> {
    let connection = connection(args)?;
    let options = options(args, &connection)?;
    host::require_root("connect")?;
    let began = Instant::now();
    let connect = async |host: &dyn Host, observer: &dyn Observer, cancel| {
        bowline::connect(host, &connection, &options, observer, cancel).await
    };
    // On a host of its own: nobody knows what the bug has made of the other.
    let undo = async |observer: &dyn Observer, bug| {
        let (host, lasted) = (host::open().ok()?, began.elapsed());
        Some(bowline::undo_connect(&*host, &connection, bug, lasted, UNDO_LIMIT, observer).await)
    };
    let mut connected = run::verb_or_undo(args.report, connect, undo)?;
    if connected.unfinished {
        let left = args.deadline.saturating_sub(began.elapsed());
        connected.warnings.extend(finish::start(&connected.id, left));
    }
    output::warn(&connected.warnings, args.report.json);
    output::result(&connected, output::connected, args.report.json)
        .map_err(|error| error.hint(format!("the volume is attached as {}", connected.device_node)))
}

/// The connection of a file or standard input, or the one that the arguments describe.
fn connection(args: &ConnectArgs) -> Result<Connection, Error> {
    match (&args.connection, args.lun) {
        (Some(source), _) => input::connection(source),
        (None, Some(lun)) => Connection::from_parts(&args.portal, &args.iqn, lun).map_err(wrong_argument),
        (None, None) => Err(Error::new(
            ErrorKind::Input,
            "no volume is named; expected a CONNECTION, or --portal, --iqn and --lun",
        )
        .hint("`bowline connect --help` shows examples")),
    }
}

fn wrong_argument(ConnectionError { key, problem }: ConnectionError) -> Error {
    Error::new(ErrorKind::Input, format!("--{key}: {problem}"))
}

/// B3: an identity may come from the controller and from the command line, but not two of them.
fn options(args: &ConnectArgs, connection: &Connection) -> Result<ConnectOptions, Error> {
    if let (Some(given), Some(told)) = (&args.wwid, &connection.wwid)
        && given != told
    {
        return Err(Error::new(
            ErrorKind::Input,
            format!("--wwid {given} contradicts the connection, whose wwid is {told}"),
        ));
    }
    Ok(ConnectOptions {
        multipath: !args.single_path,
        allow_single_device: args.allow_single_device,
        min_paths: args.min_paths,
        grace: args.grace,
        expected: args.wwid.clone().or_else(|| connection.wwid.clone()),
        ..ConnectOptions::default().by(args.deadline)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Verb};
    use clap::Parser;

    fn args(extra: &[&str]) -> ConnectArgs {
        let base = ["bowline", "connect", "--portal", "10.0.0.1", "--iqn", "iqn.a:1", "--lun", "1"];
        match Cli::try_parse_from(base.iter().chain(extra)).unwrap().verb {
            Verb::Connect(args) => args,
            verb => panic!("{verb:?}"),
        }
    }

    #[test]
    fn arguments_become_options() {
        let args = args(&["--single-path", "--deadline", "20s", "--wwid", "3600A"]);
        let mut connection = connection(&args).unwrap();
        let options = super::options(&args, &connection).unwrap();
        assert!(!options.multipath && !options.allow_single_device);
        assert_eq!((options.deadline.as_secs(), options.reserve.as_secs()), (20, 5));
        assert_eq!(options.expected, args.wwid);
        connection.wwid = Some("3700".parse().unwrap());
        let error = super::options(&args, &connection).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
    }

    #[test]
    fn defaults_are_the_engines() {
        let args = args(&[]);
        let options = super::options(&args, &connection(&args).unwrap()).unwrap();
        assert_eq!(options, ConnectOptions::default());
    }

    #[test]
    fn a_long_deadline_keeps_the_usual_reserve() {
        let defaults = ConnectOptions::default();
        let long = ConnectOptions::default().by(Duration::from_secs(600));
        assert_eq!(long.reserve, defaults.reserve);
    }
}
