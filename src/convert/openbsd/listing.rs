//! What `ifconfig -A` prints, as values. Lines that say nothing of routing domains are passed over.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use thiserror::Error;

use super::arguments::mask_length;
use crate::model::PublicKey;

/// An interface as ifconfig(8) shows it to root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its flags: `UP`, `LOOPBACK`, ..
    pub flags: Vec<String>,
    /// Its routing domain.
    pub rdomain: u8,
    /// Bytes of the largest packet.
    pub mtu: u32,
    /// Its description.
    pub description: String,
    /// What is added to the priority of routes by it.
    pub priority: u8,
    /// The other end of its cable.
    pub patch: Option<String>,
    /// The interface that a vlan(4) is on.
    pub parent: Option<String>,
    /// Its number.
    pub vnetid: Option<u16>,
    /// The UDP port of a tunnel; 0 is none.
    pub wgport: u16,
    /// The rtable of a tunnel's sockets.
    pub wgrtable: u8,
    /// The public key of a tunnel.
    pub wgpubkey: Option<PublicKey>,
    /// The peers of a tunnel.
    pub peers: Vec<ListedPeer>,
    /// Its addresses; those of IPv6 that are link-local are left out.
    pub addresses: Vec<IpNetwork>,
}

/// A peer as ifconfig(8) shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPeer {
    /// Its key.
    pub key: PublicKey,
    /// Whether it has a preshared key.
    pub preshared: bool,
    /// Seconds between keepalives; 0 is off.
    pub keepalive_secs: u16,
    /// Where it is now.
    pub endpoint: Option<SocketAddr>,
    /// Its inner addresses.
    pub allowed_ips: Vec<IpNetwork>,
    /// What it is described as.
    pub description: Option<String>,
    /// Encrypted bytes sent to it.
    pub tx_bytes: u64,
    /// Encrypted bytes received from it.
    pub rx_bytes: u64,
    /// Seconds since the last handshake, if there was one.
    pub last_handshake_secs_ago: Option<u64>,
}

/// A line that cannot be what the tool prints.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: cannot read `{text}`")]
pub struct Unreadable {
    /// Its number, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

impl Listed {
    /// Whether it is administratively up.
    pub fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    /// Whether it is a loopback.
    pub fn is_loopback(&self) -> bool {
        self.flags.iter().any(|flag| flag == "LOOPBACK")
    }
}

/// Reads what `ifconfig -A` printed.
pub fn read(text: &str) -> Result<Vec<Listed>, Unreadable> {
    let mut list: Vec<Listed> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let unreadable = || Unreadable { line: number + 1, text: line.trim().to_owned() };
        if line.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            list.push(head(line).ok_or_else(unreadable)?);
        } else if let Some(rest) = line.strip_prefix('\t') {
            list.last_mut().and_then(|listed| detail(listed, rest)).ok_or_else(unreadable)?;
        } else if !line.trim().is_empty() {
            return Err(unreadable());
        }
    }
    Ok(list)
}

/// `wg1: flags=80c3<UP,..> rdomain 1 mtu 1420`
fn head(line: &str) -> Option<Listed> {
    let (name, rest) = line.split_once(": flags=")?;
    let (flags, rest) = rest.split_once('<')?.1.split_once('>')?;
    let mut listed = Listed {
        name: name.to_owned(),
        flags: flags.split(',').map(str::to_owned).collect(),
        ..Listed::default()
    };
    let words: Vec<&str> = rest.split_whitespace().collect();
    for pair in words.chunks(2) {
        match *pair {
            ["rdomain", number] => listed.rdomain = number.parse().ok()?,
            ["mtu", number] => listed.mtu = number.parse().ok()?,
            _ => {}
        }
    }
    Some(listed)
}

fn detail(listed: &mut Listed, line: &str) -> Option<()> {
    let (word, rest) = line.trim_start().split_once(' ').unwrap_or((line.trim_start(), ""));
    match word {
        "description:" => listed.description = rest.to_owned(),
        "index" => {
            listed.index = first(rest)?;
            listed.priority = after(rest, "priority").unwrap_or("0").parse().ok()?;
        }
        "patch:" => listed.patch = Some(rest.to_owned()),
        "encap:" => {
            listed.parent = after(rest, "parent").filter(|name| *name != "none").map(str::to_owned);
            listed.vnetid = after(rest, "vnetid").and_then(|number| number.parse().ok());
        }
        "wgport" => listed.wgport = rest.parse().ok()?,
        "wgrtable" => listed.wgrtable = rest.parse().ok()?,
        "wgpubkey" => listed.wgpubkey = Some(rest.parse().ok()?),
        "wgpeer" => listed.peers.push(ListedPeer {
            key: rest.parse().ok()?,
            preshared: false,
            keepalive_secs: 0,
            endpoint: None,
            allowed_ips: Vec::new(),
            description: None,
            tx_bytes: 0,
            rx_bytes: 0,
            last_handshake_secs_ago: None,
        }),
        "wgpsk" | "wgpka" | "wgendpoint" | "wgaip" | "wgdescr:" | "tx:" | "last" => {
            peer_detail(listed.peers.last_mut()?, word, rest)?
        }
        "inet" => listed.addresses.push(inet(rest)?),
        "inet6" => listed.addresses.extend(inet6(rest)?),
        _ => {}
    }
    Some(())
}

