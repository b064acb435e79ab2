//! Holds src/ to the code map of ARCHITECTURE.md: which room may use which, which rooms have no effects, who prints.
//!
//! Tests are outside of the map: what stands below `#[cfg(test)]` may use every room and read files.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

struct Room {
    name: &'static str,
    /// Other rooms, each of them above this one: so there are no circles.
    may_use: &'static [&'static str],
    effects: Effects,
}

#[derive(PartialEq, Eq)]
enum Effects {
    None,
    Some,
    /// Some, standard output among them.
    Prints,
}

const ROOMS: &[Room] = &[
    Room { name: "diagnostic", may_use: &[], effects: Effects::None },
    Room { name: "memory", may_use: &[], effects: Effects::Some },
    Room { name: "model", may_use: &[], effects: Effects::None },
    Room { name: "spec", may_use: &["diagnostic", "model"], effects: Effects::None },
    Room { name: "plan", may_use: &["model"], effects: Effects::None },
    Room { name: "convert", may_use: &["diagnostic", "model", "spec", "plan"], effects: Effects::None },
    Room { name: "status", may_use: &["model", "plan"], effects: Effects::None },
    Room { name: "state", may_use: &["model"], effects: Effects::Some },
    Room { name: "probe", may_use: &["diagnostic", "model"], effects: Effects::Some },
    Room {
        name: "backend",
        may_use: &["model", "plan", "status", "state", "probe", "convert"],
        effects: Effects::Some,
    },
    Room {
        name: "transaction",
        may_use: &["diagnostic", "model", "spec", "plan", "backend"],
        effects: Effects::Some,
    },
    Room { name: "wireguard", may_use: &["model"], effects: Effects::Some },
    Room { name: "engine", may_use: &["memory", "model", "wireguard"], effects: Effects::Some },
    Room { name: "capture", may_use: &["model"], effects: Effects::Some },
    Room { name: "sandbox", may_use: &["probe"], effects: Effects::Some },
    Room { name: "exec", may_use: &["diagnostic", "model", "probe"], effects: Effects::Some },
    Room { name: "service", may_use: &["model", "status", "engine"], effects: Effects::Some },
    Room { name: "control", may_use: &["model", "status", "state"], effects: Effects::Some },
    Room { name: "enter", may_use: &["model", "exec", "control"], effects: Effects::Some },
    Room {
        name: "supervisor",
        may_use: &[
            "diagnostic",
            "memory",
            "model",
            "spec",
            "plan",
            "status",
            "state",
            "probe",
            "backend",
            "transaction",
            "wireguard",
            "engine",
            "sandbox",
            "exec",
            "service",
            "control",
        ],
        effects: Effects::Some,
    },
    Room {
        name: "suite",
        may_use: &["model", "spec", "status", "backend", "sandbox", "exec", "capture"],
        effects: Effects::Some,
    },
    Room {
        name: "lab",
        may_use: &[
            "diagnostic",
            "model",
            "spec",
            "plan",
            "status",
            "state",
            "probe",
            "backend",
            "transaction",
            "sandbox",
            "exec",
            "service",
            "control",
            "supervisor",
        ],
        effects: Effects::Some,
    },
    Room {
        name: "cli",
        may_use: &[
            "diagnostic",
            "memory",
            "model",
            "spec",
            "plan",
            "convert",
            "status",
            "state",
            "probe",
            "backend",
            "transaction",
            "wireguard",
            "engine",
            "capture",
            "sandbox",
            "exec",
            "service",
            "control",
            "enter",
            "supervisor",
            "suite",
            "lab",
        ],
        effects: Effects::Prints,
    },
];

/// What a room without effects does not name.
const EFFECTS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stdin",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "libc",
    "nix",
    "tokio",
];

/// What only the command line names.
const PRINTING: &[&str] = &["print!", "println!", "dbg!"];

/// Everything that is wrong with one file of a room, as `line: what`.
fn faults(room: &Room, file: &Path, source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for path in &source.paths {
        let mut fault = |what: String| faults.push(format!("{}:{}: {what}", file.display(), path.line));
        let written = path.segments.join("::");
        if let [root, used, ..] = path.segments.as_slice()
            && root == "crate"
            && used != room.name
            && !room.may_use.contains(&used.as_str())
        {
            fault(format!("{} may not use {used}", room.name));
        }
        if supers(path) >= depth(file) {
            fault(format!("`{written}` leaves the room: write it from `crate::`"));
        }
        if room.effects == Effects::None && EFFECTS.iter().any(|effect| path.names(effect)) {
            fault(format!("{} has no effects, but names {written}", room.name));
        }
        if room.effects != Effects::Prints && PRINTING.iter().any(|printing| path.names(printing)) {
            fault(format!("only the command line prints, but {} names {written}", room.name));
        }
    }
    faults
}

fn supers(path: &source::Path) -> usize {
    path.segments.iter().take_while(|segment| *segment == "super").count()
}

