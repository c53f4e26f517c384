//! The connection of a volume as a step wants it: what its controller hands out, with a LUN, a secret or a right changed.

use serde_json::{Value, json};

use crate::action::{Connect, Disconnect, Secret};

/// A secret that is none of the right ones.
const WRONG: &str = "WrongSecretPw3Rt";

/// For a connect.
pub fn to_attach(mut data: Value, how: &Connect) -> Value {
    at(&mut data, how.lun);
    if how.read_only {
        data["access_mode"] = json!("ro");
    }
    match how.secret {
        Secret::AsIs => {}
        Secret::Wrong => data["auth_password"] = json!(WRONG),
        Secret::WrongIn => data["auth_password_in"] = json!(WRONG),
        Secret::None => {
            if let Some(keys) = data.as_object_mut() {
                keys.retain(|key, _| !key.starts_with("auth_"));
            }
        }
    }
    data
}

/// For a disconnect.
pub fn to_detach(mut data: Value, how: &Disconnect) -> Value {
    at(&mut data, how.lun);
    data
}

fn at(data: &mut Value, lun: Option<u64>) {
    if let Some(lun) = lun {
        data["target_lun"] = json!(lun);
        let luns = data["target_luns"].as_array_mut().into_iter().flatten();
        luns.for_each(|one| *one = json!(lun));
    }
}
