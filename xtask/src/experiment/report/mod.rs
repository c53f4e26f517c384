//! The report: `docs/experiment.md`, its graphs, and the part of the README that shows the main table; all made from
//! the data, and from nothing else, so that anybody can make them again.

mod aims;
pub mod bench;
mod chart;
mod data;
mod goals;
mod graphs;
mod provenance;
mod readme;
pub mod summary;
pub mod table;
mod tables;
mod timeline;

use std::fs;

use lab_experiment::{Run, Work};
use lab_wire::{Context, Failure};

use self::data::Data;
use super::matrix::MAIN;
use crate::lab::repository;

/// Below the repository.
const REPORT: &str = "docs/experiment.md";
const GRAPHS: &str = "docs/experiment";
const INTRODUCTION: &str = include_str!("introduction.md");
const WAITS: &str = include_str!("waits.md");
const CANNOT_SAY: &str = include_str!("cannot_say.md");

/// Makes all of it.
pub fn write(runs: &[Run]) -> Result<(), Failure> {
    let repo = repository();
    let put = |name: &str, text: &str| {
        let file = repo.join(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&file, text).context(|| format!("cannot write {}", file.display()))
    };
    let all = Data::of(runs);
    put(&format!("{GRAPHS}/success.svg"), &graphs::success_graph(&all))?;
    put(&format!("{GRAPHS}/attach.svg"), &graphs::attach_graph(&all))?;
    put(&format!("{GRAPHS}/detach.svg"), &graphs::detach_graph(&all))?;
    put(REPORT, &document(&all))?;
    readme::write(&repo.join("README.md"), &all)?;
    println!("experiment: the report of {} runs is in {REPORT}", runs.len());
    Ok(())
}

fn document(data: &Data<'_>) -> String {
    let mut text = INTRODUCTION.replace("{contenders}", &provenance::contenders(data));
    text += &format!("\n## Loss: {}\n\n", MAIN.words());
    text += "![Success](experiment/success.svg)\n\n![Seconds of an attach](experiment/attach.svg)\n\n";
    text += "![Seconds of a detach](experiment/detach.svg)\n\n";
    text += &tables::seven_drop_cases(data);
    for work in Work::ALL {
        text += &format!("### {}\n\n", tables::heading(work));
        text += &tables::loss_table(data, MAIN, work);
        text.push('\n');
    }
    text += WAITS;
    text += &tables::costs(data);
    text += &goals::section(&aims::aims(data));
    text += &tables::others(data);
    text += &tables::beyond(data);
    text += &provenance::errors(data);
    text += &provenance::what_was_run(data);
    text + CANNOT_SAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_can_be_made_of_any_data() {
        let cells = [
            ("lio/one-iqn/multipath/attach/none", "bowline"),
            ("tgt/one-iqn/single/create/drop-100", "os-brick"),
        ];
        let runs: Vec<Run> = cells
            .iter()
            .map(|(cell, contender)| {
                let line = format!(
                    r#"{{"cell":"{cell}","contender":"{contender}","seed":7,"versions":{{"kernel":"6.1","open_iscsi":"2",
                    "multipath_tools":"0","contender":"x"}},"attach":{{"outcome":"ok","seconds":1.5}},"leftovers":{{}}}}"#
                );
                serde_json::from_str(&line).unwrap()
            })
            .collect();
        for runs in [&runs[..], &[]] {
            let data = Data::of(runs);
            let text = document(&data);
            assert!(text.contains("# The experiment") && text.contains("cannot say"));
            assert!(graphs::success_graph(&data).starts_with("<svg"));
        }
        let text = document(&Data::of(&runs));
        assert!(text.contains("| no fault | bowline | 1/1 | 0/1 |"), "{text}");
        assert!(
            text.contains("<summary>tgt, one IQN behind four portals, a single path</summary>"),
            "{text}"
        );
        assert!(text.contains("| 100 % dropped, all portals | os-brick | 1/1 |"), "{text}");
        assert!(text.contains("Not run yet: bowline (all), os-brick (all)"), "{text}");
    }
}
