//! From what a peer shall be to the words of wg(4).

use super::super::command::{Command, Word};
use super::device;
use crate::model::{DomainId, End, Endpoint, Host, Key, Peer};

/// A peer before and after.
pub(super) struct Change<'a> {
    pub(super) at: &'a End,
    pub(super) underlay: DomainId,
    pub(super) key: &'a Key,
    pub(super) peer: &'a Peer,
    pub(super) before: Option<Peer>,
    pub(super) new_session: bool,
}

impl Change<'_> {
    /// One run for all of it, for `wgaip` replaces what an earlier run gave. A list can be replaced but not emptied,
    /// and only a new peer has a new session: then the peer is made anew.
    ///
    /// `wgpka` is lost on a tunnel that is `asleep`, down after having been up: that is woken for it.
    pub(super) fn commands(self, asleep: bool) -> Vec<Command> {
        let mut commands = Vec::new();
        let emptied = |before: &Peer| self.peer.allowed_ips.is_empty() && !before.allowed_ips.is_empty();
        let anew = self.before.as_ref().is_some_and(|before| self.new_session || emptied(before));
        if anew {
            commands.push(self.start().with("-wgpeer").with_key(self.public_key()));
        }
        let before = self.before.as_ref().filter(|_| !anew);
        let keepalive = self.peer.persistent_keepalive_secs;
        let keepalive_differs = keepalive != before.map_or(0, |before| before.persistent_keepalive_secs);
        let woken = asleep && keepalive_differs;
        if woken {
            commands.push(self.start().with("up"));
        }
        let mut command = self.start().with("wgpeer").with_key(self.public_key());
        let given = before.and_then(|before| before.endpoint.as_ref());
        let endpoint = self.peer.endpoint.as_ref().filter(|endpoint| given != Some(endpoint));
        if let Some(Endpoint { host, port }) = endpoint {
            command = command.with("wgendpoint").with(host_text(host)).with(port.unwrap_or(0));
        }
        match (&self.peer.preshared_key, before.and_then(|before| before.preshared_key.as_ref())) {
            (Some(wanted), seen) if seen != Some(wanted) => {
                command = command.with("wgpsk").with_key(Word::Preshared(wanted.clone()));
            }
            (None, Some(_)) => command = command.with("-wgpsk"),
            (Some(_), _) | (None, None) => {}
        }
        if keepalive_differs {
            command = command.with("wgpka").with(keepalive);
        }
        if before.is_none_or(|before| before.allowed_ips != self.peer.allowed_ips) {
            for prefix in &self.peer.allowed_ips {
                command = command.with("wgaip").with(prefix);
            }
        }
        commands.push(self.where_names_are_known(command, endpoint));
        if woken {
            commands.push(self.start().with("down"));
        }
        commands
    }

    fn start(&self) -> Command {
        Command::ifconfig(device(self.at))
    }

    fn public_key(&self) -> Word {
        Word::PublicKey(self.key.clone())
    }

    /// A name is resolved by ifconfig(8) itself, and belongs to the world of the sockets.
    fn where_names_are_known(&self, command: Command, endpoint: Option<&Endpoint>) -> Command {
        match endpoint.map(|endpoint| &endpoint.host) {
            Some(Host::Name(_)) if !self.underlay.is_default() => command.in_rtable(self.underlay.number()),
            Some(Host::Name(_) | Host::Address(_)) | None => command,
        }
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    }
}
