//! The policy rules of a domain that the kernel did not make itself, in the words of ip-rule(8).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rules of one family that a domain's packets meet, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleTable {
    /// The number of the domain.
    pub domain: u32,
    /// The rules, whoever made them; those of the kernel are left out.
    pub rules: Vec<RuleView>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleView {
    /// Its place in the order: the lowest is asked first.
    pub priority: u32,
    /// Which packets it is about: `from all`, and more.
    pub selector: String,
    /// What becomes of them: `lookup 10`, `goto 20`, `prohibit`, ...
    pub action: String,
}

impl fmt::Display for RuleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |rule: &RuleView| format!("{}:\t{} {}\n", rule.priority, rule.selector, rule.action);
        f.write_str(&self.rules.iter().map(line).collect::<String>())
    }
}
