//! open-iscsi's node database: files below its root, and its lock, which is a file.
//!
//! Layout and lock: open-iscsi 2.1.8 `usr/idbm.c` (see the client in bowline-host). A record that `-o new` makes has no tag
//! and is the file `IP,PORT`.

use std::collections::BTreeMap;

/// The files.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// Path to bytes, below the root and with it.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The lock's bytes while it is there.
    pub lock: Option<Vec<u8>>,
    /// The bowline that made it lives.
    pub lock_is_held: bool,
}

/// Where a CHAP secret stands in a record.
pub const RECORD_SECRET_KEY: &str = "node.session.auth.password";

impl Database {
    /// A setting of a record.
    pub fn setting(&self, path: &str, key: &str) -> Option<String> {
        let text = String::from_utf8_lossy(self.files.get(path)?).into_owned();
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(found, _)| found.trim() == key).map(|(_, value)| value.trim().to_owned())
    }

    /// The record of an endpoint, with a tag or without.
    pub fn record(&self, root: &str, iqn: &str, address: &str) -> Option<String> {
        let plain = format!("{root}/{iqn}/{address},3260");
        let tagged = format!("{plain},1/default");
        [plain, tagged].into_iter().find(|path| self.files.contains_key(path))
    }
}

/// What `-o new` writes: the defaults of iscsid.conf (testdata/open-iscsi/2.1.8/record). One before 2.0.875 knows no
/// `node.session.scan` (findings: "An old open-iscsi brings in every LUN").
pub fn new_record(iqn: &str, address: &str, old: bool) -> Vec<u8> {
    let scan = if old { "" } else { "node.session.scan = auto\n" };
    format!(
        "# BEGIN RECORD 2.1.8\nnode.name = {iqn}\nnode.tpgt = -1\nnode.startup = automatic\n\
         iface.iscsi_ifacename = default\niface.transport_name = tcp\n\
         node.session.initial_login_retry_max = 8\nnode.session.auth.authmethod = None\n\
         node.session.timeo.replacement_timeout = 120\n{scan}node.conn[0].address = {address}\n\
         node.conn[0].port = 3260\nnode.conn[0].timeo.login_timeout = 15\n# END RECORD\n"
    )
    .into_bytes()
}
