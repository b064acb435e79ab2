//! `rdom doctor`: what this system can do, what a file would get of it, and whether a live network is whole.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorView {
    /// What the system can do.
    pub findings: Vec<FindingView>,
    /// What a file would get, if one was named.
    pub file: Option<FileView>,
    /// The network that is up, if there is one.
    pub live: Option<LiveView>,
}

/// An ability of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// What it is about.
    pub item: String,
    /// `available`, `limited` or `missing`.
    pub state: String,
    /// What was seen.
    pub seen: String,
    /// What is used because of it.
    pub used: String,
    /// What would provide it; empty if it is there.
    pub remedy: String,
}

/// What a file would get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// The network's name.
    pub network: String,
    /// What each domain and each tunnel would be made with.
    pub choices: Vec<ChoiceView>,
    /// What it needs and this system lacks.
    pub missing: Vec<MissingView>,
    /// What would be in its way without an error.
    pub hazards: Vec<HazardView>,
}

/// What one domain or tunnel is made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceView {
    /// `domain 1`, or `1/wg1`.
    pub what: String,
    /// `isolation netns+vrf`, or `engine kernel`.
    pub with: String,
}

/// Something that is needed and missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingView {
    /// Who needs it.
    pub who: String,
    /// Where the file says so: `FILE:LINE:COLUMN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is missing.
    pub missing: String,
    /// What would provide it.
    pub remedy: String,
}

/// Something that is in the way without an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HazardView {
    /// Its name.
    pub name: String,
    /// What is in the way of what.
    pub message: String,
    /// What helps.
    pub remedy: String,
}

/// A network that is up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveView {
    /// Its name.
    pub network: String,
    /// Where the UDP sockets of each tunnel are, as it is and as it should be.
    pub tunnels: Vec<TunnelPlace>,
    /// Those that are not where they belong, in words.
    pub misplaced: Vec<String>,
    /// What is in its way without an error.
    pub hazards: Vec<HazardView>,
}

/// Where a tunnel's sockets are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelPlace {
    /// The tunnel, `DOMAIN/IF`.
    pub tunnel: String,
    /// Its UDP port.
    pub listen_port: u16,
    /// The number of the domain where they should be.
    pub underlay: u32,
    /// The numbers of the domains where they are.
    pub sockets_in: Vec<u32>,
}

impl fmt::Display for DoctorView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.item.len()).max().unwrap_or(0);
        for FindingView { item, state, seen, used, remedy } in &self.findings {
            writeln!(f, "{item:width$}  {state:9}  {seen}")?;
            writeln!(f, "{:width$}  {:9}  -> {used}", "", "")?;
            if !remedy.is_empty() {
                writeln!(f, "{:width$}  {:9}  help: {remedy}", "", "")?;
            }
        }
        self.file.iter().try_for_each(|file| write!(f, "\n{file}"))?;
        self.live.iter().try_for_each(|live| write!(f, "\n{live}"))
    }
}

impl fmt::Display for FileView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network {} would get", self.network)?;
        let width = self.choices.iter().map(|choice| choice.what.len()).max().unwrap_or(0);
        for ChoiceView { what, with } in &self.choices {
            writeln!(f, "  {what:width$}  {with}")?;
        }
        for MissingView { who, place, missing, remedy } in &self.missing {
            writeln!(f, "missing for {who}: {missing}")?;
            place.iter().try_for_each(|place| writeln!(f, "  at {place}"))?;
            writeln!(f, "  help: {remedy}")?;
        }
        if self.missing.is_empty() {
            writeln!(f, "nothing that it needs is missing")?;
        }
        write_hazards(f, &self.hazards)
    }
}

impl fmt::Display for LiveView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network {} is up", self.network)?;
        for TunnelPlace { tunnel, listen_port, underlay, sockets_in } in &self.tunnels {
            let places: Vec<_> = sockets_in.iter().map(|domain| format!("domain {domain}")).collect();
            let places = if places.is_empty() { "nowhere".to_owned() } else { places.join(", ") };
            writeln!(
                f,
                "  {tunnel}: UDP port {listen_port}: sockets in {places}; underlay domain {underlay}"
            )?;
        }
        self.misplaced.iter().try_for_each(|misplaced| writeln!(f, "misplaced: {misplaced}"))?;
        write_hazards(f, &self.hazards)
    }
}

fn write_hazards(f: &mut fmt::Formatter<'_>, hazards: &[HazardView]) -> fmt::Result {
    hazards.iter().try_for_each(|HazardView { name, message, remedy }| {
        writeln!(f, "warning: {message} [{name}]\n  help: {remedy}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_under_each_other() {
        let finding = |item: &str, state: &str, remedy: &str| FindingView {
            item: item.into(),
            state: state.into(),
            seen: "one was made".into(),
            used: "this".into(),
            remedy: remedy.into(),
        };
        let file = FileView {
            network: "n".into(),
            choices: vec![ChoiceView { what: "domain 1".into(), with: "isolation vrf".into() }],
            missing: vec![MissingView {
                who: "domain 1".into(),
                place: Some("net.yaml:3:5".into()),
                missing: "this kernel has no links of kind vrf".into(),
                remedy: "as root: modprobe vrf".into(),
            }],
            hazards: vec![],
        };
        let findings =
            vec![finding("veth", "available", ""), finding("user namespaces", "missing", "do this")];
        let view = DoctorView { findings, file: Some(file), live: None };
        insta::assert_snapshot!(view, @r"
        veth             available  one was made
                                    -> this
        user namespaces  missing    one was made
                                    -> this
                                    help: do this

        network n would get
          domain 1  isolation vrf
        missing for domain 1: this kernel has no links of kind vrf
          at net.yaml:3:5
          help: as root: modprobe vrf
        ");
    }
}
