//! Plays cases of conformance in the guest, one after another: `conform NAME…`. Each begins on an initiator that is proved to
//! be clean, and prints a line of JSON: `{"case", "seconds", "record"}`, or `failure` instead of the record.
#![forbid(unsafe_code)]

mod program;
mod stage;
mod users;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use bowline_conformance::{Case, play};
use lab_wire::paths;
use serde_json::{Value, json};

use self::program::lab;
use self::stage::LabStage;

/// Where the cases are, below the second disk's root.
const CASES: &str = "conformance";

fn main() -> ExitCode {
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conform: {error}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for name in std::env::args().skip(1) {
        let path = Path::new(paths::PAYLOAD).join(CASES).join(format!("{name}.case"));
        let case = Case::parse(&name, &fs::read_to_string(path)?)?;
        lab(&["clean"])?;
        let began = Instant::now();
        let mut stage = LabStage::new(runtime.handle())?;
        let record = runtime.block_on(play(&case, &mut stage));
        println!("{}", line(&name, began.elapsed().as_secs_f64(), record));
        // Whatever a case has left: those who use a device first, or nothing could be taken away.
        stage.end();
        lab(&["clean"])?;
        stage.put_back()?;
    }
    Ok(())
}

fn line(name: &str, seconds: f64, record: Result<Vec<Value>, String>) -> Value {
    let mut line = json!({ "case": name, "seconds": (seconds * 10.0).round() / 10.0 });
    match record {
        Ok(record) => line["record"] = Value::Array(record),
        Err(why) => line["failure"] = json!(why),
    }
    line
}
