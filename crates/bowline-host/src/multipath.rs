//! multipathd, through its socket, and the file of the identities it knows. Its answers are hints: device-mapper tells the truth.

use crate::host::{Host, HostError, Patch, Program};
use crate::names::{BlockName, MapName, Wwid};
use std::io::ErrorKind;
use std::time::Duration;

/// What multipathd answered to a command that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `ok`. Not yet usable, not yet gone: look.
    Ok,
    /// `timeout`: its lock was busy for more than 4 s; it did nothing.
    NotExecuted,
    /// `blacklisted`: by its configuration, or the device does not exist.
    Blacklisted,
    /// `fail…` or anything else, with what it said: the detail after `fail` where there is one (0.9.8 and later).
    /// `delayed` is the answer to `del path` when the path goes with its map's next reload, and to `del map`
    /// when the kernel removes it later; `map reload error. removed` means that the path is gone all the same
    /// (0.9.4 `multipathd/cli_handlers.c`).
    Failed(String),
}

/// One path as multipathd's memory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPath {
    /// The SCSI disk.
    pub device: BlockName,
    /// Its identity by udev; `None` while multipathd does not know it.
    pub wwid: Option<Wwid>,
    /// The map it belongs to; `None` for an orphan.
    pub map: Option<MapName>,
}

/// The identities multipath knows, when `find_multipaths` asks (libmultipath `DEFAULT_WWIDS_FILE`).
const WWIDS_FILE: &str = "/etc/multipath/wwids";

/// `show daemon`: its answer (`pid 1234 idle`), as a check that it lives. Takes no lock.
///
/// # Errors
/// It cannot be reached, does not answer, or refuses; the refusal is in the error.
pub async fn daemon(host: &dyn Host, limit: Duration) -> Result<String, HostError> {
    let reply = host.ask_multipathd("show daemon", limit).await?;
    match reply.trim().starts_with("pid ") {
        true => Ok(reply.trim().to_owned()),
        false => Err(refused("show daemon", &reply)),
    }
}

/// The paths in multipathd's memory (no path is probed: D6).
///
/// # Errors
/// As [`daemon`].
pub async fn paths(host: &dyn Host, limit: Duration) -> Result<Vec<KnownPath>, HostError> {
    // Wildcards: 0.9.4 and 0.11.1 libmultipath/print.c: %d device, %w WWID, %m map.
    let command = r#"show paths raw format "%d|%w|%m""#;
    let reply = host.ask_multipathd(command, limit).await?;
    parse_paths(&reply).ok_or_else(|| refused(command, &reply))
}

/// `None` when it is no list. With no paths at all multipathd has nothing to say, and then says `ok`
/// (0.9.4 `multipathd/uxlsnr.c` `default_reply`).
fn parse_paths(reply: &str) -> Option<Vec<KnownPath>> {
    let reply = reply.trim();
    if reply.is_empty() || reply == "ok" {
        return Some(Vec::new());
    }
    let mut paths = Vec::new();
    for line in reply.lines() {
        let mut fields = line.split('|').map(str::trim);
        let (device, wwid, map) = (fields.next()?, fields.next()?, fields.next()?);
        // `-` stands for a device without a name. `[orphan]` and `[unknown]` are no map's name.
        if let Ok(device) = device.parse() {
            let map = Some(map).filter(|map| !map.starts_with('[')).and_then(|map| map.parse().ok());
            paths.push(KnownPath { device, wwid: wwid.parse().ok(), map });
        }
    }
    Some(paths)
}

/// `add path sdX`. `ok` also when the path is an orphan, or was known before.
///
/// # Errors
/// Of these five commands: multipathd cannot be reached, or no answer came within `limit`; what it did is
/// unknown then.
pub async fn add_path(host: &dyn Host, device: &BlockName, limit: Duration) -> Result<Reply, HostError> {
    ask(host, format!("add path {device}"), limit).await
}

/// `del path sdX`. A path it does not know is a failure (`fail`).
///
/// # Errors
/// As [`add_path`].
pub async fn del_path(host: &dyn Host, device: &BlockName, limit: Duration) -> Result<Reply, HostError> {
    ask(host, format!("del path {device}"), limit).await
}

