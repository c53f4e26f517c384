//! Steps on a volume's devices and its map.

use std::time::Duration;

use bowline_host::host::Blocking;
use bowline_host::layers::Layer;
use bowline_host::multipath::Reply;
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::{Hctl, HostError, Lun, MapName, ScsiHost, Wwid, dm, multipath, scsi};

use super::{Context, of_error, of_reply};
use crate::ledger::Ending;
use crate::sabotage::{met, sabotaged};

/// An INQUIRY that is lost takes 20 s and error handling (Linux 6.1 `scsi_scan.c`, SCSI_TIMEOUT * retries).
const SCAN_LIMIT: Duration = Duration::from_secs(60);
/// multipathd waits 4 s for its own lock before it answers `timeout`; a map's reload may take longer.
const MULTIPATHD_LIMIT: Duration = Duration::from_secs(30);
/// dmsetup waits until udev has taken the links away.
const REMOVE_LIMIT: Duration = Duration::from_secs(30);
/// One read of one block, through whichever path works.
const READ_LIMIT: Duration = Duration::from_secs(20);
/// SYNCHRONIZE CACHE takes up to 60 s and is retried (Linux 6.1 `sd.c`).
const DELETE_LIMIT: Duration = Duration::from_secs(90);

pub(super) async fn scan(context: Context<'_>, scsi_host: ScsiHost, lun: Lun) -> Ending {
    if sabotaged!(ScanAll) {
        let path = format!("/sys/class/scsi_host/{scsi_host}/scan");
        let all = Blocking::WriteSysfs { path, text: "- - -".into() };
        return of_blocking(context.host.blocking(&all, SCAN_LIMIT).await);
    }
    of_blocking(context.host.blocking(&scsi::scan(scsi_host, lun), SCAN_LIMIT).await)
}

/// multipathd lists a disk once it has dealt with its event: as an orphan, or in a map. One that it has not listed for
/// this long it will not touch (it is blacklisted); one that does not answer maps nothing.
pub(super) async fn hear_multipathd(context: Context<'_>, device: &BlockName) -> Ending {
    let host = context.host;
    let patience = host.now() + Duration::from_secs(5);
    loop {
        match multipath::paths(host, MULTIPATHD_LIMIT).await {
            Ok(known) if known.iter().any(|path| path.device == *device) => return Ending::Ok,
            Ok(_) if host.now() < patience => {}
            Ok(_) => return Ending::Ok,
            Err(error) if error.is_unavailable() => return Ending::Ok,
            Err(error) => return of_error(error),
        }
        host.sleep_until(host.now() + Duration::from_millis(100)).await;
    }
}

/// A device that multipathd's configuration excludes stays excluded until that is changed.
pub(super) async fn add_path(context: Context<'_>, device: &BlockName) -> Ending {
    match multipath::add_path(context.host, device, MULTIPATHD_LIMIT).await {
        Ok(Reply::Blacklisted) => Ending::Final(format!("multipathd says that {device} is blacklisted")),
        reply => of_reply(reply),
    }
}

/// It says `fail` of a path that it does not know, too.
pub(super) async fn set_aside(context: Context<'_>, device: &BlockName) -> Ending {
    of_reply(multipath::del_path(context.host, device, MULTIPATHD_LIMIT).await)
}

pub(super) async fn add_map(context: Context<'_>, wwid: &Wwid) -> Ending {
    of_reply(multipath::add_map(context.host, wwid, MULTIPATHD_LIMIT).await)
}

/// Where multipathd does not run, multipath itself removes the map: a volume that is in nobody's use must not stay for
/// want of a daemon.
pub(super) async fn remove_map(context: Context<'_>, name: &MapName) -> Ending {
    match multipath::del_map(context.host, name, MULTIPATHD_LIMIT).await {
        Err(error) if error.is_unavailable() => {
            match multipath::flush_map(context.host, name, MULTIPATHD_LIMIT).await {
                Ok(()) => Ending::Ok,
                Err(failed) => Ending::Failed(format!("{error}, and {failed}")),
            }
        }
        reply => of_reply(reply),
    }
}

pub(super) async fn remove_layer(context: Context<'_>, layer: &Layer) -> Ending {
    match dm::remove(context.host, layer, REMOVE_LIMIT).await {
        Ok(()) => Ending::Ok,
        Err(error) => of_error(error),
    }
}

pub(super) async fn stop_queueing(context: Context<'_>, name: &MapName) -> Ending {
    let reply = multipath::disable_queueing(context.host, name, MULTIPATHD_LIMIT).await;
    without_multipathd(context, reply, name, "fail_if_no_path").await
}

