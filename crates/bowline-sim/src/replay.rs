//! One scenario, told: what it is, what happens, how it ends; played twice, since the same seed must give the same trace.

use std::collections::BTreeSet;
use std::process::ExitCode;

use bowline_sim::drive::play;
use bowline_sim::scenario::Scenario;

/// 0 when nothing is wrong.
pub fn main(seed: u64, without: &BTreeSet<usize>) -> ExitCode {
    let scenario = Scenario::of(seed).without(without);
    println!("{scenario}");
    let verdict = play(&scenario, true);
    println!("{}", verdict.trace);
    println!("digest {:016x}, {:.1} s on the host", verdict.digest, verdict.lasted.as_secs_f64());
    let mut code = ExitCode::SUCCESS;
    if play(&scenario, false).digest != verdict.digest {
        println!("NOT DETERMINISTIC: played again, it is another history");
        code = ExitCode::FAILURE;
    }
    for wrong in &verdict.wrongs {
        println!("WRONG: {wrong}");
        code = ExitCode::FAILURE;
    }
    code
}
