//! [`OwnerId`]: who holds or waits.

use std::{fmt, str::FromStr};

use crate::words::error::{Error, ErrorKind};

/// The id of an owner. Each owner has its own, whatever its label; a forked child draws another.
///
/// Shown as 16 hexadecimal digits, in JSON too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub(crate) u64);

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for OwnerId {
    type Err = Error;

    /// Reads 16 hexadecimal digits.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    fn from_str(text: &str) -> Result<OwnerId, Error> {
        let digits = Some(text).filter(|text| text.len() == 16 && !text.starts_with('+'));
        let id = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        id.map(OwnerId).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, format!("an owner's id has 16 hexadecimal digits, not {text:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_16_digits_and_nothing_else() {
        for id in [0, 7, u64::MAX] {
            assert_eq!(OwnerId(id).to_string().parse::<OwnerId>().unwrap(), OwnerId(id));
        }
        for text in ["", "7", "+00000000000000a", "000000000000000g", "00000000000000000"] {
            assert_eq!(text.parse::<OwnerId>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
