//! Who besides root may ask a network's supervisor for something. No kernel knows of it, so no plan is about it.

use super::allow::{Account, Allow};

/// Whom a file gives the control socket to; nobody unless it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The group that the socket is of, by name or by decimal number: its members may look.
    pub group: Option<String>,
    /// Those of them who may change the network, too.
    pub change: Allow,
}

/// What somebody may want of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To see what there is, and what happens.
    Look,
    /// To have it become something else.
    Change,
}

impl Control {
    /// Whether a user who is in these groups has this right; root has every one.
    pub fn permits(&self, right: Right, user: &Account, groups: &[Account]) -> bool {
        let members = Allow { groups: self.group.iter().cloned().collect(), ..Allow::default() };
        let may_look = members.admits(user, groups);
        match right {
            Right::Look => may_look,
            Right::Change => may_look && self.change.admits(user, groups),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_look_and_change_only_if_they_are_named() {
        let control = Control {
            group: Some("netadm".into()),
            change: Allow { users: ["alice".to_owned()].into(), groups: ["ops".to_owned()].into() },
        };
        let account = |number, name: &str| Account { number, name: Some(name.to_owned()) };
        let (netadm, ops) = (account(50, "netadm"), account(51, "ops"));
        let rights = |user: &Account, groups: &[Account]| {
            [Right::Look, Right::Change].map(|right| control.permits(right, user, groups))
        };
        let (member, both, other) = ([netadm.clone()], [netadm, ops.clone()], [ops]);
        assert_eq!(rights(&account(1, "alice"), &member), [true, true]);
        assert_eq!(rights(&account(2, "bob"), &member), [true, false]);
        assert_eq!(rights(&account(2, "bob"), &both), [true, true]);
        assert_eq!(rights(&account(1, "alice"), &other), [false, false]);
        assert_eq!(rights(&account(0, "root"), &[]), [true, true]);
        assert!(!Control::default().permits(Right::Look, &account(2, "bob"), &[]));
    }
}
