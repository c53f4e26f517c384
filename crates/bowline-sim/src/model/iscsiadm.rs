//! iscsiadm: what it is asked, as bowline asks it, and the exit code it ends with.

use std::time::Duration;

use super::iscsid::{self, Terms, code};
use super::{World, database};
use crate::executor::Sim;

/// It looks at the lock every 10 ms, for 30 s (interfaces: "Node database").
const LOCK_POLL: Duration = Duration::from_millis(10);
const LOCK_LIMIT: Duration = Duration::from_secs(30);

impl World {
    /// The address of a portal as records and sysfs write it.
    pub fn address(&self, portal: usize) -> String {
        match self.setup.ipv6 {
            true => format!("fd00::{}", portal + 1),
            false => format!("10.0.{}.2", portal + 1),
        }
    }

    /// The portal of an address with a port, as in `-p`.
    fn portal_of(&self, text: &str) -> Option<usize> {
        let plain = text.strip_suffix(":3260")?.trim_start_matches('[').trim_end_matches(']');
        (0..self.links.len()).find(|portal| self.address(*portal) == plain)
    }
}

/// Runs it: exit code and standard error.
pub async fn run(sim: &Sim, args: Vec<String>) -> (i32, String) {
    let word = |at: usize| args.get(at).map(String::as_str).unwrap_or_default();
    let iqn = word(3).to_owned();
    let start = sim.with(|world| world.latency(3, 12));
    sim.sleep(start).await;
    let Some(portal) = sim.with(|world| world.portal_of(word(5))) else {
        return (code::NO_OBJECTS, "iscsiadm: No records found\n".into());
    };
    let rest: Vec<&str> = args.iter().skip(8).map(String::as_str).collect();
    let code = match rest.as_slice() {
        ["--login"] => login(sim, &iqn, portal).await,
        ["--logout"] => iscsid::logout(sim, &iqn, portal).await,
        ["-o", "new"] => new_record(sim, &iqn, portal).await,
        ["-o", "delete"] => delete_record(sim, &iqn, portal).await,
        _ => 7,
    };
    sim.with(|world| world.note("iscsiadm", format_args!("{} of {iqn} at {portal}: {code}", rest.join(" "))));
    let said = match code {
        0 => String::new(),
        code => format!(
            "iscsiadm: Could not log into all portals\niscsiadm: initiator reported error ({code} - failed)\n"
        ),
    };
    (code, said)
}

async fn login(sim: &Sim, iqn: &str, portal: usize) -> i32 {
    let terms = sim.with(|world| {
        let path = world.database.record(world.setup.nodes, iqn, &world.address(portal))?;
        let setting = |key: &str| world.database.setting(&path, key);
        let number =
            |key: &str, default: u32| setting(key).and_then(|text| text.parse().ok()).unwrap_or(default);
        Some(Terms {
            tries: number("node.session.initial_login_retry_max", 4),
            limit: Duration::from_secs(number("node.conn[0].timeo.login_timeout", 30).into()),
            recovery: Duration::from_secs(number("node.session.timeo.replacement_timeout", 120).into()),
            scans: setting("node.session.scan").as_deref() != Some("manual"),
            secret: setting(database::RECORD_SECRET_KEY)
                .filter(|_| setting("node.session.auth.authmethod").as_deref() == Some("CHAP")),
            secret_in: setting("node.session.auth.password_in"),
        })
    });
    if terms.as_ref().is_some_and(|terms| terms.scans) {
        sim.with(|world| {
            if !world.setup.old_open_iscsi {
                world.wrong(format!("C15: a login to {iqn} at portal {portal} brings in every LUN"));
            }
        });
    }
    match terms {
        Some(terms) => iscsid::login(sim, iqn.to_owned(), portal, terms, true).await,
        None => code::NO_OBJECTS,
    }
}

/// Takes open-iscsi's lock. One that is stale stalls for 30 s, and then 2.1.8 goes on without it.
async fn lock(sim: &Sim) -> bool {
    let limit = sim.now() + LOCK_LIMIT;
    loop {
        let taken = sim.with(|world| match world.database.lock {
            Some(_) => false,
            None => {
                world.database.lock = Some(Vec::new());
                true
            }
        });
        if taken {
            return true;
        }
        if sim.now() >= limit {
            return false;
        }
        sim.sleep(LOCK_POLL).await;
    }
}

fn unlock(sim: &Sim, taken: bool) {
    if taken {
        sim.with(|world| {
            world.database.lock = None;
            world.touch();
        });
    }
}

async fn new_record(sim: &Sim, iqn: &str, portal: usize) -> i32 {
    let taken = lock(sim).await;
    let work = sim.with(|world| world.latency(1, 4));
    sim.sleep(work).await;
    sim.with(|world| {
        let address = world.address(portal);
        let path = format!("{}/{iqn}/{address},3260", world.setup.nodes);
        let record = database::new_record(iqn, &address, world.setup.old_open_iscsi);
        world.database.files.insert(path, record);
    });
    unlock(sim, taken);
    0
}

async fn delete_record(sim: &Sim, iqn: &str, portal: usize) -> i32 {
    let taken = lock(sim).await;
    let code = sim.with(|world| {
        let Some(path) = world.database.record(world.setup.nodes, iqn, &world.address(portal)) else {
            return code::NO_OBJECTS;
        };
        if world.session_at(iqn, portal).is_some() {
            return code::SESSION_EXISTS;
        }
        world.database.files.remove(&path);
        0
    });
    unlock(sim, taken);
    code
}
