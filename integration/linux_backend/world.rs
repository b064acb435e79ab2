//! A backend in a private copy, and short words for what its steps are made of.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::Command;

use rdomain::backend::linux::mark::Mark;
use rdomain::backend::linux::{Linux, TunnelSockets};
use rdomain::backend::{Backend, BackendError};
use rdomain::model::*;
use rdomain::plan::Step;
use rdomain::state::{Directories, KeyRing, Roots, Secret};
use serde_json::Value;

use crate::engine::WireguardGo;

/// A network's backend with its directories and engines.
pub(crate) struct World {
    pub(crate) backend: Linux,
    pub(crate) engines: WireguardGo,
    pub(crate) directories: Directories,
}

impl World {
    /// The network `test`.
    pub(crate) fn new() -> Self {
        Self::called("test")
    }

    pub(crate) fn called(network: &str) -> Self {
        Self::open(network).unwrap_or_else(|error| panic!("{}", render(&error)))
    }

    pub(crate) fn open(network: &str) -> Result<Self, BackendError> {
        let network = NetworkName::new(network).unwrap();
        let directories = Roots { state: "/run/state".into(), runtime: "/run/rdom".into() }.of(&network);
        let engines = WireguardGo::new(TunnelSockets::of(&directories));
        let backend = Linux::open(network, &directories, keys(), Box::new(engines.clone()))?;
        Ok(Self { backend, engines, directories })
    }

    /// Takes a step that must succeed.
    pub(crate) fn take(&mut self, step: Step) {
        self.backend.apply(&step).unwrap_or_else(|error| panic!("{step}: {}", render(&error)));
    }

    /// Takes a step that must fail, and change nothing; what it says.
    pub(crate) fn refused(&mut self, step: Step) -> String {
        let before = self.observe();
        let Err(error) = self.backend.apply(&step) else { panic!("{step} succeeded") };
        assert_eq!(self.observe(), before, "{step} failed but did something");
        render(&error)
    }

    pub(crate) fn tidy(&mut self) {
        self.backend.tidy().unwrap_or_else(|error| panic!("tidy: {}", render(&error)));
    }

    pub(crate) fn observe(&mut self) -> Network {
        self.backend.observe().unwrap_or_else(|error| panic!("observe: {}", render(&error)))
    }
}

/// An error with its causes and its advice.
pub(crate) fn render(error: &BackendError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text + &error.help.as_ref().map_or(String::new(), |help| format!("\nhelp: {help}"))
}

/// Runs a program that must succeed; what it prints.
pub(crate) fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|_| panic!("{words:?}"));
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {complained}");
    String::from_utf8(output.stdout).unwrap()
}

/// What ip(8) says of a namespace, parsed; an empty list if it says nothing.
pub(crate) fn ip(namespace: &str, words: &[&str]) -> Value {
    let text = run(&[&["ip", "-n", namespace, "-j"], words].concat());
    if text.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(&text).unwrap() }
}

pub(crate) fn kernel_has_wireguard() -> bool {
    let made = Command::new("ip").args(["link", "add", "probe", "type", "wireguard"]).output().unwrap();
    if made.status.success() {
        run(&["ip", "link", "del", "probe"]);
    }
    made.status.success()
}

/// Whether addresses have a protocol number here: since Linux 5.18.
pub(crate) fn kernel_marks_addresses() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(18))
}

/// The group of links that the network `test` is making.
pub(crate) fn half_made_group() -> u32 {
    Mark::of(&NetworkName::new("test").unwrap()).group()
}

pub(crate) fn id(number: u32) -> DomainId {
    DomainId::new(number).unwrap()
}

pub(crate) fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

pub(crate) fn domain_name(text: &str) -> DomainName {
    DomainName::new(text).unwrap()
}

pub(crate) fn sysctl_name(text: &str) -> SysctlName {
    SysctlName::new(text).unwrap()
}

pub(crate) fn rtable_id(number: u32) -> RtableId {
    RtableId::new(number).unwrap()
}

pub(crate) fn rule(priority: u32, selector: Selector, rtable: u32) -> Rule {
    Rule { priority, selector, action: Action::Lookup(rtable_id(rtable)) }
}

/// `1/veth0`
pub(crate) fn end(text: &str) -> End {
    let (domain, interface) = text.split_once('/').unwrap();
    End { domain: domain.parse().unwrap(), interface: name(interface) }
}

pub(crate) fn create_domain(number: u32, name: &str) -> Step {
    Step::CreateDomain { domain: id(number), name: domain_name(name), isolation: Isolation::Netns }
}

pub(crate) fn delete_domain(number: u32, name: &str) -> Step {
    Step::DeleteDomain { domain: id(number), name: domain_name(name) }
}

pub(crate) fn create(at: End, kind: Kind) -> Step {
    Step::CreateInterface { at, kind }
}

pub(crate) fn add_address(at: &str, text: &str) -> Step {
    Step::AddAddress { at: end(at), address: address(text) }
}

pub(crate) fn remove_address(at: &str, text: &str) -> Step {
    Step::RemoveAddress { at: end(at), address: address(text) }
}

pub(crate) fn address(text: &str) -> Address {
    Address::new(text.parse().unwrap())
}

pub(crate) fn addresses(texts: &[&str]) -> BTreeSet<Address> {
    texts.iter().map(|text| address(text)).collect()
}

pub(crate) fn route(to: &str, metric: u32, target: Target) -> Route {
    Route { to: to.parse().unwrap(), metric, target }
}

pub(crate) fn via(gateway: &str, dev: &str) -> Target {
    Target::Unicast { via: Some(gateway.parse().unwrap()), dev: name(dev), src: None, onlink: false }
}

pub(crate) fn onlink(gateway: &str, dev: &str) -> Target {
    Target::Unicast { via: Some(gateway.parse().unwrap()), dev: name(dev), src: None, onlink: true }
}

pub(crate) fn device(dev: &str, src: Option<&str>) -> Target {
    let src = src.map(|src| src.parse().unwrap());
    Target::Unicast { via: None, dev: name(dev), src, onlink: false }
}

/// The key pair of number n has n in each byte of its private half.
fn secret(n: u32) -> Secret {
    Secret::new([n as u8; 32])
}

pub(crate) fn key(n: u32) -> Key {
    Key::Public(secret(n).public_key())
}

pub(crate) fn preshared() -> Preshared {
    Preshared::Known(secret(99).fingerprint())
}

fn keys() -> KeyRing {
    let mut keys = KeyRing::default();
    (1..9).for_each(|n| keys.add_private(secret(n)));
    keys.add_preshared(secret(99));
    keys
}

pub(crate) fn tunnel(n: u32, underlay: u32, port: u16) -> WireGuard {
    WireGuard {
        engine: Engine::Userspace,
        underlay: id(underlay),
        listen_port: Some(port),
        key: key(n),
        peers: Default::default(),
    }
}

pub(crate) fn peer(endpoint: &str, allowed_ips: &[&str]) -> Peer {
    Peer {
        name: None,
        endpoint: Some(endpoint.parse::<std::net::SocketAddr>().unwrap().into()),
        allowed_ips: allowed_ips.iter().map(|text| text.parse().unwrap()).collect(),
        preshared_key: None,
        persistent_keepalive_secs: 0,
    }
}
