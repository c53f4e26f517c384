//! CHAP: what the target asks of who logs in, and so what the controller hands out.
//!
//! The same names and secrets for every target of a run: they are found wherever they should not be.

use std::fs;

use clap::ValueEnum;
use lab_wire::{Context, Failure};
use serde_json::{Value, json};

use crate::layout::STATE;

/// Who proves himself to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Chap {
    /// The initiator to the target
    OneWay,
    /// The initiator to the target, and the target to the initiator
    Mutual,
    /// Nobody; as it was
    Off,
}

/// A name and its secret.
pub struct Account {
    /// The name.
    pub user: &'static str,
    /// The secret.
    pub secret: &'static str,
}

const INITIATOR: Account = Account { user: "lab-initiator", secret: "Xq7ZpInitiatorSecret" };
const TARGET: Account = Account { user: "lab-target", secret: "Kv4TdTargetSecret" };

impl Chap {
    /// What the initiator proves himself with.
    pub fn initiator(self) -> Option<&'static Account> {
        (self != Self::Off).then_some(&INITIATOR)
    }

    /// What the target proves itself with.
    pub fn target(self) -> Option<&'static Account> {
        (self == Self::Mutual).then_some(&TARGET)
    }

    /// What the target was told last.
    pub fn in_force() -> Self {
        let name = fs::read_to_string(file()).unwrap_or_default();
        Self::from_str(&name, false).unwrap_or(Self::Off)
    }

    /// Writes down that the target was told.
    pub fn remember(self) -> Result<(), Failure> {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        fs::create_dir_all(STATE)
            .and_then(|()| fs::write(file(), name))
            .context(|| format!("cannot write {}", file()))
    }

    /// Adds what a controller hands out of it.
    pub fn hand_out(self, data: &mut Value) {
        if let Some(account) = self.initiator() {
            data["auth_method"] = json!("CHAP");
            data["auth_username"] = json!(account.user);
            data["auth_password"] = json!(account.secret);
        }
        if let Some(account) = self.target() {
            data["auth_username_in"] = json!(account.user);
            data["auth_password_in"] = json!(account.secret);
        }
    }
}

fn file() -> String {
    format!("{STATE}/chap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_hands_out_its_accounts() {
        let keys = |chap: Chap| {
            let mut data = json!({});
            chap.hand_out(&mut data);
            data.as_object().unwrap().len()
        };
        assert_eq!([Chap::Off, Chap::OneWay, Chap::Mutual].map(keys), [0, 3, 5]);
        assert_ne!(INITIATOR.secret, TARGET.secret);
    }
}
