//! Durations as people write them.

use std::time::Duration;

/// `60s`, `2m`, `1h`, `500ms`; a number alone is in seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let error = || format!("{text:?} is not a duration: use a number and ms, s, m or h, as in 60s");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let ms_each: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(error()),
    };
    let number: u64 = number.parse().map_err(|_| error())?;
    number.checked_mul(ms_each).map(Duration::from_millis).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ms) in
            [("60s", 60_000), ("2m", 120_000), ("1h", 3_600_000), ("500ms", 500), ("7", 7000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in
            ["", "s", "1.5s", "-1s", "1 s", "2d", "99999999999999999999s", "99999999999999999h"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
