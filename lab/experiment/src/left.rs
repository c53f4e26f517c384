//! What is on the initiator, by kind and by name: so that what a contender has left can be told from what the fault has put there.

use std::collections::{BTreeMap, BTreeSet};

use lab_wire::Failure;
use serde_json::{Map, Value};

use crate::lab;
use crate::programs::{is, running, status};

/// Programs that contenders start: one that outlives its caller goes on with what it was told. No service of the guest is
/// called so, and udev's own have ended when udev is idle.
pub const PROGRAMS: [&str; 2] = ["iscsiadm", "multipath"];

/// What there is.
#[derive(Debug, Default)]
pub struct Left(BTreeMap<String, BTreeSet<String>>);

impl Left {
    /// Looks once udev has nothing under way.
    ///
    /// # Errors
    /// The laboratory cannot tell.
    pub fn look() -> Result<Self, Failure> {
        let mut left = Self::of(&lab::leftovers()?);
        if let Some(processes) = left.0.get_mut("processes") {
            processes.retain(|process| !serves_who_lives_on(process));
        }
        let named = |program: &'static str| {
            running(program).into_iter().map(move |pid| format!("{program} {}", pid.as_raw_nonzero()))
        };
        left.0.insert("programs".to_owned(), PROGRAMS.into_iter().flat_map(named).collect());
        Ok(left)
    }

    fn of(kinds: &Map<String, Value>) -> Self {
        let names = |kind: &Value| kind.as_array().into_iter().flatten().map(name_of).collect();
        Self(kinds.iter().map(|(kind, all)| (kind.clone(), names(all))).collect())
    }

    /// How much of each kind there is that was not there before; kinds of which there is nothing are left out.
    pub fn beyond(&self, before: &Self) -> BTreeMap<String, usize> {
        let none = BTreeSet::new();
        let count = |(kind, names): (&String, &BTreeSet<String>)| {
            let old = before.0.get(kind).unwrap_or(&none);
            (kind.clone(), names.difference(old).count())
        };
        self.0.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// How much of each kind there is.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.beyond(&Self::default())
    }

    /// By name, for whoever follows and asks why.
    pub fn tell(&self, after: &str) {
        let there: BTreeMap<_, _> = self.0.iter().filter(|(_, names)| !names.is_empty()).collect();
        eprintln!("experiment: {after}: {}", serde_json::json!(there));
    }
}

/// Whether a process (`NAME PID`) is a helper that bowline's library has started, in a process that lives on.
fn serves_who_lives_on(process: &str) -> bool {
    // The kernel keeps fifteen bytes of `bowline-resident`.
    const RESIDENT: &str = "bowline-residen";
    let pid = process.rsplit(' ').next().and_then(|pid| pid.parse().ok());
    let parent = pid.and_then(|pid| status(pid, "PPid")).and_then(|parent| u32::try_from(parent).ok());
    parent.is_some_and(|parent| is(parent, RESIDENT))
}

/// What does not change as long as it is there: a session's number, a device's address, a map's identity.
fn name_of(one: &Value) -> String {
    let name = ["sid", "hctl", "uuid"].iter().find_map(|key| one.get(key)).unwrap_or(one);
    name.as_str().map_or_else(|| name.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_not_left_over_and_what_took_its_place_is() {
        let left = |text: &str| Left::of(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap());
        let before = left(r#"{"sessions":[{"sid":1,"state":"LOGGED_IN"}],"maps":[],"wwids":["a"]}"#);
        let same = left(r#"{"sessions":[{"sid":1,"state":"FAILED"}],"maps":[],"wwids":["a"]}"#);
        assert!(same.beyond(&before).is_empty());
        let other = left(r#"{"sessions":[{"sid":2,"state":"LOGGED_IN"}],"maps":[],"wwids":["a","b"]}"#);
        let expected = [("sessions", 1), ("wwids", 1)].map(|(kind, count)| (kind.to_owned(), count));
        assert_eq!(other.beyond(&before), expected.into());
    }
}
