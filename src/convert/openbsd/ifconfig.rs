//! The command line of ifconfig(8), as far as routing domains, tunnels and links need it.
//!
//! Words run from left to right, but an address is set last and the settings of a tunnel just before it
//! (sbin/ifconfig/ifconfig.c), so a command is three parts: what is done at once, the tunnel, the address.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use super::arguments::{Arguments, KeyBytes, Refusal, address, mask_length, width};
use crate::model::PublicKey;

/// One run of ifconfig(8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ifconfig {
    /// Shows all interfaces: with `-A` everything, else without peers and further addresses.
    ShowAll {
        /// Whether `-A` was given.
        whole: bool,
    },
    /// Shows one interface.
    Show(String),
    /// Changes one.
    Change(Change),
}

/// What one run changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The interface.
    pub interface: String,
    /// What is done at once, in order.
    pub actions: Vec<Action>,
    /// What is set of a tunnel after that.
    pub tunnel: Tunnel,
    /// The address that is set last.
    pub address: Option<AddressChange>,
}

/// One thing that is done at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `create`.
    Create,
    /// `destroy`.
    Destroy,
    /// `rdomain N`; `-rdomain` is 0.
    Rdomain(u8),
    /// `description TEXT`; `-description` is an empty one.
    Description(String),
    /// `mtu N`.
    Mtu(u32),
    /// `up` or `down`.
    Up(bool),
    /// `patch IF`, or `-patch`.
    Patch(Option<String>),
    /// `parent IF`, or `-parent`.
    Parent(Option<String>),
    /// `vnetid N`, or `-vnetid`.
    Vnetid(Option<u16>),
}

/// What is set of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// `wgport N`.
    pub port: Option<u16>,
    /// `wgkey KEY`.
    pub key: Option<KeyBytes>,
    /// `wgrtable N`.
    pub rtable: Option<u8>,
    /// `-wgpeerall`.
    pub without_peers: bool,
    /// `wgpeer KEY ..`, in order.
    pub peers: Vec<Peer>,
}

/// What is set of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub key: PublicKey,
    /// `-wgpeer`: it goes.
    pub goes: bool,
    /// `wgendpoint HOST PORT`.
    pub endpoint: Option<(String, u16)>,
    /// `wgaip PREFIX`, each of them; they replace what the peer had, if there is one.
    pub allowed_ips: Vec<IpNetwork>,
    /// `wgpka SECS`.
    pub keepalive_secs: Option<u16>,
    /// `wgpsk KEY`; nothing inside is `-wgpsk`.
    pub preshared_key: Option<Option<KeyBytes>>,
    /// `wgdescr TEXT`; empty is `-wgdescr`.
    pub description: Option<String>,
}

/// An address and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressChange {
    /// The address.
    pub address: IpAddr,
    /// Its length, if it was given.
    pub length: Option<u8>,
    /// What becomes of it.
    pub mode: Mode,
}

/// What becomes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It takes the place of the first IPv4 address.
    Replace,
    /// `alias`: it is added.
    Add,
    /// `delete`, `-alias`: it goes.
    Remove,
}

/// The largest number of a routing domain (sys/socket.h, `RT_TABLEID_MAX`).
pub(super) const RTABLE_MAX: u32 = 255;

/// The longest `wgpka` (ifconfig.c).
const KEEPALIVE_MAX: u32 = 43200;

/// The largest number of a vlan(4) (net/if_vlan_var.h, `EVL_VLID_MAX`).
const VLAN_MAX: u32 = 4094;

impl Ifconfig {
    /// Reads the words after the program's name.
    pub fn parse(words: &[String]) -> Result<Self, Refusal> {
        let mut words = Arguments::new("ifconfig", words);
        let interface = match words.next() {
            None | Some("-a") => return Ok(Self::ShowAll { whole: false }),
            Some("-A") => return Ok(Self::ShowAll { whole: true }),
            Some(interface) => interface.to_owned(),
        };
        if words.peek().is_none() {
            return Ok(Self::Show(interface));
        }
        let mut change = Change { interface, actions: Vec::new(), tunnel: Tunnel::default(), address: None };
        while let Some(word) = words.next() {
            change.read(word, &mut words)?;
        }
        Ok(Self::Change(change))
    }
}

