//! `cargo xtask demo`: the story of one volume on a real kernel, for a person to watch.
//!
//! It is one run of the laboratory with the script `lab/demo/demo.sh`. What a watcher may rely upon: the last
//! line of standard output is `demo: ok`, or it is not there and the exit code says why.

use std::process::ExitCode;
use std::time::Instant;

use crate::cargo;

/// What the laboratory is asked for; the same can be typed by hand.
const RUN: &[&str] = &["xtask", "lab", "run", "--portals", "4", "--", "lab/demo/demo.sh"];

/// Runs it. The exit code is the laboratory's.
pub fn main() -> ExitCode {
    let began = Instant::now();
    eprintln!("demo: cargo {}", RUN.join(" "));
    eprintln!(
        "demo: the first time, this installs QEMU and builds the guest's image and the programs: minutes"
    );
    let code = match cargo::run(RUN, &[]) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: cannot start cargo: {error}");
            1
        }
    };
    let seconds = began.elapsed().as_secs();
    if code != 0 {
        eprintln!("demo: FAILED after {seconds} s, exit code {code}");
        return ExitCode::from(code);
    }
    eprintln!("demo: {seconds} s in all");
    println!("demo: ok");
    ExitCode::SUCCESS
}
