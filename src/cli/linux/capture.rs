//! `rdom capture`: packets of interfaces by their logical names, of several domains in one file.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::live::Live;
use super::say::{complain, count};
use super::trouble::Trouble;
use super::{Common, Ended, Which, create, unused};
use crate::backend::linux::{Survey, namespace};
use crate::capture::{Limits, LinkType, Tally, Tap, TapError, record};
use crate::diagnostic::Unsupported;
use crate::model::{DomainId, InterfaceName};
use crate::spec;
use crate::status::InterfaceView;

#[derive(Debug, Args)]
#[command(after_help = "\
What is written is pcapng, an interface by its name in each of its blocks:
  rdom capture 1/wg1 0/lo | tshark -r -
  rdom capture 1/wg1 | tcpdump -nr -        (which reads one kind of interface at a time)
It ends after --count packets, after --duration, with Ctrl-C, or when the interfaces or the reader are gone.")]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The interfaces; a domain alone means all that it has
    #[arg(value_name = "DOMAIN[/IF]", required = true)]
    places: Vec<String>,
    /// Write to this file; without it, or with `-`, to standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// End after so many packets
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time: `500ms`, `5s`, `2m`
    #[arg(long, value_name = "TIME", value_parser = spec::duration)]
    duration: Option<Duration>,
}

impl Words {
    /// The file to write to, unless it is standard output.
    fn path(&self) -> Option<&Path> {
        self.write.as_deref().filter(|path| *path != Path::new("-"))
    }
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    if words.path().is_none() && io::stdout().is_terminal() {
        let places = words.places.join(" ");
        return Err(Trouble::Usage {
            message: "packets are no text for a terminal".into(),
            help: Some(format!("rdom capture {places} -w FILE, or: rdom capture {places} | tshark -r -")),
        });
    }
    let taps = taps(&Live::find(common)?, &words.places)?;
    let out = match words.path() {
        Some(path) => create(path)?,
        None => File::from(io::stdout().as_fd().try_clone_to_owned().map_err(Trouble::failed)?),
    };
    let stop = ending_signals().map_err(Trouble::failed)?;
    taps.iter().for_each(|tap| complain(format_args!("{}: listening ({})", tap.name(), kind(tap))));
    let limits = Limits { packets: words.count, time: words.duration };
    let tallies = record(&taps, out, limits, stop.as_fd()).map_err(Trouble::failed)?;
    taps.iter().zip(tallies).for_each(|(tap, tally)| complain(told(tap, tally)));
    Ok(ExitCode::SUCCESS)
}

/// From here on these do not end the process but the recording.
fn ending_signals() -> io::Result<SignalFd> {
    let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?)
}

fn kind(tap: &Tap) -> &'static str {
    match tap.link_type() {
        LinkType::Ethernet => "Ethernet",
        LinkType::RawIp => "plain IP",
    }
}

fn told(tap: &Tap, tally: Tally) -> String {
    let packets = count(usize::try_from(tally.written).unwrap_or(usize::MAX), "packet");
    let gone = if tap.is_gone() { "; the interface is gone" } else { "" };
    format!("{}: {packets} captured, {} dropped by the kernel{gone}", tap.name(), tally.dropped)
}

/// Listens to each of these places, each once.
fn taps(live: &Live, places: &[String]) -> Result<Vec<Tap>, Trouble> {
    let survey = live.survey()?;
    let views = survey.interfaces().map_err(Trouble::failed)?;
    let mut taps: Vec<Tap> = Vec::new();
    for place in places {
        let meant = Meant::of(live, &survey, place)?;
        for interface in meant.interfaces(&views)? {
            let name = format!("{}/{interface}", meant.domain_word(&survey)?);
            if taps.iter().all(|tap| tap.name() != name) {
                taps.extend(meant.tap(&survey, name, &interface)?);
            }
        }
    }
    match taps.is_empty() {
        true => Err(Trouble::usage("there is nothing to listen to")),
        false => Ok(taps),
    }
}

/// What `DOMAIN` or `DOMAIN/IF` means.
struct Meant<'p> {
    place: &'p str,
    domain: DomainId,
    /// The one interface that is meant.
    only: Option<&'p str>,
}

impl<'p> Meant<'p> {
    fn of(live: &Live, survey: &Survey, place: &'p str) -> Result<Self, Trouble> {
        let (word, only) = place.split_once('/').map_or((place, None), |(domain, name)| (domain, Some(name)));
        let (domain, _) = live.rtable(survey, word)?;
        Ok(Self { place, domain, only })
    }

    fn domain_word(&self, survey: &Survey) -> Result<String, Trouble> {
        Ok(survey.place(self.domain).map_err(Trouble::failed)?.name.word(self.domain))
    }

    fn interfaces(&self, views: &[InterfaceView]) -> Result<Vec<InterfaceName>, Trouble> {
        let there = || views.iter().filter(|view| view.domain == self.domain.number());
        let meant = there().filter(|view| self.only.is_none_or(|only| view.name == only));
        let meant: Vec<_> = meant.filter_map(|view| InterfaceName::new(view.name.as_str()).ok()).collect();
        if meant.is_empty() {
            let names: Vec<_> = there().map(|view| view.name.as_str()).collect();
            return Err(Trouble::Usage {
                message: format!("{}: there is no such interface", self.place),
                help: Some(format!("domain {} has {}", self.domain, names.join(", "))),
            });
        }
        Ok(meant)
    }

    /// Listens to one of them. A kind that cannot be listened to is left out where nobody named it.
    fn tap(&self, survey: &Survey, name: String, at: &InterfaceName) -> Result<Option<Tap>, Trouble> {
        let place = survey.place(self.domain).map_err(Trouble::failed)?;
        let is_named = !self.domain.is_default() && place.record.isolation.has_namespace();
        let home = is_named.then(|| namespace::path(&place.name));
        match place.namespace.run(|| Tap::open(name, at, home)).map_err(Trouble::failed)? {
            Err(error @ TapError::NotPermitted(_)) => Err(Trouble::from(Unsupported {
                missing: error.to_string(),
                remedy: "run it as root, or in a private copy: rdom run FILE -- rdom capture ...".into(),
            })),
            Err(error @ TapError::Unknown(..)) if self.only.is_none() => {
                complain(format_args!("{error}; left out"));
                Ok(None)
            }
            tap => tap.map(Some).map_err(Trouble::failed),
        }
    }
}
