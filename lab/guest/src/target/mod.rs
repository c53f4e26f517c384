//! The target's side: LIO through configfs or tgt's daemon, and what its administrator and its controller do.

mod chap;
mod connection;
mod lio;
mod tgt;
mod volumes;

use lab_wire::{Failure, Spec, Target};

pub use self::chap::Chap;
pub use self::connection::connection;

/// Makes the volumes, the targets and their portals; called in the target's network namespace.
pub fn set_up(spec: &Spec) -> Result<(), Failure> {
    match spec.target {
        Target::Lio => lio::set_up(spec),
        Target::Tgt => tgt::set_up(spec),
    }
}

/// Offers the volume at this LUN, through every target.
pub fn map(spec: &Spec, volume: u16, lun: u16) -> Result<(), Failure> {
    match spec.target {
        Target::Lio => lio::map(spec, volume, lun),
        Target::Tgt => tgt::map(spec, volume, lun),
    }
}

/// Takes the volume away, at whatever LUN it is.
pub fn unmap(spec: &Spec, volume: u16) -> Result<(), Failure> {
    match spec.target {
        Target::Lio => lio::unmap(spec, volume),
        Target::Tgt => tgt::unmap(spec, volume),
    }
}

/// Changes the volume's size. The initiator finds out when it asks.
pub fn resize(spec: &Spec, volume: u16, size: u64) -> Result<(), Failure> {
    match spec.target {
        Target::Lio => lio::resize(spec, volume, size),
        Target::Tgt => tgt::resize(spec, volume, size),
    }
}

/// Asks for CHAP from the next login on, or no more.
pub fn set_chap(spec: &Spec, chap: Chap) -> Result<(), Failure> {
    match spec.target {
        Target::Lio => lio::set_chap(spec, chap)?,
        Target::Tgt => tgt::set_chap(spec, chap)?,
    }
    chap.remember()
}

/// Gives the volume a write-back cache, or takes it. The initiator asks when it finds the disk.
pub fn set_cache(spec: &Spec, volume: u16, on: bool) -> Result<(), Failure> {
    match spec.target {
        Target::Lio => lio::set_cache(spec, volume, on)?,
        Target::Tgt => tgt::set_cache(spec, volume, on)?,
    }
    volumes::remember_cache(volume, on)
}

/// Protects every volume from being written to, or no more. The initiator asks when it finds the disk.
pub fn write_protect(spec: &Spec, on: bool) -> Result<(), Failure> {
    match spec.target {
        Target::Lio => lio::write_protect(spec, on)?,
        Target::Tgt => tgt::write_protect(spec, on)?,
    }
    volumes::remember_protection(on)
}

/// Puts back CHAP, write protection and caches as they were at the beginning; costs nothing where they are.
pub fn put_back(spec: &Spec) -> Result<(), Failure> {
    if volumes::are_protected() {
        write_protect(spec, false)?;
    }
    if Chap::in_force() != Chap::Off {
        set_chap(spec, Chap::Off)?;
    }
    volumes::with_cache().into_iter().try_for_each(|volume| set_cache(spec, volume, false))
}

/// A size as one writes it: bytes, or with `K`, `M`, `G`; a multiple of a sector.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("`{text}` is not a size: write 128M, 1G or bytes"))?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is too much"))?;
    if bytes == 0 || bytes % 512 != 0 {
        Err(format!("`{text}` is not a number of sectors"))
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("128M"), Ok(128 << 20));
        assert_eq!(parse_size("1024"), Ok(1024));
        for wrong in ["", "M", "0", "513", "1T", "99999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
