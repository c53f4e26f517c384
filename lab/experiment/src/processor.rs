//! The processor time that the whole host has spent: with the contender it counts what he makes others do.

use std::fs;

/// `USER_HZ`, in which Linux tells processor times whatever its own clock is.
const PER_SECOND: f64 = 100.0;

/// Begun when it is made.
pub struct Processor(Option<u64>);

impl Processor {
    /// Begins.
    pub fn begin() -> Self {
        Self(busy())
    }

    /// Seconds of processor time since; nothing where the kernel does not tell.
    pub fn seconds(&self) -> Option<f64> {
        let passed = busy()?.checked_sub(self.0?)?;
        Some(f64::from(u32::try_from(passed).ok()?) / PER_SECOND)
    }
}

fn busy() -> Option<u64> {
    parse(&fs::read_to_string("/proc/stat").ok()?)
}

/// All but idle and iowait of the first line: user, nice, system, idle, iowait, irq, softirq (proc(5)).
fn parse(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [user, nice, system, _, _, irq, softirq, ..] = times[..] else { return None };
    Some(user + nice + system + irq + softirq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_counted() {
        assert_eq!(parse("cpu  10 2 30 4000 500 6 7 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n"), Some(55));
        assert_eq!(parse("cpu  10 2"), None);
        assert_eq!(parse(""), None);
    }
}
