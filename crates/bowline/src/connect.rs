//! The verb connect.
use crate::{Cancel, ConnectOptions, Connected, Connection, Error, ErrorKind, Observer};
use bowline_host::Host;

/// Attaches a volume.
pub async fn connect(
    _host: &dyn Host,
    _connection: &Connection,
    _options: &ConnectOptions,
    _observer: &dyn Observer,
    _cancel: Cancel,
) -> Result<Connected, Error> {
    Err(Error::new(ErrorKind::Internal, "connect is not there yet"))
}
