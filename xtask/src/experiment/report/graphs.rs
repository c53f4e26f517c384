//! The graphs of the main setting: what goes in which, and what is beside it.

use lab_experiment::{Fault, Work};

use super::chart::{self, Series, Share};
use super::data::{Data, MAIN, faults, in_setting, is_main};
use super::summary::{Spread, Summary};

pub fn success_graph(data: &Data<'_>) -> String {
    let rows: Vec<Fault> = faults().collect();
    let series: Vec<Series<Share>> = data
        .contenders(is_main)
        .into_iter()
        .map(|contender| Series {
            name: contender.name(),
            values: rows
                .iter()
                .map(|fault| {
                    let (mut share, mut any) = (Share { count: 0, of: 0 }, false);
                    for work in [Work::Create, Work::Attach] {
                        if let Some(summary) = data.get(in_setting(MAIN, work, *fault), contender) {
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
    chart::shares("Runs in which attach, data and detach all succeeded", &names, &series)
}

pub fn time_graph(data: &Data<'_>, title: &str, values: fn(&Summary) -> &Vec<f64>) -> String {
    let rows: Vec<Fault> = faults().filter(|fault| *fault != Fault::Drop100).collect();
    let series: Vec<Series<Spread>> = data
        .contenders(is_main)
        .into_iter()
        .map(|contender| Series {
            name: contender.name(),
            values: rows.iter().map(|fault| data.in_both_uses(*fault, contender, values)).collect(),
        })
        .collect();
    let names: Vec<String> = rows.iter().map(|fault| fault.words().to_owned()).collect();
    chart::seconds(title, &names, &series)
}
