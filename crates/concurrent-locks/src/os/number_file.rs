//! A number in a file of its own, written in place.
//!
//! It has one length, so a write goes over all of an old number in one go; a disk writes a sector
//! whole. A file that cannot be read as a number is damaged, and never taken for a new one.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

/// 20 digits and a newline.
const LENGTH: usize = 21;

/// Why there is no number.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// How the content is not a number.
    Damaged(String),
    /// The system's error.
    Failed(io::Error),
}

pub(crate) fn write(mut file: &File, number: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{number:0width$}\n", width = LENGTH - 1).as_bytes())
}

pub(crate) fn read(mut file: &File) -> Result<u64, Unreadable> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).map_err(Unreadable::Failed)?;
    // One byte more than a whole number has, to notice what is too long.
    file.take(LENGTH as u64 + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Unreadable::Damaged("it is not text".to_owned()),
        _ => Unreadable::Failed(error),
    })?;
    let digits = text.strip_suffix('\n').unwrap_or(&text);
    let whole = text.len() == LENGTH && digits.len() == LENGTH - 1;
    // A number written by hand has no leading zero; the beginning of a torn one has.
    let by_hand = !text.starts_with('0') && text.len() < LENGTH;
    match digits.parse() {
        Ok(number) if (whole || by_hand) && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(Unreadable::Damaged(format!("it reads {text:?}"))),
    }
}
