//! When a peer's session must do something although no packet comes: section 6 of the WireGuard paper.
//!
//! boringtun's `Tunn` has timers of its own but no way to ask for the next one, and it stamps packets with the time
//! of its last tick. These timers know when that tick is due, so that an idle peer is not woken at all, and they
//! notice what the coarse stamps miss.

use std::time::{Duration, Instant};

/// An unanswered handshake initiation is sent again after this, plus jitter.
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Received data is acknowledged with an empty packet after this, if nothing else was sent.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The initiator of a session makes a new one when it sends with one that is older than this.
const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// A session ends at this age.
pub(super) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// How old the stamps of `Tunn` may be when it is used.
const STALE_AFTER: Duration = Duration::from_secs(1);

/// Who began the handshake of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// We did, and so we renew it.
    Initiator,
    /// The peer did.
    Responder,
}

/// What happened last with one peer.
#[derive(Debug, Default)]
pub(super) struct Timers {
    ticked: Option<Instant>,
    /// When the initiation that is not answered yet is to be sent again.
    retry: Option<Instant>,
    /// Since when there is the session that is used for sending, and who began it.
    session: Option<(Instant, Role)>,
    /// When keys were last derived, for a session that the peer may never use as well.
    keys: Option<Instant>,
    /// The first data sent since anything authentic was received.
    unanswered: Option<Instant>,
    /// The first data received since anything was sent.
    unacknowledged: Option<Instant>,
    /// The last authentic packet in either direction.
    traversed: Option<Instant>,
    asked: Option<Instant>,
}

impl Timers {
    /// When the peer must be looked at again; `None` is not before it sends or receives.
    pub(super) fn deadline(&self, keepalive: Option<Duration>) -> Option<Instant> {
        let unanswered = self.unanswered.map(|at| at + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT);
        let acknowledge = self.unacknowledged.map(|at| at + KEEPALIVE_TIMEOUT);
        [self.tunn_at(), unanswered, acknowledge, self.keepalive_at(keepalive), self.asked]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether `Tunn` has something to do: an initiation to repeat or a session to end.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.tunn_at().is_some_and(|at| at <= now)
    }

