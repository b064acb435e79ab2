//! Who besides root may enter a domain. No kernel knows of it, so no plan is about it.

use std::collections::BTreeSet;

/// The users and groups that may, each by name or by decimal number; nobody unless some are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Users.
    pub users: BTreeSet<String>,
    /// Groups: their members may.
    pub groups: BTreeSet<String>,
}

/// A user or group of a system: its number, and its name where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The number.
    pub number: u32,
    /// The name.
    pub name: Option<String>,
}

impl Allow {
    /// Whether nobody is named.
    pub fn is_nobody(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether a user who is in these groups may enter; root always may.
    pub fn admits(&self, user: &Account, groups: &[Account]) -> bool {
        user.number == 0
            || user.is_among(&self.users)
            || groups.iter().any(|group| group.is_among(&self.groups))
    }
}

impl Account {
    fn is_among(&self, words: &BTreeSet<String>) -> bool {
        words.contains(&self.number.to_string())
            || self.name.as_ref().is_some_and(|name| words.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u32, name: &str) -> Account {
        Account { number, name: Some(name.to_owned()) }
    }

    #[test]
    fn names_and_numbers_admit_and_nothing_else_does() {
        let allow =
            Allow { users: ["alice", "1007"].map(String::from).into(), groups: ["netadm".to_owned()].into() };
        let bob = account(1002, "bob");
        assert!(allow.admits(&account(1001, "alice"), &[]));
        assert!(allow.admits(&Account { number: 1007, name: None }, &[]));
        assert!(allow.admits(&bob, &[account(1002, "bob"), account(50, "netadm")]));
        assert!(!allow.admits(&bob, &[account(1001, "alice"), account(1007, "bob")]), "a group is no user");
        assert!(!allow.admits(&account(50, "netadm"), &[]), "a user is no group");
        assert!(!Allow::default().admits(&bob, &[]));
        assert!(Allow::default().admits(&account(0, "root"), &[]));
    }
}
