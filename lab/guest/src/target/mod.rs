//! The target's side: LIO through configfs, and what its administrator and its controller do.

mod connection;
mod lio;

pub use connection::connection;
pub use lio::{map, resize, set_up, unmap};

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
