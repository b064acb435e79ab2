//! One echo request, and what became of it, errors of routers included: what traceroute(8) and tracepath(8) ask.
//!
//! The request is never fragmented, here or on its way, and the kernel does not hold what it has heard of the path
//! against it (ip(7), `IP_PMTUDISC_PROBE`). Errors come by the socket's error queue (`IP_RECVERR`), each with the
//! request that it is about.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Ping;
use super::packet::{self, Family, HEADER_BYTES};
use super::socket::EchoSocket;
use crate::model::InterfaceName;

/// A request.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Whom to ask.
    pub to: IpAddr,
    /// The interface that the socket is bound to, if to any.
    pub device: Option<InterfaceName>,
    /// How many hops it may take.
    pub hop_limit: u8,
    /// Its size in bytes, with the header of IP.
    pub size_bytes: u16,
    /// How long to wait.
    pub wait: Duration,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered.
    Answered,
    /// Somebody says why it did not arrive.
    Refused {
        /// Who: a router, the destination, or this host.
        by: IpAddr,
        /// Why not.
        refusal: Refusal,
    },
    /// The kernel did not let it out.
    Unsent(Errno),
    /// Nothing was heard.
    Lost,
}

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It took as many hops as it may.
    HopLimit,
    /// It is larger than what the next link takes, in bytes; 0 where the router does not say.
    TooBig(u32),
    /// Anything else, as the kernel's error number has it.
    Other(Errno),
}

impl Probe {
    /// A small one that may go as far as any.
    pub fn new(to: IpAddr, wait: Duration) -> Self {
        Self { to, device: None, hop_limit: u8::MAX, size_bytes: 84, wait }
    }
}

/// Sends it from the calling thread's namespace, and waits for what becomes of it.
pub fn probe(probe: &Probe) -> io::Result<Fate> {
    let options = Ping { ttl: probe.hop_limit, device: probe.device.clone(), ..Ping::new(probe.to) };
    let socket = EchoSocket::open(&options)?;
    socket.forbid_fragments()?;
    socket.limit_hops(probe.hop_limit)?;
    let headers = HEADER_BYTES + Family::of(probe.to).header_bytes();
    let data = packet::data(probe.size_bytes.saturating_sub(headers as u16));
    let deadline = Instant::now() + probe.wait;
    if let Err(errno) = socket.send(1, &data) {
        return Ok(Fate::Unsent(errno));
    }
    loop {
        if let Some((by, refusal)) = socket.refusal(1)? {
            return Ok(Fate::Refused { by: by.unwrap_or(probe.to), refusal });
        }
        while let Some(arrival) = socket.receive()? {
            if socket.answer(&arrival).is_some_and(|echo| echo.data == data) {
                return Ok(Fate::Answered);
            }
        }
        if Instant::now() >= deadline {
            return Ok(Fate::Lost);
        }
        match socket.wait_until(deadline) {
            Ok(()) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
