//! The fuzzers' corpora, each input once: what was found to be worth trying stays true without a search for more.
//!
//! It moves boringtun's clock, so it is built with `--features mock-clock` alone: `scripts/test clock`.
#![cfg(feature = "mock-clock")]

#[expect(unreachable_pub, reason = "it is a library for the fuzzers")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn what_is_said_to_supervisors() {
    hold_for_each("control", fuzz::control::hold);
}

#[test]
fn what_arrives_at_sockets() {
    hold_for_each("datagrams", fuzz::datagrams::hold);
}

#[test]
fn what_users_write() {
    hold_for_each("files", fuzz::files::hold);
}

#[test]
fn what_other_tools_print() {
    hold_for_each("foreign", fuzz::foreign::hold);
}

#[test]
fn what_interfaces_hand_over() {
    hold_for_each("packets", fuzz::packets::hold);
}

#[test]
fn what_configurers_say() {
    hold_for_each("uapi", fuzz::uapi::hold);
}

fn hold_for_each(corpus: &str, hold: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let inputs = files_below(&directory);
    assert!(!inputs.is_empty(), "no corpus in {}", directory.display());
    for (name, input) in inputs {
        assert!(catch_unwind(|| hold(&input)).is_ok(), "it does not hold for {name}");
    }
}

/// Names and contents.
fn files_below(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![(path.display().to_string(), fs::read(&path).unwrap())]
            }
        })
        .collect()
}
