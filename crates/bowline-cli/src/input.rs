//! Connections from files and standard input.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bowline::connection::MAX_BYTES;
use bowline::{Connection, Error, ErrorKind};

/// Reads a connection from a file, or from standard input for `-`. Nothing on the host is touched before.
pub fn connection(source: &OsStr) -> Result<Connection, Error> {
    if source.to_string_lossy().trim_start().starts_with('{') {
        // Not to be echoed: there may be a secret in it, and it has been seen by `ps` already.
        let message = "the connection must be a file or -, not the JSON itself";
        return Err(Error::new(ErrorKind::Input, message)
            .hint("anyone on this host can read arguments; hand it over on standard input, with -"));
    }
    let (name, bytes) = match source == "-" {
        true => ("standard input".to_string(), slurp(io::stdin().lock())),
        false => (source.display().to_string(), open(Path::new(source)).and_then(slurp)),
    };
    let bytes = bytes.map_err(|error| {
        Error::new(ErrorKind::Input, format!("the connection cannot be read from {name}")).cause(error)
    })?;
    Connection::from_json(&bytes).map_err(|error| {
        Error::new(ErrorKind::Input, format!("the connection in {name} is wrong")).cause(error)
    })
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::Error::other("it is a directory; expected a file")),
        false => Ok(file),
    }
}

/// Reads to the end, but at most one byte more than a connection may have: that byte is what tells that it is
/// too large.
fn slurp(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
