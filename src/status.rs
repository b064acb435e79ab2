//! What an operator sees: plain values, and the two ways to show them: text in OpenBSD's columns, and JSON.
//!
//! A backend reads facts ([`LinkFacts`], [`RouteFacts`], [`NeighbourFacts`], [`TunnelView`], [`SocketView`]) from a
//! kernel; everything that turns them into OpenBSD's words is here, pure, and the same for every kernel.
//! Text mirrors route(8), ifconfig(8) and netstat(1) of OpenBSD 7.8, always numeric. JSON is what serde makes of the
//! same values: its names are lower_snake_case, numbers carry their unit in the name. No value here holds a secret.

mod art;
mod doctor;
mod event;
mod evidence;
mod facts;
mod glance;
mod ifconfig;
mod interface;
mod interval;
mod metrics;
mod overview;
mod plan;
mod prefix;
mod rdomain;
mod route;
mod route_get;
mod route_map;
mod rule;
#[cfg(test)]
mod samples;
mod schema;
mod service;
mod socket;
mod text;
mod tunnel;
mod unit;
mod verdict;
mod wg;

pub use doctor::{
    ChoiceView, DoctorView, FileView, FindingView, HazardView, LiveView, MissingView, TunnelPlace,
};
pub use event::{EventView, Occurrence};
pub use evidence::{Evidence, Lookup, ServiceEvidence};
pub use facts::{
    AddressFacts, Counters, LinkFacts, LinkKind, NeighbourFacts, NeighbourState, NextHop, RouteFacts,
    RouteType,
};
pub use glance::{Glance, Tint};
pub use ifconfig::{Detail, render_interfaces};
pub use interface::{AddressView, InterfaceFlag, InterfaceView, NoSuchInterface, select};
pub use metrics::{METRICS_TYPE, metrics};
pub use overview::{
    DomainStatus, HappeningView, HistoryView, InterfaceStatus, PeerStatus, StatusView, TunnelStatus,
};
pub use plan::{AppliedView, InterruptionView, PlanView, StepView};
pub use rdomain::{RdomainView, render_rdomains};
pub use route::{Family, RouteFlag, RouteRow, RouteTable, not_in_table};
pub use route_get::RouteGet;
pub use rule::{RuleTable, RuleView};
pub use schema::{DOCUMENTS, schema};
pub use service::{ServiceState, ServiceView};
pub use socket::{Protocol, SocketTable, SocketView};
pub use tunnel::{Health, PeerView, REJECT_AFTER_SECS, TunnelView};
pub use unit::UnitView;
pub use verdict::{FileReport, INTERRUPTED, Kept, Outcome, Verdict, exit_status};
pub use wg::WgShow;
