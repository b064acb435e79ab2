//! What `netstat -R` prints, as values: routing domains and the rtables of each.

use std::collections::{BTreeMap, BTreeSet};

/// The rtables of each routing domain that has an interface.
pub fn read(text: &str) -> BTreeMap<u8, BTreeSet<u8>> {
    let mut rdomains: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Rdomain", number] => current = number.parse().ok(),
            ["Routing", "table:" | "tables:", tables @ ..] => {
                let Some(rdomain) = current else { continue };
                let tables = tables.iter().filter_map(|table| table.parse::<u8>().ok());
                rdomains.entry(rdomain).or_default().extend(tables);
            }
            _ => {}
        }
    }
    rdomains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_belong_to_domains() {
        let text = "Rdomain 0\n  Interfaces: lo0 em0\n  Routing tables: 0 5 9\n\nRdomain 1\n  Interface: lo1\n  Routing table: 1\n\n";
        let read = read(text);
        assert_eq!(read[&0], BTreeSet::from([0, 5, 9]));
        assert_eq!(read[&1], BTreeSet::from([1]));
    }
}
