//! How each step is done. A step's answer is a hint: the next observation is the truth. Only flush and read leave
//! no trace to observe, so theirs is a fact.

mod answered;
mod endpoint;
mod outlast;
mod records;
mod volume;

use std::time::Duration;

use bowline_host::Host;
use bowline_host::HostError;
use bowline_host::multipath::Reply;

use crate::connection::Chap;
use crate::error::Error;
use crate::ledger::Ending;
use crate::plan::Step;
use crate::policy::LoginPolicy;

pub(crate) use self::answered::Answered;
pub(crate) use self::records::Patterns;

/// What a step needs to know beside itself.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) host: &'a dyn Host,
    /// The attachment that is worked on.
    pub(crate) id: &'a str,
    pub(crate) chap: Option<&'a Chap>,
    pub(crate) login: LoginPolicy,
    /// Limit of one flush.
    pub(crate) flush: Duration,
    /// Records that this verb has made.
    pub(crate) patterns: &'a Patterns,
    /// Logins of this verb that are over.
    pub(crate) answered: &'a Answered,
    /// Whether it was tried before, by this process or by one that has ended: what that began may still be under way.
    pub(crate) again: bool,
}

/// Does one step.
pub(crate) async fn perform(context: Context<'_>, step: &Step) -> Ending {
    match step {
        Step::PrepareRecord(endpoint) => endpoint::prepare(context, endpoint).await,
        Step::Login(endpoint) => endpoint::login(context, endpoint).await,
        Step::Release(endpoint) => endpoint::release(context, endpoint).await,
        Step::Scan { scsi_host, lun, .. } => volume::scan(context, *scsi_host, *lun).await,
        Step::ClaimWwid(wwid) => volume::claim_wwid(context, wwid).await,
        Step::HearMultipathd(device) => volume::hear_multipathd(context, device).await,
        Step::AddPath(device) => volume::add_path(context, device).await,
        Step::SetAside(device) => volume::set_aside(context, device).await,
        Step::AddMap(wwid) => volume::add_map(context, wwid).await,
        Step::VerifyRead { device, number } => volume::read(context, device, *number).await,
        Step::Sync { device, number } => volume::sync(context, device, *number).await,
        Step::StopQueueing(name) => volume::stop_queueing(context, name).await,
        Step::FailPath { map, device, number } => volume::fail_path(context, map, device, *number).await,
        Step::RemoveLayer(layer) => volume::remove_layer(context, layer).await,
        Step::RemoveMap { name, .. } => volume::remove_map(context, name).await,
        Step::DeleteDevice { hctl, .. } => volume::delete(context, *hctl).await,
        Step::ForgetPaths(wwid) => volume::forget_paths(context, wwid).await,
        Step::ForgetWwid(wwid) => volume::forget_wwid(context, wwid).await,
    }
}

/// What multipathd answered, as an ending.
fn of_reply(reply: Result<Reply, HostError>) -> Ending {
    match reply {
        Ok(Reply::Ok) => Ending::Ok,
        Ok(Reply::NotExecuted) => Ending::Failed("multipathd was busy and did not do it".into()),
        Ok(Reply::Blacklisted) => Ending::Failed("multipathd says that the device is blacklisted".into()),
        Ok(Reply::Failed(why)) if why.is_empty() => Ending::Failed("multipathd says fail".into()),
        Ok(Reply::Failed(why)) => Ending::Failed(format!("multipathd says: {why}")),
        Err(error) => of_error(error),
    }
}

fn of_error(error: HostError) -> Ending {
    match error.failure {
        bowline_host::host::Failure::TimedOut(limit) => Ending::TimedOut(limit),
        _ => Ending::Failed(error.to_string()),
    }
}

fn of_state(error: Error) -> Ending {
    Ending::Final(error.to_string())
}
