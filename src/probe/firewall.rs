//! Whether an nftables firewall of a namespace lets a UDP port in: chains of the input hook whose policy is drop, and
//! the rules that speak of the port (linux/netfilter/nf_tables.h). Rules are not interpreted: one that names the
//! port, or looks ports up in a set, counts as letting it in.

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::netlink::{attributes, list};

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
/// `NF_INET_LOCAL_IN`, `NF_DROP`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
const LOCAL_IN: u32 = 1;
const DROP: u32 = 0;
const TRANSPORT: u32 = 2;

/// A chain that drops what no rule accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedChain {
    /// Family, table and chain as nft(8) writes them: `inet filter input`.
    pub name: String,
    /// The rules of its table, as the kernel lists their expressions.
    rules: Vec<Vec<u8>>,
}

impl ClosedChain {
    /// Whether a rule of its table speaks of this port.
    pub fn mentions(&self, port: u16) -> bool {
        self.rules.iter().any(|rule| mentions(rule, port))
    }
}

/// The chains of the calling thread's namespace that drop what comes in unless a rule accepts it.
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
    let chain = |(family, table, chain): &(u8, String, String)| ClosedChain {
        name: format!("{} {table} {chain}", family_word(*family)),
        rules: of_table(*family, table),
    };
    closed.iter().map(chain).collect()
}

fn closed_chain(message: &[u8]) -> Option<(u8, String, String)> {
    let (&family, parts) = (message.first()?, message.get(4..)?);
    let hook = number(&value(&value(parts, CHAIN_HOOK)?, HOOK_NUMBER)?)?;
    let policy = number(&value(parts, CHAIN_POLICY)?)?;
    let on_packets_for_us = matches!(family_word(family), "ip" | "ip6" | "inet") && hook == LOCAL_IN;
    (on_packets_for_us && policy == DROP)
        .then(|| (family, text(message, CHAIN_TABLE), text(message, CHAIN_NAME)))
}

fn mentions(expressions: &[u8], port: u16) -> bool {
    let parts: Vec<_> = attributes(expressions)
        .into_iter()
        .filter_map(|(_, expression)| Some((value(expression, EXPRESSION_NAME)?, expression)))
        .collect();
    let of_ports = parts.iter().any(|(name, expression)| {
        let base = || number(&value(&value(expression, EXPRESSION_DATA)?, PAYLOAD_BASE)?);
        name.starts_with(b"payload") && base() == Some(TRANSPORT)
    });
    of_ports
        && parts.iter().any(|(name, expression)| match name.as_slice() {
            name if name.starts_with(b"cmp") => contains(expression, &port.to_be_bytes()),
            name => name.starts_with(b"lookup") || name.starts_with(b"range"),
        })
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
