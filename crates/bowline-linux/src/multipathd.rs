//! Asking multipathd.
//!
//! A message either way is a native `size_t` length that counts the final NUL, then the string with its NUL
//! (multipath-tools 0.9.4 `libmpathcmd/mpath_cmd.c`). One connection serves one command: connecting costs
//! some microseconds, and a reply that comes too late cannot then be taken for the answer to the next command.
//!
//! Anyone may bind the abstract address while multipathd is down, so a server that is not root (nor
//! ourselves, for tests) is not believed.

use std::io;
use std::time::Duration;

use bowline_host::HostError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// libmultipath `_MAX_CMD_LEN`: longer commands close the connection.
const LONGEST_COMMAND: usize = 512;
/// `show maps json` of a thousand maps is about a megabyte.
const LONGEST_REPLY: usize = 16 << 20;
/// A socket whose queue of connections is full has no event for the one who wants in.
const POLL: Duration = Duration::from_millis(10);

/// Sends one command and returns the reply without its final NUL and newline.
pub(crate) async fn ask(sockets: &[String], command: &str, limit: Duration) -> Result<String, HostError> {
    let message = frame(command).map_err(|why| HostError::unavailable("ask multipathd", command, why))?;
    match tokio::time::timeout(limit, exchange(sockets, &message)).await {
        Err(_) => Err(HostError::timed_out("ask multipathd", command, limit)),
        Ok(Err(error)) if is_absence(&error) => {
            Err(HostError::unavailable("ask multipathd", command, "multipathd is not running"))
        }
        Ok(Err(error)) => Err(HostError::io("ask multipathd", command, error)),
        Ok(Ok(reply)) => Ok(reply),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn exchange(sockets: &[String], message: &[u8]) -> io::Result<String> {
    let mut stream = connect(sockets).await?;
    stream.write_all(message).await?;
    let mut length = [0; size_of::<usize>()];
    stream.read_exact(&mut length).await?;
    let length = usize::from_ne_bytes(length);
    if length == 0 || length > LONGEST_REPLY {
        let why = format!("a reply of {length} bytes was announced, at most {LONGEST_REPLY} are accepted");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // Grown as bytes arrive: a length alone must not make us allocate.
    let mut reply = Vec::new();
    stream.take(length as u64).read_to_end(&mut reply).await?;
    if reply.len() < length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the reply ended early"));
    }
    Ok(text(&reply))
}

/// Connects to the first socket that anyone listens on.
async fn connect(sockets: &[String]) -> io::Result<UnixStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for socket in sockets {
        match connect_one(socket).await {
            Ok(stream) => return trusted(stream),
            Err(error) if is_absence(&error) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn connect_one(socket: &str) -> io::Result<UnixStream> {
    // tokio takes a leading NUL for an abstract address, whose length then ends with the name.
    let address = match socket.strip_prefix('@') {
        Some(name) => format!("\0{name}"),
        None => socket.to_owned(),
    };
    loop {
        match UnixStream::connect(&address).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(POLL).await,
            result => return result,
        }
    }
}

fn trusted(stream: UnixStream) -> io::Result<UnixStream> {
    let server = stream.peer_cred()?.uid();
    match server == 0 || server == rustix::process::geteuid().as_raw() {
        true => Ok(stream),
        false => {
            let why = format!("user {server}, not root, listens on multipathd's socket");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
    }
}

fn frame(command: &str) -> Result<Vec<u8>, &'static str> {
    if command.is_empty() || command.contains(['\0', '\n']) {
        return Err("a command is one line of text");
    }
    if command.len() + 1 > LONGEST_COMMAND {
        return Err("multipathd takes at most 511 bytes");
    }
    let mut message = (command.len() + 1).to_ne_bytes().to_vec();
    message.extend_from_slice(command.as_bytes());
    message.push(0);
    Ok(message)
}

fn text(reply: &[u8]) -> String {
    let end = reply.iter().position(|byte| *byte == 0).unwrap_or(reply.len());
    let text = String::from_utf8_lossy(&reply[..end]);
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_the_nul() {
        let message = frame("show daemon").unwrap();
        assert_eq!(message[..size_of::<usize>()], 12_usize.to_ne_bytes());
        assert_eq!(&message[size_of::<usize>()..], b"show daemon\0");
    }

    #[test]
    fn commands_multipathd_would_not_take_are_refused() {
        assert!(frame("").is_err());
        assert!(frame("a\0b").is_err());
        assert!(frame(&"x".repeat(512)).is_err());
        assert!(frame(&"x".repeat(511)).is_ok());
    }

    #[test]
    fn one_newline_and_the_nul_are_taken_off() {
        assert_eq!(text(b"ok\n\0"), "ok");
        assert_eq!(text(b"fail\nwhy\n\n\0"), "fail\nwhy\n");
        assert_eq!(text(b"no nul"), "no nul");
    }
}
