//! `rdom import --live`: what stands in this host's named namespaces, whoever made it, as a file.
//!
//! It is looked at and not touched. What `rdom up` would make again has to go first: what stands is somebody else's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::super::say::{answer, complain};
use super::super::trouble::Trouble;
use super::super::{Common, Ended};
use super::put;
use crate::backend::linux::{Survey, found};
use crate::convert::SecretFile;
use crate::model::{DomainId, DomainName, End, Isolation, NetworkName, SecretName};
use crate::probe;
use crate::spec;
use crate::state::Roots;

pub(super) fn run(keys: &Path, common: &Common) -> Ended {
    probe::administration()?;
    let roots = Roots::of_environment();
    let ours = roots.networks();
    let name = match (&common.network, &ours[..]) {
        (Some(name), _) | (None, [name]) => name.clone(),
        (None, _) => NetworkName::new("domains").map_err(Trouble::failed)?,
    };
    let mut found = found(&name, &numbers(&roots, &ours)).map_err(Trouble::failed)?;
    // Where a file leaves the choice they would get a VRF.
    if probe::capabilities().vrf {
        let plain = found.network.domains.iter_mut().filter(|(id, _)| !id.is_default());
        let open = plain.filter(|(_, domain)| domain.isolation == Isolation::Auto);
        open.for_each(|(_, domain)| domain.isolation = Isolation::Netns);
    }
    found.left.iter().for_each(|left| complain(format_args!("warning: left out: {left}")));
    let secrets = found.secrets.iter().map(|(name, secret)| {
        let text = Zeroizing::new(STANDARD.encode(secret.bytes()));
        (name.clone(), SecretFile { name: file_of(name), text })
    });
    let files = put(secrets, keys)?;
    answer(spec::write(&found.network, &files))?;
    Ok(ExitCode::SUCCESS)
}

/// What the domains of these networks are called and numbered.
fn numbers(roots: &Roots, networks: &[NetworkName]) -> BTreeMap<DomainName, DomainId> {
    let surveys = networks.iter().filter_map(|name| Survey::of(&roots.of(name)).ok());
    let places = surveys.flat_map(|survey| survey.into_namespaces());
    places.map(|(id, place)| (place.name, id)).collect()
}

fn file_of(secret: &SecretName) -> PathBuf {
    let place = |end: &End| format!("{}-{}", end.domain, end.interface);
    match secret {
        SecretName::PrivateKey(end) => format!("{}.key", place(end)).into(),
        SecretName::PresharedKey(end, peer) => format!("{}-{peer}.psk", place(end)).into(),
    }
}
