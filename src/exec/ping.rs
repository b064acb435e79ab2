//! ICMP echo for machines without ping(8), in the calling thread's namespace; printed as OpenBSD's ping(8) prints.
//!
//! As there, IPv4 requests leave with TTL 255, and after the last one an answer is waited for as long as twice the
//! longest round trip, at least a second, or as long as the caller says while none has come. A request that the
//! kernel refused is not waited for. A signal that has a handler ends the run with its statistics.

mod packet;
mod probe;
mod socket;

pub use probe::{Fate, Probe, Refusal, probe};

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::model::InterfaceName;
use packet::{Echo, Family};
use socket::{Arrival, EchoSocket};

/// What to ask whom.
#[derive(Clone, Debug)]
pub struct Ping {
    /// The destination as it was given, for the header.
    pub host: String,
    /// Its address.
    pub address: IpAddr,
    /// The index of the interface of a link-local address, else 0.
    pub scope_id: u32,
    /// How many requests; without a number, until a signal comes.
    pub count: Option<u64>,
    /// Between two requests.
    pub interval: Duration,
    /// For an answer while none has come.
    pub wait: Duration,
    /// Bytes of data in each request.
    pub size_bytes: u16,
    /// The TTL of IPv4 requests.
    pub ttl: u8,
    /// The interface that the socket is bound to: the VRF device of a domain without a namespace.
    pub device: Option<InterfaceName>,
}

impl Ping {
    /// OpenBSD's defaults.
    pub fn new(address: IpAddr) -> Self {
        Self {
            host: address.to_string(),
            address,
            scope_id: 0,
            count: None,
            interval: Duration::from_secs(1),
            wait: Duration::from_secs(10),
            size_bytes: 56,
            ttl: 255,
            device: None,
        }
    }
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Requests, also those that the kernel refused.
    pub transmitted: u64,
    /// First answers.
    pub received: u64,
    /// Further answers to the same requests.
    pub duplicates: u64,
    /// Round-trip times of the first answers, if there was one.
    pub round_trips: Option<RoundTrips>,
}

/// Round-trip times, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundTrips {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    sum_millis: f64,
    sum_of_squares: f64,
}

/// Sends requests and prints what comes back; fails only if there is no socket or nowhere to print.
pub fn ping(options: &Ping, out: &mut dyn Write) -> io::Result<Summary> {
    let socket = EchoSocket::open(options)?;
    writeln!(out, "PING {} ({}): {} data bytes", options.host, options.address, options.size_bytes)?;
    let mut run = Run {
        options,
        socket,
        data: packet::data(options.size_bytes),
        waiting: BTreeMap::new(),
        answered: BTreeMap::new(),
        summary: Summary::default(),
    };
    run.until_done(out)?;
    write!(out, "\n--- {} ping statistics ---\n{}", options.host, run.summary)?;
    Ok(run.summary)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets transmitted, {} packets received, ", self.transmitted, self.received)?;
        if self.duplicates > 0 {
            write!(f, "{} duplicates, ", self.duplicates)?;
        }
        let lost = self.transmitted.saturating_sub(self.received);
        let percent = if self.transmitted == 0 { 0.0 } else { lost as f64 * 100.0 / self.transmitted as f64 };
        writeln!(f, "{percent:.1}% packet loss")?;
        let Some([min, avg, max, deviation]) = self.statistics() else { return Ok(()) };
        writeln!(f, "round-trip min/avg/max/std-dev = {min:.3}/{avg:.3}/{max:.3}/{deviation:.3} ms")
    }
}

impl Summary {
    fn add(&mut self, time: Duration) {
        self.received += 1;
        let before = self.round_trips.unwrap_or(RoundTrips {
            min: time,
            max: time,
            sum_millis: 0.0,
            sum_of_squares: 0.0,
        });
        self.round_trips = Some(RoundTrips {
            min: before.min.min(time),
            max: before.max.max(time),
            sum_millis: before.sum_millis + millis(time),
            sum_of_squares: before.sum_of_squares + millis(time).powi(2),
        });
    }

    /// The shortest, mean and longest round trip and the standard deviation, in milliseconds.
    fn statistics(&self) -> Option<[f64; 4]> {
        let times = self.round_trips?;
        let count = self.received as f64;
        let mean = times.sum_millis / count;
        let variance = times.sum_of_squares / count - mean.powi(2);
        Some([millis(times.min), mean, millis(times.max), variance.max(0.0).sqrt()])
    }
}

