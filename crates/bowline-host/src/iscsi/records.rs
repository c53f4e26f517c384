//! Node records.
use super::{Endpoint, IscsiError};
use crate::host::Host;
use crate::names::Iqn;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::time::Duration;

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

/// The records of one target.
pub fn records_of(_host: &dyn Host, _iqn: &Iqn) -> Result<Vec<NodeRecord>, IscsiError> {
    Ok(Vec::new())
}
/// All records.
pub fn all_records(_host: &dyn Host) -> Result<Vec<NodeRecord>, IscsiError> {
    Ok(Vec::new())
}
/// The values of `keys` in a record; a key it does not have is absent.
pub fn settings_of(
    _host: &dyn Host,
    _record: &NodeRecord,
    _keys: &[&str],
) -> Result<BTreeMap<String, String>, IscsiError> {
    Ok(BTreeMap::new())
}
/// `iscsiadm -m node -T IQN -p PORTAL -I IFACE -o new`: only if absent, since it overwrites.
pub async fn create_record(
    _host: &dyn Host,
    _endpoint: &Endpoint,
    _limit: Duration,
) -> Result<(), IscsiError> {
    Ok(())
}
/// One `-o update` with every pair. Never a secret.
pub async fn update_record(
    _host: &dyn Host,
    _endpoint: &Endpoint,
    _settings: &[(String, String)],
    _limit: Duration,
) -> Result<(), IscsiError> {
    Ok(())
}
/// Edits secrets into the record under open-iscsi's own lock.
pub async fn write_secrets(
    _host: &dyn Host,
    _endpoint: &Endpoint,
    _secrets: &ChapSecrets,
    _limit: Duration,
) -> Result<(), IscsiError> {
    Ok(())
}
/// `-o delete`. A record that is absent is no error.
pub async fn delete_record(
    _host: &dyn Host,
    _endpoint: &Endpoint,
    _limit: Duration,
) -> Result<(), IscsiError> {
    Ok(())
}
