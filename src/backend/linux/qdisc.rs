//! Queueing disciplines: rtnetlink(7) `RTM_*QDISC` messages of what a link does to packets (linux/pkt_sched.h).
//!
//! A rate alone is a token bucket (tc-tbf(8)), which kernels without an emulator have too; everything else is the
//! emulator's (tc-netem(8)), rate included.

use std::collections::BTreeMap;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE, Nla, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};
use nix::errno::Errno;

use super::netlink::{Netlink, NetlinkError};
use crate::model::Impairment;

const NETEM: &str = "netem";
const TBF: &str = "tbf";
/// `TCA_OPTIONS` (linux/rtnetlink.h).
const OPTIONS: u16 = 2;
/// Packets that wait at most: enough for a second of 100 Mbit/s; tc(8)'s 1,000 are too few for long and fast links.
const QUEUE_PACKETS: u32 = 10_000;
/// How long a packet may wait for a token, and how much may leave at once.
const BUCKET_LATENCY_MS: u64 = 50;
const BUCKET_BYTES_LEAST: u32 = 64 * 1024;

/// Gives a link this impairment, instead of the one that it has.
pub(super) fn set(socket: &mut Netlink, index: u32, impairment: &Impairment) -> Result<(), NetlinkError> {
    if impairment.is_none() {
        return clear(socket, index);
    }
    let (kind, options) = match impairment.is_emulated() {
        true => (NETEM, netem(impairment)),
        false => (TBF, tbf(impairment.rate_bytes_per_sec)),
    };
    let mut message = root(index);
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    message.attributes.push(TcAttribute::Other(DefaultNla::new(OPTIONS, options)));
    socket.request(Message::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE).map(|_| ())
}

fn clear(socket: &mut Netlink, index: u32) -> Result<(), NetlinkError> {
    match socket.request(Message::DelQueueDiscipline(root(index)), 0) {
        // There was none: the kernel's own discipline of a link cannot be deleted.
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EINVAL)) => Ok(()),
        answer => answer.map(|_| ()),
    }
}

/// The impairments of the links of the socket's namespace, by their indexes.
pub(super) fn dump(socket: &mut Netlink) -> Result<BTreeMap<u32, Impairment>, NetlinkError> {
    let answers = socket.dump(Message::GetQueueDiscipline(TcMessage::default()))?;
    let found = answers.iter().filter_map(|answer| match answer {
        Message::NewQueueDiscipline(message) if message.header.parent == TcHandle::ROOT => {
            Some((u32::try_from(message.header.index).ok()?, read(message)?))
        }
        _ => None,
    });
    Ok(found.collect())
}

/// Whether a link whose discipline is called so may be impaired.
pub(super) fn impairs(discipline: &str) -> bool {
    matches!(discipline, NETEM | TBF)
}

fn root(index: u32) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = TcHandle::ROOT;
    message
}

fn read(message: &TcMessage) -> Option<Impairment> {
    let kind = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.first(),
        _ => None,
    });
    let Some(TcOption::Other(options)) = options else { return None };
    let mut value = vec![0; options.value_len()];
    options.emit_value(&mut value);
    match kind? {
        NETEM => read_netem(&value),
        TBF => read_tbf(&value),
        _ => None,
    }
}

/// `struct tc_netem_qopt`, and attributes behind it.
const NETEM_QOPT_BYTES: usize = 24;
const NETEM_REORDER: u16 = 3;
const NETEM_RATE: u16 = 6;
const NETEM_RATE64: u16 = 8;
const NETEM_LATENCY64: u16 = 10;
const NETEM_JITTER64: u16 = 11;

/// Latency, limit, loss, gap, duplicates, jitter; times follow in nanoseconds. With a gap of one every packet may
/// overtake, by its share.
fn netem(impairment: &Impairment) -> Vec<u8> {
    let Impairment { delay_us, jitter_us, loss_ppm, reorder_ppm, rate_bytes_per_sec } = *impairment;
    let gap = u32::from(reorder_ppm != 0);
    let mut options = words(&[0, QUEUE_PACKETS, probability(loss_ppm), gap, 0, 0]);
    options.extend(attribute(NETEM_LATENCY64, &nanos(delay_us)));
    options.extend(attribute(NETEM_JITTER64, &nanos(jitter_us)));
    if reorder_ppm != 0 {
        options.extend(attribute(NETEM_REORDER, &words(&[probability(reorder_ppm), 0])));
    }
    if rate_bytes_per_sec != 0 {
        options.extend(attribute(NETEM_RATE, &words(&[low(rate_bytes_per_sec), 0, 0, 0])));
        options.extend(attribute(NETEM_RATE64, &rate_bytes_per_sec.to_ne_bytes()));
    }
    options
}