impl Change {
    fn read(&mut self, word: &str, words: &mut Arguments<'_>) -> Result<(), Refusal> {
        let action = match word {
            "create" => Action::Create,
            "destroy" => Action::Destroy,
            "rdomain" => Action::Rdomain(words.number(word, 0, RTABLE_MAX)? as u8),
            "-rdomain" => Action::Rdomain(0),
            "description" | "descr" => Action::Description(words.value(word)?.to_owned()),
            "-description" | "-descr" => Action::Description(String::new()),
            "mtu" => Action::Mtu(words.number(word, 0, u32::MAX)?),
            "up" => Action::Up(true),
            "down" => Action::Up(false),
            "patch" => Action::Patch(Some(words.value(word)?.to_owned())),
            "-patch" => Action::Patch(None),
            "parent" => Action::Parent(Some(words.value(word)?.to_owned())),
            "-parent" => Action::Parent(None),
            "vnetid" => Action::Vnetid(Some(words.number(word, 1, VLAN_MAX)? as u16)),
            "-vnetid" => Action::Vnetid(None),
            _ if word.starts_with("wg") || word.starts_with("-wg") => return self.tunnel.read(word, words),
            _ => return self.read_address(word, words),
        };
        self.actions.push(action);
        Ok(())
    }

    fn read_address(&mut self, word: &str, words: &mut Arguments<'_>) -> Result<(), Refusal> {
        match (word, &mut self.address) {
            ("inet" | "inet6", _) => {
                let text = words.value(word)?;
                self.set_address(text, words)
            }
            ("alias", Some(change)) => set(&mut change.mode, Mode::Add),
            ("delete" | "-alias", Some(change)) => set(&mut change.mode, Mode::Remove),
            ("prefixlen", Some(change)) => set(&mut change.length, Some(words.number(word, 0, 128)? as u8)),
            ("netmask", Some(change)) => {
                let text = words.value(word)?;
                let length = netmask(text).ok_or_else(|| words.refuse(format_args!("{text}: bad value")))?;
                set(&mut change.length, Some(length))
            }
            (text, None) => self.set_address(text, words),
            (text, Some(_)) => Err(words.refuse(format_args!("{text}: bad value"))),
        }
    }

    fn set_address(&mut self, text: &str, words: &Arguments<'_>) -> Result<(), Refusal> {
        let read = address(text).ok_or_else(|| words.refuse(format_args!("{text}: bad value")))?;
        let (address, length) = read;
        self.address = Some(AddressChange { address, length, mode: Mode::Replace });
        Ok(())
    }
}

fn set<T>(field: &mut T, value: T) -> Result<(), Refusal> {
    *field = value;
    Ok(())
}

/// `0xffffff00` or `255.255.255.0`.
fn netmask(text: &str) -> Option<u8> {
    let mask = match text.strip_prefix("0x") {
        Some(digits) => Ipv4Addr::from_bits(u32::from_str_radix(digits, 16).ok()?),
        None => text.parse().ok()?,
    };
    mask_length(mask)
}

impl Tunnel {
    fn read(&mut self, word: &str, words: &mut Arguments<'_>) -> Result<(), Refusal> {
        match word {
            "wgport" => self.port = Some(words.number(word, 0, u16::MAX.into())? as u16),
            "wgkey" => self.key = Some(words.key(word)?),
            "wgrtable" => self.rtable = Some(words.number(word, 0, RTABLE_MAX)? as u8),
            "wgpeer" | "-wgpeer" => {
                let key = PublicKey(words.key(word)?.0);
                self.peers.push(Peer { goes: word.starts_with('-'), ..Peer::of(key) });
            }
            "-wgpeerall" => self.without_peers = true,
            _ => {
                let Some(peer) = self.peers.last_mut() else {
                    return Err(
                        words.refuse(format_args!("{}: wgpeer not set", word.trim_start_matches('-')))
                    );
                };
                peer.read(word, words)?;
            }
        }
        Ok(())
    }
}

