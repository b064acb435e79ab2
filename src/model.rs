//! What a host's routing domains are: plain values, with no YAML, no operating system and no secrets in them.
//!
//! `desired` (from the file) and `observed` (from a kernel) are both a [`Network`]; a plan is their difference.
//! Only desired networks that have not been bound yet hold open fields: [`Engine::Auto`], a missing
//! `listen_port`, and [`Key::Of`] or [`Preshared::Of`] where a secret is named but not yet looked up.
//! Secrets themselves never appear: a private key is known by its public key, a preshared key by its fingerprint.

mod allow;
mod bindings;
mod dns;
mod domain;
mod drift;
mod impairment;
mod interface;
mod isolation;
mod key;
mod name;
mod object;
mod prefix;
mod route;
mod rule;
mod service;
mod wireguard;

pub use allow::{Account, Allow};
pub use bindings::{Bindings, Capabilities};
pub use dns::{Dns, Resolver};
pub use domain::{Domain, Network};
pub use drift::Drift;
pub use impairment::Impairment;
pub use interface::{Address, Interface, Kind, Vxlan};
pub use isolation::Isolation;
pub use key::{Fingerprint, Key, ParseKeyError, Preshared, PublicKey, SecretName};
pub use name::{
    DomainId, DomainName, End, InterfaceName, NameError, NetworkName, RtableId, ServiceName, SysctlName,
};
pub use object::Object;
pub use prefix::{ParsePrefixError, Prefix};
pub use route::{Hop, Route, Target};
pub use rule::{Action, Fwmark, Rule, Selector};
pub use service::{Ready, Restart, Service, Sign};
pub use wireguard::{Endpoint, Engine, Host, Peer, WireGuard};
