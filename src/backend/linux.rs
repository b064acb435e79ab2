//! The Linux kernel as a backend: namespaces, links, addresses, routes, sysctls and WireGuard by netlink(7).

mod address;
mod link;
pub mod mark;
pub mod namespace;
pub mod netlink;
mod route;
