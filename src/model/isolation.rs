//! How a domain is kept apart from the others of its host.

use std::fmt;

/// What a domain is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// Not chosen yet: a namespace with a VRF where the kernel has VRF; gone once bound. On a system whose kernel has
    /// domains of its own it is all there is.
    Auto,
    /// A network namespace; its own rtable is the namespace's main table.
    Netns,
    /// A network namespace with a VRF device in it, to which its interfaces belong; its own rtable is the VRF's
    /// table, of the domain's number.
    NetnsVrf,
    /// A VRF device in the default domain's namespace, and no namespace of its own: no `lo`, firewall or sysctls.
    Vrf,
}

impl Isolation {
    /// Whether the domain has a namespace of its own.
    pub fn has_namespace(self) -> bool {
        match self {
            Isolation::Auto | Isolation::Netns | Isolation::NetnsVrf => true,
            Isolation::Vrf => false,
        }
    }

    /// Whether the domain has a VRF device.
    pub fn has_vrf(self) -> bool {
        match self {
            Isolation::NetnsVrf | Isolation::Vrf => true,
            Isolation::Auto | Isolation::Netns => false,
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Isolation::Auto => "auto",
            Isolation::Netns => "netns",
            Isolation::NetnsVrf => "netns+vrf",
            Isolation::Vrf => "vrf",
        })
    }
}
