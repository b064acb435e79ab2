//! The built-in ping(8), for machines that have none: `ping [-c COUNT] [-i SECONDS] [-s BYTES] [-w SECONDS] ADDRESS`.

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::Ended;
use super::trouble::Trouble;
use crate::exec::ping::{Ping, ping};

#[derive(Debug, Parser)]
#[command(name = "ping")]
struct Words {
    /// How many
    #[arg(short)]
    count: Option<u64>,
    /// Seconds between two
    #[arg(short, default_value_t = 1.0)]
    interval: f64,
    /// Bytes of data
    #[arg(short = 's', default_value_t = 56)]
    size_bytes: u16,
    /// Seconds to wait for an answer
    #[arg(short, default_value_t = 10.0)]
    wait: f64,
    /// Whom to ask
    address: IpAddr,
}

/// Runs it with the arguments that ping(8) was to have; exit status 1 if nobody answered.
pub(super) fn run(arguments: &[OsString]) -> Ended {
    let name = [OsString::from("ping")];
    let words = Words::parse_from(name.iter().chain(arguments));
    let seconds =
        |value| Duration::try_from_secs_f64(value).map_err(|error| Trouble::usage(format!("ping: {error}")));
    let request = Ping {
        count: words.count,
        interval: seconds(words.interval)?,
        wait: seconds(words.wait)?,
        size_bytes: words.size_bytes,
        ..Ping::new(words.address)
    };
    let summary =
        ping(&request, &mut io::stdout()).map_err(|error| Trouble::failed(format!("ping: {error}")))?;
    Ok(ExitCode::from(u8::from(summary.received == 0)))
}
