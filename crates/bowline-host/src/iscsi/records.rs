//! Node records: what iscsiadm calls its node database. Looked at as files; made by iscsiadm, so that the administrator's
//! iscsid.conf counts; changed and removed as files, under open-iscsi's own lock.
//!
//! Layout (open-iscsi 2.1.8 `usr/idbm.c`: `idbm_rec_write`, `idbm_for_each_portal`): `nodes/IQN/IP,PORT,TPGT/IFACE`
//! is a record; one made without a portal group tag is the *file* `nodes/IQN/IP,PORT`, and its interface stands
//! inside. An IPv6 address is written without brackets. What does not fit is somebody else's and is passed over.

use super::sessions::sessions_at;
use super::{Endpoint, IscsiError, exit, lock};
use crate::host::{Host, HostError, Program};
use crate::names::{Iface, Iqn, Portal};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::exit::Iscsiadm;

/// Where open-iscsi keeps its records: its default from 2.1.9 on (so Debian 13) and always Red Hat's, then what it was
/// before. iscsiadm knows one of them only, fixed when it was built. An upgrade may leave the older one behind, so the
/// first that exists is taken and no other.
const ROOTS: [&str; 2] = ["/var/lib/iscsi/nodes", "/etc/iscsi/nodes"];

const PASSWORD: &str = "node.session.auth.password";
const PASSWORD_IN: &str = "node.session.auth.password_in";

/// A node record in open-iscsi's database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeRecord {
    /// What it stands for.
    pub endpoint: Endpoint,
    /// The target portal group tag of its directory's name; `None` where it was made without one.
    pub tpgt: Option<u16>,
    /// The file that holds it.
    pub path: String,
}

/// CHAP secrets of one record.
#[derive(Debug, Clone)]
pub struct ChapSecrets {
    /// `node.session.auth.password`
    pub password: Secret,
    /// `node.session.auth.password_in`, for mutual CHAP.
    pub password_in: Option<Secret>,
}

/// The records of one target, in order, in whatever letter case its directory is spelt: each has the name that iscsiadm
/// knows it by. None when the target has no directory.
///
/// # Errors
/// A directory or file that is there and cannot be read.
pub fn records_of(host: &dyn Host, iqn: &Iqn) -> Result<Vec<NodeRecord>, IscsiError> {
    records_where(host, &|name| name == iqn, &|_| true)
}

/// The records of an endpoint: one, or two where there is one with a tag and one without. Of the target's other portals none is read.
///
/// # Errors
/// As [`records_of`].
pub fn records_of_endpoint(host: &dyn Host, endpoint: &Endpoint) -> Result<Vec<NodeRecord>, IscsiError> {
    let mut records = records_at(host, endpoint)?;
    records.retain(|record| record.endpoint == *endpoint);
    Ok(records)
}

/// All records, in order. None when there is no database yet.
///
/// # Errors
/// A directory or file that is there and cannot be read.
pub fn all_records(host: &dyn Host) -> Result<Vec<NodeRecord>, IscsiError> {
    records_where(host, &|_| true, &|_| true)
}

fn records_where(
    host: &dyn Host,
    of: &dyn Fn(&Iqn) -> bool,
    at: &dyn Fn(&Portal) -> bool,
) -> Result<Vec<NodeRecord>, IscsiError> {
    let Some((root, targets)) = database(host)? else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for name in targets {
        if let Some(iqn) = name.parse::<Iqn>().ok().filter(of) {
            records.append(&mut records_in(host, root, &iqn, at)?);
        }
    }
    records.sort();
    Ok(records)
}

