//! What a user writes: any text is understood, or refused with at least one mistake that stands in it; a network that
//! was understood differs neither from itself nor from what it is when it was written and read again.

use std::path::Path;

use rdomain::model::{Bindings, Capabilities, Network};
use rdomain::plan::{bind, plan};
use rdomain::spec::{Source, read, write};

/// Reads a file, writes it and reads it again.
pub fn hold(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let source = Source::new(Path::new("domains.yaml"), text.to_owned());
    let lowered = match read(&source) {
        Ok(lowered) => lowered,
        Err(mistakes) => {
            assert!(mistakes.errors() > 0, "refused for no reason");
            for place in mistakes.iter().filter_map(|mistake| mistake.place) {
                assert!(text.get(place.start..place.end).is_some(), "{place:?} is not in the text");
            }
            return drop(mistakes.to_string());
        }
    };
    let desired = bound(&lowered.network);
    assert_eq!(plan(&desired, &desired), [], "it differs from itself");
    plan(&desired, &Network::empty(desired.name.clone()));
    let written = write(&lowered.network, &lowered.secrets);
    match read(&Source::new(Path::new("domains.yaml"), written.clone())) {
        Ok(again) => assert_eq!(plan(&bound(&again.network), &desired), [], "{written}"),
        Err(mistakes) => panic!("what was written is refused: {mistakes}\n{written}"),
    }
}

/// As it is on a kernel that has everything.
fn bound(network: &Network) -> Network {
    let everything = Capabilities { kernel_wireguard: true, vrf: true, ipv6: true, ipv6_at_home: true };
    bind(network, &Bindings::default(), &everything)
}
