//! The graphs of the main setting: what goes in which, and what is beside it.

use lab_experiment::{Cell, Fault, Work};

use super::chart::{self, Series, Share};
use super::data::{Data, is_main};
use super::summary::Summary;
use crate::experiment::matrix::{MAIN, losses};

pub fn success_graph(data: &Data<'_>) -> String {
    let rows: Vec<Fault> = losses().collect();
    let series: Vec<Series<Share>> = data
        .contenders(is_main)
        .into_iter()
        .map(|contender| Series {
            name: contender.name(),
            values: rows
                .iter()
                .map(|fault| {
                    let (mut share, mut any) = (Share { count: 0, of: 0 }, false);
                    for work in Work::ALL {
                        if let Some(summary) = data.get(MAIN.cell(work, *fault), contender) {
                            share.count += summary.whole;
                            share.of += summary.runs;
                            any = true;
                        }
                    }
                    any.then_some(share)
                })
                .collect(),
        })
        .collect();
    let names: Vec<String> = rows.iter().map(|fault| fault.words().to_owned()).collect();
    chart::shares(
        "Runs in which attach, data and detach all succeeded and nothing was left, of both uses",
        &names,
        &series,
    )
}

/// The attach is the same call in both uses.
pub fn attach_graph(data: &Data<'_>) -> String {
    let rows = timed()
        .map(|fault| (fault.words().to_owned(), Work::ALL.map(|work| MAIN.cell(work, fault)).to_vec()));
    time_graph(data, "Seconds of an attach that succeeded, each a point", rows.collect(), |one| {
        &one.attach_seconds
    })
}

/// The detach is not: it is with force after an image was written.
pub fn detach_graph(data: &Data<'_>) -> String {
    let rows = timed().flat_map(|fault| {
        Work::ALL.map(|work| (format!("{}: {}", fault.words(), work.words()), vec![MAIN.cell(work, fault)]))
    });
    time_graph(data, "Seconds of a detach that succeeded, each a point", rows.collect(), |one| {
        &one.detach_seconds
    })
}

/// Where every packet is dropped nothing succeeds.
fn timed() -> impl Iterator<Item = Fault> {
    losses().filter(|fault| *fault != Fault::Drop100)
}

fn time_graph(
    data: &Data<'_>,
    title: &str,
    rows: Vec<(String, Vec<Cell>)>,
    values: fn(&Summary) -> &Vec<f64>,
) -> String {
    let (names, cells): (Vec<String>, Vec<Vec<Cell>>) = rows.into_iter().unzip();
    let seen = |cells: &Vec<Cell>, contender| -> Vec<f64> {
        let summaries = cells.iter().filter_map(|cell| data.get(*cell, contender));
        summaries.flat_map(values).copied().collect()
    };
    let series: Vec<Series<Vec<f64>>> = data
        .contenders(is_main)
        .into_iter()
        .map(|contender| Series {
            name: contender.name(),
            values: cells.iter().map(|cells| Some(seen(cells, contender))).collect(),
        })
        .collect();
    chart::seconds(title, &names, &series)
}
