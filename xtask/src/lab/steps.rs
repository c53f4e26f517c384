//! The lines on standard error that say what a run is doing and how long it has taken.

use std::time::Instant;

/// A clock that started with the command.
pub struct Steps {
    start: Instant,
    quiet: bool,
}

impl Steps {
    /// Starts the clock.
    pub fn start() -> Self {
        Self { start: Instant::now(), quiet: false }
    }

    /// Says no more.
    pub fn quiet(&mut self) {
        self.quiet = true;
    }

    /// Says that a step is done.
    pub fn done(&mut self, step: &str) {
        self.say(step);
    }

    /// A line with the time since the start.
    pub fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        eprintln!("lab {:6.2}s  {line}", self.start.elapsed().as_secs_f64());
    }
}
