//! The public JSON of a plan; its text is that of the steps.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Object;
use crate::plan::Step;

/// A plan, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanView {
    /// Its steps in the order in which they are taken.
    pub steps: Vec<StepView>,
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
}

impl PlanView {
    /// The view of these steps.
    pub fn new(steps: &[Step]) -> Self {
        Self { steps: steps.iter().map(StepView::new).collect() }
    }
}

impl fmt::Display for PlanView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{}", step.text))
    }
}

impl StepView {
    fn new(step: &Step) -> Self {
        Self { kind: kind(step).to_owned(), object: object(&step.object()), text: step.to_string() }
    }
}

fn kind(step: &Step) -> &'static str {
    match step {
        Step::CreateDomain { .. } => "create_domain",
        Step::DeleteDomain { .. } => "delete_domain",
        Step::RequireInterface { .. } => "require_interface",
        Step::CreateInterface { .. } => "create_interface",
        Step::DeleteInterface { .. } => "delete_interface",
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
    use crate::model::{Address, End, InterfaceName};

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
            }]})
        );
        assert_eq!(plan.to_string(), "add address 192.168.5.1/24 to 1/wg1\n");
    }
}
