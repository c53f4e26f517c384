//! Sessions: read from sysfs, made and ended through iscsiadm.

use super::{Endpoint, IscsiError, exit, records};
use crate::host::{Host, HostError, Program};
use crate::names::{Iqn, Portal, ScsiHost, Sid};
use crate::sysfs;
use std::time::Duration;

/// State of a session (`/sys/class/iscsi_session/sessionN/state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Usable.
    LoggedIn,
    /// Its connection is lost; iscsid tries to get it back.
    Failed,
    /// Being made, or given up after `recovery_tmo`.
    Free,
    /// A word we do not know.
    Unknown,
}

/// An iSCSI session of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub sid: Sid,
    /// The SCSI host below it; iscsi_tcp has one a session.
    pub scsi_host: ScsiHost,
    /// Target, portal (the persistent one) and interface.
    pub endpoint: Endpoint,
    /// Its state.
    pub state: SessionState,
}

const SESSIONS: &str = "/sys/class/iscsi_session";
const CONNECTIONS: &str = "/sys/class/iscsi_connection";

/// The sessions of the targets that `wanted` accepts, from sysfs, by number. Of others only the target's name is read:
/// a host may have hundreds. One that goes away while it is read is left out. So is one that has no
/// target or portal yet: iscsid sets target, portal and interface together right after TCP has
/// connected, before the login phase (open-iscsi 2.1.8 `usr/initiator_common.c` `iscsi_session_set_params`);
/// until then the kernel shows `(null)`, and nothing tells whose session it is. A target or address that is none
/// of ours by its form (a host name) is left out too.
///
/// # Errors
/// sysfs cannot be read for another reason than absence.
pub fn sessions_of(host: &dyn Host, wanted: impl Fn(&Iqn) -> bool) -> Result<Vec<Session>, IscsiError> {
    Ok(sessions(host, &wanted, None)?.0)
}

/// A session whose connection has gone: iscsid was ending it, and stands still or was killed in the middle (it destroys the connection, then the
/// session: open-iscsi 2.1.8 `usr/initiator_common.c`, `ipc->destroy_conn`, `destroy_session`; met on Debian 13 with a frozen iscsid). Nothing tells any more
/// through which portal it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornSession {
    /// Its number.
    pub sid: Sid,
    /// Its target.
    pub iqn: Iqn,
}

/// As [`sessions_of`], and beside them those whose connection has gone.
///
/// # Errors
/// As [`sessions_of`].
pub fn all_sessions_of(
    host: &dyn Host,
    wanted: impl Fn(&Iqn) -> bool,
) -> Result<(Vec<Session>, Vec<TornSession>), IscsiError> {
    sessions(host, &wanted, None)
}

/// The sessions made from an endpoint, as [`sessions_of`]. Of those through other portals less is read.
///
/// # Errors
/// As [`sessions_of`].
pub fn sessions_at(host: &dyn Host, endpoint: &Endpoint) -> Result<Vec<Session>, IscsiError> {
    let (mut found, _) = sessions(host, &|iqn| *iqn == endpoint.iqn, Some(&endpoint.portal))?;
    found.retain(|session| session.endpoint == *endpoint);
    Ok(found)
}

/// Whether the kernel still has that session, in whatever state.
///
/// # Errors
/// As [`sessions_of`].
pub fn has_session(host: &dyn Host, sid: Sid) -> Result<bool, IscsiError> {
    Ok(scsi_host_of(host, &format!("session{sid}"))?.is_some())
}

fn sessions(
    host: &dyn Host,
    of: &dyn Fn(&Iqn) -> bool,
    at: Option<&Portal>,
) -> Result<(Vec<Session>, Vec<TornSession>), IscsiError> {
    let (mut sessions, mut torn) = (Vec::new(), Vec::new());
    for name in sysfs::list(host, SESSIONS)? {
        let sid = name.strip_prefix("session").and_then(|digits| digits.parse().ok());
        let Some(sid) = sid else { continue };
        match session(host, &name, Sid(sid), of, at)? {
            Some(Seen::Whole(session)) => sessions.push(session),
            Some(Seen::Torn(session)) => torn.push(session),
            None => {}
        }
    }
    sessions.sort_by_key(|session: &Session| session.sid);
    Ok((sessions, torn))
}

/// What is there of a session.
enum Seen {
    Whole(Session),
    Torn(TornSession),
}

