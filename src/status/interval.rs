//! Spans of time in words.

/// A span in its largest unit: `3s`, `3m`, `2h`, `5d`.
pub(super) fn short(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m", secs / 60),
        3_600..86_400 => format!("{}h", secs / 3_600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// A span as wg(8) tells it: `1 day, 2 hours, 3 minutes, 4 seconds`; without units of which there are none.
pub(super) fn long(secs: u64) -> String {
    let parts = [
        (secs / 31_536_000, "year"),
        (secs / 86_400 % 365, "day"),
        (secs / 3_600 % 24, "hour"),
        (secs / 60 % 60, "minute"),
        (secs % 60, "second"),
    ];
    let part = |(count, unit)| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let parts: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).map(part).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_largest_unit_that_fits() {
        assert_eq!([0, 59, 60, 3_599, 3_600, 86_400 * 3].map(short), ["0s", "59s", "1m", "59m", "1h", "3d"]);
    }

    #[test]
    fn spans_are_those_of_wg() {
        assert_eq!(long(1), "1 second");
        assert_eq!(long(63), "1 minute, 3 seconds");
        assert_eq!(long(31_536_000 + 2 * 86_400 + 7_200), "1 year, 2 days, 2 hours");
    }
}
