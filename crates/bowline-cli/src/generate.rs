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

/// One page: the command, then each subcommand as a section whose parts are subsections.
fn page() -> io::Result<String> {
    let mut command = Cli::command();
    command.build();
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();

    let mut page = Vec::new();
    let main = Man::new(command).section("8");
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    main.render_synopsis_section(&mut page)?;
    main.render_description_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    for subcommand in subcommands {
        let name = subcommand.get_name().to_uppercase();
        page += &format!(".SH \"BOWLINE {name}\"\n");
        let man = Man::new(subcommand);
        let mut part = Vec::new();
        man.render_synopsis_section(&mut part)?;
        man.render_description_section(&mut part)?;
        man.render_options_section(&mut part)?;
        man.render_extra_section(&mut part)?;
        for line in String::from_utf8_lossy(&part).lines() {
            match line.strip_prefix(".SH ") {
                Some(heading) => page += &format!(".SS {heading}\n"),
                None => page += &format!("{line}\n"),
            }
        }
    }
    let mut extra = Vec::new();
    main.render_extra_section(&mut extra)?;
    Ok(page + &String::from_utf8_lossy(&extra))
}
