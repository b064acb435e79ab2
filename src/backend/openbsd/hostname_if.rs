//! What would make a network again at the next boot: the files that netstart(8) reads, hostname.if(5).
//!
//! Each line is one run of ifconfig(8) on the file's interface, in order, or after `!` a command of its own.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use super::command::{Command, Word};
use super::render::Renderer;
use crate::backend::BackendError;
use crate::model::{InterfaceName, Network};
use crate::plan::{Step, plan};

/// The lines of each file, by the name of its interface; `spell` says how a word is written. Files belong to
/// root:wheel and have mode 0640, for keys are in them.
pub fn hostname_if(
    desired: &Network,
    spell: &dyn Fn(&Word) -> String,
) -> Result<BTreeMap<String, Vec<String>>, BackendError> {
    let bare = Network::empty(desired.name.clone());
    let steps = plan(desired, &bare);
    let mut renderer = Renderer::new(bare);
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for step in &steps {
        for (at, command) in renderer.commands(step)?.into_iter().enumerate() {
            let words: Vec<String> = command.words.iter().map(spell).collect();
            if let Some((file, line)) = line(step, at, &command, &words) {
                files.entry(file).or_default().push(line);
            }
        }
    }
    Ok(files)
}

/// The interface whose file the command of this number of a step belongs into, and its line there; none for a command that changes nothing.
fn line(step: &Step, at: usize, command: &Command, words: &[String]) -> Option<(String, String)> {
    match words {
        [program, interface, rest @ ..] if program == "ifconfig" => {
            let rest = rest.strip_prefix(&["create".to_owned()]).unwrap_or(rest);
            let line = address_line(rest).unwrap_or_else(|| rest.join(" "));
            (!rest.is_empty()).then(|| (interface.clone(), line))
        }
        _ => {
            let file = match step {
                Step::AddRoute { domain, route, .. } => {
                    let lo = InterfaceName::loopback();
                    let dev = route.devices().nth(at).unwrap_or(&lo);
                    if *dev == lo { format!("lo{domain}") } else { dev.to_string() }
                }
                _ => command.interface()?,
            };
            Some((file, format!("!{}", words.join(" "))))
        }
    }
}

/// Addresses have a form of their own: `inet [alias] ADDRESS MASK`, `inet6 [alias] ADDRESS LENGTH`.
fn address_line(words: &[String]) -> Option<String> {
    let (family, address, alias) = match words {
        [family, address] => (family, address, ""),
        [family, address, alias] if alias == "alias" => (family, address, "alias "),
        _ => return None,
    };
    let network: IpNetwork = address.parse().ok()?;
    let mask = match network {
        IpNetwork::V4(v4) => v4.mask().to_string(),
        IpNetwork::V6(v6) => v6.prefix().to_string(),
    };
    Some(format!("{family} {alias}{} {mask}", network.ip()))
}
