//! From an OpenBSD's script, its files of hostname.if(5), or what its tools print, to the machine that they mean.
//!
//! Commands are read as the tools read them, and mean what they mean there: the first address is replaced, a move to
//! another rdomain loses addresses, `wgaip` replaces.

mod hostname_if;
mod network;
mod printed;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::arguments::{KeyBytes, width};
use super::ifconfig::{Action, AddressChange, Change, Ifconfig, Mode, Peer, Tunnel};
use super::mark::Mark;
use super::route::{RouteCommand, Verb, Words};
use super::script::{NotUnderstood, Script, Unknown};
use crate::model::{NetworkName, PublicKey};

pub use network::Settled;
pub use printed::{BadOutput, printed};

/// What a script leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its interfaces, by name; loopbacks too.
    pub interfaces: BTreeMap<String, HostInterface>,
    /// Its routes: rtable and words.
    pub routes: Vec<(u8, Words)>,
    /// Whether it forwards IPv4, and IPv6.
    pub forwards: [bool; 2],
    /// What is lost or has to be done by hand, with its line.
    pub remarks: Vec<NotUnderstood>,
}

/// An interface of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInterface {
    /// Its rdomain.
    pub rdomain: u8,
    /// Its addresses.
    pub addresses: Vec<IpNetwork>,
    /// Bytes of the largest packet, if said.
    pub mtu: Option<u32>,
    /// The other end of its cable.
    pub patch: Option<String>,
    /// The interface that a vlan(4) is on.
    pub parent: Option<String>,
    /// Its number.
    pub vnetid: Option<u16>,
    /// The tunnel that it is.
    pub tunnel: Option<HostTunnel>,
    /// Its description, if it has one.
    pub description: String,
    /// Whether that is all of it: a script may leave out what a kernel does by itself.
    pub is_all_told: bool,
}

/// A tunnel of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostTunnel {
    /// Its port, if said.
    pub port: Option<u16>,
    /// The rtable of its sockets.
    pub rtable: u8,
    /// Where its private key comes from.
    pub key: Option<KeySource>,
    /// Its peers, in order.
    pub peers: Vec<HostPeer>,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// It is made anew.
    Made,
    /// It is in this file.
    File(String),
    /// It is written in the script.
    Written(KeyBytes),
}

/// A peer of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPeer {
    /// Its key, or the interface whose key it is.
    pub key: Result<PublicKey, String>,
    /// What was set of it.
    pub words: Peer,
    /// Where its preshared key comes from.
    pub preshared: Option<KeySource>,
}

/// Reads a script.
pub fn script(text: &str) -> Result<Host, Vec<NotUnderstood>> {
    let script = Script::read(text)?;
    let mut host = Host::default();
    host.take(&script)?;
    Ok(host)
}

/// Drivers of interfaces that can be made; all others are of hardware, or of no use here.
const MADE: [&str; 5] = ["lo", "pair", "vether", "vlan", "wg"];

/// Something to be remarked, or what is wrong.
type Taken = Result<Option<String>, String>;

impl Host {
    /// Leaves out what is the machine's own and no network's: cards, `lo0`, and in rdomain 0 the routes by them. What
    /// was left out, by name.
    pub fn leave_machine(&mut self) -> Vec<String> {
        let driver = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let stays = |name: &String, held: &mut HostInterface| {
            name == "lo0" || !MADE.contains(&driver(name).as_str()) && held.rdomain == 0
        };
        let left: BTreeMap<_, _> = self.interfaces.extract_if(.., stays).collect();
        let ours = |(table, words): &(u8, Words)| {
            let leads = |held: &HostInterface| {
                let to = |own: &IpNetwork| words.gateway.is_some_and(|gateway| own.contains(gateway));
                u32::from(held.rdomain) == u32::from(*table) && held.addresses.iter().any(to)
            };
            let marked = words.label.as_deref().is_some_and(|label| Mark::network(label).is_some());
            *table != 0 || marked || words.dropped.is_none() && self.interfaces.values().any(leads)
        };
        self.routes.retain(ours);
        left.into_keys().collect()
    }

    /// The network that `rdom` made of it, if it did.
    pub fn marked(&self) -> Option<NetworkName> {
        self.interfaces.values().find_map(|held| Mark::network(&held.description))
    }

