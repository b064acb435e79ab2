//! Whether an nftables firewall of a namespace lets a UDP port in or out, or an interface's packets through: chains whose
//! policy is drop, and the rules that speak of the port or interface (linux/netfilter/nf_tables.h). Rules are not
//! interpreted: one that names the port or the interface, or looks such up in a set, counts as letting it pass. What
//! iptables-legacy(8) has set is not seen.

use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::netlink::{attributes, list};
use crate::model::InterfaceName;

const GET_CHAIN: u16 = 10 << 8 | 4;
const GET_RULE: u16 = 10 << 8 | 7;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const RULE_TABLE: u16 = 1;
const RULE_EXPRESSIONS: u16 = 4;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const PAYLOAD_BASE: u16 = 2;
const META_KEY: u16 = 2;
/// `NFT_META_IIF`, `OIF`, `IIFNAME`, `OIFNAME`.
const INTERFACES: [u32; 4] = [4, 5, 6, 7];
/// `IFNAMSIZ` (linux/if.h): so long are the names that rules have.
const NAME_BYTES: usize = 16;
/// `NF_DROP`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
const DROP: u32 = 0;
const TRANSPORT: u32 = 2;

/// Which packets a chain sees: `NF_INET_LOCAL_IN`, `NF_INET_FORWARD`, `NF_INET_LOCAL_OUT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Those that come in for the namespace itself.
    Input,
    /// Those that it forwards.
    Forward,
    /// Those that it sends.
    Output,
}

/// A chain that drops what no rule accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedChain {
    /// Family, table and chain as nft(8) writes them: `inet filter input`.
    pub name: String,
    /// What it sees.
    pub hook: Hook,
    /// The rules of its table, as the kernel lists their expressions.
    rules: Vec<Vec<u8>>,
}

impl ClosedChain {
    /// Whether a rule of its table speaks of this port.
    pub fn mentions(&self, port: u16) -> bool {
        self.rules.iter().any(|rule| mentions(rule, port))
    }

    /// Whether a rule of its table names this interface.
    pub fn names(&self, interface: &InterfaceName) -> bool {
        let mut name = interface.as_str().as_bytes().to_vec();
        name.resize(NAME_BYTES, 0);
        self.rules.iter().any(|rule| contains(rule, &name) || looks_interfaces_up(rule))
    }

    /// Whether it sees packets of the family of this address.
    pub fn sees_packets_like(&self, address: IpAddr) -> bool {
        !self.name.starts_with(if address.is_ipv6() { "ip " } else { "ip6 " })
    }
}

/// The chains of the calling thread's namespace that drop what no rule accepts.
pub fn closed_chains() -> Vec<ClosedChain> {
    let chains = list(NETLINK_NETFILTER, GET_CHAIN, &[0; 4]).unwrap_or_default();
    let closed: Vec<_> = chains.iter().filter_map(|chain| closed_chain(chain)).collect();
    if closed.is_empty() {
        return Vec::new();
    }
    let rules = list(NETLINK_NETFILTER, GET_RULE, &[0; 4]).unwrap_or_default();
    let of_table = |family: u8, table: &str| {
        let same = |rule: &&Vec<u8>| rule.first() == Some(&family) && text(rule, RULE_TABLE) == table;
        rules.iter().filter(same).filter_map(|rule| value(rule.get(4..)?, RULE_EXPRESSIONS)).collect()
    };
    let chain = |(hook, family, table, chain): &(Hook, u8, String, String)| ClosedChain {
        name: format!("{} {table} {chain}", family_word(*family)),
        hook: *hook,
        rules: of_table(*family, table),
    };
    closed.iter().map(chain).collect()
}

fn closed_chain(message: &[u8]) -> Option<(Hook, u8, String, String)> {
    let (&family, parts) = (message.first()?, message.get(4..)?);
    let hook = number(&value(&value(parts, CHAIN_HOOK)?, HOOK_NUMBER)?)?;
    let policy = number(&value(parts, CHAIN_POLICY)?)?;
    let hook = match hook {
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        _ => return None,
    };
    let on_packets = matches!(family_word(family), "ip" | "ip6" | "inet");
    (on_packets && policy == DROP)
        .then(|| (hook, family, text(message, CHAIN_TABLE), text(message, CHAIN_NAME)))
}

fn mentions(expressions: &[u8], port: u16) -> bool {
    let parts = expressions_of(expressions);
    let of_ports = parts.iter().any(|(name, data)| {
        let base = || number(&value(data, PAYLOAD_BASE)?);
        name.starts_with(b"payload") && base() == Some(TRANSPORT)
    });
    of_ports
        && parts.iter().any(|(name, data)| match name.as_slice() {
            name if name.starts_with(b"cmp") => contains(data, &port.to_be_bytes()),
            name => name.starts_with(b"lookup") || name.starts_with(b"range"),
        })
}

fn looks_interfaces_up(expressions: &[u8]) -> bool {
    let parts = || expressions_of(expressions).into_iter();
    let of_interface = |data: &[u8]| {
        let key = value(data, META_KEY).and_then(|key| number(&key));
        key.is_some_and(|key| INTERFACES.contains(&key))
    };
    parts().any(|(name, data)| name.starts_with(b"meta") && of_interface(&data))
        && parts().any(|(name, _)| name.starts_with(b"lookup"))
}

/// Each expression's name and data.
fn expressions_of(expressions: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let of = |expression: &[u8]| {
        Some((value(expression, EXPRESSION_NAME)?, value(expression, EXPRESSION_DATA).unwrap_or_default()))
    };
    attributes(expressions).into_iter().filter_map(|(_, expression)| of(expression)).collect()
}

/// Whether a value of some attribute, at whatever depth, is exactly this.
fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    attributes(bytes).into_iter().any(|(_, value)| value == wanted || contains(value, wanted))
}

fn value(parts: &[u8], wanted: u16) -> Option<Vec<u8>> {
    attributes(parts).into_iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value.to_vec())
}

fn text(message: &[u8], wanted: u16) -> String {
    let bytes = message.get(4..).and_then(|parts| value(parts, wanted)).unwrap_or_default();
    String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(&bytes)).into_owned()
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// `NFPROTO_*` (linux/netfilter.h).
fn family_word(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => "other",
    }
}
