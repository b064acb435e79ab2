//! The state of a tunnel of the kernel's own driver (linux/wireguard.h, `WG_CMD_GET_DEVICE`).
//!
//! A peer whose allowed IPs did not fit into one message is told again, by its key alone, in the next.

use std::time::SystemTime;

use netlink_packet_wireguard::{WireguardAttribute, WireguardPeer, WireguardPeerAttribute};

use super::super::netlink::{Netlink, NetlinkError};
use super::super::wireguard;
use super::uapi::secs_ago;
use crate::model::{InterfaceName, PublicKey};
use crate::status::{PeerView, TunnelView};

/// The state of this interface of the namespace that `generic` was opened in. Its underlay is not known there, and
/// left 0.
pub fn tunnel_of_driver(generic: &mut Netlink, name: &InterfaceName) -> Result<TunnelView, NetlinkError> {
    Ok(read(&wireguard::attributes(generic, name)?, SystemTime::now()))
}

fn read(attributes: &[WireguardAttribute], now: SystemTime) -> TunnelView {
    let mut tunnel = TunnelView::default();
    for attribute in attributes {
        match attribute {
            WireguardAttribute::PublicKey(key) => tunnel.public_key = Some(PublicKey(*key)),
            WireguardAttribute::ListenPort(port) => tunnel.listen_port = *port,
            WireguardAttribute::Fwmark(mark) => tunnel.fwmark = *mark,
            WireguardAttribute::Peers(peers) => {
                peers.iter().for_each(|peer| read_peer(&mut tunnel.peers, peer, now));
            }
            _ => {}
        }
    }
    tunnel
}

fn read_peer(peers: &mut Vec<PeerView>, message: &WireguardPeer, now: SystemTime) {
    use WireguardPeerAttribute as A;
    let key = message.iter().find_map(|attribute| match attribute {
        A::PublicKey(key) => Some(PublicKey(*key)),
        _ => None,
    });
    let Some(key) = key else { return };
    if peers.last().is_none_or(|last| last.public_key != key) {
        peers.push(PeerView::new(key));
    }
    let Some(peer) = peers.last_mut() else { return };
    for attribute in message.iter() {
        match attribute {
            A::PresharedKey(key) => peer.has_preshared_key = *key != [0; 32],
            A::Endpoint(endpoint) => peer.endpoint = Some(*endpoint),
            A::PersistentKeepalive(secs) => peer.persistent_keepalive_secs = *secs,
            A::LastHandshake(time) => {
                peer.last_handshake_secs_ago = secs_ago(time.seconds.try_into().unwrap_or(0), now);
            }
            A::RxBytes(bytes) => peer.rx_bytes = *bytes,
            A::TxBytes(bytes) => peer.tx_bytes = *bytes,
            A::AllowedIps(prefixes) => peer.allowed_ips.extend(prefixes.iter().filter_map(wireguard::prefix)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use netlink_packet_wireguard::WireguardTimeSpec;

    use ipnetwork::IpNetwork;
    use netlink_packet_wireguard::{WireguardAllowedIp, WireguardAllowedIpAttr};

    use super::*;

    fn allowed(text: &str) -> WireguardPeerAttribute {
        let network: IpNetwork = text.parse().unwrap();
        let address = WireguardAllowedIpAttr::IpAddr(network.ip());
        let length = WireguardAllowedIpAttr::Cidr(network.prefix());
        WireguardPeerAttribute::AllowedIps(vec![WireguardAllowedIp(vec![address, length])])
    }

    #[test]
    fn a_peer_that_is_told_in_two_messages_is_one() {
        use WireguardPeerAttribute as A;
        let key = A::PublicKey([7; 32]);
        let time = WireguardTimeSpec { seconds: 1000, nano_seconds: 5 };
        let whole = WireguardPeer(vec![
            key.clone(),
            A::PresharedKey([1; 32]),
            A::Endpoint("127.0.0.1:7222".parse().unwrap()),
            A::PersistentKeepalive(25),
            A::LastHandshake(time),
            A::RxBytes(380),
            A::TxBytes(436),
            allowed("192.168.5.2/32"),
        ]);
        let more = WireguardPeer(vec![key, allowed("fd00::/64")]);
        let own = [WireguardAttribute::PublicKey([9; 32]), WireguardAttribute::ListenPort(7111)];
        let parts = [WireguardAttribute::Peers(vec![whole]), WireguardAttribute::Peers(vec![more])];
        let tunnel = read(&[own, parts].concat(), UNIX_EPOCH + Duration::from_secs(1003));
        let expected = PeerView {
            has_preshared_key: true,
            persistent_keepalive_secs: 25,
            endpoint: "127.0.0.1:7222".parse().ok(),
            tx_bytes: 436,
            rx_bytes: 380,
            last_handshake_secs_ago: Some(3),
            allowed_ips: vec!["192.168.5.2/32".parse().unwrap(), "fd00::/64".parse().unwrap()],
            ..PeerView::new(PublicKey([7; 32]))
        };
        assert_eq!((tunnel.listen_port, tunnel.public_key), (7111, Some(PublicKey([9; 32]))));
        assert_eq!(tunnel.peers, [expected]);
    }
}
