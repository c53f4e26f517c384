//! Durations as they are written on the command line: `120s`, `2m`, `500ms`.

use std::time::Duration;

/// Longest duration: beyond a day it is rather a slip of the pen.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a duration: a whole number and a unit, more than nothing and at most a day.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = "expected a whole number with its unit, as in 120s, 2m or 500ms";
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..unit].parse().map_err(|_| expected.to_string())?;
    let milliseconds = match &text[unit..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(expected.into()),
    };
    let duration = number.checked_mul(milliseconds).map(Duration::from_millis);
    duration.filter(|d| !d.is_zero() && *d <= MAX).ok_or_else(|| "must be more than 0 and at most 24h".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("120s"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("24h"), Ok(MAX));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "s", "120", "1.5s", "-1s", "+1s", "1 s", "1d", "0s", "25h", "99999999999999999999s", "١s"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("{}h", u64::MAX)).is_err());
    }
}