    /// Whether `Tunn` must be ticked before it is used.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.ticked.is_none_or(|at| now.saturating_duration_since(at) >= STALE_AFTER)
    }

    /// Whether a keepalive is due: a persistent one, or one that acknowledges data.
    pub(super) fn keepalive_due(&self, keepalive: Option<Duration>, now: Instant) -> bool {
        let acknowledge = self.unacknowledged.map(|at| at + KEEPALIVE_TIMEOUT);
        [acknowledge, self.keepalive_at(keepalive)].into_iter().flatten().any(|at| at <= now)
    }

    /// Whether data went unanswered for so long that the session must be renewed; tells it once.
    pub(super) fn take_unanswered(&mut self, now: Instant) -> bool {
        self.unanswered.take_if(|at| *at + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT <= now).is_some()
    }

    /// Whether an initiation of ours is not answered yet.
    pub(super) fn awaits_response(&self) -> bool {
        self.retry.is_some()
    }

    /// Whether to renew the session when sending with it.
    pub(super) fn rekey_on_send(&self, now: Instant) -> bool {
        self.is_ours_and_older(REKEY_AFTER_TIME, now)
    }

    /// Whether to renew the session when receiving with it: the last chance before it ends.
    pub(super) fn rekey_on_receive(&self, now: Instant) -> bool {
        self.is_ours_and_older(REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT, now)
    }

    /// The peer wants to be looked at at once.
    pub(super) fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// What was asked for is being done.
    pub(super) fn looked_at(&mut self) {
        self.asked = None;
    }

    /// `Tunn` was ticked.
    pub(super) fn ticked(&mut self, now: Instant) {
        self.ticked = Some(now);
        self.session.take_if(|(at, _)| *at + REJECT_AFTER_TIME < now);
        self.keys.take_if(|at| *at + REJECT_AFTER_TIME < now);
    }

    /// A handshake initiation was sent; `jitter` keeps two peers from initiating in step for ever.
    pub(super) fn initiated(&mut self, now: Instant, jitter: Duration) {
        self.retry = Some(now + REKEY_TIMEOUT + jitter);
        self.unanswered = None;
        self.sent(now);
    }

    /// Keys were derived, and with them any handshake of ours that was under way has ended.
    pub(super) fn derived(&mut self, now: Instant) {
        self.keys = Some(now);
        self.retry = None;
    }

    /// There is a session to send with, whose keys were derived then.
    pub(super) fn established(&mut self, role: Role, derived: Instant) {
        if self.session.is_none_or(|(at, _)| at <= derived) {
            self.session = Some((derived, role));
        }
    }

    /// Something that the peer can authenticate was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.unacknowledged = None;
        self.traversed = Some(now);
    }

    /// Data was sent.
    pub(super) fn sent_data(&mut self, now: Instant) {
        self.unanswered.get_or_insert(now);
        self.sent(now);
    }

    /// Something authentic was received.
    pub(super) fn received(&mut self, now: Instant) {
        self.unanswered = None;
        self.traversed = Some(now);
    }

    /// Data was received.
    pub(super) fn received_data(&mut self, now: Instant) {
        self.received(now);
        self.unacknowledged.get_or_insert(now);
    }

    /// A keepalive was due; the next one is an interval from now, even if this one could not be sent.
    pub(super) fn kept_alive(&mut self, now: Instant) {
        self.sent(now);
    }

    /// The handshake was given up: nothing happens until someone sends.
    pub(super) fn gave_up(&mut self) {
        self.retry = None;
        self.session = None;
        self.keys = None;
        self.unanswered = None;
        self.unacknowledged = None;
    }

    /// When `Tunn` must be ticked: not again at once if it did nothing, for its clock is a little behind.
    fn tunn_at(&self) -> Option<Instant> {
        let derived = [self.session.map(|(at, _)| at), self.keys].into_iter().flatten();
        let at = derived.map(|at| at + REJECT_AFTER_TIME).chain(self.retry).min()?;
        Some(self.ticked.map_or(at, |ticked| at.max(ticked + STALE_AFTER)))
    }

    fn keepalive_at(&self, keepalive: Option<Duration>) -> Option<Instant> {
        Some(self.traversed? + keepalive?)
    }

    fn is_ours_and_older(&self, age: Duration, now: Instant) -> bool {
        let Some((at, Role::Initiator)) = self.session else { return false };
        self.retry.is_none() && at + age <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn an_idle_peer_is_never_woken() {
        let start = Instant::now();
        let mut timers = Timers::default();
        assert_eq!(timers.deadline(None), None);
        timers.established(Role::Initiator, start);
        assert_eq!(timers.deadline(None), Some(start + secs(180)));
        timers.ticked(start + secs(181));
        assert_eq!(timers.deadline(None), None);
    }

    #[test]
    fn received_data_is_acknowledged_after_ten_seconds_unless_something_was_sent() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.received_data(start);
        timers.received_data(start + secs(3));
        assert_eq!(timers.deadline(None), Some(start + secs(10)));
        assert!(!timers.keepalive_due(None, start + secs(9)));
        assert!(timers.keepalive_due(None, start + secs(10)));
        timers.sent_data(start + secs(9));
        assert!(!timers.keepalive_due(None, start + secs(10)));
        assert_eq!(timers.deadline(None), Some(start + secs(24)));
    }

    #[test]
    fn a_persistent_keepalive_is_an_interval_after_the_last_packet_of_either_direction() {
        let start = Instant::now();
        let mut timers = Timers::default();
        assert_eq!(timers.deadline(Some(secs(25))), None);
        timers.ask(start);
        assert_eq!(timers.deadline(Some(secs(25))), Some(start));
        timers.looked_at();
        timers.kept_alive(start);
        timers.received(start + secs(20));
        assert_eq!(timers.deadline(Some(secs(25))), Some(start + secs(45)));
    }

    #[test]
    fn a_peer_that_does_nothing_when_ticked_is_not_ticked_in_a_loop() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.initiated(start, secs(0));
        timers.ticked(start + secs(7));
        assert_eq!(timers.deadline(None), Some(start + secs(8)));
    }

    #[test]
    fn only_the_initiator_renews_and_only_when_it_is_used() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.established(Role::Responder, start);
        assert!(!timers.rekey_on_send(start + secs(170)));
        timers.established(Role::Initiator, start);
        assert!(!timers.rekey_on_send(start + secs(119)));
        assert!(timers.rekey_on_send(start + secs(120)));
        assert!(!timers.rekey_on_receive(start + secs(164)));
        assert!(timers.rekey_on_receive(start + secs(165)));
        timers.initiated(start + secs(120), secs(0));
        assert!(!timers.rekey_on_send(start + secs(121)));
    }
}
