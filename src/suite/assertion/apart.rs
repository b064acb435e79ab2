//! Domains that are apart: of every ordered pair, no link, tunnel or route leads from the first one to the second, what
//! is sent to an address of the second all the same does not arrive there, and no program of the first has a socket of
//! the second open.
//!
//! The same addresses may be in both, so that an answer proves nothing. What is looked for is the sender's token at a
//! socket in the other domain.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use nix::sys::socket::SockType;
use rand_core::{OsRng, RngCore};

use super::leads::Leads;
use super::socket::{holds, inodes, processes};
use super::{Ground, throughout};
use crate::model::DomainId;
use crate::suite::inside::Inside;

/// Tables of /proc/net with sockets (proc_net(5)).
const TABLES: [&str; 11] =
    ["tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6", "packet"];

/// All nodes of a link (RFC 4291, 2.7.1): link-local addresses and those that the file does not know are theirs too.
const EVERYBODY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// How many ways from one domain to another are told of.
const LEAKS: usize = 12;

/// One domain with the sockets that wait in it.
struct Listener<'a> {
    domain: DomainId,
    inside: Inside<'a>,
    sockets: Vec<UdpSocket>,
}

pub(super) fn failure(domains: &[DomainId], ground: &Ground, deadline: Instant) -> Option<String> {
    let listeners: Result<Vec<_>, String> = domains.iter().map(|domain| listen(*domain, ground)).collect();
    let listeners = match listeners {
        Ok(listeners) => listeners,
        Err(trouble) => return Some(trouble),
    };
    let pairs = || listeners.iter().flat_map(|from| listeners.iter().map(move |to| (from, to)));
    let pairs = || pairs().filter(|(from, to)| from.domain != to.domain);
    if let Some(shared) = pairs().find_map(|(from, to)| foreign_socket(from, to, ground)) {
        return Some(shared);
    }
    let leads = match Leads::of(ground) {
        Ok(leads) => leads,
        Err(trouble) => return Some(trouble),
    };
    let leaks = pairs().filter_map(|(from, to)| leads.leak(from.domain, to.domain));
    let mut leaks: Vec<String> = leaks.take(LEAKS).collect();
    let tokens: Vec<Sent> = pairs().flat_map(|(from, to)| send(from, to, &leads)).collect();
    let arrived = |_| listeners.iter().find_map(|listener| arrived(listener, &tokens, ground));
    leaks.extend(throughout(deadline, arrived));
    (!leaks.is_empty()).then(|| leaks.join("\n"))
}

fn listen(domain: DomainId, ground: &Ground) -> Result<Listener<'_>, String> {
    let inside = ground.inside(domain)?;
    let bind = |at: IpAddr| {
        let socket = inside.bound(SocketAddr::new(at, 0), SockType::Datagram).map(UdpSocket::from);
        let socket =
            socket.map_err(|errno| format!("no socket in {}: {}", ground.word(domain), errno.desc()))?;
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        Ok::<_, String>(socket)
    };
    let v4 = bind(Ipv4Addr::UNSPECIFIED.into())?;
    // A kernel may be without IPv6, and then nothing can come by it.
    let v6 = bind(Ipv6Addr::UNSPECIFIED.into()).ok();
    Ok(Listener { domain, inside, sockets: [Some(v4), v6].into_iter().flatten().collect() })
}

/// What was sent from one domain to an address of another.
struct Sent {
    token: [u8; 16],
    from: DomainId,
    to: DomainId,
    address: IpAddr,
}

/// Sends a token to each address of a domain, and to whoever is on a link of the sender's, at the port that waits there.
fn send(from: &Listener<'_>, to: &Listener<'_>, leads: &Leads<'_>) -> Vec<Sent> {
    let mut sent = Vec::new();
    let addresses = leads.addresses(to.domain).into_iter().map(|address| SocketAddr::new(address, 0));
    let links = leads.links(from.domain).into_iter();
    let everybody = links.map(|link| SocketAddr::V6(SocketAddrV6::new(EVERYBODY, 0, 0, link)));
    for mut address in addresses.chain(everybody) {
        let is_its = |local: &SocketAddr| local.is_ipv4() == address.is_ipv4();
        let Some(waits) = to.sockets.iter().filter_map(|socket| socket.local_addr().ok()).find(is_its) else {
            continue;
        };
        let mut token = [0; 16];
        OsRng.fill_bytes(&mut token);
        address.set_port(waits.port());
        // Who cannot even send has no route.
        if let Ok(socket) = from.inside.datagrams_to(address) {
            let _ = socket.send(&token);
        }
        sent.push(Sent { token, from: from.domain, to: to.domain, address: address.ip() });
    }
    sent
}

/// A token that has come out in this domain, of those that were sent from others.
fn arrived(listener: &Listener<'_>, tokens: &[Sent], ground: &Ground) -> Option<String> {
    listener.sockets.iter().find_map(|socket| {
        let mut bytes = [0; 64];
        while let Ok(length) = socket.recv(&mut bytes) {
            let is_it = |sent: &&Sent| sent.token == bytes[..length] && sent.from != listener.domain;
            let sent = tokens.iter().find(is_it);
            if let Some(Sent { from, to, address, .. }) = sent {
                let [from, to, here] = [*from, *to, listener.domain].map(|domain| ground.word(domain));
                return Some(format!("what {from} sent to {address} of {to} arrived in {here}"));
            }
        }
        None
    })
}

/// A program of one domain that has a socket of another one open.
fn foreign_socket(of: &Listener<'_>, socket_of: &Listener<'_>, ground: &Ground) -> Option<String> {
    let home = of.inside.namespace.identity();
    if home == socket_of.inside.namespace.identity() {
        return None;
    }
    let inodes: Vec<u64> = TABLES.iter().flat_map(|table| inodes(&socket_of.inside, table)).collect();
    let program = |process: &str| fs::read_link(format!("{process}/exe")).ok();
    let ours = program("/proc/self");
    // What makes and tests domains has sockets in all of them, and is a citizen of none.
    let lives_here = |process: &String| {
        let namespace = fs::metadata(format!("{process}/ns/net"));
        namespace.is_ok_and(|namespace| (namespace.dev(), namespace.ino()) == home)
            && program(process) != ours
    };
    let culprit = processes().into_iter().filter(lives_here).find(|process| holds(process, &inodes))?;
    let name = fs::read_to_string(format!("{culprit}/comm")).unwrap_or_default();
    let [of, other] = [of.domain, socket_of.domain].map(|domain| ground.word(domain));
    let pid = culprit.trim_start_matches("/proc/");
    Some(format!("{} (process {pid}) of {of} has a socket of {other} open", name.trim()))
}
