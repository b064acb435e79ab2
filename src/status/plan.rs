//! The public JSON of a plan; its text is that of the steps.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{DomainName, Object};
use crate::plan::Step;

/// A plan, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanView {
    /// The file that it is of, where lines are known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Its steps in the order in which they are taken.
    pub steps: Vec<StepView>,
}

/// What a network that was up has become, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedView {
    /// The steps that were taken.
    #[serde(flatten)]
    pub plan: PlanView,
    /// What became of services, one sentence each.
    #[serde(default)]
    pub services: Vec<String>,
    /// What its operator should know, one sentence each.
    pub warnings: Vec<String>,
    /// What the file hardly means, with its lines, as people read it; nothing if there is none.
    #[serde(default)]
    pub file_warnings: Option<String>,
    /// How long it may be confirmed before it goes back by itself, if it does.
    #[serde(default)]
    pub goes_back_in_secs: Option<u64>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// What is done: `create_domain`, `add_address`, ..
    pub kind: String,
    /// What it is done to: `1`, `1/wg1`, `1/wg1 192.168.5.1/24`, ..
    pub object: String,
    /// The step in words.
    pub text: String,
    /// The line of the file that it comes from; none of a step that takes away what the file does not have.
    pub line: Option<usize>,
    /// The traffic that it interrupts.
    pub interrupts: Option<InterruptionView>,
}

/// What stops passing by a step, if only for a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterruptionView {
    /// Tunnels, as `DOMAIN/NAME`.
    pub tunnels: Vec<String>,
    /// How many connected sockets there are that cannot go on.
    pub sockets: usize,
    /// How many processes live in a domain that goes.
    #[serde(default)]
    pub residents: usize,
}

impl PlanView {
    /// The view of these steps.
    pub fn new(steps: &[Step]) -> Self {
        let mut views: Vec<_> = steps.iter().map(StepView::new).collect();
        for (view, step) in views.iter_mut().zip(steps) {
            new_name(step, steps).iter().for_each(|name| view.text += &format!(", renamed {name}"));
        }
        Self { file: None, steps: views }
    }
}

/// What a domain that goes is called when it is back.
fn new_name<'s>(step: &Step, steps: &'s [Step]) -> Option<&'s DomainName> {
    let Step::DeleteDomain { domain: deleted, name: old } = step else { return None };
    steps.iter().find_map(|step| match step {
        Step::CreateDomain { domain, name, .. } if domain == deleted && name != old => Some(name),
        _ => None,
    })
}

impl fmt::Display for PlanView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(file) = &self.file else {
            return self.steps.iter().try_for_each(|step| writeln!(f, "{}", step.text));
        };
        let place = |step: &StepView| match step.line {
            Some(line) => format!("{file}:{line}"),
            None => "not in the file".to_owned(),
        };
        let width = self.steps.iter().map(|step| place(step).chars().count()).max().unwrap_or(0);
        for step in &self.steps {
            let mark = if step.interrupts.is_some() { '!' } else { ' ' };
            write!(f, "{mark} {:width$}  {}", place(step), step.text)?;
            step.interrupts.iter().try_for_each(|interrupts| write!(f, "; {interrupts}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for InterruptionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupts ")?;
        match self.tunnels.as_slice() {
            [] => f.write_str("traffic")?,
            [one] => write!(f, "tunnel {one}")?,
            several => write!(f, "tunnels {}", several.join(", "))?,
        }
        match self.sockets {
            0 => Ok(()),
            1 => f.write_str(" and 1 connected socket"),
            sockets => write!(f, " and {sockets} connected sockets"),
        }?;
        match self.residents {
            0 => Ok(()),
            1 => f.write_str("; 1 process lives there"),
            residents => write!(f, "; {residents} processes live there"),
        }
    }
}

impl StepView {
    fn new(step: &Step) -> Self {
        let (line, interrupts) = (None, None);
        Self {
            kind: kind(step).to_owned(),
            object: object(&step.object()),
            text: step.to_string(),
            line,
            interrupts,
        }
    }
}

