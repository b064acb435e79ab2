//! README and pages do not promise what is not there: their YAML is a file without faults, and what they name exists.

use std::path::Path;

use rdomain::model::NetworkName;
use rdomain::spec::{self, Source};

/// What a user reads first.
const PAGES: &[&str] = &[
    include_str!("../README.md"),
    include_str!("../docs/verbs.md"),
    include_str!("../docs/services.md"),
    include_str!("../docs/wireguard.md"),
    include_str!("../docs/migration.md"),
    include_str!("../docs/troubleshooting.md"),
];

/// The text of each fenced block of a language.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = PAGES.iter().flat_map(|page| page.lines());
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(language) {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

#[test]
fn their_files_have_no_faults() {
    let blocks = blocks("yaml");
    assert!(!blocks.is_empty());
    for text in blocks {
        let source = Source {
            file: "README.md".to_owned(),
            text,
            network: NetworkName::new("readme").unwrap(),
            directory: Path::new(".").to_owned(),
            reader: None,
        };
        let lowered = spec::read(&source).unwrap_or_else(|faults| panic!("{faults:?}"));
        let shows_something = lowered.network.tunnels().count() > 0 || !lowered.services.is_empty();
        assert!(shows_something, "a file without tunnels and services");
    }
}

#[test]
fn the_places_they_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words =
        PAGES.iter().flat_map(|page| page.split(|next: char| next.is_whitespace() || "`(),:".contains(next)));
    let places =
        words.filter(|word| word.starts_with("scripts/") || word.ends_with(".md") || *word == "examples/");
    let missing: Vec<_> = places.filter(|place| !root.join(place).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Every key that the reader of files knows stands in the page that explains them.
#[test]
fn the_page_about_the_file_has_every_key() {
    let page = include_str!("../docs/file.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spec");
    let sources = [root.join("words.rs")].into_iter().chain(below(&root.join("words")));
    let keys: Vec<String> = sources.flat_map(|path| keys(&std::fs::read_to_string(path).unwrap())).collect();
    assert!(keys.len() > 100, "keys are told by `keys: &[...]`, found {}", keys.len());
    let missing: Vec<_> = keys.iter().filter(|key| !explains(page, key)).collect();
    assert!(missing.is_empty(), "docs/file.md lacks {missing:?}");
}

/// As a word in code, alone or the first of several: `bridge`, or `vlan: {parent: IF, id: NUMBER}`.
fn explains(page: &str, key: &str) -> bool {
    let code = page.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|next: char| !next.is_ascii_alphanumeric() && next != '_'))
        .any(|word| word == key)
}

/// The keys of all shapes in a source.
fn keys(source: &str) -> Vec<String> {
    let lists = source.split("keys: &[").skip(1).filter_map(|rest| rest.split(']').next());
    lists.flat_map(|list| list.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn below(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}