/// `add map WWID`. In 0.9.4 the answer is `fail` although the map was made, where `user_friendly_names` is on.
///
/// # Errors
/// As [`add_path`].
pub async fn add_map(host: &dyn Host, wwid: &Wwid, limit: Duration) -> Result<Reply, HostError> {
    ask(host, format!("add map {wwid}"), limit).await
}

/// `del map NAME`
///
/// # Errors
/// As [`add_path`].
pub async fn del_map(host: &dyn Host, name: &MapName, limit: Duration) -> Result<Reply, HostError> {
    ask(host, format!("del map {name}"), limit).await
}

/// `multipath -f NAME`: removes a map where multipathd does not run. (Where it does, it is handed the work: 0.9.4
/// `multipath/main.c` `delegate_to_multipathd`.) A map that is open is refused. It suspends the map first, so it is never
/// ended in the middle.
///
/// # Errors
/// It could not be run, did not end, or failed; its last line is in the error.
pub async fn flush_map(host: &dyn Host, name: &MapName, limit: Duration) -> Result<(), HostError> {
    multipath(host, "-f", name.as_str(), limit, true).await
}

/// `disablequeueing map NAME`
///
/// # Errors
/// As [`add_path`].
pub async fn disable_queueing(host: &dyn Host, name: &MapName, limit: Duration) -> Result<Reply, HostError> {
    ask(host, format!("disablequeueing map {name}"), limit).await
}

/// `fail path DEV`: device-mapper takes the path for failed until multipathd's next check of it (5 to 20 s) finds it well
/// (0.9.4 `multipathd/main.c` `check_path`).
///
/// # Errors
/// As [`add_path`].
pub async fn fail_path(host: &dyn Host, device: &BlockName, limit: Duration) -> Result<Reply, HostError> {
    ask(host, format!("fail path {device}"), limit).await
}

/// Whether the wwids file has the identity. No file: no.
///
/// # Errors
/// It is there and cannot be read.
pub fn wwid_on_file(host: &dyn Host, wwid: &Wwid) -> Result<bool, HostError> {
    match host.read(WWIDS_FILE) {
        Ok(bytes) => Ok(on_file(&String::from_utf8_lossy(&bytes), wwid.as_str())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(HostError::io("read", WWIDS_FILE, error)),
    }
}

/// A line counts when it begins with a slash; the identity ends at the next (0.9.4 `libmultipath/wwids.c`).
fn on_file(text: &str, wwid: &str) -> bool {
    text.lines().filter_map(|line| line.strip_prefix('/')?.split_once('/')).any(|(found, _)| found == wwid)
}

/// Puts the identity on the wwids file, as `multipath -a` does, but also one that multipath's configuration excludes: from then
/// on `multipath -u` claims the volume's paths for udev, and multipathd makes their map by itself. No device need be there
/// (seen with 0.9.4). A line of it that was taken off counts again, so the file does not grow with every attach of the same volume.
///
/// # Errors
/// The file cannot be written, or another has its lock for longer than `limit`. Where there is none, multipath makes it: the
/// program is missing, failed, or did not end.
pub async fn claim_wwid(host: &dyn Host, wwid: &Wwid, limit: Duration) -> Result<(), HostError> {
    match patch_wwids(host, &|text| put_on(text, wwid.as_str()), limit).await {
        Err(error) if error.io_kind() == Some(ErrorKind::NotFound) => {
            multipath(host, "-a", wwid.as_str(), limit, false).await
        }
        done => done,
    }
}

/// Takes the identity off the wwids file, as `multipath -w` does: the first byte of its line becomes `#` (0.9.4
/// `do_remove_wwid`). One that is not on it is no error.
///
/// # Errors
/// The file cannot be written, or another has its lock for longer than `limit`.
pub async fn forget_wwid(host: &dyn Host, wwid: &Wwid, limit: Duration) -> Result<(), HostError> {
    match patch_wwids(host, &|text| take_off(text, wwid.as_str()), limit).await {
        Err(error) if error.io_kind() == Some(ErrorKind::NotFound) => Ok(()),
        done => done,
    }
}

/// How often to ask for the lock. multipath has it for as long as it takes to read the file.
const ASK_AGAIN: Duration = Duration::from_millis(5);

async fn patch_wwids(
    host: &dyn Host,
    change: &(dyn Fn(&[u8]) -> Vec<Patch> + Sync),
    limit: Duration,
) -> Result<(), HostError> {
    let until = host.now() + limit;
    loop {
        match host.patch_wwids(change) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && host.now() < until => {
                host.sleep_until(host.now() + ASK_AGAIN).await;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(HostError::timed_out("lock", WWIDS_FILE, limit));
            }
            done => return done.map_err(|error| HostError::io("write", WWIDS_FILE, error)),
        }
    }
}

