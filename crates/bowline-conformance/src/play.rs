//! Plays a case on a stage, and makes the record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline::Connection;
use serde_json::{Value, json};

use crate::action::{Action, Others, Wait};
use crate::case::Case;
use crate::events::{self, Devices, Ended};
use crate::look::{self, Known};
use crate::stage::{Answer, Stage};
use crate::{answer, connection, others};

/// No step waits longer for something to be so.
const PATIENCE: Duration = Duration::from_secs(60);
/// A map that is not ready for so long is not on its way.
const UNREADY: Duration = Duration::from_secs(5);
/// How often it is looked.
const BETWEEN: Duration = Duration::from_millis(100);

/// Plays a case. The record has an entry for each step that has something to tell: `{"step": …, "seen": …}`; the last is what
/// is left in the end.
///
/// # Errors
/// The stage cannot do what a step says, or what was waited for did not come; with the step. The record up to there is lost.
pub async fn play(case: &Case, stage: &mut impl Stage) -> Result<Vec<Value>, String> {
    let mut player = Player {
        stage,
        volumes: BTreeMap::new(),
        nodes: BTreeMap::new(),
        written: BTreeSet::new(),
        devices: Devices::new(),
    };
    let mut record = Vec::new();
    for step in &case.steps {
        let seen = player.step(&step.action).await.map_err(|why| format!("{}: {why}", step.text))?;
        record.extend(seen.map(|seen| json!({ "step": step.text, "seen": seen })));
    }
    record.push(json!({ "step": "in the end", "seen": player.stage.left()? }));
    Ok(record)
}

fn ended(answer: &Answer) -> Ended {
    if answer.code == 0 { Ended::Well } else { Ended::Failed }
}

struct Player<'a, S> {
    stage: &'a mut S,
    /// What the case has named so far, each as `volume 1` or `volume 2 at LUN 1`.
    volumes: BTreeMap<String, Known>,
    /// The device nodes that were handed out last, by volume.
    nodes: BTreeMap<u64, String>,
    /// The volumes that were written to.
    written: BTreeSet<u64>,
    devices: Devices,
}

