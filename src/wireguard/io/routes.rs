//! By which interface the underlay reaches an address, and when that may have changed: rtnetlink(7).
//!
//! A peer is answered from the address of ours that it spoke to. Once the way to it leads out of another interface,
//! as when a laptop changes from one uplink to the other, no answer comes to that address any more; the kernel's engine
//! looks at this where it looks up a route (drivers/net/wireguard/socket.c).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::unistd::read;

use crate::wireguard::route::Route;

/// What moves a route: the kernel says nothing of IPv4's that go with their interface.
const GROUPS: [u32; 5] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
];
/// Changes come in crowds, which are looked at together.
const PAUSE: Duration = Duration::from_millis(200);
/// More than these are read the next time.
const CHANGES_MAX: usize = 64;

/// The routes of one network namespace.
pub struct Routes {
    changes: Socket,
    queries: Socket,
    /// When to look at what has changed.
    due: Option<Instant>,
}

impl Routes {
    /// Of the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        let mut changes = Socket::new(NETLINK_ROUTE)?;
        changes.bind_auto()?;
        for group in GROUPS {
            changes.add_membership(group)?;
        }
        changes.set_non_blocking(true)?;
        let mut queries = Socket::new(NETLINK_ROUTE)?;
        queries.bind_auto()?;
        // The kernel answers before a request returns.
        queries.set_non_blocking(true)?;
        Ok(Self { changes, queries, due: None })
    }

    /// Readable when something has changed.
    pub fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Takes note of what has changed: it is due a little later.
    pub fn note(&mut self) {
        for _ in 0..CHANGES_MAX {
            // That there was one is enough to know. ENOBUFS says that some were lost.
            match read(&self.changes, &mut [0]) {
                Ok(_) | Err(Errno::ENOBUFS) => self.due.get_or_insert_with(|| Instant::now() + PAUSE),
                Err(_) => return,
            };
        }
    }

    /// When to look at it.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// How long to wait at most.
    pub fn timeout(&self) -> PollTimeout {
        self.due.map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        })
    }

    /// Whether it is time to look at what has changed; tells it once.
    pub fn take_due(&mut self) -> bool {
        self.due.take_if(|at| *at <= Instant::now()).is_some()
    }

    /// The index of the interface by which a datagram with this mark leaves on that way, from a socket that is bound to
    /// the interface of that index unless it is 0. Rules may look at the address that it comes from.
    pub(super) fn exit_of(&self, way: Route, mark: u32, bound_to: u32) -> io::Result<u32> {
        let mut query = RouteMessage::default();
        let remote = way.remote.ip();
        let (family, length) =
            if remote.is_ipv6() { (AddressFamily::Inet6, 128) } else { (AddressFamily::Inet, 32) };
        query.header.address_family = family;
        query.header.destination_prefix_length = length;
        query.attributes.push(RouteAttribute::Destination(remote.into()));
        if let Some(source) = way.source {
            query.header.source_prefix_length = length;
            query.attributes.push(RouteAttribute::Source(source.address.into()));
        }
        query.attributes.push(RouteAttribute::Mark(mark));
        if bound_to != 0 {
            query.attributes.push(RouteAttribute::Oif(bound_to));
        }
        self.ask(RouteNetlinkMessage::GetRoute(query))?;
        let (bytes, _) = self.queries.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                interface(&route).ok_or(io::ErrorKind::NotFound.into())
            }
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn ask(&self, query: RouteNetlinkMessage) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(query));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.queries.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        Ok(())
    }
}

fn interface(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}
