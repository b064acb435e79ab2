//! `netstat -ln`: the sockets of one domain that wait for somebody, as netstat(1) prints them.
//!
//! Columns are those of usr.bin/netstat/inet.c. IPv4 comes before IPv6 and TCP before UDP, each under a heading of
//! its own. Sockets of one heading are in descending order of their port, as the kernel's own table has no order.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::DomainId;

/// The listening sockets of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SocketTable {
    /// The number of the domain.
    pub domain: u32,
    /// The sockets.
    pub sockets: Vec<SocketView>,
}

/// A socket without a foreign end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SocketView {
    /// Its protocol.
    pub protocol: Protocol,
    /// What it is bound to; the unspecified address is the wildcard.
    pub local: SocketAddr,
    /// The interface that it is bound to, or that its link-local address is on.
    pub dev: Option<String>,
    /// Bytes (UDP) or connections (TCP) that wait to be read.
    pub receive_queue: u32,
    /// Bytes that wait to be sent.
    pub send_queue: u32,
}

/// A transport protocol; in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP, in state LISTEN.
    Tcp,
    /// UDP, unconnected.
    Udp,
}

impl SocketTable {
    /// Puts sockets in the order in which they are printed; those that share a port (socket(7), SO_REUSEPORT) are one.
    pub fn new(domain: DomainId, mut sockets: Vec<SocketView>) -> Self {
        sockets.sort_by_cached_key(|socket| {
            (socket.heading(), Reverse(socket.local.port()), socket.local.ip(), socket.dev.clone())
        });
        sockets.dedup_by(|next, socket| socket.takes(next));
        Self { domain: domain.number(), sockets }
    }

    /// Only those of this port.
    pub fn of_port(mut self, port: u16) -> Self {
        self.sockets.retain(|socket| socket.local.port() == port);
        self
    }

    /// Whether a UDP socket of this port is among them.
    pub fn has_udp(&self, port: u16) -> bool {
        self.sockets.iter().any(|socket| socket.protocol == Protocol::Udp && socket.local.port() == port)
    }
}

impl fmt::Display for SocketTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut above = None;
        for socket in &self.sockets {
            if above != Some(socket.heading()) {
                above = Some(socket.heading());
                write_heading(f, socket.protocol)?;
            }
            socket.write_line(f)?;
        }
        Ok(())
    }
}

fn write_heading(f: &mut fmt::Formatter<'_>, protocol: Protocol) -> fmt::Result {
    writeln!(f, "Active Internet connections (only servers)")?;
    write!(f, "{:7} {:6} {:6} ", "Proto", "Recv-Q", "Send-Q")?;
    write!(f, " {:22} {:22}", "Local Address", "Foreign Address")?;
    writeln!(f, "{}", state_column(protocol, " TCP-State"))
}