fn session(
    host: &dyn Host,
    name: &str,
    sid: Sid,
    of: &dyn Fn(&Iqn) -> bool,
    at: Option<&Portal>,
) -> Result<Option<Seen>, HostError> {
    let session = |attribute: &str| sysfs::attribute(host, &format!("{SESSIONS}/{name}/{attribute}"));
    let connection =
        |attribute: &str| sysfs::attribute(host, &format!("{CONNECTIONS}/connection{sid}:0/{attribute}"));

    let Some(iqn) = session("targetname")?.and_then(|text| text.parse().ok()) else { return Ok(None) };
    if !of(&iqn) {
        return Ok(None);
    }
    let Some(address) = connection("persistent_address")? else {
        return Ok(Some(Seen::Torn(TornSession { sid, iqn })));
    };
    let address = address.parse().ok();
    let Some(address) = address.filter(|address| at.is_none_or(|portal| portal.address == *address)) else {
        return Ok(None);
    };
    let port = connection("persistent_port")?.and_then(|text| text.parse().ok());
    let Some(port) = port.filter(|port| at.is_none_or(|portal| portal.port == *port)) else {
        return Ok(None);
    };
    let portal = Portal { address, port };
    let Some(scsi_host) = scsi_host_of(host, name)? else { return Ok(None) };
    let Some(state) = session("state")? else { return Ok(None) };
    let iface = session("ifacename")?.and_then(|text| text.parse().ok()).unwrap_or_default();

    let endpoint = Endpoint { iqn, portal, iface };
    Ok(Some(Seen::Whole(Session { sid, scsi_host, endpoint, state: state_of(&state) })))
}

/// The words of Linux 6.1 `drivers/scsi/scsi_transport_iscsi.c` `iscsi_session_state_names`.
fn state_of(text: &str) -> SessionState {
    match text {
        "LOGGED_IN" => SessionState::LoggedIn,
        "FAILED" => SessionState::Failed,
        "FREE" => SessionState::Free,
        _ => SessionState::Unknown,
    }
}

/// `/sys/class/iscsi_session/sessionN` is a link to `…/hostH/sessionN/iscsi_session/sessionN`. A link that is there and
/// cannot be read is an error: a session taken for absent would be left behind unnamed.
fn scsi_host_of(host: &dyn Host, name: &str) -> Result<Option<ScsiHost>, HostError> {
    let path = format!("{SESSIONS}/{name}");
    let target = match host.read_link(&path) {
        Ok(target) => target,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(HostError::io("read the link", path, error)),
    };
    let mut parts = target.split('/').rev().skip_while(|part| *part != "iscsi_session").skip(1);
    let number = |host: &str| host.strip_prefix("host")?.parse().ok().map(ScsiHost);
    Ok(if parts.next() == Some(name) { parts.next().and_then(number) } else { None })
}

/// `iscsiadm -m node … --login`: logs in to that portal over that interface. Waits until iscsid knows the outcome or
/// `limit` is over; in the second case iscsid goes on trying, and iscsiadm is left waiting for it: as long as it does,
/// iscsid has not answered ([`crate::lingering::login_waiting`]). It holds no lock of the database meanwhile (2.1.8
/// `login_portals` reads the records first).
///
/// # Errors
/// [`super::Iscsiadm::SessionExists`] also means that another login is under way: only sysfs tells whether
/// the session is logged in.
pub async fn login(host: &dyn Host, endpoint: &Endpoint, limit: Duration) -> Result<(), IscsiError> {
    // Where iscsid does not run, iscsiadm may start it (`iscsid.startup`): no lock for that.
    exit::run(host, Program { keeps_locks: false, ..records::node(endpoint, LOGIN, limit) }, &[]).await
}

const LOGIN: &[&str] = &["--login"];

/// What iscsiadm's command line says of such a login, after its own name.
pub fn login_arguments(endpoint: &Endpoint) -> Vec<String> {
    records::node(endpoint, LOGIN, Duration::ZERO).args
}

/// `iscsiadm -m node … --logout`. It needs no record.
///
/// # Errors
/// [`super::Iscsiadm::Internal`] while the login is still under way: iscsid cannot cancel it. [`super::Iscsiadm::NoObjects`] where the
/// kernel has no session, and also where it has one but iscsid does not run (open-iscsi 2.1.8, seen);
/// [`super::Iscsiadm::NoSession`] where the kernel has one that iscsid does not know.
pub async fn logout(host: &dyn Host, endpoint: &Endpoint, limit: Duration) -> Result<(), IscsiError> {
    exit::run(host, Program { keeps_locks: false, ..records::node(endpoint, LOGOUT, limit) }, &[]).await
}

const LOGOUT: &[&str] = &["--logout"];

/// What iscsiadm's command line says of such a logout, after its own name.
pub fn logout_arguments(endpoint: &Endpoint) -> Vec<String> {
    records::node(endpoint, LOGOUT, Duration::ZERO).args
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
