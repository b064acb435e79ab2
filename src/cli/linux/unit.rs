//! `rdom unit DOMAIN [FILE]`: a drop-in that puts any service of systemd's into a domain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::trouble::Trouble;
use super::{Common, Ended, Which, file, print};
use crate::model::{Bindings, Dns, Domain, DomainId, Network};
use crate::plan::bind;
use crate::probe::{self, Unsupported};
use crate::state::{Roots, lookups};
use crate::status::UnitView;

/// What /etc/netns may have of it is looked for now: systemd mounts one file in one place.
const RESOLV_CONF: &str = "resolv.conf";

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The domain, by number or name
    domain: String,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let network = file::read(words.file.as_deref())?.lowered.network;
    let name = common.network.as_ref().unwrap_or(&network.name).clone();
    let bound = bind(&network, &Bindings::default(), &probe::capabilities());
    let (id, domain) = find(&bound, &words.domain)?;
    if !domain.isolation.has_namespace() {
        return Err(Trouble::Unsupported(Unsupported {
            missing: format!(
                "domain {} has `isolation: vrf`, and so no namespace for a service",
                domain.name
            ),
            remedy: format!("begin the service's ExecStart= with: /usr/bin/rdom exec {}", domain.name),
        }));
    }
    let place = lookups(&Roots::of_root().of(&name).runtime, id);
    let of_netns = Path::new("/etc/netns").join(domain.name.as_str()).join(RESOLV_CONF);
    let mut files = BTreeMap::from_iter(of_netns.exists().then(|| (RESOLV_CONF.to_owned(), of_netns)));
    files.extend(domain.dns.files().iter().map(|file| ((*file).to_owned(), place.join(file))));
    let view = UnitView {
        network: name.to_string(),
        namespace: domain.name.to_string(),
        files,
        host_daemons: domain.dns == Dns::Host,
    };
    print(&view, common)
}

fn find<'n>(network: &'n Network, word: &str) -> Result<(DomainId, &'n Domain), Trouble> {
    let mut domains = network.domains.iter().filter(|(id, _)| !id.is_default());
    let found = domains.find(|(id, domain)| word == domain.name.as_str() || word.parse() == Ok(**id));
    found.map(|(id, domain)| (*id, domain)).ok_or_else(|| {
        let names =
            network.domains.iter().filter(|(id, _)| !id.is_default()).map(|(_, domain)| domain.name.as_str());
        let help = format!("it has {}", names.collect::<Vec<_>>().join(", "));
        Trouble::Usage {
            message: format!("network {} has no domain {word} to put a service in", network.name),
            help: Some(help),
        }
    })
}
