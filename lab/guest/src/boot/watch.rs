//! What to say of a guest whose script does not end: who is running, who is stuck, and where.

use std::fs;

/// The processes with their state and, for those stuck in the kernel, the place; kernel threads left out.
pub fn what_is_running() -> String {
    let mut text = String::from("    PID STATE  WAITS IN                 COMMAND\n");
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let command = read("cmdline").replace('\0', " ");
        if command.is_empty() {
            continue;
        }
        let state = state(&read("status"));
        let place = read("wchan");
        text += &format!("{pid:7} {state:5}  {place:24} {command}\n");
        if state == "D" {
            text += &read("stack").lines().map(|line| format!("              {line}\n")).collect::<String>();
        }
    }
    text
}

/// The state's letter in `/proc/PID/status`.
fn state(status: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix("State:"));
    line.unwrap_or_default().split_whitespace().next().unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn states() {
        assert_eq!(super::state("Name:\tdd\nState:\tD (disk sleep)\n"), "D");
        assert_eq!(super::state(""), "?");
    }
}
