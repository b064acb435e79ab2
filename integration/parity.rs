//! docs/parity.md and docs/security.md do not promise what is not there: every property has its row, and every test that
//! they name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PARITY: &str = include_str!("../docs/parity.md");
const SECURITY: &str = include_str!("../docs/security.md");

/// The properties that a port gets wrong when nobody looks.
const TRAPS: [u32; 36] = [
    5, 6, 7, 8, 12, 16, 17, 18, 19, 21, 22, 24, 26, 27, 28, 29, 33, 34, 35, 36, 37, 40, 41, 42, 43, 44, 45,
    46, 47, 48, 49, 50, 54, 55, 13, 20,
];

/// Those of them that no test shows yet. Each that gets a test leaves this list.
const UNTESTED_TRAPS: [u32; 0] = [];

/// One row: number, property, three isolations, test.
struct Row {
    number: u32,
    cells: Vec<String>,
}

fn rows() -> Vec<Row> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let lines = PARITY.lines().filter(|line| line.starts_with("| ") && line.ends_with('|')).map(cells);
    lines.filter_map(|cells| Some(Row { number: cells[0].parse().ok()?, cells })).collect()
}

/// The tests that a cell names: `PATH` or `PATH::FUNCTION`, in backquotes.
fn tests_in(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn tests_of(row: &Row) -> Vec<&str> {
    tests_in(&row.cells[5])
}

#[track_caller]
fn exists(test: &str, named_by: &str) {
    let (path, function) = test.split_once("::").unwrap_or((test, ""));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join(path)).unwrap_or_default();
    assert!(!text.is_empty(), "{named_by}: no {path}");
    assert!(function.is_empty() || text.contains(&format!("fn {function}(")), "{named_by}: no {test}");
}

#[test]
fn every_property_has_one_row_with_every_cell() {
    let numbers: Vec<u32> = rows().iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=65).collect::<Vec<_>>());
    for row in rows() {
        assert_eq!(row.cells.len(), 6, "row {}", row.number);
        assert!(row.cells.iter().all(|cell| !cell.is_empty()), "an empty cell in row {}", row.number);
        let judged = row.cells[2..5].iter().all(|cell| {
            ["same", "different", "not possible", "as "].iter().any(|word| cell.starts_with(word))
        });
        assert!(judged, "row {}: {:?}", row.number, &row.cells[2..5]);
    }
}

#[test]
fn every_test_that_is_named_exists() {
    for row in rows() {
        tests_of(&row).into_iter().for_each(|test| exists(test, &format!("row {}", row.number)));
    }
}

#[test]
fn every_claim_about_security_names_a_test_that_exists() {
    let mut of_claims = false;
    let mut claims = 0;
    for line in SECURITY.lines() {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        match cells.as_slice() {
            ["claim", "test"] => of_claims = true,
            [claim, tests] if of_claims && line.starts_with("| ") => {
                let tests = tests_in(tests);
                assert!(!tests.is_empty(), "no test: {claim}");
                tests.into_iter().for_each(|test| exists(test, claim));
                claims += 1;
            }
            _ if line.is_empty() => of_claims = false,
            _ => {}
        }
    }
    assert!(claims >= 20, "{claims} claims were found");
}

#[test]
fn every_row_names_a_test_or_says_that_there_is_none() {
    let untested: BTreeSet<u32> =
        rows().iter().filter(|row| tests_of(row).is_empty()).map(|row| row.number).collect();
    for row in rows().iter().filter(|row| untested.contains(&row.number)) {
        assert!(row.cells[5].starts_with("not tested"), "row {}: {}", row.number, row.cells[5]);
    }
    let traps: BTreeSet<u32> = TRAPS.into_iter().collect();
    let open: BTreeSet<u32> = traps.intersection(&untested).copied().collect();
    assert_eq!(open, BTreeSet::from(UNTESTED_TRAPS), "traps without a test");
}
