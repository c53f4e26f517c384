//! A cell of the matrix: one combination of all that is varied.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use lab_wire::{Backend, Target};
use serde::{Deserialize, Serialize};

use super::{Fault, name};

/// One combination of what is varied; written `lio/one-iqn/multipath/attach/drop-20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cell {
    /// The target's implementation (T2).
    pub target: Target,
    /// How it offers its volumes (T2).
    pub backend: Backend,
    /// Over one path or several (T3).
    pub paths: Paths,
    /// What is done with the volume (T4).
    pub work: Work,
    /// What goes wrong meanwhile (T1).
    pub fault: Fault,
}

/// All of a cell but what is done and what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The target's implementation.
    pub target: Target,
    /// How it offers its volumes.
    pub backend: Backend,
    /// Over one path or several.
    pub paths: Paths,
}

impl Setting {
    /// All that there are.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |target| {
            [Backend::OneIqn, Backend::IqnPerPortal].into_iter().flat_map(move |backend| {
                [Paths::Multipath, Paths::Single].map(|paths| Self { target, backend, paths })
            })
        };
        [Target::Lio, Target::Tgt].into_iter().flat_map(of)
    }

    /// The cell in it.
    pub fn cell(self, work: Work, fault: Fault) -> Cell {
        let Self { target, backend, paths } = self;
        Cell { target, backend, paths, work, fault }
    }

    /// The setting as a person says it.
    pub fn words(self) -> String {
        let target = match self.target {
            Target::Lio => "LIO",
            Target::Tgt => "tgt",
        };
        let backend = match self.backend {
            Backend::OneIqn => "one IQN behind four portals",
            Backend::IqnPerPortal => "an IQN for each portal",
        };
        let paths = match self.paths {
            Paths::Multipath => "multipath",
            Paths::Single => "a single path",
        };
        format!("{target}, {backend}, {paths}")
    }
}

impl Cell {
    /// What it has in common with others.
    pub fn setting(self) -> Setting {
        let Self { target, backend, paths, .. } = self;
        Setting { target, backend, paths }
    }
}

/// Over one path or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Paths {
    /// All portals, with a map
    Multipath,
    /// One portal, without a map
    Single,
}

/// What is done with the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Work {
    /// A volume is created from an image: attach, write, detach with force
    Create,
    /// A volume is used: attach, write a little, detach
    Attach,
}

impl Work {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Create, Self::Attach];

    /// The use as a person says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Attach => "attach",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, backend, paths, work, fault } = self;
        let (target, backend) = (name(target), name(backend));
        write!(f, "{target}/{backend}/{}/{}/{}", name(paths), name(work), name(fault))
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split('/').collect();
        let [target, backend, paths, work, fault] = words[..] else {
            return Err(format!("`{text}` is no cell: expected TARGET/BACKEND/PATHS/WORK/FAULT"));
        };
        Ok(Self {
            target: word(target)?,
            backend: word(backend)?,
            paths: word(paths)?,
            work: word(work)?,
            fault: word(fault)?,
        })
    }
}

/// A value by its name.
fn word<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let known: Vec<String> = T::value_variants().iter().map(name).collect();
        format!("`{text}` is none of {}", known.join(", "))
    })
}

impl TryFrom<String> for Cell {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cell> for String {
    fn from(cell: Cell) -> Self {
        cell.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_what_cells_have_in_common() {
        let all: Vec<Setting> = Setting::all().collect();
        assert_eq!(all.len(), 8);
        assert!(all.iter().all(|setting| setting.cell(Work::Create, Fault::None).setting() == *setting));
        assert_eq!(all[0].words(), "LIO, one IQN behind four portals, multipath");
    }

    #[test]
    fn a_cell_is_what_its_name_says() {
        for name in ["lio/one-iqn/multipath/create/drop-20", "tgt/iqn-per-portal/single/attach/none"] {
            assert_eq!(name.parse::<Cell>().unwrap().to_string(), name);
        }
        let wrong = "lio/one-iqn/multipath/attach/sunshine".parse::<Cell>().unwrap_err();
        assert!(wrong.contains("sunshine") && wrong.contains("drop-20"), "{wrong}");
        assert!("lio/one-iqn".parse::<Cell>().is_err());
    }
}
