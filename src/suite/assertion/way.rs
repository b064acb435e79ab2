//! The way of a packet: the route that a table has for it, the domains that it passes, how large it may be.

use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::reach::reason;
use super::{Ground, until};
use crate::exec::ping::{Fate, Probe, Refusal};
use crate::model::DomainId;
use crate::spec::{Fit, Passage, Presence, Way};
use crate::status::RouteGet;
use crate::suite::evidence::which;
use crate::suite::inside::Inside;

/// How long one hop is asked for, and how long each time: the kernel sends a host a few errors at once, and then one a
/// second (icmp(7), `icmp_ratelimit`).
const HOP: Duration = Duration::from_millis(1200);
const ASK: Duration = Duration::from_millis(300);
/// The longest path that is followed, as traceroute(8) has it.
const HOPS: u8 = 30;
/// How long one size is waited for when the largest that passes is looked for.
const SIZE: Duration = Duration::from_millis(150);

pub(super) fn routed(
    domain: DomainId,
    ground: &Ground,
    to: IpAddr,
    way: &Way,
    expect: Presence,
) -> Option<String> {
    let found = match ground.survey.route_get(domain, which(domain, way.rtable), to) {
        Ok(found) => found.filter(RouteGet::leads_somewhere),
        Err(error) => return Some(error.to_string()),
    };
    let fits = |found: &RouteGet| {
        way.via.is_none_or(|via| found.route.via == Some(via))
            && way.dev.as_ref().is_none_or(|dev| found.route.dev == dev.as_str())
    };
    match (expect, found) {
        (Presence::Present, None) => Some(format!("no route to {to}")),
        (Presence::Present, Some(found)) => (!fits(&found)).then(|| found.sentence()),
        (Presence::Absent, found) => found.filter(fits).map(|found| found.sentence()),
    }
}

/// Who answered for one hop: the domains that have its address; several may.
struct Hop {
    address: Option<IpAddr>,
    domains: Vec<DomainId>,
}

pub(super) fn passed(
    inside: &Inside<'_>,
    ground: &Ground,
    to: IpAddr,
    expected: &[DomainId],
    expect: Passage,
    deadline: Instant,
) -> Option<String> {
    until(deadline, |left| {
        let (hops, arrival) = followed(inside, ground, to, Instant::now() + left.max(HOP));
        let words: Vec<_> = hops.iter().map(|hop| hop.word(ground)).chain(arrival.clone()).collect();
        let path = || words.join(", ");
        if arrival.is_some() {
            return Some(path());
        }
        let is_wrong = match expect {
            Passage::Taken => {
                hops.len() != expected.len()
                    || hops.iter().zip(expected).any(|(hop, expected)| !hop.domains.contains(expected))
            }
            // Who says nothing may be anybody.
            Passage::Avoided => hops.iter().any(|hop| {
                hop.address.is_none() || hop.domains.iter().any(|domain| expected.contains(domain))
            }),
        };
        // Every look at a path costs errors, of which there are few.
        is_wrong.then(path).inspect(|_| thread::sleep(ASK.min(left)))
    })
}

/// The hops of a path, and what keeps it from its end, if something does.
fn followed(inside: &Inside<'_>, ground: &Ground, to: IpAddr, until: Instant) -> (Vec<Hop>, Option<String>) {
    let mut hops = Vec::new();
    for hop_limit in 1..=HOPS {
        match asked(inside, to, hop_limit, until.min(Instant::now() + HOP)) {
            Ok(Fate::Answered) => {
                hops.push(Hop::at(to, ground));
                return (hops, None);
            }
            Ok(Fate::Refused { by, refusal: Refusal::HopLimit }) => hops.push(Hop::at(by, ground)),
            Ok(Fate::Lost) if Instant::now() < until => hops.push(Hop { address: None, domains: Vec::new() }),
            Ok(fate @ (Fate::Lost | Fate::Unsent(_) | Fate::Refused { .. })) => {
                return (hops, Some(format!("and no further{}", reason(&fate))));
            }
            Err(error) => return (hops, Some(format!("and no further: {error}"))),
        }
    }
    (hops, Some("and further than can be followed".to_owned()))
}

