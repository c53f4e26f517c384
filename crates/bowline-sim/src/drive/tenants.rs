//! Others on the same host, who were there first.

use std::time::Duration;

use super::{Stage, troubles};
use crate::model::{self, Terms};
use crate::scenario::{SECRET, Tenant};

/// They do what they do, until it is done.
pub async fn move_in(stage: &Stage) {
    for tenant in stage.scenario.tenants.clone() {
        match tenant {
            Tenant::Record(portal) => record(stage, portal),
            Tenant::Session(portal) => session(stage, portal).await,
            Tenant::Stale(portal) => stale(stage, portal).await,
            Tenant::Volume(portal) => volume(stage, portal).await,
        }
    }
    if !stage.scenario.tenants.is_empty() {
        stage.sim.sleep(Duration::from_secs(20)).await;
    }
}

/// A record that discovery has made: with a tag, and with settings of its administrator.
fn record(stage: &Stage, portal: usize) {
    let iqn = stage.scenario.iqn(0, portal);
    stage.sim.with(|world| {
        let address = world.address(portal);
        let path = format!("{}/{iqn}/{address},3260,1/default", world.setup.nodes);
        let record = model::new_record(&iqn, &address, world.setup.old_open_iscsi);
        world.database.files.insert(path, record);
    });
}

async fn session(stage: &Stage, portal: usize) {
    let iqn = stage.scenario.iqn(0, portal);
    let secret = stage.scenario.chap.then(|| SECRET.to_owned());
    let terms = Terms {
        tries: 2,
        limit: Duration::from_secs(5),
        recovery: Duration::from_secs(120),
        scans: false,
        secret,
        secret_in: None,
    };
    model::login(&stage.sim, iqn.clone(), portal, terms, false).await;
    stage.sim.with(|world| {
        let sid = world.session_at(&iqn, portal).map(|session| session.sid);
        if let Some(session) = sid.and_then(|sid| world.sessions.get_mut(&sid)) {
            session.foreign = true;
        }
    });
}

/// What the LUN was before it became the first volume.
async fn stale(stage: &Stage, portal: usize) {
    session(stage, portal).await;
    troubles::export(stage, 0, Some(stage.scenario.spare_volume(0)));
    let (iqn, lun) = (stage.scenario.iqn(0, portal), stage.scenario.lun(0));
    let host = stage.sim.with(|world| world.session_at(&iqn, portal).map(|session| session.host));
    if let Some(host) = host {
        let _ = model::begin_scan(&stage.sim, host, lun).await;
    }
    troubles::export(stage, 0, Some(0));
}

async fn volume(stage: &Stage, portal: usize) {
    session(stage, portal).await;
    let foreign = stage.scenario.foreign_volume();
    let (iqn, lun) = (stage.scenario.iqn(0, portal), stage.scenario.lun(foreign));
    let host = stage.sim.with(|world| {
        let wwid = world.storage.volumes[foreign].wwid();
        world.wwids.insert(wwid);
        let sid = world.session_at(&iqn, portal)?.sid;
        let session = world.sessions.get_mut(&sid)?;
        session.foreign_luns.insert(lun);
        Some(session.host)
    });
    if let Some(host) = host {
        let _ = model::begin_scan(&stage.sim, host, lun).await;
    }
}
