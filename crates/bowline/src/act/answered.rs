//! Logins that are over for certain, so that nobody has to look for who may still wait for one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bowline_host::iscsi::Endpoint;

use crate::claims::{self, Claim};
use crate::journal::Attachment;

/// What iscsid has answered this verb.
#[derive(Default)]
pub(crate) struct Answered(Mutex<BTreeMap<String, u64>>);

impl Answered {
    /// Notes that the login is over which a claim had noted as under way until then, and that no other had been noted before.
    pub(super) fn note(&self, endpoint: &Endpoint, until: u64) {
        let mut answered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answered.insert(claims::key(endpoint), until);
    }

    /// What an attachment writes down of it: at no cost, since it is written when it is handed out. To say so in the claims
    /// would be one more durable write for each path.
    pub(crate) fn write_down(&self, journal: &mut Attachment) {
        journal.answered.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether an attachment knows that what a claim says of a login is over.
pub(super) fn knows(journal: Option<&Attachment>, claim: &Claim) -> bool {
    let known = journal.and_then(|journal| journal.answered.get(&claims::key(&claim.endpoint)));
    known.is_some() && known == claim.login_until.as_ref()
}
