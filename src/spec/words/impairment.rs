//! What a link does to packets, in the user's words.

use crate::diagnostic::Diagnostic;
use crate::model::Impairment;
use crate::spec::fields::Fields;
use crate::spec::report::Report;
use crate::spec::values::Trouble;

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
    if let Some(jitter) = jitter.filter(|jitter| jitter.value > given.delay_us) {
        let much = Diagnostic::error(jitter.place, "the delay varies by more than itself");
        report.push(match &delay {
            Some(delay) => much.related(delay.place, "the delay").help("write a jitter of at most the delay"),
            None => much.help("write a `delay` too, of at least the jitter"),
        });
    }
    if let (Some(reorder), None) = (reorder, delay) {
        let alone = Diagnostic::error(reorder.place, "packets overtake only others that are delayed");
        report.push(alone.help("write a `delay` too"));
    }
    given
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
