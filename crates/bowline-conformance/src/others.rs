//! Somebody else on the same host, who works by hand: with iscsiadm, sysfs and multipathd's own socket.

use std::time::Duration;

use bowline::Connection;
use bowline_host::iscsi::{self, Endpoint, SessionState};
use bowline_host::names::BlockName;
use bowline_host::{Hctl, Host, Lun, ScsiHost, scsi, udev};

use crate::action::Others;
use crate::look::{self, Known};
use crate::stage::Stage;

/// Whatever he does is done by then.
const LIMIT: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(50);
/// His own record differs from what bowline sets in each of these.
const HIS_SETTINGS: [(&str, &str); 4] = [
    ("node.startup", "automatic"),
    ("node.session.scan", "auto"),
    ("node.conn[0].timeo.login_timeout", "77"),
    ("node.session.initial_login_retry_max", "9"),
];

/// Does it, and waits until it is done: the disk is there and udev has seen it, the map can be used.
///
/// # Errors
/// It cannot be done.
pub async fn work<S: Stage>(stage: &mut S, others: Others) -> Result<(), String> {
    match others {
        Others::Record(portal) => {
            let endpoint = endpoint(stage, portal)?;
            record(stage.host(), &endpoint, &HIS_SETTINGS).await
        }
        Others::Login(portal) => {
            let endpoint = endpoint(stage, portal)?;
            record(stage.host(), &endpoint, &[("node.session.scan", "manual")]).await?;
            iscsi::login(stage.host(), &endpoint, LIMIT).await.map_err(|error| error.to_string())
        }
        Others::Logout(portal) => {
            let endpoint = endpoint(stage, portal)?;
            iscsi::logout(stage.host(), &endpoint, LIMIT).await.map_err(|error| error.to_string())
        }
        Others::Scan(portal, lun) => scan(stage, portal, lun).await,
        Others::Delete(portal, lun) => {
            let delete = scsi::delete(address(stage, portal, lun)?);
            stage.host().blocking(&delete, LIMIT).await.map(drop).map_err(|error| error.to_string())
        }
        Others::Map(volume) => map(stage, volume).await,
        other => Err(format!("{other:?} is not done by hand")),
    }
}

async fn record(host: &dyn Host, endpoint: &Endpoint, settings: &[(&str, &str)]) -> Result<(), String> {
    iscsi::create_record(host, endpoint, LIMIT).await.map_err(|error| error.to_string())?;
    let settings: Vec<(String, String)> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    iscsi::write_record(host, endpoint, &settings, None, LIMIT).await.map_err(|error| error.to_string())
}

async fn scan<S: Stage>(stage: &mut S, portal: usize, lun: u64) -> Result<(), String> {
    let address = address(stage, portal, lun)?;
    let scan = scsi::scan(address.host, address.lun);
    stage.host().blocking(&scan, LIMIT).await.map_err(|error| error.to_string())?;
    until(stage, "the disk is there", |stage| {
        let Some(name) = block_of(stage.host(), address)? else { return Ok(false) };
        let block = scsi::block_device(stage.host(), &name).map_err(|error| error.to_string())?;
        let Some(block) = block else { return Ok(false) };
        let record = udev::record_of(stage.host(), block.number).map_err(|error| error.to_string())?;
        Ok(record.is_some_and(|record| record.initialized))
    })
    .await
}

async fn map<S: Stage>(stage: &mut S, volume: u64) -> Result<(), String> {
    let known = Known { paths: connection(stage, volume)?.paths, wwid: stage.wwid(volume) };
    let asked = format!("add map {}", known.wwid);
    let reply = stage.host().ask_multipathd(&asked, LIMIT).await.map_err(|error| error.to_string())?;
    if reply.trim() != "ok" {
        return Err(format!("multipathd says {}", reply.trim()));
    }
    until(stage, "the map can be used", |stage| {
        Ok(look::topology(stage.host(), &known)?.map.is_some_and(|view| view.ready()))
    })
    .await
}

async fn until<S: Stage>(
    stage: &S,
    what: &str,
    is_so: impl Fn(&S) -> Result<bool, String>,
) -> Result<(), String> {
    let end = stage.host().now() + LIMIT;
    while !is_so(stage)? {
        if stage.host().now() >= end {
            return Err(format!("waited in vain until {what}"));
        }
        stage.pause(BETWEEN).await;
    }
    Ok(())
}

/// The node of the disk of a LUN at a portal.
///
/// # Errors
/// There is none.
pub fn disk<S: Stage>(stage: &S, portal: usize, lun: u64) -> Result<String, String> {
    let address = address(stage, portal, lun)?;
    let name = block_of(stage.host(), address)?;
    name.map(|name| format!("/dev/{name}")).ok_or_else(|| format!("there is no disk at {address}"))
}

fn block_of(host: &dyn Host, address: Hctl) -> Result<Option<BlockName>, String> {
    let device = scsi::device(host, address).map_err(|error| error.to_string())?;
    Ok(device.and_then(|device| device.block).map(|block| block.name))
}

fn connection<S: Stage>(stage: &S, volume: u64) -> Result<Connection, String> {
    Connection::from_json(stage.connection(volume)?.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// Every volume is behind the same endpoints.
fn endpoint<S: Stage>(stage: &S, portal: usize) -> Result<Endpoint, String> {
    let path = connection(stage, 1)?.paths.into_iter().nth(portal - 1);
    path.map(|path| path.endpoint).ok_or_else(|| format!("there is no portal {portal}"))
}

fn address<S: Stage>(stage: &S, portal: usize, lun: u64) -> Result<Hctl, String> {
    let endpoint = endpoint(stage, portal)?;
    let sessions =
        iscsi::sessions_of(stage.host(), |iqn| *iqn == endpoint.iqn).map_err(|error| error.to_string())?;
    let is_it =
        |session: &iscsi::Session| session.endpoint == endpoint && session.state == SessionState::LoggedIn;
    let host: ScsiHost = sessions
        .into_iter()
        .find(is_it)
        .map(|session| session.scsi_host)
        .ok_or_else(|| format!("there is no session by portal {portal}"))?;
    Ok(Hctl { host, channel: 0, target: 0, lun: Lun(lun) })
}
