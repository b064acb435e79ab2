//! A file of wg-quick(8) as a domain of its own.
//!
//! wg-quick puts a tunnel into the one namespace that there is, and routes what its peers may send into it; a default
//! route needs marks and rules there, for the encrypted packets must not take it. In a domain they never do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use zeroize::Zeroizing;

use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::model::{
    Address, Domain, DomainId, DomainName, End, Endpoint, Engine, Interface, InterfaceName, Isolation, Key,
    Kind, Network, Peer, Prefix, Preshared, PublicKey, Route, SecretName, Target, WireGuard,
};
use crate::spec::values::{self, Trouble};

/// What came of a file.
#[derive(Debug)]
pub struct Imported {
    /// The secrets that it held, each with the file that it belongs into.
    pub secrets: BTreeMap<SecretName, SecretFile>,
    /// The files of secrets that it named.
    pub files: BTreeMap<SecretName, PathBuf>,
    /// What is not in the network, and what to do about it.
    pub warnings: Diagnostics,
}

/// A secret and the name of its file.
#[derive(Debug)]
pub struct SecretFile {
    /// The file, without a directory.
    pub name: PathBuf,
    /// The key in base64, checked.
    pub text: Zeroizing<String>,
}

/// Adds the tunnel of this file to the network, in a domain of this number that is called like the file.
///
/// An error is everything that is wrong with the file; the network is as it was then.
pub fn read(file: &Path, text: &str, id: DomainId, network: &mut Network) -> Result<Imported, Diagnostics> {
    let mut reader = Reader::default();
    let name = file.display().to_string();
    let built = reader.build(file, text, id);
    let (secrets, files) = (std::mem::take(&mut reader.secrets), std::mem::take(&mut reader.files));
    match built {
        Some(domain) if !reader.list.iter().any(Diagnostic::is_error) => {
            network.domains.insert(id, domain);
            Ok(Imported { secrets, files, warnings: Diagnostics::new(&name, text, reader.list) })
        }
        Some(_) | None => Err(Diagnostics::new(&name, text, reader.list)),
    }
}

/// A line that says something.
struct Line<'t> {
    place: Place,
    key: &'t str,
    value: &'t str,
    value_place: Place,
}

/// A section with its lines.
struct Section<'t> {
    place: Place,
    name: &'t str,
    /// The first comment before its first line, which is where people write who a peer is.
    comment: Option<&'t str>,
    lines: Vec<Line<'t>>,
}

/// Reads a file, taking note of what is wrong and going on.
#[derive(Default)]
struct Reader {
    list: Vec<Diagnostic>,
    secrets: BTreeMap<SecretName, SecretFile>,
    files: BTreeMap<SecretName, PathBuf>,
    /// Files of preshared keys, by the peer's key.
    preshared: BTreeMap<PublicKey, PathBuf>,
    /// Routes that were typed.
    routes: BTreeSet<Route>,
}

impl Reader {
    fn build(&mut self, file: &Path, text: &str, id: DomainId) -> Option<Domain> {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(name) = InterfaceName::new(stem.as_str()) else {
            let misnamed = Diagnostic::error_of_file(format!("`{stem}` cannot be the name of an interface"));
            self.list.push(misnamed.help("wg-quick calls the interface like the file: rename it"));
            return None;
        };
        let at = End { domain: id, interface: name };
        let sections = self.sections(text);
        let (first, others) = self.in_order(&sections)?;
        let mut interface = self.interface(&at, first);
        let Kind::WireGuard(tunnel) = &mut interface.kind else { return None };
        for (number, section) in others.iter().enumerate() {
            let Some((key, peer)) = self.peer(&at, number, section) else { continue };
            if tunnel.peers.insert(key, peer).is_some() {
                self.list.push(Diagnostic::error(section.place, "a second peer with this key"));
            }
        }
        let mut domain = Domain { isolation: Isolation::Auto, ..Domain::bare(id) };
        domain.name = DomainName::new(stem).unwrap_or(domain.name);
        if self.routes_follow(first) {
            domain.routes = routes(&at.interface, &interface);
        }
        domain.routes.append(&mut self.routes);
        domain.interfaces.insert(at.interface, interface);
        Some(domain)
    }

