//! How errors reach the user: a headline, numbered causes, hints, and what is left behind, one line each on
//! standard error; or one object on standard output under `--json`.

use std::process::ExitCode;

use bowline::{Error, ErrorKind};
use serde::Serialize;

use crate::output::{complain, json_text, print, printable};

/// The error object of `--json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    error: &'a Error,
}

/// Reports a failure and gives the exit code that belongs to it.
pub fn report(error: &Error, json: bool) -> ExitCode {
    let said = json && print(&json_text(&Report { schema: bowline::report::SCHEMA, error })).is_ok();
    if !said {
        complain(&human(error));
    }
    ExitCode::from(error.kind.exit_code())
}

/// What a panic is told as.
pub fn bug() -> Error {
    Error::new(ErrorKind::Internal, "bowline ran into a bug of its own and stopped")
        .hint("`bowline inspect` shows what is there now")
        .hint("please report it, with the lines above")
}

/// The text for people.
pub fn human(error: &Error) -> String {
    let mut text = format!("error: {}\n", printable(&error.message));
    for (i, cause) in error.causes.iter().enumerate() {
        let lead = if i == 0 { "caused by:" } else { "          " };
        text += &format!("{lead} {}. {}\n", i + 1, printable(cause));
    }
    for (lead, lines) in [("left behind", &error.leftovers), ("hint", &error.hints)] {
        for line in lines {
            text += &format!("{lead}: {}\n", printable(line));
        }
    }
    text
}

/// Reports what the argument parser has to say: help and version on standard output, wrong usage as an error
/// like any other. Whether JSON was asked for must be found in the raw arguments, as they were not understood.
pub fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind as Clap;
    if matches!(error.kind(), Clap::DisplayHelp | Clap::DisplayVersion) {
        // With colours on a terminal. A reader that left (`bowline --help | head -1`) is no error.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if !json {
        let _ = error.print();
        return ExitCode::from(ErrorKind::Input.exit_code());
    }
    report(&from_usage(error), true)
}

/// Wrong usage as an error: the first paragraph is the message, each `tip:` is a hint.
fn from_usage(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or("a subcommand is missing");
    let message = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let tips = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    tips.fold(Error::new(ErrorKind::Input, message), |error, tip| error.hint(tip))
        .hint("`bowline --help` shows how it is used")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Error {
        Error::new(ErrorKind::NotAttached, "no path to the volume works")
            .cause("iqn.a:1 at 10.0.0.1:3260: login timed out")
            .cause("iqn.a:1 at 10.0.0.2:3260: \u{1b}[2Jrejected\nby the target")
            .hint("is the network up?")
            .leaving(vec!["session 3 of iqn.a:1".into()])
    }

    #[test]
    fn text_for_people() {
        assert_eq!(
            human(&example()),
            "error: no path to the volume works\n\
             caused by: 1. iqn.a:1 at 10.0.0.1:3260: login timed out\n\
             \x20          2. iqn.a:1 at 10.0.0.2:3260: \\u{1b}[2Jrejected\\nby the target\n\
             left behind: session 3 of iqn.a:1\n\
             hint: is the network up?\n"
        );
    }

    #[test]
    fn object_for_programs() {
        let value = serde_json::to_value(Report { schema: 1, error: &example() }).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["error"]["kind"], "leftovers");
        assert_eq!(value["error"]["leftovers"][0], "session 3 of iqn.a:1");
        let mut keys: Vec<_> = value["error"].as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["causes", "hints", "kind", "leftovers", "message"]);
    }
}
