//! The command line of route(8), as far as routing domains need it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::arguments::{Arguments, Refusal, address, number, short, width};
use super::ifconfig::RTABLE_MAX;
use crate::model::Prefix;

/// One run of route(8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCommand {
    /// `-T N`; without it the rtable of the process.
    pub rtable: Option<u8>,
    /// `-q`: says nothing of what it did.
    pub quiet: bool,
    /// `-v`: `show` has a column of labels.
    pub verbose: bool,
    /// What is done.
    pub verb: Verb,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `add`.
    Add(Words),
    /// `delete`.
    Delete(Words),
    /// `show`.
    Show,
    /// `exec COMMAND..`.
    Exec(Vec<String>),
    /// Something else.
    Other(String),
}

/// The words of `add` and `delete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Where to.
    pub to: Prefix,
    /// By what: the address of a gateway; with `-iface` one of an interface of this host.
    pub gateway: Option<IpAddr>,
    /// `-iface`.
    pub straight: bool,
    /// `-reject` or `-blackhole`.
    pub dropped: Option<Dropped>,
    /// `-mpath`.
    pub multipath: bool,
    /// `-label TEXT`.
    pub label: Option<String>,
    /// `-priority N`.
    pub priority: Option<u8>,
}

/// How a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The sender hears of it.
    Reject,
    /// In silence.
    Blackhole,
}

/// The largest priority of a route (net/route.h, `RTP_MAX`).
const PRIORITY_MAX: u32 = 63;

impl RouteCommand {
    /// Reads the words after the program's name.
    pub fn parse(words: &[String]) -> Result<Self, Refusal> {
        let mut words = Arguments::new("route", words);
        let mut command = Self { rtable: None, quiet: false, verbose: false, verb: Verb::Show };
        while let Some(options) = words.peek().and_then(|word| word.strip_prefix('-')) {
            words.next();
            command.read_options(options, &mut words)?;
        }
        command.verb = match words.next() {
            Some("add") => Verb::Add(Words::read(&mut words)?),
            Some("delete" | "del") => Verb::Delete(Words::read(&mut words)?),
            Some("show") => Verb::Show,
            Some("exec") => Verb::Exec(words.rest()),
            Some(other) => Verb::Other(other.to_owned()),
            None => return Err(words.refuse("usage: route [-dnqtv] [-T rtable] command [[modifiers] args]")),
        };
        Ok(command)
    }

    fn read_options(&mut self, options: &str, words: &mut Arguments<'_>) -> Result<(), Refusal> {
        for (at, letter) in options.char_indices() {
            match letter {
                'T' => {
                    let text = match &options[at + 1..] {
                        "" => words.value("-T")?,
                        attached => attached,
                    };
                    let id = number(text, 0, RTABLE_MAX);
                    let id = id.map_err(|why| words.refuse(format_args!("invalid table id: {why}")))?;
                    self.rtable = Some(id as u8);
                    return Ok(());
                }
                'q' => self.quiet = true,
                'v' => self.verbose = true,
                'n' | 'd' | 't' => {}
                other => return Err(words.refuse(format_args!("unknown option -- {other}"))),
            }
        }
        Ok(())
    }
}

impl Words {
    fn read(words: &mut Arguments<'_>) -> Result<Self, Refusal> {
        let everything = Prefix::everything_like(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut read = Self {
            to: everything,
            gateway: None,
            straight: false,
            dropped: None,
            multipath: false,
            label: None,
            priority: None,
        };
        let (mut v6, mut texts) = (false, Vec::new());
        while let Some(word) = words.next() {
            match word {
                "-inet" | "-net" | "-host" | "-static" => {}
                "-inet6" => v6 = true,
                "-iface" | "-interface" => read.straight = true,
                "-reject" => read.dropped = Some(Dropped::Reject),
                "-blackhole" => read.dropped = Some(Dropped::Blackhole),
                "-mpath" => read.multipath = true,
                "-label" => read.label = Some(words.value(word)?.to_owned()),
                "-priority" => read.priority = Some(words.number(word, 1, PRIORITY_MAX)? as u8),
                option if option.starts_with('-') => {
                    return Err(words.refuse(format_args!("bad keyword: {}", &option[1..])));
                }
                text => texts.push(text),
            }
        }
        let bad = |text: &str| Refusal(format!("route: {text}: bad value"));
        let (to, gateway) = match texts.as_slice() {
            [] => return Err(words.refuse("not enough arguments")),
            [to] => (*to, None),
            [to, gateway, ..] => (*to, Some(*gateway)),
        };
        read.to = destination(to, v6).ok_or_else(|| bad(to))?;
        read.gateway = gateway.map(|text| text.parse().map_err(|_| bad(text))).transpose()?;
        Ok(read)
    }
}

fn destination(text: &str, v6: bool) -> Option<Prefix> {
    if text == "default" {
        let any = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        return Some(Prefix::everything_like(any));
    }
    let (address, length) = match address(text) {
        Some(read) => read,
        None => (IpAddr::V4(short(text)?), Some(8 * text.split('.').count() as u8)),
    };
    IpNetwork::new(address, length.unwrap_or(width(address))).ok().map(Prefix::containing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<RouteCommand, Refusal> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        RouteCommand::parse(&words)
    }

    fn added(line: &str) -> Words {
        match parsed(line).map(|command| command.verb) {
            Ok(Verb::Add(words)) => words,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_recipe_is_read() {
        let to = |line: &str| added(line).to.to_string();
        assert_eq!(to("-T1 -n add 10.20.0.0/16 192.168.5.2"), "10.20.0.0/16");
        assert_eq!(to("-T1 -n add default 192.168.5.2"), "0.0.0.0/0");
        assert_eq!(to("-T1 -n add -inet6 default fd00::2"), "::/0");
        assert_eq!(to("-T1 -n add -mpath 10.9/16 192.168.5.2"), "10.9.0.0/16");
        let rejected = added("-T1 -qn add -net 127 127.0.0.1 -reject");
        assert_eq!(
            (rejected.to.to_string().as_str(), rejected.dropped),
            ("127.0.0.0/8", Some(Dropped::Reject))
        );
        assert!(added("-T1 -n add -inet 10.30.0.0/16 -iface 192.168.5.1").straight);
        let marked = added("-T 1 add -label rdom:x -priority 9 10.0.0.1 192.168.5.2");
        assert_eq!((marked.label.as_deref(), marked.priority), (Some("rdom:x"), Some(9)));
    }

    #[test]
    fn options_and_verbs_are_told_apart() {
        let command = parsed("-T1 exec ping -c 1 192.168.5.2").unwrap();
        let words = ["ping", "-c", "1", "192.168.5.2"].map(str::to_owned).to_vec();
        assert_eq!((command.rtable, command.verb), (Some(1), Verb::Exec(words)));
        assert!(parsed("-T1 -nv show").unwrap().verbose);
        assert_eq!(parsed("-T256 show"), Err(Refusal("route: invalid table id: too large".into())));
    }
}
