//! A network as a shell script of ip(8), wg(8) and sysctl(8): for people who want to see what is done.
//!
//! Its `up` are the steps from nothing to the network, its `down` those back, a command each. It makes the private keys
//! that there are none of, and names all of them by their files. WireGuard interfaces are the kernel's.

mod command;

use std::fmt::Write;

use super::KeyFiles;
use crate::model::{Domain, Isolation, Key, Network};
use crate::plan::plan;
use command::Shell;
pub(super) use command::{RouteWords, quoted};

/// The script of a network whose ports, sizes and isolations are bound, its keys not.
pub fn script(network: &Network, keys: KeyFiles<'_>) -> String {
    let nothing = Network::empty(network.name.clone());
    let shell = Shell { network, keys };
    let mut text = String::new();
    let name = &network.name;
    let _ = writeln!(text, "#!/bin/sh");
    let _ = writeln!(
        text,
        "# Network {name}: `sh {name}.sh up` makes it, `sh {name}.sh down` removes it. As root."
    );
    let _ = writeln!(text, "set -e");
    let _ = writeln!(text, "case ${{1:-}} in");
    let _ = writeln!(text, "up)");
    let up = plan(network, &nothing);
    lines(&mut text, missing_keys(&shell));
    lines(&mut text, up.iter().flat_map(|step| shell.commands(step)));
    let _ = writeln!(text, "    ;;\ndown)");
    let down = plan(&nothing, network);
    lines(&mut text, down.iter().flat_map(|step| shell.commands(step)));
    let _ = writeln!(text, "    ;;\n*)\n    echo \"usage: sh $0 up|down\" >&2\n    exit 2\n    ;;\nesac");
    text
}

fn lines(text: &mut String, commands: impl IntoIterator<Item = String>) {
    for command in commands {
        let _ = writeln!(text, "    {command}");
    }
}

/// Makes the keys that nobody has named a file of, unless they are there.
fn missing_keys(shell: &Shell<'_>) -> Vec<String> {
    let ours = shell.network.tunnels().filter(|(_, tunnel)| matches!(tunnel.key, Key::Of(_)));
    let files: Vec<_> = ours.map(|(at, _)| shell.keys.private(&at)).collect();
    let made = files.iter().filter(|file| file.starts_with(shell.keys.directory));
    let mut commands: Vec<String> = made
        .map(|file| {
            let file = quoted(&file.display().to_string());
            format!("[ -e {file} ] || (umask 077; wg genkey >{file})")
        })
        .collect();
    if !commands.is_empty() {
        let directory = quoted(&shell.keys.directory.display().to_string());
        commands.insert(0, format!("(umask 077; mkdir -p {directory})"));
    }
    commands
}

/// The name of a domain's namespace, if it has one of its own.
fn namespace(domain: &Domain) -> Option<&str> {
    let own = match domain.isolation {
        Isolation::Auto | Isolation::Netns | Isolation::NetnsVrf => domain.name.as_str() != "default",
        Isolation::Vrf => false,
    };
    own.then(|| domain.name.as_str())
}

#[cfg(test)]
mod tests;
