//! What a supervisor tells the service manager that started it, if one did: sd_notify(3).
//!
//! Descriptors are not given to its store: engines outlive supervisors with everything they hold, TUN devices outlive
//! engines, and all else that was open is opened again.

use std::thread;
use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::sync::mpsc::Sender;
use tracing::warn;

use super::Event;
use crate::model::Network;

/// That the network is up, and what there is of it: to be called whenever there may be more or less.
pub(super) fn ready(network: &Network) {
    let domains = network.domains.keys().filter(|id| !id.is_default()).count();
    let status = format!("{domains} domains and {} tunnels are up", network.tunnels().count());
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// That it is being taken down.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("taking everything down")]);
}

/// That the supervisor does its work.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Asks the supervisor twice in each time that the service manager waits for a sign of life whether it still listens.
pub(super) fn ask_for_life(queue: Sender<Event>) {
    let Some(patience) = watchdog_enabled() else { return };
    let every = (patience / 2).max(Duration::from_millis(1));
    let ask = move || {
        while !queue.is_closed() {
            thread::sleep(every);
            // A queue that is full says that it does not listen.
            let _full_or_closed = queue.try_send(Event::LifeAskedFor);
        }
    };
    if let Err(error) = thread::Builder::new().name("watchdog".into()).spawn(ask) {
        warn!(%error, "the service manager will miss signs of life");
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        warn!(%error, "the service manager was not told");
    }
}
