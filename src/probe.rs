//! What this kernel, container and user may do.
//!
//! Each answer is had by trying or by reading what the kernel says, never by its version. What is missing is named,
//! together with what would provide it.

mod control_groups;
mod finding;
mod firewall;
mod hazard;
mod host;
mod ipv6;
mod need;
mod netlink;
mod trial;
mod user_namespaces;
mod wireguard;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use caps::{CapSet, Capability};
use nix::errno::Errno;

pub use crate::diagnostic::Unsupported;
use crate::model::{Capabilities, Isolation, Network};
pub use control_groups::control_groups;
pub use finding::{Finding, State};
pub use firewall::{ClosedChain, Hook, closed_chains};
pub use hazard::{Hazard, Surroundings, hazards};
pub use host::{look_at_host, sysctl};
pub use need::{Item, Need, impairable, needs, unmet, unmet_but_namespaces};
pub use trial::{Ground, enter_new_namespace, in_new_namespace, try_namespace, writable_sysctls};
pub use user_namespaces::refused_user_namespace;
pub use wireguard::kernel_wireguard;

/// What a plan depends on.
pub fn capabilities() -> Capabilities {
    look(&Ground::default()).0
}

/// The same, tried on this ground, and what to say of domains that leave their isolation open where it cannot be
/// `netns+vrf` although the kernel has VRF.
pub fn capabilities_for(network: &Network, ground: &Ground) -> (Capabilities, Option<String>) {
    let (capabilities, held_back) = look(ground);
    let is_open = network.domains.values().any(|domain| domain.isolation == Isolation::Auto);
    let say = |Unsupported { missing, remedy }| {
        format!("domains get isolation netns, not netns+vrf: {missing}; help: {remedy}")
    };
    (capabilities, held_back.filter(|_| is_open).map(say))
}

/// The same, and what keeps a namespace with a VRF in it from being what a domain gets, although the kernel has VRF:
/// programs that know nothing of it need sysctls there.
fn look(ground: &Ground) -> (Capabilities, Option<Unsupported>) {
    let has_ipv6 = kernel_has_ipv6();
    let has_vrf = ground.kind_of_link("vrf").is_ok();
    let held_back = if has_vrf { ground.writable_sysctls().err() } else { None };
    let capabilities = Capabilities {
        kernel_wireguard: kernel_wireguard(),
        vrf: has_vrf && held_back.is_none(),
        ipv6: has_ipv6 && ground.ipv6().is_ok(),
        ipv6_at_home: has_ipv6 && ipv6::in_default_domain().is_ok(),
    };
    (capabilities, held_back)
}

/// Whether the kernel has IPv6.
pub fn kernel_has_ipv6() -> bool {
    ipv6::of_kernel().is_ok()
}

/// Whether this process may configure networks and make namespaces.
pub fn administration() -> Result<(), Unsupported> {
    for capability in [Capability::CAP_NET_ADMIN, Capability::CAP_SYS_ADMIN] {
        if !caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false) {
            return Err(Unsupported {
                missing: format!("this process lacks {capability}"),
                remedy: "run it as root, or in a private copy that needs no root: rdom run FILE -- COMMAND"
                    .into(),
            });
        }
    }
    Ok(())
}

/// Whether TUN devices can be opened, which the userspace engine needs.
pub fn tun_device() -> Result<(), Unsupported> {
    let node = Path::new("/dev/net/tun");
    match OpenOptions::new().read(true).write(true).open(node) {
        Ok(file) if file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device()) => Ok(()),
        Ok(_) => Err(no_device(node)),
        Err(error) => Err(closed_node(node, &error)),
    }
}

fn no_device(node: &Path) -> Unsupported {
    let path = node.display();
    Unsupported {
        missing: format!("{path} is not a device"),
        remedy: format!("as root: rm {path} && mknod {path} c 10 200"),
    }
}

fn closed_node(node: &Path, error: &io::Error) -> Unsupported {
    let path = node.display();
    let Ok(metadata) = File::open("/").and_then(|_| fs::metadata(node)) else {
        return Unsupported {
            missing: format!("{path} does not exist"),
            remedy: format!("as root: modprobe tun; in a container: pass --device {path}"),
        };
    };
    if !metadata.file_type().is_char_device() {
        return no_device(node);
    }
    let mode = metadata.mode() & 0o7777;
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) => Unsupported {
            missing: format!("{path} is closed to this user: mode {mode:04o}"),
            remedy: format!(
                "as root: chmod 0666 {path} (most distributions have it so: opening it gives no rights)"
            ),
        },
        _ => Unsupported {
            missing: format!("{path} (mode {mode:04o}) cannot be opened: {error}"),
            remedy: format!("as root: modprobe tun; in a container: pass --device {path}"),
        },
    }
}