/// Where lines of the identity begin: those that count begin with `/`, those that were taken off with `#`.
fn lines_of<'a>(text: &'a [u8], first: u8, wwid: &'a str) -> impl Iterator<Item = usize> + 'a {
    let mut next = 0;
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let at = next;
        next += line.len();
        (at, line)
    });
    let of = move |line: &[u8]| {
        let rest = line.strip_prefix(&[first]).and_then(|line| line.strip_prefix(wwid.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&b'/'))
    };
    lines.filter(move |(_, line)| of(line)).map(|(at, _)| at)
}

fn put_on(text: &[u8], wwid: &str) -> Vec<Patch> {
    if lines_of(text, b'/', wwid).next().is_some() {
        return Vec::new();
    }
    let patch = match lines_of(text, b'#', wwid).next() {
        Some(at) => Patch { at, bytes: b"/".to_vec() },
        None => {
            // To multipath a line that was cut short takes the next with it, unless it differs before its end (0.9.4 `lookup_wwid`).
            let end = match text.rsplit(|byte| *byte == b'\n').next() {
                None | Some([]) => "",
                Some([_, .., b'/']) => "\n",
                Some(_) => "#\n",
            };
            Patch { at: text.len(), bytes: format!("{end}/{wwid}/\n").into_bytes() }
        }
    };
    vec![patch]
}

fn take_off(text: &[u8], wwid: &str) -> Vec<Patch> {
    lines_of(text, b'/', wwid).map(|at| Patch { at, bytes: b"#".to_vec() }).collect()
}

async fn multipath(
    host: &dyn Host,
    option: &str,
    of: &str,
    limit: Duration,
    abandon: bool,
) -> Result<(), HostError> {
    let args = vec![option.to_owned(), of.to_owned()];
    let program = Program { name: "multipath", args, limit, abandon, keeps_locks: true };
    let ended = host.run(&program).await?;
    match ended.code {
        Some(0) => Ok(()),
        code => {
            let last =
                ended.stderr.lines().chain(ended.stdout.lines()).map(str::trim).rfind(|l| !l.is_empty());
            let code = code.map_or("a signal ended it".to_owned(), |code| format!("exit code {code}"));
            let why = format!("{code}: {}", last.unwrap_or("it said nothing"));
            Err(HostError::unavailable("run", program.to_string(), why))
        }
    }
}

async fn ask(host: &dyn Host, command: String, limit: Duration) -> Result<Reply, HostError> {
    Ok(parse_reply(&host.ask_multipathd(&command, limit).await?))
}

/// Up to 0.9.7 the reply is one word; later `fail` comes first and the word, or a detail, on the next line
/// (0.9.4 and 0.11.1 `multipathd/uxlsnr.c` `default_reply`).
fn parse_reply(reply: &str) -> Reply {
    let reply = reply.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let detail = reply.strip_prefix("fail\n").map_or(reply, str::trim);
    match detail {
        "ok" => Reply::Ok,
        "timeout" => Reply::NotExecuted,
        "blacklisted" => Reply::Blacklisted,
        detail => Reply::Failed(detail.chars().take(300).collect()),
    }
}

fn refused(command: &str, reply: &str) -> HostError {
    let reply: String = reply.trim().chars().take(300).collect();
    HostError::unavailable("ask multipathd", command, format!("it answered {reply:?}"))
}

#[cfg(test)]
#[path = "multipath_tests.rs"]
mod tests;
