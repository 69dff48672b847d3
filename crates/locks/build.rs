//! A command that is started for every command wants to start fast. A program that is loaded where it was
//! linked to needs no relocations, of which there are thousands else; and a library less to load is a tenth
//! of the loader's work: what unwinds a panic is linked in, where the compiler driver has it to link.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        if is("HOST", &env::var("TARGET").unwrap_or_default()) && has_static_unwinder() {
            // Before all of Rust's own libraries, so that it is found first.
            println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
        }
    }
}

/// The driver answers with a path, or with the name alone if it does not know the file.
fn has_static_unwinder() -> bool {
    let answer = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    answer.is_ok_and(|answer| Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_absolute())
}