/// How many `super` lead from a file's module to the crate's root: `src/a.rs` 1, `src/a/b.rs` 2.
fn depth(file: &Path) -> usize {
    file.components().count() - 1
}

/// The sources of rooms below `src`, by path from the package's root; files that only tests compile are left out.
fn room_sources() -> BTreeMap<PathBuf, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = BTreeMap::new();
    let mut for_tests = BTreeSet::new();
    for file in files_below(&root.join("src")) {
        let source = Source::read(&fs::read_to_string(&file).unwrap());
        let name = file.strip_prefix(root).unwrap().to_owned();
        let submodules = name.with_extension("");
        for_tests.extend(source.test_modules.iter().map(|module| submodules.join(module)));
        sources.insert(name, source);
    }
    for outside in ["src/lib.rs", "src/main.rs"] {
        sources.remove(Path::new(outside));
    }
    sources.retain(|name, _| !for_tests.iter().any(|test| name.with_extension("").starts_with(test)));
    sources
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files.into_iter().filter(rust).chain(directories.iter().flat_map(|below| files_below(below))).collect()
}

fn room_of(file: &Path) -> String {
    let below = file.components().nth(1).expect("a file below src");
    Path::new(below.as_os_str()).file_stem().unwrap().to_string_lossy().into_owned()
}

fn room_named(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

#[test]
fn every_room_keeps_to_the_map() {
    let sources = room_sources();
    assert!(sources.len() > 20, "src was not found: {:?}", sources.keys());
    let mut all = Vec::new();
    for (file, source) in &sources {
        match room_named(&room_of(file)) {
            Some(room) => all.extend(faults(room, file, source)),
            None => all.push(format!("{}: no such room in the map", file.display())),
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn no_room_is_a_mod_rs() {
    let named: Vec<_> = room_sources()
        .into_keys()
        .filter(|file| file.file_name().is_some_and(|name| name == "mod.rs"))
        .collect();
    assert!(named.is_empty(), "write foo.rs and foo/ instead of {named:?}");
}

#[test]
fn rooms_use_only_rooms_above_them() {
    for (index, room) in ROOMS.iter().enumerate() {
        for used in room.may_use {
            assert!(
                ROOMS[..index].iter().any(|above| above.name == *used),
                "{used} is not above {}",
                room.name
            );
        }
    }
}

/// The page has a row `| `src/NAME` | sentence | USED, USED | effects |` for each room, in this order.
#[test]
fn the_architecture_page_has_the_same_map() {
    let page = include_str!("../../ARCHITECTURE.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `src/"));
    let written: Vec<(String, String)> = rows
        .map(|row| {
            let columns: Vec<&str> = row.split('|').map(str::trim).collect();
            (columns[0].trim_matches('`').to_owned(), columns[2].to_owned())
        })
        .filter(|(name, _)| name != "main.rs")
        .collect();
    let expected: Vec<(String, String)> = ROOMS
        .iter()
        .map(|room| {
            let used = if room.may_use.is_empty() { "-".to_owned() } else { room.may_use.join(", ") };
            (room.name.to_owned(), used)
        })
        .collect();
    assert_eq!(written, expected);
}

#[test]
fn faults_are_found() {
    let text = r##"
        //! Not an edge: [`crate::backend`].
        use crate::{model::{Network, Prefix}, backend::linux, plan};
        use std::{fs as files, net::{IpAddr, TcpStream}};
        fn f<'a>(x: &'a str) -> char {
            println!("crate::cli {}", r#"crate::"cli"#);
            nix::unistd::getpid();
            let quoted = '"'; super::super::state::load(); super::near();
            if x != y { std::dbg!(x); }
            '\''
        }
        #[cfg(all(test, feature = "x"))]
        use crate::suite::{a, b};
        #[cfg(test)]
        #[path = "t.rs"]
        mod laws;
        #[cfg(not(test))]
        pub use crate::exec::Run;
        #[cfg(test)]
        mod tests { use crate::control; fn g() { println!("fine"); } }
    "##;
    let found = faults(room_named("plan").unwrap(), Path::new("src/plan/made_up.rs"), &Source::read(text));
    assert_eq!(
        found,
        [
            "src/plan/made_up.rs:3: plan may not use backend",
            "src/plan/made_up.rs:4: plan has no effects, but names std::fs",
            "src/plan/made_up.rs:4: plan has no effects, but names std::net::TcpStream",
            "src/plan/made_up.rs:6: only the command line prints, but plan names println!",
            "src/plan/made_up.rs:7: plan has no effects, but names nix::unistd::getpid",
            "src/plan/made_up.rs:8: `super::super::state::load` leaves the room: write it from `crate::`",
            "src/plan/made_up.rs:9: only the command line prints, but plan names std::dbg!",
            "src/plan/made_up.rs:18: plan may not use exec",
        ]
    );
    assert_eq!(Source::read(text).test_modules, ["laws"]);
}
