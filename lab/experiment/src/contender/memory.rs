//! How much memory a contender's process has at most, with the helper that does whatever may block for bowline: it is counted
//! wherever it is, for the command and for the library alike. Programs of others that they start are counted by their number.

use std::fs;

use crate::counter::threads_of;
use crate::programs::{is, status};

/// The kernel keeps 15 characters of a name.
const HELPER: &str = "bowline-helper";

/// The peaks of a process and of the helpers it has started, added up, in KiB.
pub fn peak(process: u32) -> Option<u64> {
    let own = of(process)?;
    Some(own + helpers(process).into_iter().filter_map(of).sum::<u64>())
}

/// Lets the kernel forget the peaks until now (proc(5), `clear_refs`).
pub fn forget_peak(process: u32) {
    for process in helpers(process).into_iter().chain([process]) {
        let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
    }
}

fn of(process: u32) -> Option<u64> {
    status(process, "VmHWM")
}

/// The kernel lists a child with the thread that has started it, which is any of a runtime's.
fn helpers(process: u32) -> Vec<u32> {
    let children = |thread: String| fs::read_to_string(format!("/proc/{process}/task/{thread}/children"));
    let children: Vec<String> =
        threads_of(process).into_iter().filter_map(|thread| children(thread).ok()).collect();
    let children = children.iter().flat_map(|children| children.split_whitespace());
    children.filter_map(|child| child.parse().ok()).filter(|child| is(*child, HELPER)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn a_helper_is_found_whichever_thread_has_started_it() {
        // A process has the name of the file that was asked for, a link's too.
        let folder = std::env::temp_dir().join(format!("experiment-memory-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join(HELPER);
        symlink("/bin/sleep", &program).unwrap();
        let me = std::process::id();
        let (over, ends) = channel::<()>();
        let (tell, told) = channel();
        let other = thread::spawn(move || {
            let mut child = Command::new(program).arg("60").spawn().unwrap();
            tell.send(child.id()).unwrap();
            let _ = ends.recv();
            let _ = child.kill();
            let _ = child.wait();
        });
        let child = told.recv().unwrap();
        assert!(helpers(me).contains(&child));
        // Our own grows meanwhile.
        let least = of(me).unwrap() + of(child).unwrap();
        assert!(peak(me).unwrap() >= least);
        drop(over);
        other.join().unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
