//! A WireGuard interface and its peers, in the user's words.

use ipnetwork::IpNetwork;

use super::engine;
use crate::diagnostic::Diagnostic;
use crate::model::{Endpoint, Engine, PublicKey};
use crate::spec::fields::{Fields, Shape, each_parsed, entries};
use crate::spec::node::{Entry, Node, Value};
use crate::spec::report::{Placed, Report};
use crate::spec::values::{self, Trouble};

const WIREGUARD: Shape =
    Shape { what: "`wireguard`", keys: &["engine", "underlay", "listen_port", "private_key_file", "peers"] };
const PEER: Shape = Shape {
    what: "a peer",
    keys: &["public_key", "preshared_key_file", "endpoint", "allowed_ips", "persistent_keepalive"],
};

/// The value of `wireguard`.
#[derive(Debug)]
pub(in crate::spec) struct WireGuard {
    pub(in crate::spec) engine: Option<Engine>,
    pub(in crate::spec) underlay: Option<Placed<String>>,
    /// The port, if the file says one.
    pub(in crate::spec) listen_port: Option<Placed<u16>>,
    pub(in crate::spec) private_key_file: Option<String>,
    pub(in crate::spec) peers: Vec<Peer>,
}

/// One entry of `peers`.
#[derive(Debug)]
pub(in crate::spec) struct Peer {
    /// The key: an interface of the file, or a label.
    pub(in crate::spec) word: Placed<String>,
    pub(in crate::spec) who: PeerWord,
    pub(in crate::spec) preshared_key_file: Option<Placed<String>>,
    pub(in crate::spec) endpoint: Option<Placed<Endpoint>>,
    /// `None` where the file does not say.
    pub(in crate::spec) allowed_ips: Option<Vec<Placed<IpNetwork>>>,
    pub(in crate::spec) persistent_keepalive_secs: u16,
}

/// Who a peer is.
#[derive(Debug)]
pub(in crate::spec) enum PeerWord {
    /// The interface of this file that the word names.
    InFile,
    /// Who has this key; the word is only a label.
    Foreign(Placed<PublicKey>),
    /// Its key could not be read, which has been reported.
    Unknown,
}

impl WireGuard {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let fields = Fields::of(node, &WIREGUARD, report)?;
        Some(Self {
            engine: fields.parsed("engine", "an engine", engine, report).map(|engine| engine.value),
            underlay: fields.parsed("underlay", "a domain", values::any_text, report),
            listen_port: listen_port(fields, report),
            private_key_file: key_file(fields, "private_key_file", report).map(|path| path.value),
            peers: fields.value("peers").map(|node| peers(node, report)).unwrap_or_default(),
        })
    }
}

fn listen_port(fields: Fields<'_>, report: &mut Report) -> Option<Placed<u16>> {
    let auto_or_port = |text: &str| match text {
        "auto" => Ok(None),
        "0" => Err(Trouble::new("0 is not a port").help("write `auto`")),
        digits => values::port(digits).map(Some),
    };
    let port = fields.parsed("listen_port", "a port or `auto`", auto_or_port, report)?;
    port.value.map(|number| Placed::new(number, port.place))
}

fn key_file(fields: Fields<'_>, key: &str, report: &mut Report) -> Option<Placed<String>> {
    fields.parsed(key, "the path of a file", values::key_file, report)
}

fn peers(node: &Node, report: &mut Report) -> Vec<Peer> {
    if let Value::List(_) = node.value {
        report.push(
            Diagnostic::error(node.place, "`peers` is a mapping, found a list")
                .help("write `peers: {DOMAIN/IF: {}}`"),
        );
        return Vec::new();
    }
    let entries = entries(node, "`peers`", report).unwrap_or_default();
    entries.iter().filter_map(|entry| Peer::read(entry, report)).collect()
}

impl Peer {
    fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let fields = Fields::of(&entry.value, &PEER, report)?;
        let endpoint = fields.parsed("endpoint", "`HOST:PORT`", values::endpoint, report);
        let allowed = |node| each_parsed(node, "prefixes", values::loose_prefix, report);
        let allowed_ips = fields.value("allowed_ips").map(allowed);
        let who = who(fields, report);
        check_port(&who, endpoint.as_ref(), report);
        Some(Self {
            word: entry.key.clone(),
            who,
            preshared_key_file: key_file(fields, "preshared_key_file", report),
            endpoint,
            allowed_ips,
            persistent_keepalive_secs: keepalive(fields, report),
        })
    }
}

fn who(fields: Fields<'_>, report: &mut Report) -> PeerWord {
    match fields.value("public_key") {
        None => PeerWord::InFile,
        Some(_) => {
            let key = fields.parsed("public_key", "a public key", values::public_key, report);
            key.map_or(PeerWord::Unknown, PeerWord::Foreign)
        }
    }
}

fn check_port(who: &PeerWord, endpoint: Option<&Placed<Endpoint>>, report: &mut Report) {
    let Some(endpoint) = endpoint else { return };
    if let (PeerWord::Foreign(_), None) = (who, endpoint.value.port) {
        report.push(
            Diagnostic::error(endpoint.place, format!("endpoint `{}` has no port", endpoint.value))
                .label("only the port of an interface of this file is known")
                .help(format!("write `{}:PORT`, for example `{}:51820`", endpoint.value, endpoint.value)),
        );
    }
}

fn keepalive(fields: Fields<'_>, report: &mut Report) -> u16 {
    let seconds = |text: &str| match text {
        "off" => Ok(0),
        digits => values::number(digits, "`persistent_keepalive` in seconds", 0, u16::MAX),
    };
    fields
        .parsed("persistent_keepalive", "seconds or `off`", seconds, report)
        .map_or(0, |seconds| seconds.value)
}