    fn take(&mut self, script: &Script) -> Result<(), Vec<NotUnderstood>> {
        let mut errors = Vec::new();
        for line in &script.commands {
            let (program, words) = (line.words[0].as_str(), &line.words[1..]);
            let taken = match program {
                "ifconfig" => self.ifconfig(words, script),
                "route" => self.route(words, script),
                "sysctl" => self.sysctl(words),
                other => Err(format!("{other}: neither ifconfig(8) nor route(8)")),
            };
            match taken {
                Err(message) => errors.push(NotUnderstood { line: line.number, message }),
                Ok(Some(message)) => self.remarks.push(NotUnderstood { line: line.number, message }),
                Ok(None) => {}
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn ifconfig(&mut self, words: &[String], script: &Script) -> Taken {
        match Ifconfig::parse(words).map_err(|refusal| refusal.to_string())? {
            Ifconfig::ShowAll { .. } | Ifconfig::Show(_) => Ok(None),
            Ifconfig::Change(change) => self.change(&change, script),
        }
    }

    fn change(&mut self, change: &Change, script: &Script) -> Taken {
        let name = &change.interface;
        if change.actions.contains(&Action::Destroy) {
            self.interfaces.remove(name);
            return Ok(None);
        }
        let held = self.interfaces.entry(name.clone()).or_default();
        if name.starts_with("wg") {
            held.tunnel.get_or_insert_default();
        }
        let mut remark = None;
        let mut patches = Vec::new();
        for action in &change.actions {
            match action {
                Action::Rdomain(rdomain) if *rdomain != held.rdomain => {
                    if !held.addresses.is_empty() {
                        remark = Some(format!("{name} loses its addresses by moving to rdomain {rdomain}"));
                    }
                    held.rdomain = *rdomain;
                    held.addresses.clear();
                }
                Action::Mtu(mtu) => held.mtu = Some(*mtu),
                Action::Patch(Some(other)) => {
                    held.patch = Some(other.clone());
                    patches.push(other.clone());
                }
                Action::Patch(None) => held.patch = None,
                Action::Parent(parent) => held.parent = parent.clone(),
                Action::Vnetid(vnetid) => held.vnetid = *vnetid,
                Action::Up(false) => remark = Some(format!("{name} is up in the file")),
                Action::Description(text) => held.description = text.clone(),
                Action::Create | Action::Destroy | Action::Rdomain(_) => {}
                Action::Up(true) => {}
            }
        }
        if let Some(tunnel) = &mut held.tunnel {
            tunnel.take(&change.tunnel, script);
        }
        change.address.map(|address| held.take(&address)).transpose()?;
        for other in patches {
            self.interfaces.entry(other).or_default().patch = Some(name.clone());
        }
        Ok(remark)
    }

    fn route(&mut self, words: &[String], script: &Script) -> Taken {
        let command = RouteCommand::parse(words).map_err(|refusal| refusal.to_string())?;
        let rtable = command.rtable.unwrap_or(0);
        match command.verb {
            Verb::Add(words) => self.routes.push((rtable, words)),
            Verb::Delete(words) => {
                let same = |other: &Words| other.to == words.to && other.priority == words.priority;
                self.routes.retain(|(table, other)| *table != rtable || !same(other));
            }
            Verb::Exec(inner) if inner.first().is_some_and(|program| program == "ifconfig") => {
                return self.ifconfig(&inner[1..], script);
            }
            Verb::Exec(_) => return Ok(Some("a program in a domain is none of the file's".to_owned())),
            Verb::Show => {}
            Verb::Other(other) => return Err(format!("route {other}: neither `add` nor `delete`")),
        }
        Ok(None)
    }

    fn sysctl(&mut self, words: &[String]) -> Taken {
        for word in words {
            match word.as_str() {
                "net.inet.ip.forwarding=1" => self.forwards[0] = true,
                "net.inet6.ip6.forwarding=1" => self.forwards[1] = true,
                other => return Ok(Some(format!("sysctl {other} has no like here"))),
            }
        }
        Ok(None)
    }
}

impl HostInterface {
    fn take(&mut self, change: &AddressChange) -> Result<(), String> {
        let ip = change.address;
        self.addresses.retain(|own| own.ip() != ip);
        if change.mode == Mode::Remove {
            return Ok(());
        }
        let first = self.addresses.iter().position(IpNetwork::is_ipv4);
        if let (Mode::Replace, true, Some(first)) = (change.mode, ip.is_ipv4(), first) {
            self.addresses.remove(first);
        }
        let length = change.length.unwrap_or_else(|| usual_length(ip));
        let address = IpNetwork::new(ip, length);
        self.addresses.push(address.map_err(|_| format!("{ip}/{length}: no length of an address"))?);
        Ok(())
    }
}

/// The length of an address that has none: that of its class (netinet/in.c), or 64.
fn usual_length(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(v4) => match v4.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            192..=255 => 24,
        },
        IpAddr::V6(_) if ip.is_loopback() => width(ip),
        IpAddr::V6(_) => 64,
    }
}

impl HostTunnel {
    fn take(&mut self, words: &Tunnel, script: &Script) {
        self.port = words.port.or(self.port);
        self.rtable = words.rtable.unwrap_or(self.rtable);
        if let Some(key) = &words.key {
            self.key = Some(source(key, script));
        }
        if words.without_peers {
            self.peers.clear();
        }
        for peer in &words.peers {
            self.take_peer(peer, script);
        }
    }

    fn take_peer(&mut self, words: &Peer, script: &Script) {
        let key = match script.unknown(&words.key.0) {
            Some(Unknown::PublicKeyOf(interface)) => Err(interface.clone()),
            Some(Unknown::Made | Unknown::File(_)) | None => Ok(words.key),
        };
        if words.goes {
            self.peers.retain(|peer| peer.key != key);
            return;
        }
        let at = self.peers.iter().position(|peer| peer.key == key).unwrap_or_else(|| {
            let bare = Peer { endpoint: None, allowed_ips: Vec::new(), ..words.clone() };
            self.peers.push(HostPeer { key, words: bare, preshared: None });
            self.peers.len() - 1
        });
        let peer = &mut self.peers[at];
        if !words.allowed_ips.is_empty() {
            peer.words.allowed_ips = words.allowed_ips.clone();
        }
        peer.words.endpoint = words.endpoint.clone().or(peer.words.endpoint.take());
        peer.words.keepalive_secs = words.keepalive_secs.or(peer.words.keepalive_secs);
        peer.words.description = words.description.clone().or(peer.words.description.take());
        if let Some(preshared) = &words.preshared_key {
            peer.preshared = preshared.as_ref().map(|key| source(key, script));
        }
    }
}

fn source(key: &KeyBytes, script: &Script) -> KeySource {
    match script.unknown(&key.0) {
        Some(Unknown::File(file)) => KeySource::File(file.clone()),
        Some(Unknown::Made | Unknown::PublicKeyOf(_)) => KeySource::Made,
        None => KeySource::Written(*key),
    }
}