/// The values of `keys` in a record; a key it does not have is absent, and so is every key of a record that has
/// gone. Keys of secrets (`…password…`) are never returned.
///
/// # Errors
/// The file is there and cannot be read.
pub fn settings_of(
    host: &dyn Host,
    record: &NodeRecord,
    keys: &[&str],
) -> Result<BTreeMap<String, String>, IscsiError> {
    let Some(text) = read(host, &record.path)? else { return Ok(BTreeMap::new()) };
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
    Ok(settings(&text)
        .filter(|(key, _)| keys.contains(key) && !is_secret(key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

/// Which keys of CHAP secrets a record has no value of. Never the values.
///
/// # Errors
/// The file is there and cannot be read.
pub fn secrets_missing(host: &dyn Host, record: &NodeRecord) -> Result<Vec<&'static str>, IscsiError> {
    let Some(text) = read(host, &record.path)? else { return Ok(Vec::new()) };
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
    let has = |key: &str| settings(&text).any(|(found, _)| found == key);
    Ok([PASSWORD, PASSWORD_IN].into_iter().filter(|key| !has(key)).collect())
}

/// What iscsiadm writes for a portal of a target, before anybody has changed it. It is the same for every other portal of the target and
/// interface, but for address and port (2.1.8 `idbm_create_rec`, `idbm_node_setup_from_conf`).
pub struct Pattern {
    directory: String,
    /// iscsid.conf may have secrets in it.
    record: zeroize::Zeroizing<Vec<u8>>,
}

/// `iscsiadm -m node -T IQN -p PORTAL -I IFACE -o new`, unless the record is there already: `-o new` overwrites
/// one without a portal group tag, and puts a second one beside one that has it (2.1.8 `idbm_add_node`).
/// The new record is the file `IP,PORT`, with the defaults of iscsid.conf; `-p PORTAL` finds it later. What it is, where it was made.
///
/// # Errors
/// Also when another interface's record without a tag is in the place: iscsiadm would delete it.
pub async fn create_record(
    host: &dyn Host,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<Option<Pattern>, IscsiError> {
    for there in records_at(host, endpoint)? {
        if there.endpoint == *endpoint {
            return Ok(None);
        }
        if there.tpgt.is_none() {
            let why = format!("the record of interface {} is in its place", there.endpoint.iface);
            return Err(unfit("make the node record of", endpoint, why));
        }
    }
    exit::run(host, node(endpoint, &["-o", "new"], limit), &[]).await?;
    let mut pattern = None;
    for NodeRecord { tpgt, path, .. } in records_of_endpoint(host, endpoint)? {
        let Some(record) = read(host, &path)? else { continue };
        if is_torn(&record) {
            let why =
                format!("iscsiadm has left {path} unfinished; is the file system of the node database full?");
            return Err(unfit("make the node record of", endpoint, why));
        }
        if let (None, Some((directory, _))) = (tpgt, path.rsplit_once('/')) {
            pattern = Some(Pattern { directory: directory.to_owned(), record });
        }
    }
    Ok(pattern)
}

/// Makes the record as iscsiadm would, from what it has written for another portal of the same target and interface. False, and
/// nothing done, where the portal has a record of any interface: where ours goes then depends on iscsiadm's version (2.1.11
/// `idbm_rec_write_old` puts it beside one with a tag). So it is where the pattern's directory has gone with its last record.
///
/// # Errors
/// The lock was not free within `limit`; the database cannot be read or written.
pub async fn copy_record(
    host: &dyn Host,
    pattern: &Pattern,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<bool, IscsiError> {
    let mut copied = false;
    lock::under(host, limit, || {
        if !records_at(host, endpoint)?.is_empty() || list(host, &pattern.directory)?.is_none() {
            return Ok(());
        }
        let (address, port) = (endpoint.portal.address.to_string(), endpoint.portal.port.to_string());
        let lines = [("node.conn[0].address", address.as_str()), ("node.conn[0].port", port.as_str())];
        let path = format!("{}/{address},{port}", pattern.directory);
        host.replace_file(&path, &edited(&pattern.record, &lines))?;
        copied = true;
        Ok(())
    })
    .await?;
    Ok(copied)
}

/// The records of every interface at an endpoint's portal.
fn records_at(host: &dyn Host, endpoint: &Endpoint) -> Result<Vec<NodeRecord>, IscsiError> {
    records_where(host, &|iqn| *iqn == endpoint.iqn, &|portal| *portal == endpoint.portal)
}

/// Edits settings and secrets into the record, all of them or none, under open-iscsi's own lock: a file less to execute
/// than `iscsiadm -o update`, whose arguments every user can read (B8). A setting whose value is empty is taken out, and
/// a `password_in` of `None` is left alone. Where an endpoint has two records (with a tag and without), both are
/// edited, as iscsiadm would. Nothing to write is no call.
///
/// # Errors
/// No record; the lock was not free within `limit`; a value open-iscsi could not read back (a secret that is empty; more
/// than 255 bytes, control characters or white space at an end: 2.1.8 `idbm_recinfo_config`). None names a secret.
pub async fn write_record(
    host: &dyn Host,
    endpoint: &Endpoint,
    settings: &[(String, String)],
    secrets: Option<&ChapSecrets>,
    limit: Duration,
) -> Result<(), IscsiError> {
    let secret = secrets.map(|secrets| (PASSWORD, secrets.password.reveal()));
    let secret_in = secrets.and_then(|secrets| secrets.password_in.as_ref());
    let hidden: Vec<(&str, &str)> =
        secret.into_iter().chain(secret_in.map(|secret| (PASSWORD_IN, secret.reveal()))).collect();
    let plain = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut to_store = plain.clone().filter(|(_, value)| !value.is_empty()).chain(hidden.iter().copied());
    if let Some((key, _)) = to_store.find(|(_, value)| !is_storable(value)) {
        let why =
            format!("{key} must have 1 to 255 bytes, no control characters, no white space at its ends");
        return Err(unfit("write the record of", endpoint, why));
    }
    let lines: Vec<(&str, &str)> = plain.chain(hidden.iter().copied()).collect();
    match lines.is_empty() {
        true => Ok(()),
        false => lock::under(host, limit, || edit_all(host, endpoint, &lines)).await,
    }
}

/// Removes the record. One that is absent is no error; nor is the directory of a target without a record, which goes, too. Ours have no
/// tag and no link from a discovery to them, so removing the file is all that iscsiadm would do (2.1.8 `idbm_delete_node`) after it
/// has looked for sessions, and it works also where iscsiadm cannot read what an iscsiadm that ran out of space has left (code 21).
/// Where there is a tag, iscsiadm does it; a tag that appeared while the lock was waited for is left for the next try.
///
/// # Errors
/// A session uses the record (with a tag [`Iscsiadm::SessionExists`], also while a login has a sid).
pub async fn delete_record(host: &dyn Host, endpoint: &Endpoint, limit: Duration) -> Result<(), IscsiError> {
    let records = records_of_endpoint(host, endpoint)?;
    if let Some(record) = records.iter().find(|record| record.tpgt.is_some()) {
        return delete_tagged(host, &record.endpoint, limit).await;
    }
    if records.is_empty() {
        return remove_empty(host, endpoint, limit).await;
    }
    lock::under(host, limit, || {
        if !sessions_at(host, endpoint)?.is_empty() {
            let why = "a session uses it";
            return Err(unfit("remove the node record of", endpoint, why));
        }
        let records = records_of_endpoint(host, endpoint)?;
        if records.iter().any(|record| record.tpgt.is_some()) {
            let why = "it has got a tag meanwhile";
            return Err(unfit("remove the node record of", endpoint, why));
        }
        records.iter().try_for_each(|record| remove(host, &record.path))
    })
    .await
}

/// Two deletions of records with a tag of one target at once: iscsiadm walks the directories of all the target's portals, and when
/// one vanishes under it, it says "database error" although its own record is gone (open-iscsi 2.1.8, seen running). So
/// the database is asked. The endpoint is named as in its record.
async fn delete_tagged(host: &dyn Host, endpoint: &Endpoint, limit: Duration) -> Result<(), IscsiError> {
    let deleted = exit::run(host, node(endpoint, &["-o", "delete"], limit), &[Iscsiadm::NoObjects]).await;
    match (records_of_endpoint(host, endpoint)?.is_empty(), deleted) {
        (true, _) => Ok(()),
        (false, Ok(())) => {
            let why = "iscsiadm says that it did, but it is still there";
            Err(unfit("remove the node record of", endpoint, why))
        }
        (false, failed) => failed,
    }
}

/// Removes a target's directory that has no record in it any more: who removed the last one was killed before he could.
async fn remove_empty(host: &dyn Host, endpoint: &Endpoint, limit: Duration) -> Result<(), IscsiError> {
    let Some((root, _)) = database(host)? else { return Ok(()) };
    let directory = format!("{root}/{}", endpoint.iqn);
    if list(host, &directory)?.is_none_or(|names| !names.is_empty()) {
        return Ok(());
    }
    let record = format!("{directory}/{},{}", endpoint.portal.address, endpoint.portal.port);
    lock::under(host, limit, || remove(host, &record)).await
}

/// Why an operation on the record of an endpoint is not done.
fn unfit(operation: &'static str, endpoint: &Endpoint, why: impl Into<String>) -> IscsiError {
    HostError::unavailable(operation, endpoint.to_string(), why).into()
}

/// Removes a record's file, and with the last one the target's directory. One that is absent is no error.
fn remove(host: &dyn Host, record: &str) -> Result<(), IscsiError> {
    match host.remove_file(record) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(HostError::io("remove", record, error).into())
        }
        _ => Ok(()),
    }
}

/// Whether a record was not written to its end: every whole one ends with a comment that says so (2.1.8 `idbm_print`). iscsiadm does
/// not look at whether its writes succeeded.
fn is_torn(record: &[u8]) -> bool {
    !record.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"# END RECORD"))
}

/// An iscsiadm call about one record. It works on the database, so at its limit it is left running.
pub(super) fn node(endpoint: &Endpoint, rest: &[&str], limit: Duration) -> Program {
    let Endpoint { iqn, portal, iface } = endpoint;
    let portal = portal.to_string();
    let start = ["-m", "node", "-T", iqn.as_str(), "-p", &portal, "-I", iface.as_str()];
    let args = start.iter().chain(rest).map(|arg| (*arg).to_owned()).collect();
    Program { name: "iscsiadm", args, limit, abandon: true, keeps_locks: true }
}

/// Where the database is, and the names of its targets' directories.
fn database(host: &dyn Host) -> Result<Option<(&'static str, Vec<String>)>, HostError> {
    for root in ROOTS {
        if let Some(targets) = list(host, root)? {
            return Ok(Some((root, targets)));
        }
    }
    Ok(None)
}

fn records_in(
    host: &dyn Host,
    root: &str,
    iqn: &Iqn,
    at: &dyn Fn(&Portal) -> bool,
) -> Result<Vec<NodeRecord>, IscsiError> {
    let mut records = Vec::new();
    let target = format!("{root}/{iqn}");
    for name in list(host, &target)?.unwrap_or_default() {
        let Some((portal, tpgt)) = portal_of(&name).filter(|(portal, _)| at(portal)) else { continue };
        let path = format!("{target}/{name}");
        let mut found = |iface: Iface, path: String| {
            let endpoint = Endpoint { iqn: iqn.clone(), portal, iface };
            records.push(NodeRecord { endpoint, tpgt, path });
        };
        if tpgt.is_none() {
            if let Some(text) = read(host, &path)? {
                let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
                if let Some(iface) = iface_in(&text) {
                    found(iface, path);
                }
            }
            continue;
        }
        for file in list(host, &path)?.unwrap_or_default() {
            if let Ok(iface) = file.parse() {
                found(iface, format!("{path}/{file}"));
            }
        }
    }
    records.sort();
    Ok(records)
}

/// `IP,PORT[,TPGT]`; anything else is not ours.
fn portal_of(name: &str) -> Option<(Portal, Option<u16>)> {
    let mut parts = name.split(',');
    let address: IpAddr = parts.next()?.parse().ok()?;
    let port: u16 = parts.next()?.parse().ok().filter(|port| *port != 0)?;
    let tpgt = match parts.next() {
        Some(tag) => Some(tag.parse().ok()?),
        None => None,
    };
    parts.next().is_none().then_some((Portal { address, port }, tpgt))
}

/// The interface a record without a tag is bound to: `default` when it does not say; `None` for garbage.
fn iface_in(text: &str) -> Option<Iface> {
    match settings(text).find(|(key, _)| *key == "iface.iscsi_ifacename") {
        Some((_, name)) => name.parse().ok(),
        None => Some(Iface::default()),
    }
}

/// The `key = value` lines, as `idbm_recinfo_config` reads them. `<empty>` is how a listing shows no value.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .filter(|(key, value)| !key.is_empty() && !value.is_empty() && *value != "<empty>")
}

