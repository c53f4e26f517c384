//! The guest's end of the stream of frames.

use std::fs::{self, File};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use lab_wire::{Context, Failure, Frame, paths};

/// The virtio-serial port; clones share it, and a frame is never torn.
#[derive(Clone)]
pub struct Channel {
    port: Arc<Mutex<File>>,
    start: Instant,
}

impl Channel {
    /// Finds the port by its name and opens it.
    pub fn open() -> Result<Self, Failure> {
        let folder = "/sys/class/virtio-ports";
        let entries = fs::read_dir(folder).context(|| format!("cannot read {folder}"))?;
        let port = entries
            .flatten()
            .find(|entry| {
                let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
                name.trim() == paths::PORT_NAME
            })
            .ok_or_else(|| Failure::new(format!("no port named {}", paths::PORT_NAME)))?;
        let device = std::path::Path::new("/dev").join(port.file_name());
        let file = File::options().write(true).open(&device);
        let file = file.context(|| format!("cannot open {}", device.display()))?;
        Ok(Self { port: Arc::new(Mutex::new(file)), start: Instant::now() })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &Frame) -> Result<(), Failure> {
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        frame.write_to(&mut *port).context(|| "cannot send to the outside")
    }

    /// Sends a word on how far we are, with the time since the guest's program started.
    pub fn note(&self, what: &str) -> Result<(), Failure> {
        let since = self.start.elapsed().as_secs_f64();
        self.send(&Frame::Note(format!("{what} at {since:.2}")))
    }
}