/// Only TCP has a state.
fn state_column(protocol: Protocol, text: &'static str) -> &'static str {
    match protocol {
        Protocol::Tcp => text,
        Protocol::Udp => "",
    }
}

impl SocketView {
    /// Counts what waits in another one as its own, if that is bound to the same.
    fn takes(&mut self, other: &Self) -> bool {
        let is_same = (self.protocol, self.local, &self.dev) == (other.protocol, other.local, &other.dev);
        if is_same {
            self.receive_queue = self.receive_queue.saturating_add(other.receive_queue);
            self.send_queue = self.send_queue.saturating_add(other.send_queue);
        }
        is_same
    }

    fn heading(&self) -> (bool, Protocol) {
        (self.local.is_ipv6(), self.protocol)
    }

    fn name(&self) -> &'static str {
        match (self.protocol, self.local.is_ipv6()) {
            (Protocol::Tcp, false) => "tcp",
            (Protocol::Tcp, true) => "tcp6",
            (Protocol::Udp, false) => "udp",
            (Protocol::Udp, true) => "udp6",
        }
    }

    fn write_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7} {:>6} {:>6} ", self.name(), self.receive_queue, self.send_queue)?;
        write!(f, " {:22} {:22}", self.local_text(), "*.*")?;
        writeln!(f, "{}", state_column(self.protocol, " LISTEN"))
    }

    /// `HOST.PORT`, the host cut to 16 characters and `*` where it is the wildcard.
    fn local_text(&self) -> String {
        let host = match (self.local.ip(), &self.dev) {
            (ip, _) if ip.is_unspecified() => "*".to_owned(),
            (IpAddr::V6(ip), Some(dev)) if ip.is_unicast_link_local() => format!("{ip}%{dev}"),
            (ip, _) => ip.to_string(),
        };
        let port = match self.local.port() {
            0 => "*".to_owned(),
            port => port.to_string(),
        };
        format!("{host:.16}.{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(protocol: Protocol, local: &str) -> SocketView {
        let local = local.parse().unwrap();
        SocketView { protocol, local, dev: None, receive_queue: 0, send_queue: 0 }
    }

    #[test]
    fn the_reference_machine_prints_as_openbsd_does() {
        let local_mail = SocketView { dev: Some("lo0".into()), ..socket(Protocol::Tcp, "[fe80::1]:25") };
        let table = SocketTable::new(
            DomainId::DEFAULT,
            vec![
                socket(Protocol::Udp, "[::]:7111"),
                socket(Protocol::Udp, "[::]:7222"),
                local_mail,
                socket(Protocol::Udp, "0.0.0.0:7111"),
                socket(Protocol::Udp, "0.0.0.0:7222"),
                socket(Protocol::Tcp, "0.0.0.0:22"),
                socket(Protocol::Tcp, "127.0.0.1:25"),
            ],
        );
        assert_eq!(
            table.to_string(),
            "\
Active Internet connections (only servers)
Proto   Recv-Q Send-Q  Local Address          Foreign Address        TCP-State
tcp          0      0  127.0.0.1.25           *.*                    LISTEN
tcp          0      0  *.22                   *.*                    LISTEN
Active Internet connections (only servers)
Proto   Recv-Q Send-Q  Local Address          Foreign Address       
udp          0      0  *.7222                 *.*                   
udp          0      0  *.7111                 *.*                   
Active Internet connections (only servers)
Proto   Recv-Q Send-Q  Local Address          Foreign Address        TCP-State
tcp6         0      0  fe80::1%lo0.25         *.*                    LISTEN
Active Internet connections (only servers)
Proto   Recv-Q Send-Q  Local Address          Foreign Address       
udp6         0      0  *.7222                 *.*                   
udp6         0      0  *.7111                 *.*                   
"
        );
    }

    #[test]
    fn sockets_that_share_a_port_are_one_line() {
        let full = |bytes| SocketView { receive_queue: bytes, ..socket(Protocol::Udp, "0.0.0.0:7111") };
        let table = SocketTable::new(
            DomainId::DEFAULT,
            vec![
                full(1),
                socket(Protocol::Udp, "[::]:7111"),
                full(2),
                socket(Protocol::Udp, "127.0.0.1:7111"),
            ],
        );
        let shown: Vec<_> =
            table.sockets.iter().map(|socket| (socket.local_text(), socket.receive_queue)).collect();
        assert_eq!(shown, [("*.7111".into(), 3), ("127.0.0.1.7111".into(), 0), ("*.7111".into(), 0)]);
    }

    #[test]
    fn no_socket_is_no_line() {
        assert_eq!(SocketTable::new(DomainId::DEFAULT, vec![]).to_string(), "");
    }

    #[test]
    fn long_hosts_are_cut_and_queues_are_shown() {
        let full = SocketView { receive_queue: 1280, ..socket(Protocol::Udp, "[2001:db8:1:2:3:4:5:6]:53") };
        let text = SocketTable::new(DomainId::DEFAULT, vec![full]).to_string();
        assert!(
            text.ends_with("udp6      1280      0  2001:db8:1:2:3:4.53    *.*                   \n"),
            "{text}"
        );
    }

    #[test]
    fn json_has_the_address_whole() {
        let table = SocketTable::new(DomainId::DEFAULT, vec![socket(Protocol::Udp, "[::]:7111")]);
        let json = serde_json::to_value(&table).unwrap();
        assert_eq!(json["sockets"][0]["local"], "[::]:7111");
        assert_eq!(json["sockets"][0]["protocol"], "udp");
    }
}
