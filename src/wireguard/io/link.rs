//! What becomes of the interface: rtnetlink(7) notices of its MTU and of it going up and down.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::net::if_::if_nametoindex;

use super::{namespace::in_namespace, tun};

/// A subscription to one interface, in the network namespace where it was made.
pub struct LinkEvents {
    socket: Socket,
    index: u32,
    state: LinkState,
}

/// What is known of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) up: bool,
    pub(super) mtu: usize,
    /// Whether it is still in the namespace of the subscription.
    pub(super) here: bool,
}

impl LinkEvents {
    /// Subscribes to an interface of the calling thread's network namespace.
    pub fn open(name: &str) -> io::Result<Self> {
        let index = if_nametoindex(name)?;
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(libc::RTNLGRP_LINK)?;
        Self::begin(socket, index)
    }

    /// For another process: the subscription, and the interface's index in its namespace.
    pub fn into_subscription(self) -> io::Result<(OwnedFd, u32)> {
        Ok((self.socket.as_fd().try_clone_to_owned()?, self.index))
    }

    /// What another process subscribed to, whichever namespace this one is in.
    pub fn of_subscription(socket: OwnedFd, index: u32) -> io::Result<Self> {
        // SAFETY: the descriptor is owned, and becomes the socket's.
        let socket = unsafe { Socket::from_raw_fd(socket.into_raw_fd()) };
        socket.set_non_blocking(false)?;
        Self::begin(socket, index)
    }

    fn begin(socket: Socket, index: u32) -> io::Result<Self> {
        let state = LinkState { up: false, mtu: 0, here: true };
        let mut events = Self { socket, index, state };
        events.ask()?;
        while events.state.mtu == 0 && events.state.here {
            events.receive()?;
        }
        events.socket.set_non_blocking(true)?;
        Ok(events)
    }

    /// Subscribes to the interface of a TUN device, wherever that is now.
    pub(super) fn find(tun: &OwnedFd) -> io::Result<Self> {
        let (name, namespace) = tun::place(tun)?;
        in_namespace(&namespace, || Self::open(&name))
    }

    /// Whether the interface is up, as far as read.
    pub fn is_up(&self) -> bool {
        self.state.up
    }

    /// The interface's MTU, as far as read.
    pub fn mtu(&self) -> usize {
        self.state.mtu
    }

    pub(super) fn state(&self) -> LinkState {
        self.state
    }

    /// Reads all that waits and tells how the interface is then.
    pub(super) fn read(&mut self) -> io::Result<LinkState> {
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(self.state),
                // Notices were lost, so what is true now is asked for.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.ask()?,
                Err(error) => return Err(error),
            }
        }
    }

    fn ask(&self) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = self.index;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let payload = NetlinkPayload::from(RouteNetlinkMessage::GetLink(link));
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            self.take(message.payload)?;
        }
        Ok(())
    }

    fn take(&mut self, payload: NetlinkPayload<RouteNetlinkMessage>) -> io::Result<()> {
        match payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))
                if link.header.index == self.index =>
            {
                self.state.up = link.header.flags.contains(LinkFlags::Up);
                self.state.mtu = mtu(&link).unwrap_or(self.state.mtu);
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
                if link.header.index == self.index =>
            {
                self.state.here = false;
            }
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            _ => {}
        }
        Ok(())
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn mtu(link: &LinkMessage) -> Option<usize> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => usize::try_from(*mtu).ok(),
        _ => None,
    })
}
