//! What an identifier prints, it reads back as the same; and no text makes reading it panic.

use bowline_host::names::{BlockName, DevNumber};
use bowline_host::{Hctl, Iface, Iqn, Lun, MapName, Portal, ScsiHost, Wwid};
use proptest::prelude::*;
use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::str::FromStr;

fn round_trip<T: FromStr + Display + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let text = value.to_string();
    let read = text.parse::<T>().map_err(|_| TestCaseError::fail(format!("{text:?} was not read back")))?;
    prop_assert_eq!(&read, value);
    Ok(())
}

fn if_read<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Result<(), TestCaseError> {
    text.parse::<T>().ok().as_ref().map_or(Ok(()), round_trip)
}

proptest! {
    #[test]
    fn made_values_round_trip(address in any::<IpAddr>(), port in 1u16.., numbers in any::<(u32, u32, u32, u64)>()) {
        round_trip(&Portal { address, port })?;
        round_trip(&Lun(numbers.3))?;
        round_trip(&DevNumber { major: numbers.0, minor: numbers.1 })?;
        let (host, channel, target, lun) = (ScsiHost(numbers.0), numbers.1, numbers.2, Lun(numbers.3));
        round_trip(&Hctl { host, channel, target, lun })?;
    }

    #[test]
    fn whatever_is_read_round_trips(text in "\\PC*|[a-z0-9._:,-]*|[0-9:\\[\\],.]*|(iqn|eui|naa)\\.[A-Za-z0-9.:_-]*") {
        if_read::<Iqn>(&text)?;
        if_read::<Portal>(&text)?;
        if_read::<Lun>(&text)?;
        if_read::<Iface>(&text)?;
        if_read::<Hctl>(&text)?;
        if_read::<Wwid>(&text)?;
        if_read::<MapName>(&text)?;
        if_read::<BlockName>(&text)?;
        if_read::<DevNumber>(&text)?;
    }
}
