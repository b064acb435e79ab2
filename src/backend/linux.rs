//! The Linux kernel over netlink: no `ip`, no `wg`, no shell.