fn peer_detail(peer: &mut ListedPeer, word: &str, rest: &str) -> Option<()> {
    match word {
        "wgpsk" => peer.preshared = true,
        "wgpka" => peer.keepalive_secs = first(rest)?,
        "wgendpoint" => {
            let (host, port) = rest.split_once(' ')?;
            let host: IpAddr = host.split('%').next()?.parse().ok()?;
            peer.endpoint = Some(SocketAddr::new(host, port.parse().ok()?));
        }
        "wgdescr:" => peer.description = Some(rest.to_owned()),
        "tx:" => {
            let (sent, received) = rest.split_once(", rx: ")?;
            (peer.tx_bytes, peer.rx_bytes) = (sent.parse().ok()?, received.parse().ok()?);
        }
        "last" => peer.last_handshake_secs_ago = after(rest, "handshake:")?.parse().ok(),
        _ => peer.allowed_ips.push(rest.parse().ok()?),
    }
    Some(())
}

/// `192.168.5.1 netmask 0xffffff00 broadcast 192.168.5.255`
fn inet(rest: &str) -> Option<IpNetwork> {
    let digits = after(rest, "netmask")?.strip_prefix("0x")?;
    let length = mask_length(u32::from_str_radix(digits, 16).ok()?.into())?;
    IpNetwork::new(first(rest)?, length).ok()
}

/// `fd00::1 prefixlen 64`; nothing inside for `fe80::1%wg1 prefixlen 64 scopeid 0x5`, which the kernel gives itself.
fn inet6(rest: &str) -> Option<Option<IpNetwork>> {
    if rest.split_whitespace().next()?.contains('%') {
        return Some(None);
    }
    let network = IpNetwork::new(first(rest)?, after(rest, "prefixlen")?.parse().ok()?).ok()?;
    Some(Some(network))
}

fn first<T: FromStr>(text: &str) -> Option<T> {
    text.split_whitespace().next()?.parse().ok()
}

/// The word after this one.
fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.split_whitespace().skip_while(|found| *found != word).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transcript of an OpenBSD of 2020, its tabs put back, with lines of later releases.
    const WG1: &str = "\
lo1: flags=2008049<UP,LOOPBACK,RUNNING,MULTICAST,LRO> rdomain 1 mtu 32768
\tdescription: rdom:domains/rdom1
\tindex 4 priority 0 llprio 3
\tgroups: lo
\tinet6 ::1 prefixlen 128
\tinet6 fe80::1%lo1 prefixlen 64 scopeid 0x4
\tinet 127.0.0.1 netmask 0xff000000
wg1: flags=80c3<UP,BROADCAST,RUNNING,NOARP,MULTICAST> rdomain 1 mtu 1420
\tindex 5 priority 0 llprio 3
\twgport 7111
\twgpubkey P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8=
\twgpeer wm00xLZKnE37LJnenDz+A8AKFVvIhvkp9QG7SgnZsiM=
\t\twgdescr: site b
\t\twgpsk (present)
\t\twgpka 25 (sec)
\t\twgendpoint 127.0.0.1 7222
\t\ttx: 436, rx: 380
\t\tlast handshake: 3 seconds ago
\t\twgaip 192.168.5.2/32
\tgroups: wg
\tinet 192.168.5.1 netmask 0xffffff00 broadcast 192.168.5.255
pair1: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tlladdr fe:e1:ba:d0:00:01
\tindex 7 priority 4 llprio 3
\tpatch: pair2
\tgroups: pair
\tmedia: Ethernet autoselect
\tstatus: active
vlan5: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tlladdr fe:e1:ba:d0:00:01
\tindex 8 priority 0 llprio 3
\tencap: vnetid 5 parent pair1 txprio packet rxprio outer
\tgroups: vlan
\tmedia: Ethernet autoselect
\tstatus: active
vlan6: flags=8002<BROADCAST,MULTICAST> mtu 1500
\tindex 9 priority 0 llprio 3
\tencap: vnetid none parent none txprio packet rxprio outer
";

    #[test]
    fn a_transcript_is_read() {
        let list = read(WG1).unwrap();
        let [lo, wg, pair, vlan, bare] = list.as_slice() else { panic!("{list:?}") };
        assert_eq!((lo.rdomain, lo.description.as_str()), (1, "rdom:domains/rdom1"));
        let texts: Vec<String> = lo.addresses.iter().map(IpNetwork::to_string).collect();
        assert_eq!(texts, ["::1/128", "127.0.0.1/8"]);
        assert_eq!((wg.wgport, wg.mtu, wg.is_up()), (7111, 1420, true));
        let peer = &wg.peers[0];
        assert_eq!((peer.preshared, peer.keepalive_secs), (true, 25));
        assert_eq!((peer.tx_bytes, peer.rx_bytes, peer.last_handshake_secs_ago), (436, 380, Some(3)));
        assert_eq!(peer.description.as_deref(), Some("site b"));
        assert_eq!(peer.endpoint, "127.0.0.1:7222".parse().ok());
        assert_eq!(peer.allowed_ips, ["192.168.5.2/32".parse().unwrap()]);
        assert_eq!((pair.patch.as_deref(), pair.priority, pair.rdomain), (Some("pair2"), 4, 0));
        assert_eq!((vlan.parent.as_deref(), vlan.vnetid), (Some("pair1"), Some(5)));
        assert_eq!((bare.parent.as_deref(), bare.vnetid), (None, None));
    }

    #[test]
    fn what_is_no_listing_is_an_error_with_its_line() {
        let error = read("lo0: flags=8049<UP> mtu 32768\n\tinet x\n").unwrap_err();
        assert_eq!(error, Unreadable { line: 2, text: "inet x".into() });
        assert!(read("nonsense\n").is_err());
    }
}
