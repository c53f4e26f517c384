//! `bowline disconnect`.

use std::ffi::OsStr;
use std::path::Path;

use bowline::policy::DisconnectOptions;
use bowline::report::SCHEMA;
use bowline::{Disconnected, Error, ErrorKind, OnDirty, Outcome, Which};

use crate::cli::DisconnectArgs;
use crate::{host, input, output, run};

/// Detaches a volume and tells how that ended.
pub fn main(args: &DisconnectArgs) -> Result<(), Error> {
    let which = which(&args.which)?;
    let options = options(args);
    host::require_root("disconnect")?;
    let result = run::verb(args.report, async |host, observer, cancel| {
        bowline::disconnect(host, &which, &options, observer, cancel).await
    });
    let disconnected = settle(result, args.ignore_errors)?;
    output::warn(&disconnected.warnings, args.report.json);
    output::result(&disconnected, output::disconnected, args.report.json)
}

/// Which volume an argument means: a device by its name, a connection by being a file, else an attachment.
fn which(argument: &OsStr) -> Result<Which, Error> {
    let text = argument.to_string_lossy();
    // What a shell hands over as a file (`<(…)`, /dev/stdin) stands below /dev, but is no device.
    let is_stream = text == "/dev/stdin" || text.starts_with("/dev/fd/");
    if text.starts_with("/dev/") && !is_stream {
        let climbs = text.split('/').any(|part| part == "..");
        return match argument.to_str() {
            Some(device) if !climbs && !device.contains(char::is_control) => Ok(Which::Device(device.into())),
            _ => Err(Error::new(
                ErrorKind::Input,
                format!("{text:?} is no device; expected a path below /dev"),
            )),
        };
    }
    let path = Path::new(argument);
    let is_file = argument == "-" || is_stream || (path.exists() && !path.is_dir());
    // A mistyped file must not pass for the id of something that is not attached, which would be a success.
    if is_file || text.contains(['/', '{']) || text.ends_with(".json") {
        return input::connection(argument).map(|connection| Which::Connection(Box::new(connection)));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if text.is_empty() || text.len() > 128 || text.starts_with(['-', '.']) || !text.chars().all(plain) {
        let message = format!("{text:?} is neither a file, nor a device below /dev, nor an attachment's id");
        return Err(Error::new(ErrorKind::Input, message).hint("`bowline inspect` shows the attachments"));
    }
    Ok(Which::Attachment(text.into_owned()))
}

fn options(args: &DisconnectArgs) -> DisconnectOptions {
    DisconnectOptions {
        on_dirty: if args.force { OnDirty::Discard } else { OnDirty::Refuse },
        flush_timeout: args.flush_timeout,
        deadline: args.deadline,
        ..DisconnectOptions::default()
    }
}

/// Leftovers are a failure, or with `--ignore-errors` a success that names them (D8). Either way of telling
/// them is taken: what counts is that something is left.
fn settle(result: Result<Disconnected, Error>, ignore_errors: bool) -> Result<Disconnected, Error> {
    match result {
        Ok(report) if report.outcome == Outcome::Leftovers && !ignore_errors => {
            let error =
                Error::new(ErrorKind::Leftovers, "the volume is detached in part, something is left behind");
            Err(report.warnings.iter().fold(error, Error::cause).leaving(report.leftovers))
        }
        Err(error) if error.kind == ErrorKind::Leftovers && ignore_errors => Ok(Disconnected {
            schema: SCHEMA,
            outcome: Outcome::Leftovers,
            leftovers: error.leftovers,
            warnings: [error.message].into_iter().chain(error.causes).collect(),
        }),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(argument: &str) -> Result<String, ErrorKind> {
        match which(OsStr::new(argument)) {
            Ok(Which::Device(device)) => Ok(format!("device {device}")),
            Ok(Which::Attachment(id)) => Ok(format!("attachment {id}")),
            Ok(Which::Connection(_)) => Ok("connection".into()),
            Err(error) => Err(error.kind),
        }
    }

    #[test]
    fn what_an_argument_means() {
        assert_eq!(meant("/dev/mapper/mpatha"), Ok("device /dev/mapper/mpatha".into()));
        assert_eq!(meant("/dev/null"), Ok("device /dev/null".into()));
        assert_eq!(meant("a1b2-c3"), Ok("attachment a1b2-c3".into()));
        for wrong in [
            "",
            ".",
            "..",
            "a b",
            "x\n",
            "/dev/../etc/passwd",
            "no/such/file",
            "absent.json",
            "{\"a\":1}",
            "/tmp",
        ] {
            assert_eq!(meant(wrong), Err(ErrorKind::Input), "{wrong:?}");
        }
    }

    #[test]
    fn defaults_are_the_engines() {
        use clap::Parser;
        let options = |arguments: &[&str]| match crate::cli::Cli::try_parse_from(arguments).unwrap().verb {
            crate::cli::Verb::Disconnect(args) => super::options(&args),
            verb => panic!("{verb:?}"),
        };
        assert_eq!(options(&["bowline", "disconnect", "x"]), DisconnectOptions::default());
        assert_eq!(options(&["bowline", "disconnect", "x", "--force"]).on_dirty, OnDirty::Discard);
    }

    fn report(outcome: Outcome) -> Disconnected {
        let leftovers = match outcome {
            Outcome::Leftovers => vec!["session 3".into()],
            _ => vec![],
        };
        Disconnected { schema: SCHEMA, outcome, leftovers, warnings: vec!["no answer".into()] }
    }

    /// D8: the failures are reported at the end; `ignore_errors` turns that into a warning and success.
    #[test]
    fn d8_leftovers_and_ignore_errors() {
        let error = settle(Ok(report(Outcome::Leftovers)), false).unwrap_err();
        assert_eq!((error.kind, &*error.leftovers), (ErrorKind::Leftovers, &["session 3".to_string()][..]));
        assert_eq!(error.causes, ["no answer"]);
        for result in [Ok(report(Outcome::Leftovers)), Err(error)] {
            let settled = settle(result, true).unwrap();
            assert_eq!(settled.outcome, Outcome::Leftovers);
            assert_eq!(settled.leftovers, ["session 3"]);
            assert!(settled.warnings.contains(&"no answer".to_string()));
        }
    }

    /// D7: a refusal stays one, whatever is to be ignored.
    #[test]
    fn d7_a_refusal_is_not_ignored() {
        let refused = Err(Error::new(ErrorKind::Refused, "in use"));
        assert_eq!(settle(refused, true).unwrap_err().kind, ErrorKind::Refused);
        assert!(settle(Ok(report(Outcome::DataMayBeLost)), false).is_ok());
    }
}