impl Peer {
    fn of(key: PublicKey) -> Self {
        let (endpoint, allowed_ips) = (None, Vec::new());
        Self {
            key,
            goes: false,
            endpoint,
            allowed_ips,
            keepalive_secs: None,
            preshared_key: None,
            description: None,
        }
    }

    fn read(&mut self, word: &str, words: &mut Arguments<'_>) -> Result<(), Refusal> {
        match word {
            "wgendpoint" => {
                let host = words.value(word)?.to_owned();
                self.endpoint = Some((host, words.number(word, 1, u16::MAX.into())? as u16));
            }
            "wgaip" => {
                let text = words.value(word)?;
                let read = address(text).and_then(|(address, length)| {
                    IpNetwork::new(address, length.unwrap_or(width(address))).ok()
                });
                self.allowed_ips.push(read.ok_or_else(|| words.refuse("wgaip: bad address"))?);
            }
            "wgpka" => self.keepalive_secs = Some(words.number(word, 0, KEEPALIVE_MAX)? as u16),
            "wgpsk" => self.preshared_key = Some(Some(words.key(word)?)),
            "-wgpsk" => self.preshared_key = Some(None),
            "wgdescr" | "wgdescription" => self.description = Some(words.value(word)?.to_owned()),
            "-wgdescr" | "-wgdescription" => self.description = Some(String::new()),
            other => return Err(words.refuse(format_args!("{other}: bad value"))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Ifconfig, Refusal> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Ifconfig::parse(&words)
    }

    fn change(line: &str) -> Change {
        match parsed(line) {
            Ok(Ifconfig::Change(change)) => change,
            other => panic!("{line}: {other:?}"),
        }
    }

    const KEY: &str = "P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8=";

    #[test]
    fn the_address_is_apart_wherever_it_stands() {
        let one = change("wg1 10.0.0.1/24 rdomain 1");
        assert_eq!(one, change("wg1 rdomain 1 inet 10.0.0.1 netmask 0xffffff00"));
        assert_eq!(one.actions, [Action::Rdomain(1)]);
        let removed = change("wg1 inet6 fd00::1 delete").address.unwrap();
        assert_eq!((removed.length, removed.mode), (None, Mode::Remove));
    }

    #[test]
    fn the_words_of_a_peer_are_its() {
        let line =
            format!("wg1 wgpeer {KEY} wgendpoint 127.0.0.1 7222 wgaip 10.0.0.2 wgaip fd00::/64 wgpka 25");
        let peer = change(&line).tunnel.peers.remove(0);
        assert_eq!(peer.endpoint, Some(("127.0.0.1".to_owned(), 7222)));
        let allowed: Vec<String> = peer.allowed_ips.iter().map(IpNetwork::to_string).collect();
        assert_eq!(allowed, ["10.0.0.2/32", "fd00::/64"]);
    }

    #[test]
    fn bad_words_are_refused_as_openbsd_refuses_them() {
        let cases = [
            ("wg1 rdomain 256", "ifconfig: rdomain 256: too large"),
            ("wg1 rdomain -1", "ifconfig: rdomain -1: too small"),
            ("wg1 rdomain x", "ifconfig: rdomain x: invalid"),
            ("wg1 wgrtable 256", "ifconfig: wgrtable 256: too large"),
            ("wg1 wgaip 10.0.0.1", "ifconfig: wgaip: wgpeer not set"),
            ("wg1 wgpsk x", "ifconfig: wgpsk: wgpeer not set"),
            ("wg1 wgkey eHg=", "ifconfig: wgkey (key): invalid length"),
            ("wg1 rdomain", "ifconfig: 'rdomain' requires argument"),
        ];
        for (line, text) in cases {
            assert_eq!(parsed(line), Err(Refusal(text.to_owned())));
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let line = format!("wg1 wgkey {KEY}");
        assert!(format!("{:?}", change(&line)).contains("(key)"));
    }
}
