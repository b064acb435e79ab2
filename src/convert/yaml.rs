//! A host as the text of a `domains.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Arguments, Write};

use super::import::{Host, HostInterface, HostPeer, HostTunnel, KeySource};
use super::route::{Dropped, Words};
use crate::model::{Prefix, Route};

/// The file, and what has to be done by hand: secrets are in neither.
pub fn yaml(host: &Host, from: &str) -> (String, Vec<String>) {
    let mut by_hand = Vec::new();
    let mut text = format!("# From {from}, by rdom import.\ndomains:\n");
    let mut domains: BTreeMap<u8, Vec<(&str, &HostInterface)>> = BTreeMap::new();
    for (name, held) in &host.interfaces {
        domains.entry(held.rdomain).or_default().push((name, held));
    }
    for rtable in host.routes.iter().map(|(rtable, _)| *rtable) {
        if rtable == 0 {
            domains.entry(0).or_default();
        }
    }
    for (&id, inside) in &domains {
        write_domain(&mut text, host, id, inside, &mut by_hand);
    }
    write_links(&mut text, host);
    write_tests(&mut text, host);
    (text, by_hand)
}

fn write_domain(
    text: &mut String,
    host: &Host,
    id: u8,
    inside: &[(&str, &HostInterface)],
    by_hand: &mut Vec<String>,
) {
    line(text, format_args!("  {id}:"));
    let own_lo = format!("lo{id}");
    let (los, others): (Vec<_>, Vec<_>) = inside.iter().partition(|(name, _)| *name == own_lo);
    let mut said = false;
    if let Some((_, lo)) = los.first()
        && id != 0
        && !lo.addresses.is_empty()
        && !lo.addresses.iter().all(|own| matches!(own.to_string().as_str(), "127.0.0.1/8" | "::1/128"))
    {
        line(text, format_args!("    lo: {{addresses: {}}}", list(&lo.addresses)));
        said = true;
    }
    if !others.is_empty() {
        line(text, format_args!("    interfaces:"));
        said = true;
    }
    for (name, held) in others {
        write_interface(text, host, name, held, by_hand);
    }
    said |= write_routes(text, host, id, inside);
    if id != 0 && host.forwards != [false, false] {
        let names = ["net.ipv4.ip_forward: 1", "net.ipv6.conf.all.forwarding: 1"];
        let on: Vec<&str> =
            names.iter().zip(host.forwards).filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        line(text, format_args!("    sysctls: {{{}}}", on.join(", ")));
        said = true;
    }
    if !said {
        let whole = format!("  {id}:\n");
        text.truncate(text.len() - whole.len());
        line(text, format_args!("  {id}: {{}}"));
    }
}

fn write_interface(
    text: &mut String,
    host: &Host,
    name: &str,
    held: &HostInterface,
    by_hand: &mut Vec<String>,
) {
    let mut fields = Vec::new();
    if !held.addresses.is_empty() {
        fields.push(format!("addresses: {}", list(&held.addresses)));
    }
    fields.extend(held.mtu.map(|mtu| format!("mtu: {mtu}")));
    if name.starts_with("vether") {
        fields.push("dummy: {}".to_owned());
    }
    let Some(tunnel) = &held.tunnel else {
        line(text, format_args!("      {name}: {{{}}}", fields.join(", ")));
        return;
    };
    line(text, format_args!("      {name}:"));
    fields.iter().for_each(|field| line(text, format_args!("        {field}")));
    line(text, format_args!("        wireguard:"));
    if tunnel.rtable != 0 {
        line(text, format_args!("          underlay: {}", tunnel.rtable));
    }
    match tunnel.port.filter(|&port| port != 0) {
        Some(port) => line(text, format_args!("          listen_port: {port}")),
        None => line(text, format_args!("          listen_port: auto")),
    }
    match &tunnel.key {
        Some(KeySource::File(file)) => {
            line(text, format_args!("          private_key_file: {}", quoted(file)))
        }
        Some(KeySource::Written) => {
            line(text, format_args!("          private_key_file: {name}.key"));
            by_hand.push(format!("write the private key of {name} into {name}.key, mode 0600"));
        }
        Some(KeySource::Made) | None => {}
    }
    if tunnel.peers.is_empty() {
        return;
    }
    line(text, format_args!("          peers:"));
    for (label, peer) in labelled(tunnel) {
        let fields = peer_fields(host, name, &label, peer, by_hand).join(", ");
        line(text, format_args!("            {}: {{{fields}}}", quoted(&label)));
    }
}

/// Peers by what the file calls them: an interface of the same host by its name, others by their description.
fn labelled(tunnel: &HostTunnel) -> Vec<(String, &HostPeer)> {
    let mut taken = BTreeSet::new();
    let label = |(number, peer): (usize, &HostPeer)| match &peer.key {
        Err(interface) => interface.clone(),
        Ok(_) => {
            let described = peer.words.description.clone().unwrap_or_default();
            let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
            let described: String = described.chars().map(plain).collect();
            if described.is_empty() { format!("peer{}", number + 1) } else { described }
        }
    };
    let peers = tunnel.peers.iter().enumerate();
    peers
        .map(|(number, peer)| {
            let label = label((number, peer));
            let free = taken.insert(label.clone());
            (if free { label } else { format!("{label}-{}", number + 1) }, peer)
        })
        .collect()
}