/// What becomes of a packet that may go so far, sent again while nothing is heard.
fn asked(inside: &Inside<'_>, to: IpAddr, hop_limit: u8, until: Instant) -> io::Result<Fate> {
    loop {
        let wait = ASK.min(until.saturating_duration_since(Instant::now()));
        let fate = inside.probe(Probe { hop_limit, ..Probe::new(to, wait) })?;
        if fate != Fate::Lost || Instant::now() >= until {
            return Ok(fate);
        }
    }
}

impl Hop {
    fn at(address: IpAddr, ground: &Ground) -> Self {
        let has = |(end, interface): (crate::model::End, &crate::model::Interface)| {
            interface.addresses.iter().any(|own| own.network.ip() == address).then_some(end.domain)
        };
        let mut domains: Vec<_> = ground.network.interfaces().filter_map(has).collect();
        domains.dedup();
        Self { address: Some(address), domains }
    }

    fn word(&self, ground: &Ground) -> String {
        match (self.address, self.domains.as_slice()) {
            (None, _) => "*".to_owned(),
            (Some(address), []) => format!("somebody at {address}"),
            (Some(address), domains) => format!("{} ({address})", ground.words(domains.iter().copied())),
        }
    }
}

pub(super) fn fitted(
    inside: &Inside<'_>,
    to: IpAddr,
    bytes: u16,
    expect: Fit,
    deadline: Instant,
) -> Option<String> {
    let complaint = until(deadline, |left| {
        let wait = left.clamp(SIZE, 3 * SIZE);
        match expect {
            Fit::Fits => too_big(inside, to, bytes, wait),
            Fit::TooBig => passes(inside, to, bytes, wait),
            Fit::Exact => {
                too_big(inside, to, bytes, wait).or_else(|| passes(inside, to, bytes.saturating_add(1), wait))
            }
        }
    });
    complaint.map(|complaint| format!("{complaint}{}", largest(inside, to)))
}

fn send(inside: &Inside<'_>, to: IpAddr, size_bytes: u16, wait: Duration) -> Result<Fate, String> {
    let fate = inside.probe(Probe { size_bytes, ..Probe::new(to, wait) });
    fate.map_err(|error| error.to_string())
}

/// Why a packet of this size does not pass, if it does not.
fn too_big(inside: &Inside<'_>, to: IpAddr, bytes: u16, wait: Duration) -> Option<String> {
    match send(inside, to, bytes, wait) {
        Ok(Fate::Answered) => None,
        Ok(Fate::Unsent(Errno::EMSGSIZE)) => {
            Some(format!("{bytes} bytes are more than the first link takes"))
        }
        Ok(fate) => Some(format!("{bytes} bytes are not answered{}", reason(&fate))),
        Err(error) => Some(error),
    }
}

/// That a packet of this size passes, if it does, or that none does, which says nothing of its size.
fn passes(inside: &Inside<'_>, to: IpAddr, bytes: u16, wait: Duration) -> Option<String> {
    match send(inside, to, bytes, wait) {
        Ok(Fate::Answered) => Some(format!("{bytes} bytes pass")),
        Ok(Fate::Lost | Fate::Unsent(_) | Fate::Refused { .. }) => {
            too_big(inside, to, least(to), wait).map(|why| format!("none pass: {why}"))
        }
        Err(error) => Some(error),
    }
}

/// The size that every link must take (RFC 791, RFC 8200).
fn least(to: IpAddr) -> u16 {
    if to.is_ipv4() { 68 } else { 1280 }
}

/// The largest size that passes, in words; nothing if none does.
fn largest(inside: &Inside<'_>, to: IpAddr) -> String {
    let fits = |bytes| too_big(inside, to, bytes, SIZE).is_none();
    let (mut fitting, mut big) = (least(to), u16::MAX);
    if !fits(fitting) {
        return String::new();
    }
    while fitting + 1 < big {
        let middle = fitting + (big - fitting) / 2;
        if fits(middle) { fitting = middle } else { big = middle }
    }
    format!("; the mtu is {fitting}")
}