pub(super) async fn fail_path(
    context: Context<'_>,
    map: &MapName,
    device: &BlockName,
    number: DevNumber,
) -> Ending {
    let reply = multipath::fail_path(context.host, device, MULTIPATHD_LIMIT).await;
    without_multipathd(context, reply, map, &format!("fail_path {number}")).await
}

/// Where multipathd does not come to it, device-mapper is told the same. Under loss multipathd waits for its own commands to a disk, with
/// its lock held, for up to 60 s each (0.9.4 `libmultipath/prioritizers/alua_rtpg.c`, seen at half of all packets lost), and
/// meanwhile udev ends whom this is to set free.
async fn without_multipathd(
    context: Context<'_>,
    reply: Result<Reply, HostError>,
    map: &MapName,
    message: &str,
) -> Ending {
    if !matches!(reply, Ok(Reply::NotExecuted) | Err(_)) {
        return of_reply(reply);
    }
    met!(WithoutMultipathd);
    match dm::message(context.host, map, message, MULTIPATHD_LIMIT).await {
        Ok(()) => Ending::Ok,
        Err(error) => Ending::Failed(format!("{}, and {error}", of_reply(reply).reason())),
    }
}

pub(super) async fn read(context: Context<'_>, device: &BlockName, number: DevNumber) -> Ending {
    let operation = Blocking::ReadFirst { device: device.clone(), number };
    of_blocking(context.host.blocking(&operation, READ_LIMIT).await)
}

/// What the device has answered is final: the kernel reports a lost write once, and a second fsync would claim success (D11).
/// A flush that was given up, or whose helper ended, goes on, and the next try joins it.
pub(super) async fn sync(context: Context<'_>, device: &BlockName, number: DevNumber) -> Ending {
    let operation = Blocking::Sync { device: device.clone(), number };
    match context.host.blocking(&operation, context.flush).await {
        Err(error) if error.is_lost_write() && sabotaged!(RetryLostWrite) => {
            context.host.flush_told(device, number);
            of_error(error)
        }
        Err(error) if error.is_lost_write() => Ending::Final(error.to_string()),
        other => of_blocking(other),
    }
}

/// A device that is gone already is what was wanted. One that has a write cache is asked to empty it; below a lost session that
/// ends when the session is given up (`recovery_tmo`), whether or not the device was set offline before (Linux 6.1, run).
pub(super) async fn delete(context: Context<'_>, hctl: Hctl) -> Ending {
    match context.host.blocking(&scsi::delete(hctl), DELETE_LIMIT).await {
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => Ending::Ok,
        other => of_blocking(other),
    }
}

/// multipathd removes a path when it hears that its device is gone. One it still has a while later, it keeps for
/// ever, and a later device of that name would be taken for it.
pub(super) async fn forget_paths(context: Context<'_>, wwid: &Wwid) -> Ending {
    let host = context.host;
    let patience = host.now() + Duration::from_secs(2);
    loop {
        let known = match multipath::paths(host, MULTIPATHD_LIMIT).await {
            Ok(known) => known,
            // It does not run, so it remembers nothing.
            Err(error) if error.is_unavailable() => return Ending::Ok,
            Err(error) => return of_error(error),
        };
        let gone = |name: &BlockName| matches!(scsi::block_device(host, name), Ok(None));
        let kept: Vec<BlockName> = known
            .into_iter()
            .filter(|path| path.wwid.as_ref() == Some(wwid) && gone(&path.device))
            .map(|path| path.device)
            .collect();
        if kept.is_empty() {
            return Ending::Ok;
        }
        if host.now() >= patience {
            for device in kept {
                let ending = of_reply(multipath::del_path(host, &device, MULTIPATHD_LIMIT).await);
                if !ending.is_ok() {
                    return ending;
                }
            }
            return Ending::Ok;
        }
        host.sleep_until(host.now() + Duration::from_millis(100)).await;
    }
}

pub(super) async fn claim_wwid(context: Context<'_>, wwid: &Wwid) -> Ending {
    match multipath::claim_wwid(context.host, wwid, MULTIPATHD_LIMIT).await {
        Ok(()) => Ending::Ok,
        Err(error) => of_error(error),
    }
}

pub(super) async fn forget_wwid(context: Context<'_>, wwid: &Wwid) -> Ending {
    match multipath::forget_wwid(context.host, wwid, MULTIPATHD_LIMIT).await {
        Ok(()) => Ending::Ok,
        Err(error) => of_error(error),
    }
}

fn of_blocking(result: Result<Vec<u8>, HostError>) -> Ending {
    match result {
        Ok(_) => Ending::Ok,
        Err(error) => of_error(error),
    }
}
