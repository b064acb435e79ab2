//! Which peer an inner address belongs to: the longest prefix that holds it wins, as in the WireGuard paper's
//! cryptokey routing table. A prefix has one owner; giving it to another takes it from the first.
//!
//! One hash table for each prefix length in use, longest first: a lookup costs one probe for each length, however
//! many prefixes there are, and 130,000 prefixes are inserted in linear time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::model::Prefix;

/// Prefixes and their owners.
pub(super) struct AllowedIps<T> {
    v4: Table<T>,
    v6: Table<T>,
}

/// Prefixes of one family by length, then by address in the upper bits.
type Table<T> = BTreeMap<Reverse<u8>, HashMap<u128, T>>;

impl<T: Copy + PartialEq> AllowedIps<T> {
    /// No prefixes.
    pub(super) fn new() -> Self {
        Self { v4: Table::new(), v6: Table::new() }
    }

    /// The owner of the longest prefix that holds the address.
    pub(super) fn lookup(&self, address: IpAddr) -> Option<T> {
        let bits = bits(address);
        self.table(address)
            .iter()
            .find_map(|(Reverse(length), prefixes)| prefixes.get(&(bits & mask(*length))))
            .copied()
    }

    /// Gives the prefix to an owner; returns the one that it was taken from.
    pub(super) fn insert(&mut self, prefix: Prefix, owner: T) -> Option<T> {
        let (length, bits) = (Reverse(prefix.length()), bits(prefix.address()));
        self.table_mut(prefix.address()).entry(length).or_default().insert(bits, owner)
    }

    /// Takes the prefix from its owner, if it is this one; tells whether it was.
    pub(super) fn remove(&mut self, prefix: Prefix, owner: T) -> bool {
        let (length, bits) = (Reverse(prefix.length()), bits(prefix.address()));
        let table = self.table_mut(prefix.address());
        let Some(prefixes) = table.get_mut(&length) else { return false };
        if prefixes.get(&bits) != Some(&owner) {
            return false;
        }
        prefixes.remove(&bits);
        if prefixes.is_empty() {
            table.remove(&length);
        }
        true
    }

    fn table(&self, family: IpAddr) -> &Table<T> {
        match family {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        }
    }

    fn table_mut(&mut self, family: IpAddr) -> &mut Table<T> {
        match family {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }
}

/// The address from the top bit down, so that lengths of both families count from the same end.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use ipnetwork::IpNetwork;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Insert(Prefix, u8),
        Remove(Prefix, u8),
    }

    /// Addresses that differ in few bits only, so that prefixes of all lengths hold each other.
    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            prop::array::uniform4(prop::sample::select(vec![0u8, 1, 128, 255])).prop_map(IpAddr::from),
            prop::array::uniform16(prop::sample::select(vec![0u8, 128])).prop_map(IpAddr::from),
        ]
    }

    fn prefix() -> impl Strategy<Value = Prefix> {
        (address(), 0u8..=128).prop_map(|(address, length)| {
            let length = length % if address.is_ipv4() { 33 } else { 129 };
            Prefix::containing(IpNetwork::new(address, length).unwrap())
        })
    }

    fn act() -> impl Strategy<Value = Act> {
        let owner = 0u8..4;
        prop_oneof![
            3 => (prefix(), owner.clone()).prop_map(|(prefix, owner)| Act::Insert(prefix, owner)),
            1 => (prefix(), owner).prop_map(|(prefix, owner)| Act::Remove(prefix, owner)),
        ]
    }

    fn longest(model: &BTreeMap<Prefix, u8>, address: IpAddr) -> Option<u8> {
        let holding = model.iter().filter(|(prefix, _)| prefix.contains(address));
        holding.max_by_key(|(prefix, _)| prefix.length()).map(|(_, owner)| *owner)
    }

    proptest! {
        #[test]
        fn agrees_with_a_search_of_all_prefixes(
            acts in prop::collection::vec(act(), 0..60),
            addresses in prop::collection::vec(address(), 20),
        ) {
            let mut table = AllowedIps::new();
            let mut model = BTreeMap::new();
            for act in acts {
                match act {
                    Act::Insert(prefix, owner) => {
                        prop_assert_eq!(table.insert(prefix, owner), model.insert(prefix, owner));
                    }
                    Act::Remove(prefix, owner) => {
                        let held = model.get(&prefix) == Some(&owner);
                        if held {
                            model.remove(&prefix);
                        }
                        prop_assert_eq!(table.remove(prefix, owner), held);
                    }
                }
            }
            for address in addresses {
                prop_assert_eq!(table.lookup(address), longest(&model, address));
            }
        }
    }

    #[test]
    fn the_default_prefix_holds_what_nothing_else_does() {
        let mut table = AllowedIps::new();
        table.insert("0.0.0.0/0".parse().unwrap(), 1);
        table.insert("10.0.0.0/8".parse().unwrap(), 2);
        assert_eq!(table.lookup("10.1.2.3".parse().unwrap()), Some(2));
        assert_eq!(table.lookup("11.1.2.3".parse().unwrap()), Some(1));
        assert_eq!(table.lookup("::1".parse().unwrap()), None);
    }
}
