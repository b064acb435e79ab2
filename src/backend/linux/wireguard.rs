//! The kernel's WireGuard driver, configured by generic netlink (linux/wireguard.h).
//!
//! A message has room for attributes of 64 KiB, so a peer's allowed IPs go out, and come in, in several.

use ipnetwork::IpNetwork;
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use nix::errno::Errno;

use super::netlink::{Netlink, NetlinkError};
use super::tunnel::{Change, Current, CurrentPeer, PeerChange, Session};
use crate::model::{InterfaceName, Prefix, PublicKey};
use crate::state::Secret;

/// Allowed IPs of one message: 44 bytes each at most.
const ALLOWED_IPS_AT_ONCE: usize = 1000;

/// What the driver has for this interface of the socket's namespace.
pub(super) fn read(socket: &mut Netlink, name: &InterfaceName) -> Result<Current, NetlinkError> {
    attributes(socket, name).map(|attributes| of_attributes(&attributes))
}

/// What these attributes say.
pub(super) fn of_attributes(attributes: &[WireguardAttribute]) -> Current {
    let mut current = Current::default();
    attributes.iter().for_each(|attribute| take(&mut current, attribute));
    current
}

/// The private key among these attributes, if there is one.
pub(super) fn private_key(attributes: &[WireguardAttribute]) -> Option<Secret> {
    attributes.iter().find_map(|attribute| match attribute {
        WireguardAttribute::PrivateKey(key) if *key != [0; 32] => Some(Secret::new(*key)),
        _ => None,
    })
}

/// What the driver says of this interface of the socket's namespace, in the order of its messages.
pub(super) fn attributes(
    socket: &mut Netlink,
    name: &InterfaceName,
) -> Result<Vec<WireguardAttribute>, NetlinkError> {
    let family = family(socket)?;
    let attributes = vec![WireguardAttribute::IfName(name.as_str().to_owned())];
    let answers = socket.dump(message(family, WireguardCmd::GetDevice, attributes))?;
    Ok(answers.into_iter().flat_map(|answer| answer.payload.attributes).collect())
}

/// Has the driver make changes to this interface of the socket's namespace.
pub(super) fn write(
    socket: &mut Netlink,
    name: &InterfaceName,
    changes: &[Change<'_>],
) -> Result<(), NetlinkError> {
    let family = family(socket)?;
    for mut attributes in changes.iter().flat_map(messages) {
        attributes.insert(0, WireguardAttribute::IfName(name.as_str().to_owned()));
        socket.request(message(family, WireguardCmd::SetDevice, attributes), 0)?;
    }
    Ok(())
}

/// The number that generic netlink gave the driver; asking for it loads the module.
fn family(socket: &mut Netlink) -> Result<u16, NetlinkError> {
    let name = GenlCtrlAttrs::FamilyName("wireguard".to_owned());
    let query = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] };
    let answers = socket.request(GenlMessage::from_payload(query), 0)?;
    let number = |attribute: &GenlCtrlAttrs| match attribute {
        GenlCtrlAttrs::FamilyId(number) => Some(*number),
        _ => None,
    };
    let found = answers.iter().flat_map(|answer| &answer.payload.nlas).find_map(number);
    found.ok_or(NetlinkError::Refused { errno: Errno::EOPNOTSUPP, text: None })
}

fn message(
    family: u16,
    cmd: WireguardCmd,
    attributes: Vec<WireguardAttribute>,
) -> GenlMessage<WireguardMessage> {
    let mut message = GenlMessage::from_payload(WireguardMessage { cmd, attributes });
    message.set_resolved_family_id(family);
    message
}

fn take(current: &mut Current, attribute: &WireguardAttribute) {
    match attribute {
        WireguardAttribute::PublicKey(key) => current.key = Some(PublicKey(*key)),
        WireguardAttribute::ListenPort(port) => current.listen_port = *port,
        WireguardAttribute::Peers(peers) => {
            for peer in peers {
                take_peer(current, peer);
            }
        }
        _ => {}
    }
}

/// A peer whose allowed IPs did not fit is told again in the next message.
fn take_peer(current: &mut Current, peer: &WireguardPeer) {
    use WireguardPeerAttribute as A;
    let key = peer.iter().find_map(|attribute| match attribute {
        A::PublicKey(key) => Some(PublicKey(*key)),
        _ => None,
    });
    let Some(key) = key else { return };
    if current.peers.last().is_none_or(|last| last.key != key) {
        current.peers.push(CurrentPeer::new(key));
    }
    let Some(into) = current.peers.last_mut() else { return };
    for attribute in peer.iter() {
        match attribute {
            A::PresharedKey(key) if *key != [0; 32] => into.preshared_key = Some(Secret::new(*key)),
            A::Endpoint(endpoint) => into.endpoint = Some(*endpoint),
            A::PersistentKeepalive(secs) => into.persistent_keepalive_secs = *secs,
            A::AllowedIps(prefixes) => {
                into.allowed_ips.extend(prefixes.iter().filter_map(prefix).map(Prefix::containing));
            }
            _ => {}
        }
    }
}

/// Allowed IPs as a driver tells them.
pub(super) fn prefix(allowed: &WireguardAllowedIp) -> Option<IpNetwork> {
    let (mut address, mut length) = (None, None);
    for attribute in allowed.iter() {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(ip) => address = Some(*ip),
            WireguardAllowedIpAttr::Cidr(bits) => length = Some(*bits),
            _ => {}
        }
    }
    IpNetwork::new(address?, length?).ok()
}

