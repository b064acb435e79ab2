//! `rdom unit`: what puts a service of systemd's into a domain (systemd.exec(5), systemd.unit(5)), names included, as
//! `rdom exec` does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Files of /etc about names.
const FILES: [&str; 3] = ["resolv.conf", "hosts", "nsswitch.conf"];

/// A drop-in for any service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitView {
    /// The network.
    pub network: String,
    /// The domain's namespace in /run/netns.
    pub namespace: String,
    /// What is seen instead of files in /etc about names, as the domain's `dns` says or /etc/netns has it.
    pub files: BTreeMap<String, PathBuf>,
    /// Whether daemons of the host's may look names up for it.
    pub host_daemons: bool,
}

impl UnitView {
    /// The service that brings the network up.
    pub fn supervisor(&self) -> String {
        match self.network.as_str() {
            "domains" => "rdom.service".to_owned(),
            network => format!("rdom@{network}.service"),
        }
    }

    fn write_files(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in FILES {
            match self.files.get(file) {
                Some(own) => writeln!(f, "BindReadOnlyPaths={}:/etc/{file}", own.display())?,
                // Both would be mounted in the same place where systemd-resolved writes it, and one be dropped.
                None if file == "resolv.conf" && !self.host_daemons => {}
                None => writeln!(f, "BindReadOnlyPaths=-/etc/netns/{}/{file}:/etc/{file}", self.namespace)?,
            }
        }
        Ok(())
    }

    /// Directories and not sockets, for a daemon that is started anew makes another socket. What /etc/resolv.conf points
    /// at where systemd-resolved writes it stays.
    fn write_closed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# No daemon of the host's looks names up for it; `dns: host` in the file would let them."
        )?;
        writeln!(f, "InaccessiblePaths=-/run/nscd -/run/dbus -/run/avahi-daemon")?;
        writeln!(f, "TemporaryFileSystem=/run/systemd/resolve:ro")?;
        if !self.files.contains_key("resolv.conf") {
            let written = "-/run/systemd/resolve/resolv.conf -/run/systemd/resolve/stub-resolv.conf";
            writeln!(f, "BindReadOnlyPaths={written}")?;
        }
        Ok(())
    }
}

impl fmt::Display for UnitView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (supervisor, namespace) = (self.supervisor(), &self.namespace);
        writeln!(f, "# systemctl edit SERVICE, with these lines: its programs live in domain {namespace}.")?;
        writeln!(f, "[Unit]\nWants={supervisor}\nAfter={supervisor}")?;
        writeln!(
            f,
            "# Where the network is stopped or started again, so is the service; its namespace is another one."
        )?;
        writeln!(f, "PartOf={supervisor}\n\n[Service]\nNetworkNamespacePath=/run/netns/{namespace}")?;
        self.write_files(f)?;
        if self.host_daemons { Ok(()) } else { self.write_closed(f) }
    }
}