impl<S: Stage> Player<'_, S> {
    async fn step(&mut self, action: &Action) -> Result<Option<Value>, String> {
        let seen = match action {
            Action::Connect(how) => {
                let data = connection::to_attach(self.stage.connection(how.volume)?, how);
                let known = self.known(how.volume, how.lun, &data)?;
                let portals: Vec<_> = known.paths.iter().map(|path| path.endpoint.portal).collect();
                // A disk of an earlier step may have left its name to another.
                self.devices.clear();
                self.learn(&known)?;
                let answer = self.stage.connect(&data, how).await?;
                if let Some(node) = answer.said["device_node"].as_str() {
                    self.nodes.insert(how.volume, node.to_owned());
                }
                let told = events::of(&answer.events, ended(&answer), &portals, &mut self.devices);
                json!({
                    "answer": answer::of_connect(&answer, &portals, &known.wwid),
                    "told": told,
                    "host": self.look().await?,
                })
            }
            Action::Disconnect(how) => {
                let data = connection::to_detach(self.stage.connection(how.volume)?, how);
                let known = self.known(how.volume, how.lun, &data)?;
                let portals: Vec<_> = known.paths.iter().map(|path| path.endpoint.portal).collect();
                self.learn(&known)?;
                let answer = self.stage.disconnect(&data, how).await?;
                let told = events::of(&answer.events, ended(&answer), &portals, &mut self.devices);
                json!({
                    "answer": answer::of_disconnect(&answer, &portals),
                    "told": told,
                    "host": self.look().await?,
                })
            }
            Action::Write(volume) => {
                let node = self.node(*volume)?;
                self.written.insert(*volume);
                json!({ "written": self.stage.write(&node, *volume).await? })
            }
            Action::Verify(volume) => {
                let node = self.node(*volume)?;
                if !self.written.contains(volume) {
                    return Err("nothing was written to it".to_owned());
                }
                json!({ "as written": self.stage.verify(&node, *volume).await? })
            }
            Action::Look => json!({ "host": self.look().await? }),
            Action::Wait(wait) => {
                self.wait(*wait).await?;
                // Of what else goes on meanwhile, time tells nothing that could be compared.
                match wait {
                    Wait::CloserHangs | Wait::Udev | Wait::Devices { .. } => return Ok(None),
                    _ => json!({ "host": self.look().await? }),
                }
            }
            Action::Others(others) => {
                self.others(*others).await?;
                return Ok(None);
            }
            other => {
                self.stage.act(other).await?;
                return Ok(None);
            }
        };
        Ok(Some(seen))
    }

    async fn others(&mut self, others: Others) -> Result<(), String> {
        match others {
            Others::Open(volume) => self.stage.open(&self.node(volume)?).await,
            Others::WriteCached(volume) => self.stage.write_cached(&self.node(volume)?).await,
            Others::OpenDisk(portal, lun) => {
                let node = others::disk(self.stage, portal, lun)?;
                self.stage.open(&node).await
            }
            Others::Close => self.stage.close().await,
            by_hand => others::work(self.stage, by_hand).await,
        }
    }

    fn node(&self, volume: u64) -> Result<String, String> {
        self.nodes.get(&volume).cloned().ok_or_else(|| format!("volume {volume} was never handed out"))
    }

    /// A volume as the engine knows it; from here on it is looked at.
    fn known(&mut self, volume: u64, lun: Option<u64>, data: &Value) -> Result<Known, String> {
        let connection = Connection::from_json(data.to_string().as_bytes()).map_err(|e| e.to_string())?;
        let known = Known { paths: connection.paths, wwid: self.stage.wwid(volume) };
        let name = match lun {
            Some(lun) => format!("volume {volume} at LUN {lun}"),
            None => format!("volume {volume}"),
        };
        self.volumes.insert(name, known.clone());
        Ok(known)
    }

    /// multipathd and udev go on with a map after it was handed out, and a table that is loaded anew makes it unready for a moment.
    /// When tells nothing, so that moment is waited for.
    async fn look(&self) -> Result<Value, String> {
        let host = self.stage.host();
        let end = host.now() + UNREADY;
        while look::any_unready(host, &self.volumes)? && host.now() < end {
            self.stage.pause(BETWEEN).await;
        }
        look::host(host, &self.volumes)
    }

    /// The names of disks that no verb of this case has told of.
    fn learn(&mut self, known: &Known) -> Result<(), String> {
        let topology = look::topology(self.stage.host(), known)?;
        for (number, path) in (1..).zip(&known.paths) {
            if let Some(block) = topology.device(path).and_then(|view| view.block()) {
                self.devices.insert(block.name.to_string(), number);
            }
        }
        Ok(())
    }

    async fn wait(&mut self, wait: Wait) -> Result<(), String> {
        match wait {
            Wait::Seconds(seconds) => {
                self.stage.pause(Duration::from_secs(seconds)).await;
                return Ok(());
            }
            Wait::Udev => return self.stage.settle().await,
            _ => {}
        }
        let end = self.stage.host().now() + PATIENCE;
        loop {
            let is_so = match wait {
                Wait::Paths { count, volume } => self.in_use(volume)?.0 == count,
                Wait::Devices { count, volume } => self.in_use(volume)?.1 == count,
                Wait::NoFinisher => !self.stage.finisher_runs(),
                Wait::CloserHangs => self.stage.closer_hangs(),
                Wait::Seconds(_) | Wait::Udev => true,
            };
            if is_so {
                return Ok(());
            }
            if self.stage.host().now() >= end {
                let host = self.look().await?;
                return Err(format!("not so within {} s; there is {host}", PATIENCE.as_secs()));
            }
            self.stage.pause(BETWEEN).await;
        }
    }

    fn in_use(&self, volume: u64) -> Result<(usize, usize), String> {
        let known = self.volumes.get(&format!("volume {volume}"));
        look::in_use(self.stage.host(), known.ok_or_else(|| format!("volume {volume} was never named"))?)
    }
}