fn kind(step: &Step) -> &'static str {
    match step {
        Step::CreateDomain { .. } => "create_domain",
        Step::DeleteDomain { .. } => "delete_domain",
        Step::RequireInterface { .. } => "require_interface",
        Step::CreateInterface { .. } => "create_interface",
        Step::DeleteInterface { .. } => "delete_interface",
        Step::LendInterface { .. } => "lend_interface",
        Step::ReturnInterface { .. } => "return_interface",
        Step::SetMtu { .. } => "set_mtu",
        Step::SetController { .. } => "set_controller",
        Step::SetImpairment { .. } => "set_impairment",
        Step::SetUp { .. } => "set_up",
        Step::AddAddress { .. } => "add_address",
        Step::RemoveAddress { .. } => "remove_address",
        Step::SetTunnel { .. } => "set_tunnel",
        Step::SetPeer { .. } => "set_peer",
        Step::RemovePeer { .. } => "remove_peer",
        Step::AddRoute { .. } => "add_route",
        Step::RemoveRoute { .. } => "remove_route",
        Step::AddRule { .. } => "add_rule",
        Step::RemoveRule { .. } => "remove_rule",
        Step::SetSysctl { .. } => "set_sysctl",
        Step::ResetSysctl { .. } => "reset_sysctl",
    }
}

fn object(object: &Object) -> String {
    match object {
        Object::Domain(domain) => domain.to_string(),
        Object::Interface(end) => end.to_string(),
        Object::Address(end, address) => format!("{end} {address}"),
        Object::Peer(end, peer) => format!("{end} {peer}"),
        Object::Route(domain, _, to, _) => format!("{domain} {to}"),
        Object::Rule(domain, priority) => format!("{domain} {priority}"),
        Object::Sysctl(domain, name) => format!("{domain} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::domain;
    use super::*;
    use crate::model::{Address, DomainName, End, InterfaceName, Isolation};

    #[test]
    fn a_step_says_what_is_done_to_what() {
        let at = End { domain: domain(1), interface: InterfaceName::new("wg1").unwrap() };
        let address = Address::new("192.168.5.1/24".parse().unwrap());
        let plan = PlanView::new(&[Step::AddAddress { at, address }]);
        assert_eq!(
            serde_json::to_value(&plan).unwrap(),
            serde_json::json!({"steps": [{
                "kind": "add_address",
                "object": "1/wg1 192.168.5.1/24",
                "text": "add address 192.168.5.1/24 to 1/wg1",
                "line": null,
                "interrupts": null,
            }]})
        );
        assert_eq!(plan.to_string(), "add address 192.168.5.1/24 to 1/wg1\n");
    }

    #[test]
    fn a_domain_of_another_name_is_another_one() {
        let name = |text| DomainName::new(text).unwrap();
        let delete = Step::DeleteDomain { domain: domain(1), name: name("blue") };
        let create = |domain, name| Step::CreateDomain { domain, name, isolation: Isolation::Netns };
        let plan = |create| PlanView::new(&[delete.clone(), create]).to_string();
        let renamed = plan(create(domain(1), name("azure")));
        assert!(renamed.starts_with("delete domain 1 (blue), renamed azure\n"), "{renamed}");
        for another in [create(domain(1), name("blue")), create(domain(2), name("azure"))] {
            let said = plan(another);
            assert!(said.starts_with("delete domain 1 (blue)\n"), "{said}");
        }
    }

    #[test]
    fn lines_and_interruptions_stand_beside_the_steps() {
        let at = End { domain: domain(1), interface: InterfaceName::new("wg1").unwrap() };
        let up = Step::SetUp { at: at.clone(), up: true };
        let mut plan = PlanView::new(&[Step::DeleteInterface { at }, up]);
        plan.file = Some("a.yaml".into());
        plan.steps[0].interrupts =
            Some(InterruptionView { tunnels: vec!["1/wg1".into()], sockets: 2, residents: 0 });
        plan.steps[1].line = Some(7);
        assert_eq!(
            plan.to_string(),
            "! not in the file  delete interface 1/wg1; interrupts tunnel 1/wg1 and 2 connected sockets\n  \
             a.yaml:7         set 1/wg1 up\n"
        );
    }
}
