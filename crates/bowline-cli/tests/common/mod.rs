//! Runs the built command where it can reach nothing: state and locks in a directory of its own.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A directory of one test; it goes with it.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bowline-cli-{}-{number}", std::process::id()));
        for folder in ["state", "run"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        // Root's umask may keep others out, and one test is another user.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    /// A file of this place.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The command, with nothing on standard input.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        self.command_at(Path::new(env!("CARGO_BIN_EXE_bowline")), args)
    }

    pub fn command_at<S: AsRef<OsStr>>(&self, program: &Path, args: &[S]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().stdin(Stdio::null()).current_dir(&self.0);
        command.env("BOWLINE_STATE_DIR", self.0.join("state")).env("BOWLINE_RUN_DIR", self.0.join("run"));
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// Runs with that on standard input; it may end before it has read all.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::from(child.wait_with_output().unwrap())
    }

    /// Nothing was written down, no lock was taken: then nothing else was touched either.
    #[track_caller]
    pub fn assert_untouched(&self) {
        for folder in ["state", "run"] {
            let names: Vec<_> = fs::read_dir(self.0.join(folder)).unwrap().collect();
            assert!(names.is_empty(), "{folder} holds {names:?}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The error object: the only thing on standard output, on one line, with standard error silent.
    #[track_caller]
    pub fn error(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        assert_eq!(self.stderr, "", "{self:?}");
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(value["schema"], 1);
        let mut keys: Vec<_> = value["error"].as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort();
        assert_eq!(keys, ["causes", "hints", "kind", "leftovers", "message"]);
        value["error"].clone()
    }
}
