//! Time limits as people write them.

use std::{str::FromStr, time::Duration};

/// How long to wait: `10s`, `1m30s`, plain seconds (`10`, `0.5`), or for ever: `never` or `inf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience(pub(crate) Option<Duration>);

impl FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Patience, String> {
        match text {
            "never" | "inf" => Ok(Patience(None)),
            _ => time(text).map(Some).map(Patience),
        }
    }
}

/// A time with units (`1m30s`) or in plain seconds (`0.5`).
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds < 0.0 => Err("a time cannot be negative".to_owned()),
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| "that is too long for a time".to_owned()),
        Err(_) => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write a time like 10s, 1m30s or 0.5 (seconds)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_units_or_plain_seconds_or_never() {
        let of = |text: &str| text.parse::<Patience>().unwrap().0;
        assert_eq!(of("10s"), Some(Duration::from_secs(10)));
        assert_eq!(of("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(of("10"), Some(Duration::from_secs(10)));
        assert_eq!(of("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(of("0"), Some(Duration::ZERO));
        assert_eq!([of("never"), of("inf")], [None, None]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "-1", "soon", "10 parsecs", "nan", "-inf", "1e99"] {
            assert!(bad.parse::<Patience>().is_err(), "{bad}");
        }
        assert_eq!("-5".parse::<Patience>(), Err("a time cannot be negative".to_owned()));
    }
}