fn peer_fields(
    host: &Host,
    tunnel: &str,
    label: &str,
    peer: &HostPeer,
    by_hand: &mut Vec<String>,
) -> Vec<String> {
    let mut fields = Vec::new();
    let far = peer.key.as_ref().err().and_then(|name| host.interfaces.get(name)?.tunnel.as_ref());
    fields.extend(peer.key.as_ref().ok().map(|key| format!("public_key: {}", quoted(&key.to_string()))));
    if let Some((host, port)) = &peer.words.endpoint {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match far.is_some_and(|far| far.port == Some(*port)) {
            true => fields.push(format!("endpoint: {}", quoted(&host))),
            false => fields.push(format!("endpoint: {}", quoted(&format!("{host}:{port}")))),
        }
    }
    // Matching is by prefix, whatever bits of the host are shown.
    let allowed: Vec<Prefix> = peer.words.allowed_ips.iter().map(|&own| Prefix::containing(own)).collect();
    fields.push(format!("allowed_ips: {}", list(&allowed)));
    match &peer.preshared {
        Some(KeySource::File(file)) => fields.push(format!("preshared_key_file: {}", quoted(file))),
        Some(KeySource::Written | KeySource::Made) => {
            fields.push(format!("preshared_key_file: {tunnel}-{label}.psk"));
            by_hand.push(format!(
                "write the preshared key of {tunnel} and {label} into {tunnel}-{label}.psk, mode 0600"
            ));
        }
        None => {}
    }
    let keepalive = peer.words.keepalive_secs.filter(|&secs| secs != 0);
    fields.extend(keepalive.map(|secs| format!("persistent_keepalive: {secs}")));
    fields
}

/// The routes of the domain's own rtable, and of domain 0's further ones.
fn write_routes(text: &mut String, host: &Host, id: u8, inside: &[(&str, &HostInterface)]) -> bool {
    let of =
        |rtable: u8| host.routes.iter().filter(move |(table, _)| *table == rtable).map(|(_, words)| words);
    let own: Vec<String> = of(id).map(|words| route(words, inside)).collect();
    if !own.is_empty() {
        line(text, format_args!("    routes:"));
        own.iter().for_each(|route| line(text, format_args!("      - {route}")));
    }
    let domains: BTreeSet<u8> = host.interfaces.values().map(|held| held.rdomain).collect();
    let further: BTreeSet<u8> =
        host.routes.iter().map(|(table, _)| *table).filter(|t| !domains.contains(t)).collect();
    let further: BTreeSet<u8> = further.into_iter().filter(|&table| id == 0 && table != 0).collect();
    if !further.is_empty() {
        line(text, format_args!("    rtables:"));
    }
    for table in &further {
        line(text, format_args!("      {table}:\n        routes:"));
        of(*table).for_each(|words| line(text, format_args!("          - {}", route(words, inside))));
    }
    !own.is_empty() || !further.is_empty()
}

fn route(words: &Words, inside: &[(&str, &HostInterface)]) -> String {
    let to = if words.to.is_default() && !words.to.is_ipv6() {
        "default".to_owned()
    } else {
        words.to.to_string()
    };
    let mut fields = vec![format!("to: {}", quoted(&to))];
    match (words.dropped, words.gateway) {
        (Some(Dropped::Reject), _) => fields.push("type: unreachable".to_owned()),
        (Some(Dropped::Blackhole), _) => fields.push("type: blackhole".to_owned()),
        (None, Some(gateway)) if words.straight => {
            let has = |held: &HostInterface| held.addresses.iter().any(|own| own.ip() == gateway);
            let by = inside.iter().find(|(_, held)| has(held)).map(|(name, _)| format!("dev: {name}"));
            fields.extend(by);
        }
        (None, gateway) => fields.extend(gateway.map(|via| format!("via: {}", quoted(&via.to_string())))),
    }
    let metric = words.priority.map(u32::from).filter(|&priority| priority != 8);
    fields.extend(metric.filter(|&m| m != Route::default_metric(words.to)).map(|m| format!("metric: {m}")));
    format!("{{{}}}", fields.join(", "))
}

fn write_links(text: &mut String, host: &Host) {
    let ends = host.interfaces.iter().filter_map(|(name, held)| {
        let other = held.patch.as_ref().filter(|other| name < *other)?;
        Some((held.rdomain, name, host.interfaces.get(other)?.rdomain, other))
    });
    let links: Vec<_> = ends.collect();
    if !links.is_empty() {
        line(text, format_args!("links:"));
    }
    for (one, name, two, other) in links {
        line(text, format_args!("  - {{ends: [{one}/{name}, {two}/{other}]}}"));
    }
}

/// What shows that tunnels between interfaces of this host carry packets: each pings the other's addresses.
fn write_tests(text: &mut String, host: &Host) {
    let mut tests = BTreeSet::new();
    for held in host.interfaces.values() {
        for peer in held.tunnel.iter().flat_map(|tunnel| &tunnel.peers) {
            let Some(far) = peer.key.as_ref().err().and_then(|name| host.interfaces.get(name)) else {
                continue;
            };
            let allowed = |ip| peer.words.allowed_ips.iter().any(|allowed| allowed.contains(ip));
            let pinged = far.addresses.iter().map(|own| own.ip()).filter(|&ip| allowed(ip));
            tests.extend(pinged.map(|ip| (held.rdomain, ip)));
        }
    }
    if !tests.is_empty() {
        line(text, format_args!("tests:"));
    }
    for (rdomain, ip) in tests {
        line(text, format_args!("  - {{in: {rdomain}, ping: {}}}", quoted(&ip.to_string())));
    }
}

fn line(text: &mut String, line: Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// Text that could be taken for something else is quoted.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if text.chars().all(plain) && !text.is_empty() { text.to_owned() } else { format!("{text:?}") }
}
