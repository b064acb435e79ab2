//! The laws of plan, on a kernel in memory and on networks that nobody thought of.

mod networks;

use std::collections::BTreeSet;

use proptest::prelude::*;
use rdomain::backend::Backend;
use rdomain::backend::recorded::Recorded;
use rdomain::model::{Bindings, Capabilities, DomainId, Interface, InterfaceName, Kind, Network, Route};
use rdomain::plan::{bind, plan};
use rdomain::transaction::{converge, mend};

use networks::{bare, grown, lends};

fn network() -> impl Strategy<Value = Network> {
    let capabilities = Capabilities::PLAIN;
    grown().prop_map(move |grown| bind(&grown, &Bindings::default(), &capabilities))
}

/// A kernel that has the network, and somebody else's eth0.
fn kernel() -> impl Strategy<Value = Recorded> {
    network().prop_map(|before| {
        let mut kernel = Recorded::holding(bare_with_eth0());
        converge(&mut kernel, &before, &|| false).expect("from nothing to any network");
        Recorded::holding(kernel.network().clone())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_leads_where_it_should_and_a_second_one_is_empty(mut kernel in kernel(), desired in network()) {
        converge(&mut kernel, &desired, &|| false).map_err(|failure| TestCaseError::fail(format!("{failure:?}")))?;
        prop_assert_eq!(plan(&desired, kernel.network()), vec![]);
        prop_assert_eq!(comparable(kernel.network()), comparable(&with_eth0(desired)));
    }

    #[test]
    fn stopped_at_any_step_everything_is_as_before(kernel in kernel(), desired in network()) {
        let before = kernel.network().clone();
        for step in 0..plan(&desired, &before).len() {
            let mut kernel = kernel.clone().failing_at(step);
            let failure = converge(&mut kernel, &desired, &|| false).expect_err("told to fail");
            prop_assert_eq!(plan(&before, kernel.network()), vec![], "{}", failure);
            prop_assert_eq!(comparable(kernel.network()), comparable(&before));
        }
    }

    #[test]
    fn a_step_that_is_refused_keeps_no_other_from_being_mended(kernel in kernel(), desired in network()) {
        let steps = plan(&desired, kernel.network());
        for step in 0..steps.len() {
            let mut kernel = kernel.clone().failing_at(step);
            let mended = mend(&mut kernel, &steps);
            prop_assert_eq!(&mended.refused[0].0, &steps[step]);
            let left = plan(&desired, kernel.network());
            let mended = mend(&mut kernel, &left);
            prop_assert!(mended.refused.is_empty(), "{:?}", mended.refused);
            prop_assert_eq!(plan(&desired, kernel.network()), vec![]);
        }
    }

    #[test]
    fn taken_down_nothing_is_left_and_nothing_of_others_is_touched(mut kernel in kernel()) {
        converge(&mut kernel, &bare(), &|| false).map_err(|failure| TestCaseError::fail(format!("{failure:?}")))?;
        prop_assert_eq!(kernel.observe().unwrap(), bare_with_eth0());
    }

    #[test]
    fn nothing_is_made_anew_without_need(mut kernel in kernel(), desired in network()) {
        let before = kernel.network().clone();
        converge(&mut kernel, &desired, &|| false).map_err(|failure| TestCaseError::fail(format!("{failure:?}")))?;
        for (id, domain) in &desired.domains {
            let same_name = before.domains.get(id).is_some_and(|seen| (&seen.name, seen.isolation) == (&domain.name, domain.isolation));
            let text = format!("delete domain {id} ");
            prop_assert!(!same_name || !kernel.taken().iter().any(|step| step.to_string().starts_with(&text)));
        }
        prop_assert_eq!(plan(&before, &before), vec![]);
    }
}

/// What two networks are compared by: all but peers' names, and endpoints, which stay when a file gives none.
fn comparable(network: &Network) -> Network {
    let mut network = network.clone();
    for domain in network.domains.values_mut() {
        let down: BTreeSet<_> =
            domain.interfaces.iter().filter(|(_, held)| !held.up).map(|(name, _)| name.clone()).collect();
        let stands = |route: &Route| !route.devices().any(|dev| down.contains(dev));
        domain.routes.retain(stands);
        domain.rtables.values_mut().for_each(|routes| routes.retain(stands));
        domain.rtables.retain(|_, routes| !routes.is_empty());
        for held in domain.interfaces.values_mut() {
            held.mtu = held.mtu.or(held.kind.default_mtu());
            let Kind::WireGuard(tunnel) = &mut held.kind else { continue };
            for peer in tunnel.peers.values_mut() {
                peer.name = None;
                peer.endpoint = None;
            }
        }
    }
    network
}

fn bare_with_eth0() -> Network {
    with_eth0(bare())
}

fn with_eth0(mut network: Network) -> Network {
    if lends(&network) {
        return network;
    }
    let outside = network.domains.get_mut(&DomainId::DEFAULT).unwrap();
    outside
        .interfaces
        .entry(InterfaceName::new("eth0").unwrap())
        .or_insert_with(|| Interface::new(Kind::Existing));
    network
}