    fn sections<'t>(&mut self, text: &'t str) -> Vec<Section<'t>> {
        let mut sections: Vec<Section<'t>> = Vec::new();
        let mut start = 0;
        for (number, whole) in text.split_inclusive('\n').enumerate() {
            let begins = start;
            start += whole.len();
            let (line, comment) = match whole.split_once('#') {
                Some((line, comment)) => {
                    (line, Some(comment.trim_matches(|c: char| c == '#' || c.is_whitespace())))
                }
                None => (whole, None),
            };
            let place = |part: &str| {
                let offset = part.as_ptr().addr() - whole.as_ptr().addr();
                let column = whole[..offset].chars().count() + 1;
                Place { start: begins + offset, end: begins + offset + part.len(), line: number + 1, column }
            };
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                sections.push(Section { place: place(line), name, comment: None, lines: Vec::new() });
            }
            if let Some(section) = sections.last_mut().filter(|section| section.lines.is_empty()) {
                section.comment = section.comment.or(comment);
            }
            if line.is_empty() || line.starts_with('[') && line.ends_with(']') {
                continue;
            }
            let entry = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
            match (entry, sections.last_mut()) {
                (Some((key, value)), Some(section)) => {
                    let (place, value_place) = (place(key), place(value));
                    section.lines.push(Line { place, key, value, value_place });
                }
                (Some(_), None) => {
                    let lost = Diagnostic::error(place(line), "a line before the first section");
                    self.list.push(lost.help("begin with `[Interface]`"));
                }
                (None, _) => {
                    let lost = Diagnostic::error(
                        place(line),
                        format!("`{line}` is neither a section nor a setting"),
                    );
                    self.list.push(lost.help("write `KEY = VALUE`"));
                }
            }
        }
        sections
    }

    /// The `[Interface]`, and the `[Peer]`s.
    fn in_order<'s, 't>(
        &mut self,
        sections: &'s [Section<'t>],
    ) -> Option<(&'s Section<'t>, Vec<&'s Section<'t>>)> {
        let called =
            |name: &'static str| move |section: &&Section<'_>| section.name.eq_ignore_ascii_case(name);
        let known = |section: &&Section<'_>| called("Interface")(section) || called("Peer")(section);
        for section in sections.iter().filter(|section| !known(section)) {
            let unknown = Diagnostic::error(section.place, format!("no section `{}`", section.name));
            self.list.push(unknown.help("write `[Interface]` or `[Peer]`"));
        }
        let interfaces: Vec<_> = sections.iter().filter(called("Interface")).collect();
        match interfaces[..] {
            [only] => return Some((only, sections.iter().filter(called("Peer")).collect())),
            [] => self.list.push(Diagnostic::error_of_file("no section `[Interface]`")),
            [first, second, ..] => self.list.push(
                Diagnostic::error(second.place, "a second `[Interface]`")
                    .related(first.place, "the first one"),
            ),
        }
        None
    }

    fn interface(&mut self, at: &End, section: &Section<'_>) -> Interface {
        let mut tunnel = WireGuard {
            engine: Engine::Auto,
            underlay: DomainId::DEFAULT,
            listen_port: None,
            key: Key::Of(at.clone()),
            peers: BTreeMap::new(),
        };
        let (mut addresses, mut mtu) = (BTreeSet::new(), None);
        let mut has_key = false;
        for line in &section.lines {
            match line.key.to_ascii_lowercase().as_str() {
                "privatekey" => {
                    has_key = true;
                    self.secret(SecretName::PrivateKey(at.clone()), format!("{}.key", at.interface), line);
                }
                "listenport" if line.value == "0" => {}
                "listenport" => {
                    tunnel.listen_port = self.parsed(line, line.value, values::port).map(|(port, _)| port)
                }
                "address" => {
                    for (address, _) in self.each(line, host_address) {
                        addresses.insert(Address::new(address));
                    }
                }
                "mtu" => {
                    mtu = self
                        .parsed(line, line.value, |text| values::number(text, "an MTU", 68, 65535))
                        .map(|(mtu, _)| mtu)
                }
                "table" | "saveconfig" | "fwmark" => self.check_placement(line),
                "dns" => self.leave_out(line, "a domain has `dns: {servers: [..]}`"),
                "preup" | "postup" if self.hook(at, line.value).is_some() => {}
                "preup" | "postup" | "predown" | "postdown" => {
                    self.leave_out(
                        line,
                        "say as `routes:`, `rules:` or `sysctls:` of the domain what it does",
                    );
                }
                _ => self.unknown(line, "an `[Interface]`"),
            }
        }
        if !has_key && !self.files.contains_key(&SecretName::PrivateKey(at.clone())) {
            let missing = Diagnostic::error(section.place, "an `[Interface]` without `PrivateKey`");
            self.list.push(missing.help("write `PrivateKey = KEY`, as `wg genkey` prints it"));
        }
        Interface { addresses, mtu, ..Interface::new(Kind::WireGuard(tunnel)) }
    }

    /// Takes what a command before or after the start says that a file has words for: where a key is, a route.
    fn hook(&mut self, at: &End, command: &str) -> Option<()> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["wg", "set", "%i", "private-key", file] => {
                self.files.insert(SecretName::PrivateKey(at.clone()), plain(file)?);
            }
            ["wg", "set", "%i", "peer", key, "preshared-key", file] => {
                self.preshared.insert(key.parse().ok()?, plain(file)?);
            }
            ["ip", "-6", "route", "add", to, rest @ ..] => {
                self.routes.insert(typed_route(to, rest, &at.interface, IpAddr::V6(Ipv6Addr::UNSPECIFIED))?);
            }
            ["ip", "route", "add", to, rest @ ..] => {
                self.routes.insert(typed_route(to, rest, &at.interface, IpAddr::V4(Ipv4Addr::UNSPECIFIED))?);
            }
            _ => return None,
        }
        Some(())
    }

    fn peer(&mut self, at: &End, number: usize, section: &Section<'_>) -> Option<(Key, Peer)> {
        let usual = format!("peer{}", number + 1);
        let told = section.comment.filter(|told| is_word(told)).map(str::to_owned);
        let name = told.unwrap_or(usual);
        let mut peer = Peer {
            name: Some(name.clone()),
            endpoint: None,
            allowed_ips: BTreeSet::new(),
            preshared_key: None,
            persistent_keepalive_secs: 0,
        };
        let mut key = None;
        for line in &section.lines {
            match line.key.to_ascii_lowercase().as_str() {
                "publickey" => key = self.parsed(line, line.value, values::public_key).map(|(key, _)| key),
                "presharedkey" => {
                    let secret = SecretName::PresharedKey(at.clone(), name.clone());
                    self.secret(secret.clone(), format!("{}-{name}.psk", at.interface), line);
                    peer.preshared_key = Some(Preshared::Of(secret));
                }
                "allowedips" => {
                    let prefixes = self.each(line, values::loose_prefix);
                    peer.allowed_ips
                        .extend(prefixes.into_iter().map(|(prefix, _)| Prefix::containing(prefix)));
                }
                "endpoint" => peer.endpoint = self.endpoint(line),
                "persistentkeepalive" if line.value == "off" => {}
                "persistentkeepalive" => {
                    let secs =
                        |text: &str| values::number(text, "`PersistentKeepalive` in seconds", 0, u16::MAX);
                    peer.persistent_keepalive_secs =
                        self.parsed(line, line.value, secs).map_or(0, |(secs, _)| secs);
                }
                _ => self.unknown(line, "a `[Peer]`"),
            }
        }
        if let Some(file) = key.and_then(|key| self.preshared.remove(&key)) {
            let secret = SecretName::PresharedKey(at.clone(), name);
            self.files.insert(secret.clone(), file);
            peer.preshared_key = Some(Preshared::Of(secret));
        }
        if key.is_none() && !section.lines.iter().any(|line| line.key.eq_ignore_ascii_case("PublicKey")) {
            self.list.push(Diagnostic::error(section.place, "a `[Peer]` without `PublicKey`"));
        }
        Some((Key::Public(key?), peer))
    }

    fn endpoint(&mut self, line: &Line<'_>) -> Option<Endpoint> {
        let (endpoint, place) = self.parsed(line, line.value, values::endpoint)?;
        if endpoint.port.is_none() {
            self.list.push(
                Diagnostic::error(place, format!("endpoint `{endpoint}` has no port"))
                    .help(format!("write `{endpoint}:51820`")),
            );
        }
        Some(endpoint)
    }

    fn secret(&mut self, name: SecretName, file: String, line: &Line<'_>) {
        if line.value.parse::<PublicKey>().is_err() {
            let bad = Diagnostic::error(line.value_place, format!("`{}` is not a key", line.key));
            self.list.push(bad.help("a key is 44 characters of base64"));
        }
        let text = Zeroizing::new(line.value.to_owned());
        self.secrets.insert(name, SecretFile { name: file.into(), text });
    }

    /// Whether the routes are those that wg-quick makes of what peers are allowed.
    fn routes_follow(&self, section: &Section<'_>) -> bool {
        let mut tables = section.lines.iter().filter(|line| line.key.eq_ignore_ascii_case("Table"));
        !tables.any(|line| line.value == "off")
    }

    fn check_placement(&mut self, line: &Line<'_>) {
        let usual = matches!(line.value, "auto" | "off" | "true" | "false");
        if !usual {
            self.leave_out(line, "a domain has an rtable of its own, and needs no marks");
        }
    }

    fn leave_out(&mut self, line: &Line<'_>, instead: &str) {
        let left = Diagnostic::warning(line.place, format!("`{}` is left out", line.key));
        self.list.push(left.help(instead));
    }

    fn unknown(&mut self, line: &Line<'_>, what: &str) {
        self.list.push(Diagnostic::error(line.place, format!("{what} has no `{}`", line.key)));
    }

    /// A value at its place, or `None` once it has been complained of.
    fn parsed<T>(
        &mut self,
        line: &Line<'_>,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, Trouble>,
    ) -> Option<(T, Place)> {
        let offset = text.as_ptr().addr() - line.value.as_ptr().addr();
        let column = line.value_place.column + line.value[..offset].chars().count();
        let start = line.value_place.start + offset;
        let place = Place { start, end: start + text.len(), column, ..line.value_place };
        match parse(text) {
            Ok(value) => Some((value, place)),
            Err(trouble) => {
                self.list.push(trouble.at(place));
                None
            }
        }
    }

    /// The values of a list with commas.
    fn each<T>(&mut self, line: &Line<'_>, parse: impl Fn(&str) -> Result<T, Trouble>) -> Vec<(T, Place)> {
        let parts = line.value.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.filter_map(|part| self.parsed(line, part, &parse)).collect()
    }
}