fn read_netem(options: &[u8]) -> Option<Impairment> {
    let (head, attributes) = options.split_at_checked(NETEM_QOPT_BYTES)?;
    let mut found = Impairment { loss_ppm: share(word(head, 2)?), ..Impairment::default() };
    for attribute in NlasIterator::new(attributes).flatten() {
        let value = attribute.value();
        match attribute.kind() {
            NETEM_LATENCY64 => found.delay_us = micros(value)?,
            NETEM_JITTER64 => found.jitter_us = micros(value)?,
            NETEM_REORDER => found.reorder_ppm = share(word(value, 0)?),
            NETEM_RATE if found.rate_bytes_per_sec == 0 => found.rate_bytes_per_sec = word(value, 0)?.into(),
            NETEM_RATE64 => found.rate_bytes_per_sec = long(value)?,
            _ => {}
        }
    }
    Some(found)
}

const TBF_PARMS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;
/// Where the rate of `struct tc_ratespec`, the first of `struct tc_tbf_qopt`, is, in words.
const RATESPEC_RATE: usize = 2;

/// Two `struct tc_ratespec` of three words each, limit, buffer, mtu.
fn tbf(rate: u64) -> Vec<u8> {
    let burst = u32::try_from(rate / 100).unwrap_or(u32::MAX).max(BUCKET_BYTES_LEAST);
    let limit = u32::try_from(rate * BUCKET_LATENCY_MS / 1000).unwrap_or(u32::MAX).saturating_add(burst);
    let mut options = attribute(TBF_PARMS, &words(&[0, 0, low(rate), 0, 0, 0, limit, 0, 0]));
    options.extend(attribute(TBF_BURST, &burst.to_ne_bytes()));
    options.extend(attribute(TBF_RATE64, &rate.to_ne_bytes()));
    options
}

fn read_tbf(options: &[u8]) -> Option<Impairment> {
    let (mut short, mut whole) = (None, None);
    for attribute in NlasIterator::new(options).flatten() {
        match attribute.kind() {
            TBF_PARMS => short = word(attribute.value(), RATESPEC_RATE),
            TBF_RATE64 => whole = long(attribute.value()),
            _ => {}
        }
    }
    let rate_bytes_per_sec = whole.or(short.map(u64::from))?;
    Some(Impairment { rate_bytes_per_sec, ..Impairment::default() })
}

/// A share as the kernel has it: of 2^32 - 1.
fn probability(ppm: u32) -> u32 {
    let scaled = (u64::from(ppm) * u64::from(u32::MAX) + 500_000) / 1_000_000;
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

fn share(probability: u32) -> u32 {
    let half = u64::from(u32::MAX) / 2;
    ((u64::from(probability) * 1_000_000 + half) / u64::from(u32::MAX)) as u32
}

fn nanos(micros: u32) -> [u8; 8] {
    (i64::from(micros) * 1000).to_ne_bytes()
}

fn micros(value: &[u8]) -> Option<u32> {
    u32::try_from(i64::from_ne_bytes(*value.first_chunk()?) / 1000).ok()
}

fn low(rate: u64) -> u32 {
    u32::try_from(rate).unwrap_or(u32::MAX)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn word(bytes: &[u8], number: usize) -> Option<u32> {
    bytes.get(number * 4..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn long(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|word| u64::from_ne_bytes(*word))
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let nla = DefaultNla::new(kind, value.to_vec());
    let mut bytes = vec![0; netlink_packet_core::Emitable::buffer_len(&nla)];
    netlink_packet_core::Emitable::emit(&nla, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let rated = |rate_bytes_per_sec| Impairment { rate_bytes_per_sec, ..Impairment::default() };
        for rate in [1_000, 12_500_000, 10_000_000_000] {
            assert_eq!(read_tbf(&tbf(rate)), Some(rated(rate)));
        }
        let emulated =
            Impairment { delay_us: 20_000, jitter_us: 1, loss_ppm: 1, reorder_ppm: 999_999, ..rated(7) };
        for impairment in [emulated, Impairment { delay_us: 1, ..Impairment::default() }] {
            assert_eq!(read_netem(&netem(&impairment)), Some(impairment));
        }
    }

    #[test]
    fn every_share_comes_back() {
        for ppm in (0..=1_000_000).step_by(37) {
            assert_eq!(share(probability(ppm)), ppm);
        }
    }
}
