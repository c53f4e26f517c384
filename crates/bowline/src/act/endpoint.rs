//! Steps on one endpoint: its node record, its session, and this attachment's claim on both. What changes claim
//! or record holds the portal's lock; a login does not.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_host::iscsi::{self, ChapSecrets, Endpoint, IscsiError, Iscsiadm, NodeRecord, Session};
use bowline_host::{Hctl, Lun, openers, scsi};

use super::{Context, of_error, of_state, outlast, volume};
use crate::claims::{self, Claim};
use crate::connection::Chap;
use crate::error::Error;
use crate::journal::{self, Attachment};
use crate::ledger::Ending;
use crate::sabotage::sabotaged;

/// One call of iscsiadm that works on the database. Its own lock is waited for up to 30 s (open-iscsi 2.1.8
/// `idbm_lock`), so less would abandon calls that only stand in a queue.
const DATABASE_LIMIT: Duration = Duration::from_secs(40);
/// Another bowline process holds a portal's lock for a record's making or a logout.
const LOCK_LIMIT: Duration = Duration::from_secs(60);
/// A logout waits for the target's answer; iscsid gives up after `node.conn[0].timeo.logout_timeout` (15 s).
pub(super) const LOGOUT_LIMIT: Duration = Duration::from_secs(40);
/// What iscsiadm needs around the login itself.
pub(super) const LOGIN_SLACK: Duration = Duration::from_secs(10);

type Fallible = Result<(), Ending>;

/// Claims the endpoint, then sees to its record. A record that is there is set, never made anew: `-o new` would
/// reset what the administrator has set.
pub(super) async fn prepare(context: Context<'_>, endpoint: &Endpoint) -> Ending {
    ended(prepare_locked(context, endpoint).await)
}

async fn prepare_locked(context: Context<'_>, endpoint: &Endpoint) -> Fallible {
    let _lock = context.host.lock(&claims::lock_name(endpoint), LOCK_LIMIT).await.map_err(of_error)?;
    if context.again || !sessions_of(context, endpoint)?.is_empty() {
        outlast::logout(context, endpoint).await?;
    }
    let mut claim = load(context, endpoint)?;
    claim.users.insert(context.id.to_owned());
    let record = match record_of(context, endpoint)? {
        Some(record) if !sabotaged!(RemakeRecord) => record,
        _ => {
            (claim.made_record, claim.prepared) = (true, false);
            claims::store(context.host, &claim).map_err(of_state)?;
            context.patterns.make(context.host, endpoint, DATABASE_LIMIT).await.map_err(of_iscsi)?;
            record_of(context, endpoint)?
                .ok_or_else(|| Ending::Failed("iscsiadm made the record, but it is not there".into()))?
        }
    };
    let changes = changes(context, &record, &mut claim)?;
    if sabotaged!(StoreSecret)
        && let Some(chap) = context.chap
    {
        claim.prior.insert("note".into(), chap.password.reveal().into());
    }
    claims::store(context.host, &claim).map_err(of_state)?;
    let secrets = context.chap.map(secrets);
    iscsi::write_record(context.host, &record.endpoint, &changes, secrets.as_ref(), DATABASE_LIMIT)
        .await
        .map_err(of_iscsi)
}

/// What has to change in a record; what it was goes into the claim if others made it.
fn changes(
    context: Context<'_>,
    record: &NodeRecord,
    claim: &mut Claim,
) -> Result<Vec<(String, String)>, Ending> {
    let mut wanted = settings(context);
    let keys: Vec<&str> = wanted.iter().map(|(key, _)| key.as_str()).collect();
    let current = iscsi::settings_of(context.host, record, &keys).map_err(of_iscsi)?;
    // A record has every setting that its open-iscsi knows; one that it does not know it refuses, and all others with it.
    claim.scans_by_itself = current.contains_key(STARTUP) && !current.contains_key(SCAN);
    wanted.retain(|(key, value)| {
        let unknown = claim.scans_by_itself && key == SCAN;
        let shorter = key == RECOVERY && is_shorter(current.get(key), value);
        !unknown && !shorter && current.get(key) != Some(value)
    });
    if !claim.made_record {
        for (key, _) in &wanted {
            let before = current.get(key).cloned().unwrap_or_default();
            claim.prior.entry(key.clone()).or_insert(before);
        }
        if context.chap.is_some() {
            // A secret that was not there goes again. One that was there is not remembered (B8).
            for key in iscsi::secrets_missing(context.host, record).map_err(of_iscsi)? {
                claim.prior.entry(key.to_owned()).or_default();
            }
        }
    }
    Ok(wanted)
}

