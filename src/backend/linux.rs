//! The Linux kernel as a backend: namespaces, links, addresses, routes, sysctls and WireGuard by netlink(7).

pub mod namespace;
pub mod netlink;