/// An address; without a length it is one host's.
fn host_address(text: &str) -> Result<IpNetwork, Trouble> {
    match text.parse::<IpAddr>() {
        Ok(host) => Ok(IpNetwork::from(host)),
        Err(_) => values::address(text),
    }
}

/// The routes that wg-quick adds: to whatever a peer may send, unless the interface's own network holds it.
fn routes(name: &InterfaceName, interface: &Interface) -> BTreeSet<Route> {
    let peers = interface.wireguard().into_iter().flat_map(|tunnel| tunnel.peers.values());
    let connected = |prefix: &Prefix| {
        let networks = interface.addresses.iter().map(|address| Prefix::containing(address.network));
        networks
            .into_iter()
            .any(|network| network.contains(prefix.address()) && network.length() <= prefix.length())
    };
    let allowed = peers.flat_map(|peer| &peer.allowed_ips).filter(|prefix| !connected(prefix));
    let target = Target::Unicast { via: None, dev: name.clone(), src: None, onlink: false };
    allowed.map(|&to| Route { to, metric: Route::default_metric(to), target: target.clone() }).collect()
}

/// A path as sh(1) takes it for itself, quoted or not.
fn plain(word: &str) -> Option<PathBuf> {
    let quoted = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let special = |c: char| "'\"`$\\<>()|&;*?[]#~!{}".contains(c);
    match quoted {
        Some(inside) => (!inside.contains('\'')).then(|| inside.into()),
        None => (!word.contains(special)).then(|| word.into()),
    }
}

