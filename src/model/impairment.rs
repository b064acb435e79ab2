//! What a link does to packets, on purpose (tc-netem(8), tc-tbf(8)).

use std::fmt;
use std::time::Duration;

/// What becomes of the packets that leave by one end of a link; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Impairment {
    /// How much later they arrive, in microseconds.
    pub delay_us: u32,
    /// By how much the delay varies, either way, in microseconds; never more than the delay.
    pub jitter_us: u32,
    /// How many of a million are lost.
    pub loss_ppm: u32,
    /// How many of a million are not delayed, and so overtake the others.
    pub reorder_ppm: u32,
    /// Bytes that leave in a second; 0 for as many as can.
    pub rate_bytes_per_sec: u64,
}

impl Impairment {
    /// Whether packets are left alone.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is more than a rate, which takes an emulator of networks.
    pub fn is_emulated(&self) -> bool {
        *self != Self { rate_bytes_per_sec: self.rate_bytes_per_sec, ..Self::default() }
    }
}

/// As a file has it: `delay 20ms loss 1% rate 100mbit`; `nothing` where packets are left alone.
impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("nothing");
        }
        let words: Vec<String> =
            self.words().into_iter().map(|(key, value)| format!("{key} {value}")).collect();
        f.write_str(&words.join(" "))
    }
}

impl Impairment {
    /// Its parts by the keys and in the units of a file.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let time = |micros: u32| format!("{:?}", Duration::from_micros(micros.into())).replace('µ', "u");
        let share = |ppm: u32| format!("{}%", f64::from(ppm) / 10_000.0);
        let parts = [
            ("delay", self.delay_us, time(self.delay_us)),
            ("jitter", self.jitter_us, time(self.jitter_us)),
            ("loss", self.loss_ppm, share(self.loss_ppm)),
            ("reorder", self.reorder_ppm, share(self.reorder_ppm)),
        ];
        let mut words: Vec<_> = parts
            .into_iter()
            .filter(|(_, amount, _)| *amount != 0)
            .map(|(key, _, value)| (key, value))
            .collect();
        if self.rate_bytes_per_sec != 0 {
            words.push(("rate", rate(self.rate_bytes_per_sec)));
        }
        words
    }
}

fn rate(bytes_per_sec: u64) -> String {
    let bits = u128::from(bytes_per_sec) * 8;
    let units = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")];
    let fitting = units.into_iter().find(|(unit, _)| bits.is_multiple_of(*unit));
    fitting.map_or_else(|| format!("{bits}bit"), |(unit, word)| format!("{}{word}", bits / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_in_the_units_of_a_file() {
        let impairment = Impairment {
            delay_us: 20_500,
            jitter_us: 500,
            loss_ppm: 1_000,
            reorder_ppm: 250_000,
            rate_bytes_per_sec: 187_500,
        };
        assert_eq!(impairment.to_string(), "delay 20.5ms jitter 500us loss 0.1% reorder 25% rate 1500kbit");
        assert_eq!(Impairment::default().to_string(), "nothing");
        let rated = Impairment { rate_bytes_per_sec: 125_000_000, ..Impairment::default() };
        assert_eq!((rated.to_string().as_str(), rated.is_emulated()), ("rate 1gbit", false));
    }
}
