//! Carries out what the endpoints' names want: looks at peers, has names looked up, and points peers at addresses.

use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::endpoints::{Action, At};
use super::lookup::{Found, look_up};
use super::{Event, QUEUE_LENGTH, Supervisor};
use crate::model::Key;
use crate::plan::Step;

/// How long who brings a network up, or changes it, waits for the names of endpoints: for a name server that is there.
const PATIENCE: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Looks every name up, and waits for the answers of those who answer at once: unless somebody wants something.
    pub(super) fn await_endpoints(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        self.point();
        while self.endpoints.is_asking() && !self.is_wanted() && Instant::now() < deadline {
            match self.queue.try_recv() {
                Ok(Event::Found(found)) => self.found(&found),
                Ok(event) => self.came_first.push_back(event),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Whether somebody asks for something, or so much happens that it cannot be put off.
    fn is_wanted(&self) -> bool {
        let by_somebody =
            |event: &Event| matches!(event, Event::Request(_) | Event::Ask(_) | Event::Signal(_));
        self.came_first.len() >= QUEUE_LENGTH || self.came_first.iter().any(by_somebody)
    }

    /// To be called after steps: peers that were set may know no endpoint, and there may be others than before.
    pub(super) fn follow_endpoints(&mut self, taken: &[Step]) {
        let now = Instant::now();
        self.endpoints.follow(&self.desired, now);
        for step in taken {
            let Step::SetPeer { at, key: Key::Public(key), .. } = step else { continue };
            self.endpoints.stir(&(at.clone(), *key), now);
        }
        self.point();
    }

    /// Does what is due.
    pub(super) fn point(&mut self) {
        loop {
            let actions = self.endpoints.tick(Instant::now());
            if actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.carry_out(action));
        }
    }

    pub(super) fn found(&mut self, found: &Found) {
        let actions = self.endpoints.found(&found.name, &found.addresses, Instant::now());
        actions.into_iter().for_each(|action| self.carry_out(action));
        self.point();
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Look(at) => self.look_at_peer(&at),
            Action::LookUp(name) => {
                if let Some(queue) = self.sender.upgrade() {
                    look_up(&self.desired.name, name, queue);
                }
            }
            Action::Point(at, endpoint) => {
                let who = self.who(&at);
                match self.backend.point(&at.0, at.1, endpoint) {
                    Ok(()) => {
                        info!("{who}: its endpoint's name has been looked up");
                        debug!(%endpoint, "{who}");
                    }
                    Err(error) => warn!(%error, "{who}: its endpoint cannot be set"),
                }
            }
            Action::Waits(at, why) => {
                warn!("{}: it waits, for its endpoint is unknown: {why}", self.who(&at))
            }
        }
    }

    fn look_at_peer(&mut self, at: &At) {
        let (now, tunnel) = (Instant::now(), self.backend.tunnel(&at.0));
        let seen =
            tunnel.ok().and_then(|tunnel| tunnel.peers.into_iter().find(|peer| peer.public_key == at.1));
        match seen {
            Some(peer) => {
                if let Some(action) = self.endpoints.seen(at, &peer, now) {
                    self.carry_out(action);
                }
            }
            None => self.endpoints.unseen(at, now),
        }
    }

    /// A peer as its file calls it.
    fn who(&self, (end, key): &At) -> String {
        let tunnel = self.desired.interface(end).and_then(|interface| interface.wireguard());
        let name = tunnel.and_then(|tunnel| tunnel.peers.get(&Key::Public(*key))?.name.clone());
        format!("peer {} of {end}", name.unwrap_or_else(|| key.to_string()))
    }
}