/// How LUNs come in; unknown to open-iscsi before 2.0.875, where a login brings in every LUN.
const SCAN: &str = "node.session.scan";
/// How long a session has to come back; a negative number is for ever (Linux 6.1 `scsi_transport_iscsi.c`, `iscsi_block_session`).
const RECOVERY: &str = "node.session.timeo.replacement_timeout";
/// Whether a boot logs in.
const STARTUP: &str = "node.startup";

/// Whether the administrator has less patience already.
fn is_shorter(current: Option<&String>, wanted: &str) -> bool {
    let seconds = |text: &str| text.parse::<u32>().ok();
    let current = current.and_then(|current| seconds(current));
    current.is_some_and(|current| Some(current) < seconds(wanted))
}

/// What a record of ours says beside the administrator's iscsid.conf.
fn settings(context: Context<'_>) -> Vec<(String, String)> {
    let mut settings = vec![
        // No login and no event of the target brings in LUNs nobody asked for (C15).
        (SCAN, "manual".to_owned()),
        // A volume is attached by a connect, not by a boot.
        (STARTUP, "manual".to_owned()),
        ("node.session.initial_login_retry_max", context.login.tries.to_string()),
        ("node.conn[0].timeo.login_timeout", context.login.timeout.as_secs().to_string()),
    ];
    if let Some(recovery) = context.login.recovery {
        settings.push((RECOVERY, recovery.as_secs().to_string()));
    }
    if let Some(chap) = context.chap {
        settings.push(("node.session.auth.authmethod", "CHAP".to_owned()));
        settings.push(("node.session.auth.username", chap.username.clone()));
        if let Some((username, _)) = &chap.mutual {
            settings.push(("node.session.auth.username_in", username.clone()));
        }
    }
    settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn secrets(chap: &Chap) -> ChapSecrets {
    ChapSecrets {
        password: chap.password.clone(),
        password_in: chap.mutual.as_ref().map(|(_, secret)| secret.clone()),
    }
}

/// Logs in. Whether the session will be of our making, and until when iscsid may be at it, is written down before:
/// should this process die, the login does not.
pub(super) async fn login(context: Context<'_>, endpoint: &Endpoint) -> Ending {
    let known = match record_of(context, endpoint) {
        Ok(record) => record.map_or_else(|| endpoint.clone(), |record| record.endpoint),
        Err(ending) => return ending,
    };
    let until = (context.host.now() + context.login.bound()).0.as_millis() as u64;
    let (until, before) = match note_login(context, endpoint, until).await {
        Ok(noted) => noted,
        Err(ending) => return ending,
    };
    let limit = context.login.bound() + LOGIN_SLACK;
    let (over, ending) = match iscsi::login(context.host, &known, limit).await {
        Ok(()) => {
            if before.is_none() {
                context.answered.note(endpoint, until);
            }
            return Ending::Ok;
        }
        // What is under way is another's login, and ends when that was said to end. Where nobody has said so, ours is long
        // enough: it began before.
        Err(IscsiError::Failed { code: Iscsiadm::SessionExists, message, .. }) => {
            (before.or(Some(until)), Ending::Skipped(message))
        }
        // iscsid has not answered within its own bound: it does not run freely, and when it does again it begins. What is noted
        // stays, and the iscsiadm that goes on waiting tells that it is not over ([`outlast::login`]).
        Err(IscsiError::Host(error)) if error.is_timeout() => {
            return Ending::Final(format!("no end within {} s; iscsid may still log in", limit.as_secs()));
        }
        // Ours is over, or iscsid was not asked. What another process has noted still holds: its iscsiadm may stand still.
        Err(IscsiError::Host(error)) => (before, of_iscsi(IscsiError::Host(error))),
        Err(error) => (before, of_login(context, error)),
    };
    match login_is_over(context, endpoint, until, over).await {
        Ok(()) => ending,
        Err(ending) => ending,
    }
}

/// A login that failed has had its tries inside iscsid; what the target refuses for good is final. LIO refuses wrong CHAP
/// credentials with the general "initiator error" (seen: exit code 19), and with open-iscsi 2.1.11 missing ones, too, so
/// that is said with them in mind.
fn of_login(context: Context<'_>, error: IscsiError) -> Ending {
    match error {
        IscsiError::Failed { code: Iscsiadm::FatalLogin, .. } => {
            let chap = match context.chap {
                Some(_) => "authentication may have failed: check the CHAP credentials",
                None => "the target may ask for authentication (CHAP), and the connection has no credentials",
            };
            Ending::Final(format!("{error}; {chap}"))
        }
        IscsiError::Failed { code, .. } if !code.is_final() && !code.is_iscsid_unreachable() => {
            Ending::Failed(error.to_string())
        }
        _ => of_iscsi(error),
    }
}

/// Writes down until when a login may be under way, at the least, and returns what was written and what stood there. The two differ,
/// so that each login is known by what is noted of it.
async fn note_login(
    context: Context<'_>,
    endpoint: &Endpoint,
    until: u64,
) -> Result<(u64, Option<u64>), Ending> {
    let _lock = context.host.lock(&claims::lock_name(endpoint), LOCK_LIMIT).await.map_err(of_error)?;
    let mut claim = load(context, endpoint)?;
    if sessions_of(context, endpoint)?.is_empty() {
        claim.made_session = true;
    }
    // A login follows a record that was set; noted here, since the claim is written anyway.
    claim.prepared = true;
    let before = claim.login_until;
    let until = if before == Some(until) { until + 1 } else { until };
    claim.login_until = Some(until);
    claims::store(context.host, &claim).map_err(of_state)?;
    Ok((until, before))
}

/// Writes down that the login noted with `until` is over, or may land until another time.
async fn login_is_over(context: Context<'_>, endpoint: &Endpoint, until: u64, over: Option<u64>) -> Fallible {
    let _lock = context.host.lock(&claims::lock_name(endpoint), LOCK_LIMIT).await.map_err(of_error)?;
    let mut claim = load(context, endpoint)?;
    claim.login_is_over(until, over);
    claims::store(context.host, &claim).map_err(of_state)
}

/// Gives the claim up. Under the portal's lock and with no other claim and no other LUN: logout, session gone,
/// record deleted or its values put back.
pub(super) async fn release(context: Context<'_>, endpoint: &Endpoint) -> Ending {
    ended(release_locked(context, endpoint).await)
}

async fn release_locked(context: Context<'_>, endpoint: &Endpoint) -> Fallible {
    // Before the lock is taken, since it may take as long as a login, and another volume's connect must not wait for a dead portal
    // (B6). Under the lock it is looked at again: whoever has begun something meanwhile is a user, or is waited for after all.
    outlast_all(context, endpoint).await?;
    let _lock = context.host.lock(&claims::lock_name(endpoint), LOCK_LIMIT).await.map_err(of_error)?;
    let (claim, journal) = outlast_all(context, endpoint).await?;
    let sessions = sessions_of(context, endpoint)?;
    let below = below(context, &sessions)?;
    if let Some(lun) = brought_in(&claim, journal, &below) {
        // A scan that was under way has brought it in since the plan was made; it goes first (D14).
        return Err(Ending::Failed(format!("LUN {lun} has just appeared below its session")));
    }
    if claim.users.is_empty() {
        let stays = match claim.made_session
            && (sabotaged!(LogOutOthers) || !serves_others(context, &claim, &below).await?)
        {
            true => end_session(context, endpoint, sessions.first()).await?,
            false => !sessions_of(context, endpoint)?.is_empty(),
        };
        // Also below a session that stays: the claim goes, and with it the memory of what others had set.
        put_back(context, &claim, stays).await?;
    }
    claims::store(context.host, &claim).map_err(of_state)
}

/// Waits for what others have begun there, and returns the claim as it is without us.
async fn outlast_all(
    context: Context<'_>,
    endpoint: &Endpoint,
) -> Result<(Claim, Option<Attachment>), Ending> {
    let mut claim = match claims::load(context.host, endpoint).map_err(of_state)? {
        Some(claim) => claim,
        // Attached by somebody else, and given to us to detach: what served only this volume goes (D4).
        None => Claim { made_record: true, made_session: true, ..Claim::new(endpoint.clone()) },
    };
    claim.users.remove(context.id);
    let journal = journal::load(context.host, context.id).map_err(of_state)?;
    if context.again {
        outlast::logout(context, endpoint).await?;
    }
    if claim.users.is_empty() {
        // Also where the session stays: a login that has not read its record yet would find it put back.
        outlast::login(context, &claim, journal.as_ref()).await?;
    }
    Ok((claim, journal))
}

/// The devices below those sessions.
fn below(context: Context<'_>, sessions: &[Session]) -> Result<Vec<Hctl>, Ending> {
    let devices = scsi::addresses(context.host).map_err(of_error)?;
    let is_below = |hctl: &Hctl| sessions.iter().any(|session| session.scsi_host == hctl.host);
    Ok(devices.into_iter().filter(is_below).collect())
}

/// The LUN of this attachment, if it is among them, and a scan of ours has brought it in: below a session that others made
/// there may be one of theirs.
fn brought_in(claim: &Claim, journal: Option<Attachment>, below: &[Hctl]) -> Option<Lun> {
    let journal = journal?;
    if !claim.made_session && !journal.scanned.contains(&claim.endpoint) {
        return None;
    }
    let is_there = |lun: &Lun| below.iter().any(|hctl| hctl.lun == *lun);
    let own = journal.paths.into_iter().filter(|path| path.endpoint == claim.endpoint);
    own.map(|path| path.lun).find(is_there)
}

/// Whether a session has to stay for one of those devices: whose it is does not matter. Where sessions of ours bring in
/// LUNs by themselves (C15), one that nobody holds is nobody's, and goes.
async fn serves_others(context: Context<'_>, claim: &Claim, below: &[Hctl]) -> Result<bool, Ending> {
    if !claim.scans_by_itself {
        return Ok(!below.is_empty());
    }
    let held = held(context, below)?;
    // One after the other, since the kernel would do no more at once: it deletes under its host's lock (Linux 6.1
    // drivers/scsi/scsi_sysfs.c, `scsi_remove_device`). Sessions are released side by side.
    for hctl in below.iter().filter(|hctl| !held.contains(hctl)) {
        match volume::delete(context, *hctl).await {
            Ending::Ok => {}
            ending => return Err(ending),
        }
    }
    Ok(!held.is_empty())
}

/// Those that somebody holds.
fn held(context: Context<'_>, below: &[Hctl]) -> Result<Vec<Hctl>, Ending> {
    let used = openers::users_of_disks(context.host, below).map_err(of_error)?;
    Ok(used.into_iter().filter(|disk| !disk.users.is_empty()).map(|disk| disk.hctl).collect())
}

/// Logs out, and waits until the kernel has let the session go: no event tells of it in time. Returns whether one stays.
async fn end_session(
    context: Context<'_>,
    endpoint: &Endpoint,
    session: Option<&Session>,
) -> Result<bool, Ending> {
    let Some(session) = session else { return Ok(false) };
    if sabotaged!(KeepSession) {
        return Ok(true);
    }
    let (patience, failed) = match iscsi::logout(context.host, &session.endpoint, LOGOUT_LIMIT).await {
        Ok(()) => {
            (15, Ending::Failed("iscsiadm logged out, but the session is still there after 15 s".into()))
        }
        Err(error) if unknown(&error) => (1, Ending::Failed(error.to_string())),
        Err(error) => return Err(of_iscsi(error)),
    };
    let limit = context.host.now() + Duration::from_secs(patience);
    // To look whether it is still there takes a tenth of looking for all that there are.
    let stays = || iscsi::has_session(context.host, session.sid).map_err(of_iscsi);
    while stays()? || !sessions_of(context, endpoint)?.is_empty() {
        if context.host.now() > limit {
            return Err(failed);
        }
        context.host.sleep_until(context.host.now() + Duration::from_millis(20)).await;
    }
    Ok(false)
}

/// Whether a logout found no session: it has ended meanwhile. Or iscsid does not run; or it was started anew, and takes
/// the kernel's sessions over one after another (open-iscsi 2.1.8 `usr/iscsid.c` `sync_session`).
fn unknown(error: &IscsiError) -> bool {
    matches!(error.code(), Some(Iscsiadm::NoObjects | Iscsiadm::NoSession))
}

async fn put_back(context: Context<'_>, claim: &Claim, session_stays: bool) -> Fallible {
    let (host, endpoint) = (context.host, &claim.endpoint);
    if claim.made_record {
        // What a session uses stays; and of a record that has gone in the middle of a release the directory may be left.
        return match session_stays || sabotaged!(KeepRecord) {
            true => Ok(()),
            false => iscsi::delete_record(host, endpoint, DATABASE_LIMIT).await.map_err(of_iscsi),
        };
    }
    if claim.prior.is_empty() || sabotaged!(ForgetPrior) || record_of(context, endpoint)?.is_none() {
        return Ok(());
    }
    let prior: Vec<(String, String)> = BTreeMap::clone(&claim.prior).into_iter().collect();
    iscsi::write_record(host, endpoint, &prior, None, DATABASE_LIMIT).await.map_err(of_iscsi)
}

fn load(context: Context<'_>, endpoint: &Endpoint) -> Result<Claim, Ending> {
    let claim = claims::load(context.host, endpoint).map_err(of_state)?;
    Ok(claim.unwrap_or_else(|| Claim::new(endpoint.clone())))
}

/// The record, with the target's name as iscsiadm knows it: the connection may spell it otherwise.
fn record_of(context: Context<'_>, endpoint: &Endpoint) -> Result<Option<NodeRecord>, Ending> {
    Ok(iscsi::records_of_endpoint(context.host, endpoint).map_err(of_iscsi)?.into_iter().next())
}

pub(super) fn sessions_of(context: Context<'_>, endpoint: &Endpoint) -> Result<Vec<Session>, Ending> {
    iscsi::sessions_at(context.host, endpoint).map_err(of_iscsi)
}

/// Which failures of iscsiadm are worth another try: those of the database and of iscsid's absence. A login that
/// failed has had its tries inside iscsid (C4).
fn of_iscsi(error: IscsiError) -> Ending {
    match error {
        IscsiError::Host(error) if error.operation == "run" && error.is_unavailable() => {
            Ending::Host(error.to_string())
        }
        IscsiError::Host(error) => of_error(error),
        IscsiError::Failed { code, .. } if code.is_iscsid_unreachable() => Ending::Host(error.to_string()),
        IscsiError::Failed { code, .. } if passes(code) => Ending::Failed(error.to_string()),
        IscsiError::Failed { .. } => Ending::Final(error.to_string()),
    }
}

/// Failures of the database; of a login of another's that is under way (a logout then gives 9, a deletion 15: open-iscsi
/// 2.1.8, seen on a running iscsid); and of a session that an iscsid which was started anew has not connected yet (32,
/// `usr/initiator.c` `session_logout_task`).
fn passes(code: Iscsiadm) -> bool {
    use Iscsiadm::{Again, Busy, Database, Internal, NotConnected, SessionExists};
    matches!(code, Database | Busy | Again | Internal | NotConnected | SessionExists)
}

fn ended(result: Fallible) -> Ending {
    match result {
        Ok(()) => Ending::Ok,
        Err(ending) => ending,
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        of_state(error)
    }
}