fn is_secret(key: &str) -> bool {
    key.to_ascii_lowercase().contains("password")
}

fn is_storable(secret: &str) -> bool {
    !secret.is_empty()
        && secret.len() <= 255
        && secret.trim() == secret
        && !secret.chars().any(|c| c.is_control())
}

fn edit_all(host: &dyn Host, endpoint: &Endpoint, lines: &[(&str, &str)]) -> Result<(), IscsiError> {
    let records = records_of_endpoint(host, endpoint)?;
    if records.is_empty() {
        let why = "it has no node record";
        return Err(unfit("write the record of", endpoint, why));
    }
    for record in records {
        let old = host.read(&record.path).map_err(|e| HostError::io("read", record.path.as_str(), e))?;
        let old = zeroize::Zeroizing::new(old);
        let new = edited(&old, lines);
        if *new != *old {
            host.replace_file(&record.path, &new)?;
        }
    }
    Ok(())
}

/// The record with each of `lines` in the place of the old one, or before its closing comment; an empty value is a line
/// less.
fn edited(old: &[u8], lines: &[(&str, &str)]) -> zeroize::Zeroizing<Vec<u8>> {
    // Room for everything at once: a vector that grows would leave copies of the secrets behind.
    let room = lines.iter().map(|(key, value)| key.len() + value.len() + 4).sum::<usize>();
    let mut new = zeroize::Zeroizing::new(Vec::with_capacity(old.len() + room + 1));
    let write = |new: &mut Vec<u8>, (key, value): (&str, &str)| {
        let parts = [key, " = ", value, "\n"];
        let parts = if value.is_empty() { &[][..] } else { &parts[..] };
        parts.iter().for_each(|part| new.extend_from_slice(part.as_bytes()));
    };
    let mut pending: Vec<_> = lines.to_vec();
    for line in old.split_inclusive(|byte| *byte == b'\n') {
        let key = line.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        if lines.iter().any(|(name, _)| name.as_bytes() == key) {
            if let Some(at) = pending.iter().position(|(name, _)| name.as_bytes() == key) {
                write(&mut new, pending.remove(at));
            }
            continue;
        }
        if key.starts_with(b"# END RECORD") {
            pending.drain(..).for_each(|line| write(&mut new, line));
        }
        new.extend_from_slice(line);
    }
    if new.last().is_some_and(|byte| *byte != b'\n') {
        new.push(b'\n');
    }
    pending.drain(..).for_each(|line| write(&mut new, line));
    new
}

/// A directory's names; `None` when it is not there, or is no directory.
fn list(host: &dyn Host, path: &str) -> Result<Option<Vec<String>>, HostError> {
    absent_is_none(host.list(path)).map_err(|error| HostError::io("list", path, error))
}

/// A file's bytes, wiped when dropped; `None` when it is not there, or is no file.
fn read(host: &dyn Host, path: &str) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, HostError> {
    let bytes = absent_is_none(host.read(path)).map_err(|error| HostError::io("read", path, error))?;
    Ok(bytes.map(zeroize::Zeroizing::new))
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | IsADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
