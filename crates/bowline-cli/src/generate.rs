//! `completions` and `man`: made from the arguments' own description.

use std::io;

use bowline::{Error, ErrorKind};
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::output::deliver;

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bowline", &mut script);
    deliver(&String::from_utf8_lossy(&script))
}

/// Prints the man page.
pub fn man() -> Result<(), Error> {
    let page = page().map_err(|e| Error::new(ErrorKind::Internal, "the man page cannot be made").cause(e))?;
    deliver(&page)
}

/// One page: the command, each subcommand as a section whose parts are subsections, and the exit codes once.
fn page() -> io::Result<String> {
    let mut command = Cli::command();
    command.build();
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();

    let main = Man::new(command).section("8").manual("System administration");
    let mut roff = Vec::new();
    main.render_title(&mut roff)?;
    let mut page = String::from_utf8_lossy(&roff).into_owned();
    roff.clear();
    main.render_name_section(&mut roff)?;
    main.render_synopsis_section(&mut roff)?;
    main.render_description_section(&mut roff)?;
    page += &tidy(&roff, ".SH");

    for subcommand in subcommands {
        page += &format!(".SH \"BOWLINE {}\"\n", subcommand.get_name().to_uppercase());
        let man = Man::new(subcommand);
        roff.clear();
        man.render_synopsis_section(&mut roff)?;
        man.render_description_section(&mut roff)?;
        man.render_options_section(&mut roff)?;
        man.render_extra_section(&mut roff)?;
        page += tidy(&roff, ".SS").split(EXIT_CODES).next().unwrap_or_default();
    }
    roff.clear();
    main.render_extra_section(&mut roff)?;
    Ok(page + &tidy(&roff, ".SH").replace(EXIT_CODES, ".SH \"EXIT STATUS\"\n"))
}

/// The line that begins the exit codes in each help text.
const EXIT_CODES: &str = "Exit codes:\n";

/// Sections at the level wanted, a better name for what stands after the options, and without the preamble
/// that each section repeats.
fn tidy(roff: &[u8], level: &str) -> String {
    let text = String::from_utf8_lossy(roff);
    let lines = text.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
    lines
        .filter(|line| !["Example:", "Examples:"].contains(line))
        .map(|line| match line.strip_prefix(".SH ") {
            Some("EXTRA") => format!("{level} EXAMPLES\n"),
            Some(heading) => format!("{level} {heading}\n"),
            None => format!("{line}\n"),
        })
        .collect()
}
