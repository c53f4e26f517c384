//! The stream from the guest to the outside, over one virtio-serial port.
//!
//! One ordered stream rather than a port per purpose: what the script printed before it ended arrives
//! before the word that it ended. The kernel's console is not used for it, because the kernel and the
//! daemons write there too.

use std::io::{self, Read, Write};

/// One message: a tag, a length (little-endian), the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The script's standard output.
    Stdout(Vec<u8>),
    /// The script's standard error.
    Stderr(Vec<u8>),
    /// A word from the guest itself: a step that is done, or a reason why it cannot go on.
    Note(String),
    /// The guest is ready, the script starts.
    Ready,
    /// A piece of the tar of what the script left in `/out`.
    Collected(Vec<u8>),
    /// The script ended with this code; the last frame.
    Exit(i32),
    /// The script was still running at its time limit; what was running then. The last frame.
    Hung(String),
}

/// A frame is at most this long: anything longer is a damaged stream.
const LIMIT: u32 = 1 << 20;

impl Frame {
    /// Writes the frame in one piece.
    ///
    /// # Errors
    /// Those of the writer; a frame of more than a mebibyte is refused.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let (tag, bytes): (u8, &[u8]) = match self {
            Self::Stdout(bytes) => (1, bytes),
            Self::Stderr(bytes) => (2, bytes),
            Self::Note(text) => (3, text.as_bytes()),
            Self::Ready => (4, &[]),
            Self::Collected(bytes) => (5, bytes),
            Self::Exit(code) => (6, &code.to_le_bytes()),
            Self::Hung(text) => (7, text.as_bytes()),
        };
        let length = u32::try_from(bytes.len()).ok().filter(|&length| length <= LIMIT);
        let length = length.ok_or_else(|| io::Error::other("a frame of more than 1 MiB"))?;
        let mut whole = Vec::with_capacity(5 + bytes.len());
        whole.push(tag);
        whole.extend_from_slice(&length.to_le_bytes());
        whole.extend_from_slice(bytes);
        out.write_all(&whole)
    }

    /// Reads the next frame; nothing where the stream ends between two.
    ///
    /// # Errors
    /// Those of the reader; a stream that is cut inside a frame, or is none of ours.
    pub fn read_from(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut tag = [0];
        if input.read(&mut tag)? == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > LIMIT {
            return Err(io::Error::other(format!("the guest announced a frame of {length} bytes")));
        }
        let mut bytes = vec![0; length as usize];
        input.read_exact(&mut bytes)?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(Some(match tag[0] {
            1 => Self::Stdout(bytes),
            2 => Self::Stderr(bytes),
            3 => Self::Note(text(&bytes)),
            4 => Self::Ready,
            5 => Self::Collected(bytes),
            6 => Self::Exit(i32::from_le_bytes(
                bytes.try_into().map_err(|_| io::Error::other("an exit code that is not 4 bytes"))?,
            )),
            7 => Self::Hung(text(&bytes)),
            other => return Err(io::Error::other(format!("an unknown frame, tag {other}"))),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent() {
        let sent = [
            Frame::Ready,
            Frame::Stdout(b"hello\n".to_vec()),
            Frame::Stderr(vec![]),
            Frame::Note("target up".into()),
            Frame::Collected(vec![0, 255]),
            Frame::Hung("ps".into()),
            Frame::Exit(-1),
        ];
        let mut wire = Vec::new();
        for frame in &sent {
            frame.write_to(&mut wire).unwrap();
        }
        let mut input = wire.as_slice();
        for frame in &sent {
            assert_eq!(Frame::read_from(&mut input).unwrap().as_ref(), Some(frame));
        }
        assert_eq!(Frame::read_from(&mut input).unwrap(), None);
    }

    #[test]
    fn a_cut_or_foreign_stream_is_an_error() {
        assert!(Frame::read_from(&mut [1, 9, 0, 0, 0, b'x'].as_slice()).is_err());
        assert!(Frame::read_from(&mut [42, 0, 0, 0, 0].as_slice()).is_err());
        assert!(Frame::read_from(&mut [1, 255, 255, 255, 255].as_slice()).is_err());
    }
}
