//! `rdom unit`: what puts a service of systemd's into a domain (systemd.exec(5), systemd.unit(5)).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A drop-in for any service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitView {
    /// The network.
    pub network: String,
    /// The domain's namespace in /run/netns.
    pub namespace: String,
}

impl UnitView {
    /// The service that brings the network up.
    pub fn supervisor(&self) -> String {
        match self.network.as_str() {
            "domains" => "rdom.service".to_owned(),
            network => format!("rdom@{network}.service"),
        }
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
        for file in ["resolv.conf", "hosts", "nsswitch.conf"] {
            writeln!(f, "BindReadOnlyPaths=-/etc/netns/{namespace}/{file}:/etc/{file}")?;
        }
        Ok(())
    }
}
