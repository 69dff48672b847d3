//! How times and ids are written in JSON (`docs/json.md`): for `#[serde(with = ...)]`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::words::{owner_id::OwnerId, time::rfc3339};

impl Serialize for OwnerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OwnerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OwnerId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

fn duration<E: Error>(seconds: f64) -> Result<Duration, E> {
    Duration::try_from_secs_f64(seconds).map_err(E::custom)
}

/// A time in milliseconds.
pub(crate) mod in_milliseconds {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        // Exact to the nanosecond, without digits behind.
        serializer.serialize_f64(time.as_nanos() as f64 / 1e6)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        duration(f64::deserialize(deserializer)? / 1e3)
    }
}

/// A time in seconds.
pub(crate) mod in_seconds {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        duration(f64::deserialize(deserializer)?)
    }
}

/// A time in seconds, if there is one.
pub(crate) mod maybe_in_seconds {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(deserializer)?.map(duration).transpose()
    }
}

/// A moment in seconds since 1970.
pub(crate) mod in_unix_seconds {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        Ok(UNIX_EPOCH + duration(f64::deserialize(deserializer)?)?)
    }
}

/// A moment as RFC 3339, in UTC.
pub(crate) mod in_rfc3339 {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&rfc3339(*at))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The same; nothing is written as an empty text.
pub(crate) mod maybe_in_rfc3339 {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => in_rfc3339::serialize(at, serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
        let text = Some(String::deserialize(deserializer)?).filter(|text| !text.is_empty());
        text.map(|text| humantime::parse_rfc3339(&text).map_err(D::Error::custom)).transpose()
    }
}

/// An owner; nothing is written as an empty text.
pub(crate) mod maybe_owner {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(owner: &Option<OwnerId>, serializer: S) -> Result<S::Ok, S::Error> {
        match owner {
            Some(owner) => owner.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OwnerId>, D::Error> {
        let text = Some(String::deserialize(deserializer)?).filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{event::Event, mode::Mode, stats::Statistics};

    const EVENT: &str = r#"{"sequence":7,"kind":"grant","at":"2026-01-02T03:04:05.678Z","resource":"a","mode":"write","owner":"00000000000000ab","label":"x","pid":1,"token":2,"elapsed_ms":1.234567}"#;

    #[test]
    fn an_event_is_written_as_it_was_read() {
        let event: Event = serde_json::from_str(EVENT).unwrap();
        assert_eq!((event.owner, event.elapsed), (OwnerId(0xab), Duration::from_nanos(1_234_567)));
        assert_eq!(serde_json::to_string(&event).unwrap(), EVENT);
    }

    #[test]
    fn statistics_are_read_as_they_were_written() {
        let mut statistics = Statistics::unused("a".to_owned(), Mode::Read);
        statistics.avg_wait = Duration::from_nanos(1_500_001);
        let text = serde_json::to_string(&statistics).unwrap();
        assert!(text.contains(r#""lock_type":"read""#) && text.contains(r#""avg_wait_time_ms":1.500001"#), "{text}");
        assert_eq!(serde_json::from_str::<Statistics>(&text).unwrap(), statistics);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for nonsense in ["-1.0", "1e300"] {
            let event = EVENT.replace("1.234567", nonsense);
            assert!(serde_json::from_str::<Event>(&event).is_err(), "{nonsense}");
        }
    }
}
