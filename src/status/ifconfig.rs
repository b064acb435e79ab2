//! The text of ifconfig(8): column rules and the order of lines of sbin/ifconfig/ifconfig.c.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use super::interface::{AddressView, InterfaceFlag, InterfaceView};
use super::prefix::{mask_bits, scoped};
use super::tunnel::{PeerView, TunnelView};

/// How much is said of each interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// As when no interface is named: of IPv4 the first address only, and no peers.
    Brief,
    /// As when one is named: everything.
    Whole,
}

/// These interfaces as ifconfig(8) prints them.
pub fn render_interfaces(views: &[InterfaceView], detail: Detail) -> String {
    let mut text = String::new();
    for view in views {
        // Writing to a String cannot fail.
        let _ = write_interface(&mut text, view, detail);
    }
    text
}

impl fmt::Display for InterfaceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_interface(f, self, Detail::Whole)
    }
}

fn write_interface(out: &mut impl Write, view: &InterfaceView, detail: Detail) -> fmt::Result {
    write_head(out, view)?;
    if let Some(lladdr) = &view.lladdr {
        writeln!(out, "\tlladdr {lladdr}")?;
    }
    view.description.iter().try_for_each(|text| writeln!(out, "\tdescription: {text}"))?;
    match view.kind.as_str() {
        "bridge" => writeln!(out, "\tindex {} llprio 3", view.index)?,
        _ => writeln!(out, "\tindex {} priority 0 llprio 3", view.index)?,
    }
    if let Some(patch) = &view.patch {
        let name = patch.rsplit_once('/').map_or(patch.as_str(), |(_, name)| name);
        writeln!(out, "\tpatch: {name}")?;
    }
    view.tunnel.iter().try_for_each(|tunnel| write_tunnel(out, tunnel, detail))?;
    if !view.groups.is_empty() {
        writeln!(out, "\tgroups: {}", view.groups.join(" "))?;
    }
    if view.has_media() {
        let carrier = view.flags.contains(&InterfaceFlag::Running);
        let status = if carrier { "active" } else { "no carrier" };
        writeln!(out, "\tmedia: Ethernet autoselect\n\tstatus: {status}")?;
    }
    write_addresses(out, view, detail)
}

fn write_head(out: &mut impl Write, view: &InterfaceView) -> fmt::Result {
    let bits: u32 = view.flags.iter().map(|flag| flag.bit()).sum();
    let words: Vec<_> = view.flags.iter().map(|flag| flag.word()).collect();
    write!(out, "{}: flags={bits:x}<{}>", view.name, words.join(","))?;
    if view.domain != 0 {
        write!(out, " rdomain {}", view.domain)?;
    }
    writeln!(out, " mtu {}", view.mtu)
}

fn write_tunnel(out: &mut impl Write, tunnel: &TunnelView, detail: Detail) -> fmt::Result {
    if tunnel.listen_port != 0 {
        writeln!(out, "\twgport {}", tunnel.listen_port)?;
    }
    if tunnel.underlay != 0 {
        writeln!(out, "\twgrtable {}", tunnel.underlay)?;
    }
    tunnel.public_key.iter().try_for_each(|key| writeln!(out, "\twgpubkey {key}"))?;
    match detail {
        Detail::Brief => Ok(()),
        Detail::Whole => {
            in_order_of_value(&tunnel.peers).into_iter().try_for_each(|peer| write_peer(out, peer))
        }
    }
}

/// Each engine has an order of its own, which is no property of a network.
fn in_order_of_value(peers: &[PeerView]) -> Vec<&PeerView> {
    let mut peers: Vec<_> = peers.iter().collect();
    peers.sort_by_key(|peer| peer.public_key);
    peers
}

fn write_peer(out: &mut impl Write, peer: &PeerView) -> fmt::Result {
    writeln!(out, "\twgpeer {}", peer.public_key)?;
    peer.name.iter().try_for_each(|name| writeln!(out, "\t\twgdescr: {name}"))?;
    if peer.has_preshared_key {
        writeln!(out, "\t\twgpsk (present)")?;
    }
    if peer.persistent_keepalive_secs != 0 {
        writeln!(out, "\t\twgpka {} (sec)", peer.persistent_keepalive_secs)?;
    }
    if let Some(endpoint) = peer.endpoint {
        writeln!(out, "\t\twgendpoint {} {}", numeric_host(endpoint), endpoint.port())?;
    }
    writeln!(out, "\t\ttx: {}, rx: {}", peer.tx_bytes, peer.rx_bytes)?;
    if let Some(secs) = peer.last_handshake_secs_ago {
        writeln!(out, "\t\tlast handshake: {secs} seconds ago")?;
    }
    let mut allowed = peer.allowed_ips.clone();
    allowed.sort_unstable();
    allowed.into_iter().try_for_each(|prefix| writeln!(out, "\t\twgaip {prefix}"))
}

