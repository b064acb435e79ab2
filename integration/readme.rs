//! The README does not promise what is not there: its YAML is a file without faults, and what it names exists.

use std::path::Path;

use rdomain::model::NetworkName;
use rdomain::spec::{self, Source};

const README: &str = include_str!("../README.md");

/// The text of each fenced block of a language.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(language) {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

#[test]
fn its_files_have_no_faults() {
    let blocks = blocks("yaml");
    assert!(!blocks.is_empty());
    for text in blocks {
        let source = Source {
            file: "README.md".to_owned(),
            text,
            network: NetworkName::new("readme").unwrap(),
            directory: Path::new(".").to_owned(),
        };
        let lowered = spec::read(&source).unwrap_or_else(|faults| panic!("{faults:?}"));
        let shows_something = lowered.network.tunnels().count() > 0 || !lowered.services.is_empty();
        assert!(shows_something, "a file without tunnels and services");
    }
}

#[test]
fn the_places_it_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = README.split(|next: char| next.is_whitespace() || "`(),:".contains(next));
    let places =
        words.filter(|word| word.starts_with("scripts/") || word.ends_with(".md") || *word == "examples/");
    let missing: Vec<_> = places.filter(|place| !root.join(place).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
