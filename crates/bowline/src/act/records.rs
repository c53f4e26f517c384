//! Making node records. iscsiadm makes the first of a target, so that the administrator's iscsid.conf counts; those for its other portals
//! are made from it: a start of iscsiadm takes longer than all else there is to do before a login.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_host::iscsi::{self, Endpoint, IscsiError, Pattern};
use bowline_host::{Host, Iface, Iqn};
use futures_util::future::{Either, select};
use futures_util::lock::Mutex;

/// What iscsiadm writes for one target and interface; `None` before it has written, or where it could not.
type Slot = Arc<Mutex<Option<Pattern>>>;

/// What iscsiadm has written for this verb.
#[derive(Default)]
pub(crate) struct Patterns(Mutex<BTreeMap<(Iqn, Iface), Slot>>);

/// iscsiadm is that quick where nothing is wrong. Where something is, each endpoint has its own, as many at once as there are.
const PATIENCE: Duration = Duration::from_secs(1);

impl Patterns {
    /// Makes the record of an endpoint that has none. While the first of a target is being made the others wait, but not for long.
    pub(super) async fn make(
        &self,
        host: &dyn Host,
        endpoint: &Endpoint,
        limit: Duration,
    ) -> Result<(), IscsiError> {
        let key = (endpoint.iqn.clone(), endpoint.iface.clone());
        let slot = Arc::clone(self.0.lock().await.entry(key).or_default());
        let patience = pin!(host.sleep_until(host.now() + PATIENCE));
        let Either::Left((mut pattern, _)) = select(slot.lock(), patience).await else {
            return iscsi::create_record(host, endpoint, limit).await.map(drop);
        };
        // Where copying fails it is kept no longer: the next try is iscsiadm's.
        let known = pattern.take();
        let copied = match &known {
            Some(known) => iscsi::copy_record(host, known, endpoint, limit).await?,
            None => false,
        };
        *pattern = if copied { known } else { iscsi::create_record(host, endpoint, limit).await?.or(known) };
        Ok(())
    }
}