/// The host of a socket address, with the index of its interface if it has one.
fn numeric_host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address.ip().to_string(),
    }
}

fn write_addresses(out: &mut impl Write, view: &InterfaceView, detail: Detail) -> fmt::Result {
    let (inet, inet6): (Vec<_>, Vec<_>) = view.addresses.iter().partition(|own| own.address.is_ipv4());
    let shown = match detail {
        Detail::Brief => 1,
        Detail::Whole => inet.len(),
    };
    inet.iter().take(shown).try_for_each(|own| write_inet(out, own))?;
    inet6.iter().try_for_each(|own| write_inet6(out, view, own))
}

fn write_inet(out: &mut impl Write, own: &AddressView) -> fmt::Result {
    write!(out, "\tinet {}", own.address.ip())?;
    own.destination.iter().try_for_each(|other| write!(out, " --> {other}"))?;
    write!(out, " netmask {:#010x}", mask_bits(own.address))?;
    own.broadcast.iter().try_for_each(|broadcast| write!(out, " broadcast {broadcast}"))?;
    writeln!(out)
}

fn write_inet6(out: &mut impl Write, view: &InterfaceView, own: &AddressView) -> fmt::Result {
    let ip = scoped(own.address.ip(), Some(&view.name));
    write!(out, "\tinet6 {ip}")?;
    own.destination.iter().try_for_each(|other| write!(out, " --> {other}"))?;
    write!(out, " prefixlen {}", own.address.prefix())?;
    own.states.iter().try_for_each(|state| write!(out, " {state}"))?;
    if matches!(own.address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()) {
        write!(out, " scopeid {:#x}", view.index)?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::super::facts::{AddressFacts, LinkFacts, LinkKind};
    use super::super::interface::{NoSuchInterface, select};
    use super::super::samples::*;
    use super::*;
    use crate::model::DomainName;

    const PUB1: &str = "P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8=";
    const PUB2: &str = "wm00xLZKnE37LJnenDz+A8AKFVvIhvkp9QG7SgnZsiM=";

    fn tunnel() -> TunnelView {
        let peer = PeerView {
            endpoint: Some("127.0.0.1:7222".parse().unwrap()),
            tx_bytes: 436,
            rx_bytes: 380,
            last_handshake_secs_ago: Some(3),
            allowed_ips: vec!["192.168.5.2/32".parse().unwrap()],
            ..PeerView::new(PUB2.parse().unwrap())
        };
        TunnelView {
            listen_port: 7111,
            public_key: PUB1.parse().ok(),
            peers: vec![peer],
            ..TunnelView::default()
        }
    }

    fn view(number: u32, link: &LinkFacts, tunnel: Option<TunnelView>) -> InterfaceView {
        let id = domain(number);
        InterfaceView::new(id, &DomainName::of_number(id), link, tunnel)
    }

    #[test]
    fn the_manual_page_example_prints_as_openbsd_does() {
        assert_eq!(
            view(1, &wg1(), Some(tunnel())).to_string(),
            "\
wg1: flags=80c3<UP,BROADCAST,RUNNING,NOARP,MULTICAST> rdomain 1 mtu 1420
\tindex 5 priority 0 llprio 3
\twgport 7111
\twgpubkey P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8=
\twgpeer wm00xLZKnE37LJnenDz+A8AKFVvIhvkp9QG7SgnZsiM=
\t\twgendpoint 127.0.0.1 7222
\t\ttx: 436, rx: 380
\t\tlast handshake: 3 seconds ago
\t\twgaip 192.168.5.2/32
\tgroups: wg
\tinet 192.168.5.1 netmask 0xffffff00 broadcast 192.168.5.255
"
        );
    }

    #[test]
    fn a_tunnel_that_was_never_up_has_no_running_flag() {
        let down = LinkFacts { flags: 0x1090, addresses: vec![], ..wg1() };
        let text = view(1, &down, Some(TunnelView::default())).to_string();
        assert!(
            text.starts_with("wg1: flags=8082<BROADCAST,NOARP,MULTICAST> rdomain 1 mtu 1420\n"),
            "{text}"
        );
    }

    #[test]
    fn every_line_of_a_peer_has_its_place() {
        let mut tunnel = TunnelView { underlay: 3, ..tunnel() };
        let peer = &mut tunnel.peers[0];
        peer.name = Some("wg2".into());
        peer.has_preshared_key = true;
        peer.persistent_keepalive_secs = 25;
        peer.endpoint = "[fe80::7%2]:7222".parse().ok();
        peer.last_handshake_secs_ago = None;
        let text = view(1, &wg1(), Some(tunnel)).to_string();
        let expected = "\twgport 7111\n\twgrtable 3\n\twgpubkey P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8=
\twgpeer wm00xLZKnE37LJnenDz+A8AKFVvIhvkp9QG7SgnZsiM=
\t\twgdescr: wg2
\t\twgpsk (present)
\t\twgpka 25 (sec)
\t\twgendpoint fe80::7%2 7222
\t\ttx: 436, rx: 380
\t\twgaip 192.168.5.2/32
\tgroups: wg
";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn ethernet_has_media_and_scopes() {
        assert_eq!(
            view(0, &LinkFacts { kind: LinkKind::Virtual("veth".into()), ..eth0() }, None).to_string(),
            "\
eth0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tlladdr 02:00:00:00:00:01
\tindex 2 priority 0 llprio 3
\tgroups: pair
\tmedia: Ethernet autoselect
\tstatus: active
\tinet 192.0.2.1 netmask 0xffffff00 broadcast 192.0.2.255
\tinet6 fd00::1 prefixlen 64
\tinet6 fe80::1%eth0 prefixlen 64 scopeid 0x2
"
        );
    }

    #[test]
    fn an_address_of_ipv6_has_states() {
        let mut link = wg1();
        let address = |text: &str, flags| AddressFacts {
            network: text.parse().unwrap(),
            flags,
            ..link.addresses[0].clone()
        };
        link.addresses =
            vec![address("fd00::1/64", 0xc0), address("fd00::2/64", 0x88), address("fd00::3/64", 0x21)];
        let expected = "\
\tinet6 fd00::1 prefixlen 64 tentative
\tinet6 fd00::2 prefixlen 64 duplicated
\tinet6 fd00::3 prefixlen 64 deprecated autoconf temporary
";
        assert!(view(1, &link, None).to_string().ends_with(expected), "{}", view(1, &link, None));
    }

    #[test]
    fn a_brief_view_hides_peers_and_further_addresses() {
        let mut link = wg1();
        let second = AddressFacts { network: "10.0.0.1/32".parse().unwrap(), ..link.addresses[0].clone() };
        link.addresses.push(second);
        let views = [view(1, &link, Some(tunnel()))];
        let text = render_interfaces(&views, Detail::Brief);
        assert!(text.contains("wgpubkey") && !text.contains("wgpeer"), "{text}");
        assert!(!text.contains("10.0.0.1"), "{text}");
        assert!(render_interfaces(&views, Detail::Whole).contains("\tinet 10.0.0.1 netmask 0xffffffff\n"));
    }

    #[test]
    fn a_word_means_an_interface_of_each_domain_or_of_one() {
        let views = vec![view(0, &lo(), None), view(1, &lo(), None), view(1, &wg1(), None)];
        let found = |word| select(views.clone(), word).map(|found| found.len());
        assert_eq!(found("lo"), Ok(2));
        assert_eq!(found("1/lo"), Ok(1));
        assert_eq!(found("rdom1/wg1"), Ok(1));
        assert_eq!(found("wg9"), Err(NoSuchInterface("wg9".into())));
        assert_eq!(NoSuchInterface("wg9".into()).to_string(), "wg9: no such interface");
    }

    #[test]
    fn json_goes_there_and_back() {
        let before = view(1, &wg1(), Some(tunnel()));
        let json = serde_json::to_value(&before).unwrap();
        assert_eq!(json["flags"], serde_json::json!(["up", "broadcast", "running", "noarp", "multicast"]));
        assert_eq!(json["tunnel"]["peers"][0]["allowed_ips"][0], "192.168.5.2/32");
        assert_eq!(serde_json::from_value::<InterfaceView>(json).unwrap(), before);
    }
}
