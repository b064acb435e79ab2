//! What a link does to packets, in the user's words.

use crate::model::Impairment;
use crate::spec::fields::{Fields, listed};
use crate::spec::report::Report;
use crate::spec::values::Trouble;

/// What a link can do to packets.
pub(super) const KEYS: [&str; 5] = ["delay", "jitter", "loss", "reorder", "rate"];

/// The keys of a link that are about packets; those that make no sense are reported.
pub(super) fn read(fields: Fields<'_>, report: &mut Report) -> Impairment {
    let delay = fields.parsed("delay", "a time", micros, report);
    let jitter = fields.parsed("jitter", "a time", micros, report);
    let loss = fields.parsed("loss", "a share of packets", share, report);
    let reorder = fields.parsed("reorder", "a share of packets", share, report);
    let rate = fields.parsed("rate", "a rate", rate, report);
    let given = Impairment {
        delay_us: delay.as_ref().map_or(0, |delay| delay.value),
        jitter_us: jitter.as_ref().map_or(0, |jitter| jitter.value),
        loss_ppm: loss.map_or(0, |loss| loss.value),
        reorder_ppm: reorder.as_ref().map_or(0, |reorder| reorder.value),
        rate_bytes_per_sec: rate.map_or(0, |rate| rate.value),
    };
    if let (Some(jitter), Err(trouble)) = (jitter, jitter_fits(&given)) {
        let much = trouble.at(jitter.place);
        report.push(match &delay {
            Some(delay) => much.related(delay.place, "the delay"),
            None => much,
        });
    }
    if let (Some(reorder), Err(trouble)) = (reorder, reorder_fits(&given)) {
        report.push(trouble.at(reorder.place));
    }
    given
}

/// The same of keys and values that stand in no file.
pub fn impairment<'w>(words: impl IntoIterator<Item = (&'w str, &'w str)>) -> Result<Impairment, Trouble> {
    let mut given = Impairment::default();
    for (key, text) in words {
        match key {
            "delay" => given.delay_us = micros(text)?,
            "jitter" => given.jitter_us = micros(text)?,
            "loss" => given.loss_ppm = share(text)?,
            "reorder" => given.reorder_ppm = share(text)?,
            "rate" => given.rate_bytes_per_sec = rate(text)?,
            other => {
                let message = format!("`{other}` is nothing that a link does to packets");
                return Err(Trouble::new(message).help(format!("there are {}", listed(&KEYS))));
            }
        }
    }
    jitter_fits(&given).and_then(|()| reorder_fits(&given)).map(|()| given)
}

fn jitter_fits(given: &Impairment) -> Result<(), Trouble> {
    let much = Trouble::new("the delay varies by more than itself");
    match (given.delay_us, given.jitter_us) {
        (delay, jitter) if jitter <= delay => Ok(()),
        (0, _) => Err(much.help("write a `delay` too, of at least the jitter")),
        (_, _) => Err(much.help("write a jitter of at most the delay")),
    }
}

fn reorder_fits(given: &Impairment) -> Result<(), Trouble> {
    let alone = "packets overtake only others that are delayed";
    match given.delay_us == 0 && given.reorder_ppm != 0 {
        true => Err(Trouble::new(alone).help("write a `delay` too")),
        false => Ok(()),
    }
}

/// `20ms`, `1.5ms`, `300us`, `1s`; at most a minute.
fn micros(text: &str) -> Result<u32, Trouble> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    with_unit(text, &units)
        .filter(|micros| (1.0..=60e6).contains(micros))
        .map(|micros| micros as u32)
        .ok_or_else(|| {
            Trouble::new(format!("`{text}` is not a time"))
                .help("write `20ms`, `300us` or `1s`, up to a minute")
        })
}

/// `1%`, `0.1%`.
fn share(text: &str) -> Result<u32, Trouble> {
    with_unit(text, &[("%", 10_000.0)])
        .filter(|ppm| (0.0..=1e6).contains(ppm))
        .map(|ppm| ppm as u32)
        .ok_or_else(|| {
            Trouble::new(format!("`{text}` is not a share of packets")).help("write `1%` or `0.5%`")
        })
}

/// Bytes in a second of `100mbit`, `512kbit`, `1gbit`.
fn rate(text: &str) -> Result<u64, Trouble> {
    let units = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9), ("bit", 1.0)];
    with_unit(text, &units).filter(|bits| (8e3..=1e12).contains(bits)).map(|bits| bits as u64 / 8).ok_or_else(
        || {
            Trouble::new(format!("`{text}` is not a rate"))
                .help("write `100mbit`, `512kbit` or `1gbit`, 8kbit or more")
        },
    )
}

/// A decimal number in one of these units, rounded to whole ones of the smallest.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let (_, each) = units.iter().find(|(word, _)| *word == unit)?;
    number.parse::<f64>().ok().map(|number| (number * each).round())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_a_file_mean_the_same() {
        let given = impairment([("delay", "20ms"), ("jitter", "1ms"), ("loss", "5%")]);
        assert_eq!(given.map(|given| given.to_string()), Ok("delay 20ms jitter 1ms loss 5%".to_owned()));
        let told = |words: &[(&str, &str)]| impairment(words.to_vec()).map_err(|trouble| trouble.to_string());
        let much = "the delay varies by more than itself: write a `delay` too, of at least the jitter";
        assert_eq!(told(&[("jitter", "1ms")]), Err(much.to_owned()));
        assert!(told(&[("reorder", "5%")]).is_err() && told(&[("colour", "red")]).is_err());
        assert_eq!(told(&[("loss", "0%")]), Ok(Impairment::default()));
    }

    #[test]
    fn amounts_have_units() {
        assert_eq!([micros("20ms"), micros("1.5ms"), micros("1s")], [Ok(20_000), Ok(1_500), Ok(1_000_000)]);
        assert_eq!([share("1%"), share("0.5%"), share("100%")], [Ok(10_000), Ok(5_000), Ok(1_000_000)]);
        assert_eq!(
            [rate("100mbit"), rate("512kbit"), rate("8000bit")],
            [Ok(12_500_000), Ok(64_000), Ok(1_000)]
        );
        for text in ["20", "ms", "-1ms", "1h", "0ms", "61s", "1e3ms", "..ms"] {
            assert!(micros(text).is_err(), "{text}");
        }
        assert!(
            share("101%").is_err() && share("1").is_err() && rate("100").is_err() && rate("1mbps").is_err()
        );
    }
}