/// What follows `ip route add`: a destination, a gateway, this interface.
fn typed_route(to: &str, words: &[&str], dev: &InterfaceName, any: IpAddr) -> Option<Route> {
    let to = match to {
        "default" => Prefix::everything_like(any),
        network => Prefix::containing(network.parse().ok()?),
    };
    let mut via = None;
    for pair in words.chunks(2) {
        match *pair {
            ["via", gateway] => via = Some(gateway.parse().ok()?),
            ["dev", name] if name == "%i" || name == dev.as_str() => {}
            _ => return None,
        }
    }
    let target = Target::Unicast { via, dev: dev.clone(), src: None, onlink: false };
    Some(Route { to, metric: Route::default_metric(to), target })
}

/// Whether a comment is a name: one word, that no file would take for a path or a command.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Paint;
    use crate::model::NetworkName;

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    fn imported(text: &str) -> Result<(Network, Imported), Diagnostics> {
        let mut network = Network::empty(NetworkName::new("wg0").unwrap());
        let imported = read(Path::new("wg0.conf"), text, DomainId::new(1).unwrap(), &mut network)?;
        Ok((network, imported))
    }

    #[test]
    fn a_tunnel_for_everything_becomes_a_domain_with_a_default_route() {
        let (network, imported) = imported(&format!(
            "[Interface]\nPrivateKey = {KEY}\nAddress = 10.0.0.2/24, fd00::2\nDNS = 10.0.0.1\n\n\
             [Peer] # exit\nPublicKey = {KEY}\nPresharedKey={KEY}\nAllowedIPs = 0.0.0.0/0, ::/0, 10.0.0.9/32\n\
             Endpoint = vpn.example.org:51820\nPersistentKeepalive = 25\n"
        ))
        .unwrap();
        let named = imported.secrets.iter().map(|(name, file)| (name.clone(), file.name.clone())).collect();
        insta::assert_snapshot!(crate::spec::write(&network, &named), @r#"
            name: wg0
            domains:
              wg0:
                rdomain: 1
                interfaces:
                  wg0:
                    addresses: [10.0.0.2/24, "fd00::2/128"]
                    wireguard:
                      private_key_file: wg0.key
                      peers:
                        exit: {public_key: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=, preshared_key_file: wg0-exit.psk, endpoint: "vpn.example.org:51820", allowed_ips: [0.0.0.0/0, 10.0.0.9/32, "::/0"], persistent_keepalive: 25}
                routes:
                  - {to: default, dev: wg0}
                  - {to: "::/0", dev: wg0}
        "#);
        insta::assert_snapshot!(imported.warnings.render(Paint::Plain), @r#"
            warning: `DNS` is left out
             --> wg0.conf:4:1
              |
            4 | DNS = 10.0.0.1
              | ^^^
              |
              = help: a domain has `dns: {servers: [..]}`
        "#);
    }

    /// As wg-quick(8) advises, and as our own files have it.
    #[test]
    fn keys_and_routes_of_commands_are_read() {
        let (network, imported) = imported(&format!(
            "[Interface]\nAddress = 10.0.0.2/24, fd00::2/64\nTable = off\nPostUp = wg set %i private-key '/k/o n'\n\
             PostUp = wg set %i private-key /k/own\nPostUp = wg set %i peer {KEY} preshared-key /k/psk\n\
             PostUp = ip route add 10.9.0.0/16 via 10.0.0.1 dev wg0\nPostUp = ip -6 route add default dev %i\n\
             PostUp = wg set %i private-key <(pass show wg0)\nPostUp = ip route add 10.8.0.0/16 dev eth0\n\
             [Peer]\n# far\nPublicKey = {KEY}\n"
        ))
        .unwrap();
        let text = crate::spec::write(&network, &imported.files);
        for part in [
            "private_key_file: /k/own",
            "far: {public_key: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=, preshared_key_file: /k/psk",
            "- {to: 10.9.0.0/16, via: 10.0.0.1, dev: wg0}",
            "- {to: \"::/0\", dev: wg0}",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let told = imported.warnings.render(Paint::Plain);
        assert_eq!(told.matches("`PostUp` is left out").count(), 3, "{told}");
        assert!(told.contains("<(pass show wg0)") && told.contains("dev eth0"), "{told}");
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_nothing_is_imported() {
        let errors = imported(
            "ListenPort = 1\n[Interface]\nAddress = 10.0.0.300/24, 10.0.0.1/24\nListenPort = 70000\nColour = red\nword\n\
             [Peer]\nAllowedIPs = 10.0.0.0/33\nEndpoint = host\nPersistentKeepalive = often\n[Pear]\n",
        )
        .unwrap_err();
        insta::assert_snapshot!(errors.render(Paint::Plain), @r#"
            error: a line before the first section
             --> wg0.conf:1:1
              |
            1 | ListenPort = 1
              | ^^^^^^^^^^^^^^
              |
              = help: begin with `[Interface]`

            error: an `[Interface]` without `PrivateKey`
             --> wg0.conf:2:1
              |
            2 | [Interface]
              | ^^^^^^^^^^^
              |
              = help: write `PrivateKey = KEY`, as `wg genkey` prints it

            error: `10.0.0.300` is not an IP address
             --> wg0.conf:3:11
              |
            3 | Address = 10.0.0.300/24, 10.0.0.1/24
              |           ^^^^^^^^^^^^^

            error: 70000 is out of range for a port
             --> wg0.conf:4:14
              |
            4 | ListenPort = 70000
              |              ^^^^^
              |
              = help: a port is a number from 1 to 65535

            error: an `[Interface]` has no `Colour`
             --> wg0.conf:5:1
              |
            5 | Colour = red
              | ^^^^^^

            error: `word` is neither a section nor a setting
             --> wg0.conf:6:1
              |
            6 | word
              | ^^^^
              |
              = help: write `KEY = VALUE`

            error: a `[Peer]` without `PublicKey`
             --> wg0.conf:7:1
              |
            7 | [Peer]
              | ^^^^^^

            error: 33 is out of range for the length of a prefix
             --> wg0.conf:8:14
              |
            8 | AllowedIPs = 10.0.0.0/33
              |              ^^^^^^^^^^^
              |
              = help: the length of a prefix is a number from 0 to 32

            error: endpoint `host` has no port
             --> wg0.conf:9:12
              |
            9 | Endpoint = host
              |            ^^^^
              |
              = help: write `host:51820`

            error: `often` is not `PersistentKeepalive` in seconds
              --> wg0.conf:10:23
               |
            10 | PersistentKeepalive = often
               |                       ^^^^^
               |
               = help: `PersistentKeepalive` in seconds is a number from 0 to 65535

            error: no section `Pear`
              --> wg0.conf:11:1
               |
            11 | [Pear]
               | ^^^^^^
               |
               = help: write `[Interface]` or `[Peer]`
        "#);
    }
}
