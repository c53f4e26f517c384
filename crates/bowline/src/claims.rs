//! Claims: who made and who uses an endpoint's node record and session (B6).
//!
//! A claim is a file, not a lock: it is changed under the portal's lock, which is held for moments, and it says
//! for as long as attachments live that they need the session. The last one out logs out, and leaves records
//! and values that others made as they were (D4).

use std::collections::{BTreeMap, BTreeSet};

use bowline_host::Host;
use bowline_host::iscsi::Endpoint;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::journal::{self, digest};
use crate::sabotage::sabotaged;

/// A claim on one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Version of this form.
    pub schema: u32,
    /// What is claimed.
    pub endpoint: Endpoint,
    /// The record was made by bowline.
    pub made_record: bool,
    /// The session was made by bowline.
    pub made_session: bool,
    /// The record was set, and a login may use it. Whoever goes on with what another process has begun sees that it is
    /// there, but not that it was set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prepared: bool,
    /// Its open-iscsi cannot leave the scanning to us: every LUN of the target comes in with a login (C15).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scans_by_itself: bool,
    /// When a login that was begun is over at the latest, in milliseconds of the host's monotonic clock (its boot is
    /// the origin). iscsid goes on with it when the process that asked for it dies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_until: Option<u64>,
    /// Values that bowline changed in a record others made, as they were.
    pub prior: BTreeMap<String, String>,
    /// The attachments that use it, by id.
    pub users: BTreeSet<String>,
}

const FOLDER: &str = "claims";

impl Claim {
    /// A first claim, used by nobody yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            schema: journal::SCHEMA,
            endpoint,
            made_record: false,
            made_session: false,
            prepared: false,
            scans_by_itself: false,
            login_until: None,
            prior: BTreeMap::new(),
            users: BTreeSet::new(),
        }
    }
}

impl Claim {
    /// Whether every LUN below the session came in with its login, for this attachment: bowline has made it, nobody else uses
    /// it, and its open-iscsi scans by itself.
    pub fn brought_all_in(&self, id: &str) -> bool {
        self.scans_by_itself && self.made_session && self.users.iter().eq([id])
    }
}

impl Claim {
    /// The login that was noted with `until` is over, or may land until `over`. What another process has noted meanwhile for its
    /// own login stays; where `over` is later it holds for both, and then it is no login's own: whoever knows one of the two
    /// to be over knows nothing of the other.
    pub(crate) fn login_is_over(&mut self, until: u64, over: Option<u64>) {
        self.login_until = match (self.login_until, over) {
            (Some(noted), Some(over)) if noted != until && over > noted => Some(over + 1),
            (Some(noted), _) if noted != until => Some(noted),
            _ => over,
        };
    }
}

/// The lock under which an endpoint's claim and record are changed.
pub fn lock_name(endpoint: &Endpoint) -> String {
    format!("portal-{}", key(endpoint))
}

/// What stands for an endpoint in the names of its lock and its file.
pub(crate) fn key(endpoint: &Endpoint) -> String {
    digest(&format!("{} {} {}", endpoint.iqn.folded(), endpoint.portal, endpoint.iface))
}

fn file(endpoint: &Endpoint) -> String {
    format!("{FOLDER}/{}.json", key(endpoint))
}

/// The claim on an endpoint.
///
/// # Errors
/// When the file cannot be read or is damaged; it is named.
pub fn load(host: &dyn Host, endpoint: &Endpoint) -> Result<Option<Claim>, Error> {
    journal::load_json(host, &file(endpoint))
}

/// The claims on those endpoints.
///
/// # Errors
/// As [`load`].
pub fn load_of<'a>(
    host: &dyn Host,
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
) -> Result<BTreeMap<Endpoint, Claim>, Error> {
    let mut claims = BTreeMap::new();
    for endpoint in endpoints {
        if let Some(claim) = load(host, endpoint)? {
            claims.insert(endpoint.clone(), claim);
        }
    }
    Ok(claims)
}

/// Every claim of this host.
///
/// # Errors
/// As [`load`].
pub fn load_all(host: &dyn Host) -> Result<Vec<Claim>, Error> {
    let names = host.list_state(FOLDER)?;
    names
        .iter()
        .filter_map(|name| journal::load_json(host, &format!("{FOLDER}/{name}")).transpose())
        .collect()
}

/// Writes a claim; one that nobody uses is removed.
///
/// # Errors
/// When the file cannot be written.
pub fn store(host: &dyn Host, claim: &Claim) -> Result<(), Error> {
    match claim.users.is_empty() && !sabotaged!(KeepClaim) {
        true => Ok(host.remove_state(&file(&claim.endpoint))?),
        false => journal::store_json(host, &file(&claim.endpoint), claim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14: a login of another process is not forgotten with one that is over.
    #[test]
    fn d14_what_is_noted_of_two_logins_is_neither_ones_alone() {
        let after = |noted, until, over| {
            let endpoint = Endpoint {
                iqn: "iqn.2026-11.net.example:array".parse().unwrap(),
                portal: "10.0.0.1:3260".parse().unwrap(),
                iface: Default::default(),
            };
            let mut claim = Claim { login_until: Some(noted), ..Claim::new(endpoint) };
            claim.login_is_over(until, over);
            claim.login_until
        };
        assert_eq!(after(20, 20, None), None);
        assert_eq!(after(20, 20, Some(10)), Some(10), "what was noted before holds again");
        assert_eq!(after(30, 20, None), Some(30), "another's");
        assert_eq!(after(30, 20, Some(10)), Some(30));
        assert_eq!(after(30, 20, Some(50)), Some(51), "the first one's owner may know that it is over");
    }
}
