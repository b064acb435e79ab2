//! What the kernel may do for many packets at once, and what of it an interface does without.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// Which offloads to use, as far as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    None,
}

impl Wanted {
    /// None where RDOM_OFFLOADS says so: for a driver that spoils packets, and for tests.
    pub(super) fn by_environment() -> Self {
        if std::env::var_os("RDOM_OFFLOADS").is_some_and(|words| words == "none") {
            Self::None
        } else {
            Self::All
        }
    }
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offload {
    /// TCP segments as one packet between the interface and the engine (`TUN_F_TSO4`, `TUN_F_TSO6`).
    TunTcp,
    /// UDP datagrams likewise (`TUN_F_USO4`, `TUN_F_USO6`; Linux 6.2).
    TunUdp,
    /// A run of encrypted datagrams sent at once (udp(7), `UDP_SEGMENT`).
    UdpSend,
    /// A run of them received at once (udp(7), `UDP_GRO`).
    UdpReceive,
}

impl Display for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TunTcp => "tun-tcp",
            Self::TunUdp => "tun-udp",
            Self::UdpSend => "udp-send",
            Self::UdpReceive => "udp-receive",
        })
    }
}