/// The attributes of each message that a change takes.
fn messages(change: &Change<'_>) -> Vec<Vec<WireguardAttribute>> {
    match change {
        Change::Tunnel { key, listen_port } => {
            let key = WireguardAttribute::PrivateKey(*key.bytes());
            vec![vec![key, WireguardAttribute::ListenPort(listen_port.unwrap_or(0))]]
        }
        Change::NoPeer { key } => vec![peers(vec![removed(*key)])],
        Change::Peer { key, peer, session } => {
            let prefixes: Vec<_> = peer.allowed_ips.iter().copied().collect();
            let (first, rest) = prefixes.split_at(prefixes.len().min(ALLOWED_IPS_AT_ONCE));
            let ended = (*session == Session::Ended).then(|| removed(*key));
            let start = ended.into_iter().chain([whole(*key, peer, first)]).collect();
            let more = rest.chunks(ALLOWED_IPS_AT_ONCE).map(|chunk| peers(vec![also(*key, chunk)]));
            [peers(start)].into_iter().chain(more).collect()
        }
    }
}

fn peers(peers: Vec<WireguardPeer>) -> Vec<WireguardAttribute> {
    vec![WireguardAttribute::Peers(peers)]
}

fn removed(key: PublicKey) -> WireguardPeer {
    use WireguardPeerAttribute as A;
    let flags = WireguardPeerFlags::RemoveMe | WireguardPeerFlags::UpdateOnly;
    WireguardPeer(vec![A::PublicKey(key.0), A::Flags(flags)])
}

fn whole(key: PublicKey, peer: &PeerChange<'_>, prefixes: &[Prefix]) -> WireguardPeer {
    use WireguardPeerAttribute as A;
    let preshared = peer.preshared_key.map_or([0; 32], |secret| *secret.bytes());
    let mut attributes = vec![A::PublicKey(key.0), A::Flags(WireguardPeerFlags::ReplaceAllowedIps)];
    attributes.push(A::PresharedKey(preshared));
    attributes.extend(peer.endpoint.map(A::Endpoint));
    attributes.push(A::PersistentKeepalive(peer.persistent_keepalive_secs));
    attributes.push(A::AllowedIps(prefixes.iter().map(allowed).collect()));
    WireguardPeer(attributes)
}

fn also(key: PublicKey, prefixes: &[Prefix]) -> WireguardPeer {
    use WireguardPeerAttribute as A;
    let prefixes = A::AllowedIps(prefixes.iter().map(allowed).collect());
    WireguardPeer(vec![A::PublicKey(key.0), A::Flags(WireguardPeerFlags::UpdateOnly), prefixes])
}

fn allowed(prefix: &Prefix) -> WireguardAllowedIp {
    use WireguardAllowedIpAttr as A;
    let family = if prefix.is_ipv6() { WireguardAddressFamily::Ipv6 } else { WireguardAddressFamily::Ipv4 };
    WireguardAllowedIp(vec![A::Family(family), A::IpAddr(prefix.address()), A::Cidr(prefix.length())])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use netlink_packet_core::{Emitable, ParseableParametrized};
    use netlink_packet_generic::GenlHeader;

    use super::*;

    /// What a driver would have after these messages, in the wire form and back.
    fn heard(messages: Vec<Vec<WireguardAttribute>>) -> Current {
        let mut current = Current::default();
        for attributes in messages {
            let sent = WireguardMessage { cmd: WireguardCmd::SetDevice, attributes };
            let mut bytes = vec![0; sent.buffer_len()];
            sent.emit(&mut bytes);
            assert!(bytes.len() < 65_000, "{}", bytes.len());
            let header = GenlHeader { cmd: 1, version: 1 };
            let message = WireguardMessage::parse_with_param(&bytes, header).unwrap();
            message.attributes.iter().for_each(|attribute| take(&mut current, attribute));
        }
        current
    }

    #[test]
    fn a_peer_is_set_whole_in_as_many_messages_as_it_takes() {
        let allowed_ips: BTreeSet<Prefix> =
            (0..2500u32).map(|n| Prefix::host(std::net::Ipv4Addr::from(n).into())).collect();
        let secret = Secret::new([3; 32]);
        let peer = PeerChange {
            endpoint: Some("[fd00::1]:7222".parse().unwrap()),
            allowed_ips: &allowed_ips,
            preshared_key: Some(&secret),
            persistent_keepalive_secs: 25,
        };
        let key = PublicKey([1; 32]);
        let messages = messages(&Change::Peer { key, peer, session: Session::Kept });
        assert_eq!(messages.len(), 3);
        let current = heard(messages);
        let [peer] = &current.peers[..] else { panic!("{:?}", current.peers) };
        assert_eq!((peer.key, peer.endpoint), (key, Some("[fd00::1]:7222".parse().unwrap())));
        assert_eq!(peer.allowed_ips, allowed_ips);
        assert_eq!(peer.preshared_key.as_ref().map(Secret::bytes), Some(&[3; 32]));
        assert_eq!(peer.persistent_keepalive_secs, 25);
    }

    #[test]
    fn a_session_ends_with_its_peer() {
        let allowed_ips = BTreeSet::new();
        let peer = PeerChange {
            endpoint: None,
            allowed_ips: &allowed_ips,
            preshared_key: None,
            persistent_keepalive_secs: 0,
        };
        let key = PublicKey([1; 32]);
        let change = Change::Peer { key, peer, session: Session::Ended };
        let [message] = &messages(&change)[..] else { panic!() };
        let [WireguardAttribute::Peers(peers)] = &message[..] else { panic!("{message:?}") };
        assert_eq!(peers[0], removed(key));
        assert_eq!(peers.len(), 2);
    }
}
