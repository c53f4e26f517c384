//! The target of the laboratory: 64 volumes at LUNs of their own numbers, and what its administrator does.

use std::collections::BTreeMap;

use bowline_conformance::Case;
use bowline_conformance::action::{Action, Chap, PORTALS};
use bowline_conformance::case::Backend;
use serde_json::{Value, json};

use crate::model::{Storage, Target, Volume, World};
use crate::scenario::SECRET;

/// The target's own, in mutual CHAP.
const SECRET_IN: &str = "sesame-opened-1147";
const VOLUMES: usize = 64;

fn iqn(case: &Case, portal: usize) -> String {
    match case.backend {
        Backend::OneIqn => "iqn.2026-01.io.bowline.lab:array".to_owned(),
        Backend::IqnPerPortal => format!("iqn.2026-01.io.bowline.lab:array.{}", portal + 1),
    }
}

/// What is exported. A LIO volume has no write-back cache until it is given one (Linux 6.1 `emulate_write_cache`).
pub fn storage(case: &Case) -> Storage {
    let volume = |number| Volume { write_cache: false, ..Volume::new(number) };
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for portal in 0..PORTALS {
        let iqn = iqn(case, portal);
        let target = targets.entry(iqn.clone()).or_insert_with(|| Target {
            iqn,
            portals: Default::default(),
            luns: (1..=VOLUMES).map(|number| (number as u64, number)).collect(),
            chap: None,
            chap_in: None,
        });
        target.portals.insert(portal);
    }
    Storage { volumes: (0..=VOLUMES).map(volume).collect(), targets: targets.into_values().collect() }
}

/// As a controller hands it out.
pub fn connection(world: &World, case: &Case, volume: u64) -> Value {
    let address = |portal: usize| match world.setup.ipv6 {
        true => format!("[{}]:3260", world.address(portal)),
        false => format!("{}:3260", world.address(portal)),
    };
    let mut data = json!({
        "target_iqn": iqn(case, 0),
        "target_portal": address(0),
        "target_lun": volume,
        "target_iqns": (0..PORTALS).map(|portal| iqn(case, portal)).collect::<Vec<_>>(),
        "target_portals": (0..PORTALS).map(address).collect::<Vec<_>>(),
        "target_luns": vec![volume; PORTALS],
    });
    let target = world.storage.targets.first();
    if let Some(secret) = target.and_then(|target| target.chap.as_ref()) {
        data["auth_method"] = json!("CHAP");
        data["auth_username"] = json!("lab-initiator");
        data["auth_password"] = json!(secret);
    }
    if let Some(secret) = target.and_then(|target| target.chap_in.as_ref()) {
        data["auth_username_in"] = json!("lab-target");
        data["auth_password_in"] = json!(secret);
    }
    data
}

/// Does what the target's administrator is asked for.
pub fn change(world: &mut World, action: &Action) -> Result<(), String> {
    let targets = world.storage.targets.iter_mut();
    match action {
        Action::Unmap(volume) => {
            targets.for_each(|target| target.luns.retain(|_, exported| *exported as u64 != *volume));
        }
        Action::Map { volume, lun } => targets.for_each(|target| {
            target.luns.insert(*lun, *volume as usize);
        }),
        Action::Chap(chap) => targets.for_each(|target| {
            target.chap = (*chap != Chap::Off).then(|| SECRET.to_owned());
            target.chap_in = (*chap == Chap::Mutual).then(|| SECRET_IN.to_owned());
        }),
        Action::Cache(volume, on) => world.storage.volumes[*volume as usize].write_cache = *on,
        Action::WriteProtect(on) => {
            world.storage.volumes.iter_mut().for_each(|volume| volume.read_only = *on);
        }
        other => return Err(format!("{other:?} is nothing that a target does")),
    }
    world.touch();
    Ok(())
}
