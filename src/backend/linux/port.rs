//! Who has a UDP port: sock_diag(7) tells the socket, /proc the process that has it open.

use std::fs;
use std::path::Path;

use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{AF_INET, AF_INET6, IPPROTO_UDP, SockDiagMessage};

use super::namespace::Namespace;
use super::netlink::{Netlink, NetlinkError, Protocol};

/// Who has this UDP port in this namespace, in words: as much of it as can be found out.
pub(super) fn holder(namespace: &Namespace, port: u16) -> Option<String> {
    let Found { inode, .. } = socket_of(namespace, port).ok().flatten()?;
    Some(match process_of(inode) {
        Some((pid, name)) => format!("process {pid} ({name}) has UDP port {port} there"),
        None => {
            format!("a socket of the kernel's or of a process that you may not see has UDP port {port} there")
        }
    })
}

/// A socket with the port.
pub(super) struct Found {
    inode: u32,
    /// The index of the device that it is bound to; 0 is none.
    pub(super) device: u32,
}

/// The socket that has this UDP port in this namespace, if one has.
pub(super) fn socket_of(namespace: &Namespace, port: u16) -> Result<Option<Found>, NetlinkError> {
    let mut socket = Netlink::of(namespace, Protocol::SockDiag)?;
    for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let query = InetRequest {
            family,
            protocol: IPPROTO_UDP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id: id,
        };
        let answers = socket.dump(SockDiagMessage::InetRequest(query))?;
        let found = answers.iter().find_map(|answer| match answer {
            SockDiagMessage::InetResponse(socket) if socket.header.socket_id.source_port == port => {
                let device = socket.header.socket_id.interface_id;
                Some(Found { inode: socket.header.inode, device })
            }
            _ => None,
        });
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn process_of(inode: u32) -> Option<(u32, String)> {
    let target = format!("socket:[{inode}]");
    let numbered = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let pid =
        fs::read_dir("/proc").ok()?.flatten().filter_map(numbered).find(|pid| has_open(*pid, &target))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim_end().to_owned()))
}

fn has_open(pid: u32, target: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == Path::new(target)))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn this_process_is_found_by_its_port() {
        let here = Namespace::current().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            let words = holder(&here, socket.local_addr().unwrap().port()).unwrap();
            assert!(words.starts_with(&format!("process {} (", std::process::id())), "{words}");
        }
    }
}
