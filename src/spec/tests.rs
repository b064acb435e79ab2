use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source(path: &Path) -> Source {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    Source {
        file: path.file_name().unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(path).unwrap(),
        network: NetworkName::new(stem).unwrap(),
        directory: path.parent().unwrap().to_owned(),
    }
}

fn domain(number: u32) -> DomainId {
    DomainId::new(number).unwrap()
}

fn end(number: u32, interface: &str) -> End {
    End { domain: domain(number), interface: InterfaceName::new(interface).unwrap() }
}

#[test]
fn the_manual_page_lowers() {
    let lowered = read(&source(&root().join("domains.yaml"))).unwrap_or_else(|error| panic!("{error}"));
    assert!(lowered.warnings.is_empty(), "{}", lowered.warnings);
    let network = &lowered.network;
    assert_eq!(network.name.as_str(), "domains");
    assert_eq!(network.domains.keys().map(|id| id.number()).collect::<Vec<_>>(), [0, 1, 2]);
    let (at, wg1) = network.tunnels().next().unwrap();
    let (key, peer) = wg1.peers.first_key_value().unwrap();
    assert_eq!((at, wg1.listen_port, wg1.underlay), (end(1, "wg1"), Some(7111), DomainId::DEFAULT));
    assert_eq!((key, &wg1.key), (&Key::Of(end(2, "wg2")), &Key::Of(end(1, "wg1"))));
    assert_eq!(peer.endpoint.as_ref().unwrap().to_string(), "127.0.0.1");
    assert_eq!(peer.allowed_ips, ["192.168.5.2/32".parse().unwrap()].into());
    let names: Vec<&str> = lowered.tests.iter().map(|test| test.name.as_str()).collect();
    assert_eq!(
        names[2..],
        ["0: ping 192.168.5.2 is unreachable", "0: socket udp/7111", "1: no socket udp/7111"]
    );
    let peer = Object::Peer(end(1, "wg1"), "unheard of".into());
    assert_eq!(lowered.origins.place(&peer).map(|place| (place.line, place.column)), Some((5, 7)));
}
