//! What went on when the process that began it was killed or gave way is waited for, before what it works on is let go.

use std::time::Duration;

use bowline_host::Moment;
use bowline_host::iscsi::{self, Endpoint, Session};
use bowline_host::lingering;

use super::endpoint::{LOGIN_SLACK, LOGOUT_LIMIT, sessions_of};
use super::{Context, answered, of_error};
use crate::claims::Claim;
use crate::journal::Attachment;
use crate::ledger::Ending;
use crate::sabotage::{met, sabotaged};

/// No policy makes a login longer: a time that is farther away stems from another boot.
const LONGEST_LOGIN: Duration = Duration::from_secs(300);
/// Nothing tells when a session is logged in, or a process ends that is not ours.
const POLL: Duration = Duration::from_millis(50);

/// A login may still be under way in iscsid, which cannot be told to stop: before TCP has connected there is no session to
/// log out from. It lands; or iscsid has answered the iscsiadm that asked for it, which therefore ends; or, where that
/// is gone already, it is over when it was bound to be.
///
/// What the attachment knows to be over is not looked for: on a host with thousands of processes that takes longer than the logout.
pub(super) async fn login(
    context: Context<'_>,
    claim: &Claim,
    journal: Option<&Attachment>,
) -> Result<(), Ending> {
    if answered::knows(journal, claim) {
        return Ok(());
    }
    let host = context.host;
    let Some(until) = claim.login_until.map(|until| Moment(Duration::from_millis(until))) else {
        return Ok(());
    };
    if until.since(host.now()) > LONGEST_LOGIN || sabotaged!(ForgetGhost) {
        return Ok(());
    }
    let patience = context.login.bound() + LOGIN_SLACK;
    let give_up = host.now() + patience;
    let waiting = || lingering::login_waiting(host, &claim.endpoint).map_err(of_error);
    let mut asking = waiting()?;
    loop {
        match asking {
            Some(pid) if lingering::logs_in(host, pid, &claim.endpoint).map_err(of_error)? => {
                met!(LoginWaits);
                let seconds = patience.as_secs();
                let why = "iscsid has not answered, and may still log in";
                if host.now() >= give_up {
                    return Err(Ending::Failed(format!(
                        "{why}: process {pid} (iscsiadm) has waited for {seconds} s"
                    )));
                }
            }
            // It was answered. There may be another.
            Some(_) => match waiting()? {
                None => return Ok(()),
                another => asking = another,
            },
            None if host.now() >= until || sessions_of(context, &claim.endpoint)?.iter().any(is_up) => {
                return Ok(());
            }
            None => {}
        }
        host.sleep_until(host.now() + POLL).await;
    }
}

/// A logout that a killed process has asked for, or that stood still for longer than it was waited for, takes away whatever
/// session there is when it gets to it.
pub(super) async fn logout(context: Context<'_>, endpoint: &Endpoint) -> Result<(), Ending> {
    let give_up = context.host.now() + LOGOUT_LIMIT;
    while let Some(pid) = lingering::logout_waiting(context.host, endpoint).map_err(of_error)? {
        if context.host.now() >= give_up {
            let why = "another process is logging out there, and has not ended";
            return Err(Ending::Failed(format!("{why}: process {pid} (iscsiadm)")));
        }
        context.host.sleep_until(context.host.now() + POLL).await;
    }
    Ok(())
}

fn is_up(session: &Session) -> bool {
    session.state == iscsi::SessionState::LoggedIn
}
