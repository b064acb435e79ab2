//! Links the unwinder into the programs: to load it as a library of its own, libgcc_s, takes 0.1 ms of every start, which
//! `rdom exec` pays each time. rustc asks for that library by name, and finds what is written here.

use std::env::{var, var_os};
use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_gnu = var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux")
        && var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    if is_gnu {
        let directory = PathBuf::from(var_os("OUT_DIR").expect("a directory from cargo"));
        fs::write(directory.join("libgcc_s.so"), "INPUT(libgcc_eh.a)\n").expect("a directory to write to");
        println!("cargo::rustc-link-arg-bins=-L{}", directory.display());
    }
}
