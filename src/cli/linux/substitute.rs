//! `--substitute dummy`: what stands in a private copy for the interfaces of the host, of which a copy has none. So the
//! file of one machine is proven on another one.

use clap::{Args, ValueEnum};

use super::file::Document;
use super::trouble::Trouble;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{End, Interface, InterfaceName, Kind, Network, Object};
use crate::probe;

/// The option.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Substitution {
    /// Put this in place of each interface that the file has from the host (`physical`, or one that must exist): a dummy,
    /// or the end of a cable that nobody is at where the kernel has no dummy
    #[arg(long, value_enum, value_name = "KIND")]
    substitute: Option<Substitute>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Substitute {
    Dummy,
}

impl Substitution {
    /// The words that ask for the same.
    pub(super) fn arguments(self) -> impl Iterator<Item = String> {
        let words = self.substitute.map(|Substitute::Dummy| ["--substitute", "dummy"]);
        words.into_iter().flatten().map(str::to_owned)
    }

    /// Without it, every interface of the host is an error at its place.
    pub(super) fn check(self, document: &Document) -> Result<(), Trouble> {
        let of_host =
            document.lowered.network.interfaces().filter_map(|(at, held)| Some((home(&at, held)?, at)));
        let told = of_host.map(|(home, at)| {
            let message =
                format!("`{home}` is an interface of the host, and a private copy has none of those");
            let place = document.lowered.origins.place(&Object::Interface(at));
            let diagnostic = match place {
                Some(place) => Diagnostic::error(place, message),
                None => Diagnostic::error_of_file(message),
            };
            diagnostic.help("--substitute dummy puts a dummy interface in its place")
        });
        let told: Vec<_> = told.collect();
        if told.is_empty() || self.substitute.is_some() {
            return Ok(());
        }
        let source = &document.source;
        Err(Trouble::Diagnostics(Box::new(Diagnostics::new(&source.file, &source.text, told)), 2))
    }

    /// The document with something else in place of the host's interfaces, if that was asked for. To be called in the copy.
    pub(super) fn carry_out(self, mut document: Document) -> Document {
        let network = &mut document.lowered.network;
        if self.substitute.is_some() {
            let has_dummy = network.interfaces().any(|(at, held)| home(&at, held).is_some())
                && probe::Ground::default().kind_of_link("dummy").is_ok();
            replace(network, if has_dummy { in_place } else { with_cable });
        }
        document
    }
}

/// What an interface of the host is called there.
fn home(at: &End, held: &Interface) -> Option<InterfaceName> {
    match &held.kind {
        Kind::Physical { home } => Some(home.clone()),
        Kind::Existing => Some(at.interface.clone()),
        Kind::Loopback | Kind::Veth { .. } | Kind::Bridge | Kind::WireGuard(_) | Kind::Vrf { .. } => None,
        Kind::Dummy | Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => None,
    }
}

fn replace(network: &mut Network, with: fn(&mut Network, &End)) {
    let of_host = network.interfaces().filter_map(|(at, held)| home(&at, held).map(|_| at));
    of_host.collect::<Vec<_>>().iter().for_each(|at| with(network, at));
}

fn in_place(network: &mut Network, at: &End) {
    set_kind(network, at, Kind::Dummy);
}

/// The other end is in the same domain, so that the cable leads nowhere.
fn with_cable(network: &mut Network, at: &End) {
    let other = End { domain: at.domain, interface: free_name(network) };
    let Some(domain) = network.domains.get_mut(&at.domain) else { return };
    let end = Interface::new(Kind::Veth { peer: at.clone() });
    domain.interfaces.insert(other.interface.clone(), end);
    set_kind(network, at, Kind::Veth { peer: other });
}

fn set_kind(network: &mut Network, at: &End, kind: Kind) {
    let domain = network.domains.get_mut(&at.domain);
    if let Some(held) = domain.and_then(|domain| domain.interfaces.get_mut(&at.interface)) {
        held.kind = kind;
    }
}

/// One that no interface has.
fn free_name(network: &Network) -> InterfaceName {
    let is_free = |name: &InterfaceName| network.interfaces().all(|(at, _)| at.interface != *name);
    let mut names = (0..).filter_map(|number: u32| InterfaceName::new(format!("nowhere{number}")).ok());
    names.find(is_free).unwrap_or_else(InterfaceName::loopback)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::{self, Source};

    const FILE: &str = "
domains:
  0: {interfaces: {eth0: {addresses: [10.0.0.1/24]}, br0: {bridge: {ports: [eth2]}}, eth2: {}}}
  1: {interfaces: {wan: {physical: eth1, mtu: 9000, addresses: [10.1.0.1/24]}}}
";

    fn document() -> Document {
        let source = Source::new(Path::new("net.yaml"), FILE.to_owned());
        let lowered = spec::read(&source).unwrap_or_else(|errors| panic!("{errors}"));
        Document { source, lowered }
    }

    fn kinds(network: &Network) -> Vec<String> {
        let shown = network.interfaces().filter(|(_, held)| held.kind != Kind::Loopback);
        shown.map(|(at, held)| format!("{at} {} {:?}", held.kind.word(), held.mtu)).collect()
    }

    #[test]
    fn every_interface_of_the_host_is_told_of_at_its_place() {
        let Err(trouble) = Substitution::default().check(&document()) else { panic!("no error") };
        let told = trouble.text(crate::diagnostic::Paint::Plain);
        assert_eq!(trouble.status(), 2);
        for part in
            ["`eth0` is an", "net.yaml:3:", "`eth1` is an", "net.yaml:4:", "`eth2`", "--substitute dummy"]
        {
            assert!(told.contains(part), "{part} in\n{told}");
        }
        assert!(Substitution { substitute: Some(Substitute::Dummy) }.check(&document()).is_ok());
    }

    #[test]
    fn a_dummy_has_what_the_host_s_has_and_a_cable_leads_to_itself() {
        let mut network = document().lowered.network;
        replace(&mut network, in_place);
        assert_eq!(
            kinds(&network),
            ["0/br0 bridge None", "0/eth0 dummy None", "0/eth2 dummy None", "1/wan dummy Some(9000)"]
        );
        let mut network = document().lowered.network;
        replace(&mut network, with_cable);
        let cables = kinds(&network).iter().filter(|kind| kind.contains("veth")).count();
        assert_eq!(cables, 6, "{:?}", kinds(&network));
        assert_eq!(network.domains.values().map(|domain| domain.interfaces.len()).sum::<usize>(), 8);
    }
}
