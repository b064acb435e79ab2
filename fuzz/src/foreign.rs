//! What other people's tools read and print, from a host that nobody knows: any text is understood or refused, and a
//! tunnel that was understood can be written as a file of our own that is read again.

use std::path::Path;

use rdomain::convert::{openbsd, read_wg_quick};
use rdomain::model::{DomainId, Network, NetworkName};
use rdomain::spec::{Source, read, write};

/// The first byte says whose words the others are.
pub fn hold(input: &[u8]) {
    let Some((&kind, text)) = input.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    match kind {
        b's' => drop(openbsd::import::script(text)),
        b'i' => drop(openbsd::listing::read(text)),
        b'r' => drop(openbsd::table::read(text)),
        b'd' => drop(openbsd::rdomains::read(text)),
        b'w' => wg_quick(text),
        _ => {}
    }
}

/// A file of wg-quick(8), to ours and read again.
fn wg_quick(text: &str) {
    let mut network = Network::empty(NetworkName::new("imported").expect("a name"));
    let Ok(imported) =
        read_wg_quick(Path::new("wg0.conf"), text, DomainId::new(1).expect("a number"), &mut network)
    else {
        return;
    };
    let secrets = imported.secrets.into_iter().map(|(name, file)| (name, file.name)).collect();
    let written = write(&network, &secrets);
    if let Err(mistakes) = read(&Source::new(Path::new("imported.yaml"), written.clone())) {
        panic!("what was imported is refused: {mistakes}\n{written}");
    }
}