/// A run of requests.
struct Run<'a> {
    options: &'a Ping,
    socket: EchoSocket,
    data: Vec<u8>,
    /// When the requests without an answer were sent, by sequence number.
    waiting: BTreeMap<u16, Instant>,
    /// When those with an answer were sent; the sequence number may have come round since.
    answered: BTreeMap<u16, Instant>,
    summary: Summary,
}

impl Run<'_> {
    fn until_done(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if !self.is_all_sent() && now >= next {
                self.send(out)?;
                // Whoever was stopped for a while does not make up for it with a burst.
                next = (next + self.options.interval).max(now);
            }
            let until = if self.is_all_sent() { self.last_answer_by() } else { Some(next) };
            let Some(until) = until.filter(|&until| !self.is_all_sent() || now < until) else {
                return Ok(());
            };
            match self.socket.wait_until(until) {
                Ok(()) => self.receive_all(out)?,
                Err(Errno::EINTR) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn is_all_sent(&self) -> bool {
        self.options.count.is_some_and(|count| self.summary.transmitted >= count)
    }

    /// When to give up on the answers that are missing; `None` if none is.
    fn last_answer_by(&self) -> Option<Instant> {
        let last = self.waiting.values().max()?;
        let patience = match self.summary.round_trips {
            Some(times) => (2 * times.max).max(Duration::from_secs(1)),
            None => self.options.wait,
        };
        Some(*last + patience)
    }

    fn send(&mut self, out: &mut dyn Write) -> io::Result<()> {
        // Sequence numbers have 16 bits and come round.
        let sequence = self.summary.transmitted as u16;
        self.summary.transmitted += 1;
        self.answered.remove(&sequence);
        self.waiting.insert(sequence, Instant::now());
        let Err(errno) = self.socket.send(sequence, &self.data) else { return Ok(()) };
        self.waiting.remove(&sequence);
        writeln!(out, "ping: sendmsg: {}", refusal(errno))?;
        writeln!(
            out,
            "ping: wrote {} {} chars, ret=-1",
            self.options.host,
            self.data.len() + packet::HEADER_BYTES
        )
    }

    fn receive_all(&mut self, out: &mut dyn Write) -> io::Result<()> {
        while let Some(arrival) = self.socket.receive()? {
            let now = Instant::now();
            if let Some(echo) = self.socket.answer(&arrival) {
                self.note(&arrival, &echo, now, out)?;
            }
        }
        Ok(())
    }

    /// Counts and prints an answer, unless it is to no request of ours.
    fn note(
        &mut self,
        arrival: &Arrival,
        echo: &Echo<'_>,
        now: Instant,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if echo.data != self.data {
            return Ok(());
        }
        let (sent, mark) = match self.waiting.remove(&echo.sequence) {
            Some(sent) => {
                self.answered.insert(echo.sequence, sent);
                self.summary.add(now - sent);
                (sent, "")
            }
            None => {
                let Some(&sent) = self.answered.get(&echo.sequence) else { return Ok(()) };
                self.summary.duplicates += 1;
                (sent, " (DUP!)")
            }
        };
        let limit = match Family::of(self.options.address) {
            Family::V4 => "ttl",
            Family::V6 => "hlim",
        };
        write!(out, "{} bytes from {}: ", echo.data.len() + packet::HEADER_BYTES, arrival.from)?;
        write!(out, "icmp_seq={} {limit}={}", echo.sequence, arrival.ttl)?;
        writeln!(out, " time={:.3} ms{mark}", millis(now - sent))
    }
}

/// The kernel's refusal in OpenBSD's words, which has one for both ways of not knowing a way.
fn refusal(errno: Errno) -> &'static str {
    match errno {
        Errno::ENETUNREACH => Errno::EHOSTUNREACH.desc(),
        errno => errno.desc(),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_print_as_openbsd_does() {
        let mut summary = Summary { transmitted: 3, ..Summary::default() };
        summary.add(Duration::from_micros(200));
        summary.add(Duration::from_micros(400));
        assert_eq!(
            summary.to_string(),
            "3 packets transmitted, 2 packets received, 33.3% packet loss
round-trip min/avg/max/std-dev = 0.200/0.300/0.400/0.100 ms
"
        );
        let silence = Summary { transmitted: 1, ..Summary::default() };
        assert_eq!(silence.to_string(), "1 packets transmitted, 0 packets received, 100.0% packet loss\n");
        let twice = Summary { transmitted: 1, received: 1, duplicates: 1, round_trips: None };
        assert!(twice.to_string().contains("1 packets received, 1 duplicates, 0.0% packet loss"));
    }

    #[test]
    fn no_way_is_no_route_to_host() {
        assert_eq!(refusal(Errno::ENETUNREACH), "No route to host");
        assert_eq!(refusal(Errno::EACCES), "Permission denied");
    }
}
