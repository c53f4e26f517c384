//! The verb disconnect.
use crate::{Cancel, Connection, DisconnectOptions, Disconnected, Error, ErrorKind, Observer};
use bowline_host::Host;

/// Which volume is meant.
#[derive(Debug, Clone)]
pub enum Which {
    /// The one of this connection.
    Connection(Box<Connection>),
    /// The attachment with this id.
    Attachment(String),
    /// The one behind this device node (or a link to it).
    Device(String),
}

/// Detaches a volume.
pub async fn disconnect(
    _host: &dyn Host,
    _which: &Which,
    _options: &DisconnectOptions,
    _observer: &dyn Observer,
    _cancel: Cancel,
) -> Result<Disconnected, Error> {
    Err(Error::new(ErrorKind::Internal, "disconnect is not there yet"))
}
