//! What a single text must mean: addresses, prefixes, numbers, keys, names. Pure; each says what to write instead.

use std::error::Error;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::diagnostic::{Diagnostic, Place};
use crate::model::{
    DomainName, Endpoint, Host, InterfaceName, NameError, NetworkName, ParseKeyError, Prefix, PublicKey,
    ServiceName, SysctlName,
};

/// Why a text does not mean what it must, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    message: String,
    help: Option<String>,
}

impl Trouble {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(crate) fn at(self, place: Place) -> Diagnostic {
        let diagnostic = Diagnostic::error(place, self.message);
        match self.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, ": {help}"))
    }
}

impl Error for Trouble {}

pub(super) fn any_text(text: &str) -> Result<String, Trouble> {
    Ok(text.to_owned())
}

pub(super) fn truth(text: &str) -> Result<bool, Trouble> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => {
            let trouble = Trouble::new(format!("`{other}` is neither `true` nor `false`"));
            Err(match other.to_ascii_lowercase().as_str() {
                "yes" | "on" | "1" | "true" => trouble.help("write `true`"),
                "no" | "off" | "0" | "false" => trouble.help("write `false`"),
                _ => trouble,
            })
        }
    }
}

/// A decimal number within these bounds, without sign or leading zeros.
pub(crate) fn number<T>(text: &str, what: &str, least: T, most: T) -> Result<T, Trouble>
where
    T: FromStr + PartialOrd + Display,
{
    let range = || format!("{what} is a number from {least} to {most}");
    if !is_plain_number(text) {
        return Err(Trouble::new(format!("`{text}` is not {what}")).help(range()));
    }
    match text.parse() {
        Ok(value) if least <= value && value <= most => Ok(value),
        Ok(_) | Err(_) => Err(Trouble::new(format!("{text} is out of range for {what}")).help(range())),
    }
}

fn is_plain_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

pub(crate) fn port(text: &str) -> Result<u16, Trouble> {
    number(text, "a port", 1, u16::MAX)
}

/// A host address with the length of its network.
pub(crate) fn address(text: &str) -> Result<IpNetwork, Trouble> {
    let Some((host, length)) = text.split_once('/') else {
        let host = ip(text)?;
        let (usual, alone) = if host.is_ipv4() { (24, 32) } else { (64, 128) };
        return Err(Trouble::new(format!("`{text}` has no length")).help(format!(
            "write `{text}/{usual}` for a network, or `{text}/{alone}` for the address alone"
        )));
    };
    let host = ip(host)?;
    if host.is_unspecified() || host.is_multicast() {
        return Err(Trouble::new(format!("`{host}` cannot be the address of an interface")));
    }
    with_length(host, length)
}

/// A destination, or what a peer may send: a prefix whose host bits may be set; a bare address is a host.
pub(crate) fn loose_prefix(text: &str) -> Result<IpNetwork, Trouble> {
    match text.split_once('/') {
        Some((host, length)) => with_length(ip(host)?, length),
        None => ip(text).map(IpNetwork::from),
    }
}

fn with_length(host: IpAddr, length: &str) -> Result<IpNetwork, Trouble> {
    let most = if host.is_ipv4() { 32 } else { 128 };
    let length = number(length, "the length of a prefix", 0, most)?;
    IpNetwork::new(host, length).map_err(|error| Trouble::new(error.to_string()))
}

/// A destination: a prefix without host bits.
pub(super) fn prefix(text: &str) -> Result<Prefix, Trouble> {
    let given = loose_prefix(text)?;
    let prefix = Prefix::containing(given);
    match prefix.address() == given.ip() {
        true => Ok(prefix),
        false => Err(Trouble::new(format!("`{text}` has bits set to the right of its length"))
            .help(format!("write `{prefix}`"))),
    }
}

pub(super) fn ip(text: &str) -> Result<IpAddr, Trouble> {
    text.parse().map_err(|_| {
        let trouble = Trouble::new(format!("`{text}` is not an IP address"));
        match text.rsplit_once('%').map(|(address, _)| address.parse::<Ipv6Addr>()) {
            Some(Ok(address)) => {
                trouble.help(format!("write `{address}`; `dev` says which interface is meant"))
            }
            Some(Err(_)) | None => trouble,
        }
    })
}

/// `host[:port]`, an IPv6 address in brackets.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, Trouble> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(
            Trouble::new(format!("IPv6 address `{text}` without brackets")).help(format!("write `[{text}]`"))
        );
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let unclosed = || Trouble::new(format!("no `]` in `{text}`"));
            let (address, rest) = rest.split_once(']').ok_or_else(unclosed)?;
            let bad = |_| Trouble::new(format!("`{address}` is not an IPv6 address"));
            (Host::Address(IpAddr::V6(address.parse().map_err(bad)?)), port_of(rest, text)?)
        }
        None => {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            (host_of(host)?, port_of(rest, text)?)
        }
    };
    Ok(Endpoint { host, port })
}

fn port_of(rest: &str, whole: &str) -> Result<Option<u16>, Trouble> {
    match rest.strip_prefix(':') {
        Some(digits) => port(digits).map(Some),
        None if rest.is_empty() => Ok(None),
        None => Err(Trouble::new(format!("`{rest}` in `{whole}` is not a port")).help("write `HOST:PORT`")),
    }
}

/// An IPv4 address or a name (RFC 1123, 2.1): what looks like an address must be one.
fn host_of(text: &str) -> Result<Host, Trouble> {
    if let Ok(address) = text.parse() {
        return Ok(Host::Address(address));
    }
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if last.is_empty() || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Trouble::new(format!("`{text}` is neither an IPv4 address nor a host name")));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match text.len() <= 253 && text.trim_end_matches('.').split('.').all(label) {
        true => Ok(Host::Name(text.to_owned())),
        false => Err(Trouble::new(format!("`{text}` is not a host name"))),
    }
}

pub(crate) fn public_key(text: &str) -> Result<PublicKey, Trouble> {
    text.parse().map_err(|error: ParseKeyError| {
        Trouble::new(format!("not a public key: {error}"))
            .help("a key is 44 characters of base64, as `wg pubkey` prints it")
    })
}

/// The path of a file that holds a key.
pub(super) fn key_file(text: &str) -> Result<String, Trouble> {
    match text.parse::<PublicKey>() {
        Err(_) if !text.is_empty() => Ok(text.to_owned()),
        Err(_) => Err(Trouble::new("a path with nothing in it")),
        Ok(_) => Err(Trouble::new("a key where the path of its file must stand")
            .help("keep the key in a file of mode 0600 and write the path")),
    }
}

pub(super) fn network_name(text: &str) -> Result<NetworkName, Trouble> {
    NetworkName::new(text).map_err(|error| named("network", &error))
}

pub(super) fn domain_name(text: &str) -> Result<DomainName, Trouble> {
    DomainName::new(text).map_err(|error| named("domain", &error))
}

pub(super) fn service_name(text: &str) -> Result<ServiceName, Trouble> {
    ServiceName::new(text).map_err(|error| named("service", &error))
}

pub(super) fn interface_name(text: &str) -> Result<InterfaceName, Trouble> {
    if text == "lo" {
        return Err(
            Trouble::new("`lo` is not listed among the interfaces").help("write `lo:` beside `interfaces:`")
        );
    }
    any_interface_name(text)
}

/// The name of an interface; `lo` is one too.
pub(super) fn any_interface_name(text: &str) -> Result<InterfaceName, Trouble> {
    InterfaceName::new(text).map_err(|error| named("interface", &error))
}

pub(super) fn sysctl_name(text: &str) -> Result<SysctlName, Trouble> {
    SysctlName::new(text).map_err(|error| match error {
        NameError::Reserved(_) => Trouble::new(format!("sysctl `{text}` is not a domain's own"))
            .help("a domain has those below `net.`, for example `net.ipv4.ip_forward`"),
        other => named("sysctl", &other),
    })
}

fn named(what: &str, error: &NameError) -> Trouble {
    let trouble = Trouble::new(format!("not the name of {} {what}: {error}", article(what)));
    match error {
        NameError::TooLong { name, limit, .. } => {
            trouble.help(format!("write a shorter one, as `{}`", &name[..name.floor_char_boundary(*limit)]))
        }
        NameError::Reserved(name) if name == "default" => trouble.help("the default domain is called `0`"),
        NameError::Character { .. } if what == "domain" || what == "network" => {
            trouble.help("letters, digits, `-`, `_` and `.` make a name")
        }
        NameError::Empty
        | NameError::Character { .. }
        | NameError::Reserved(_)
        | NameError::NotANumber(_)
        | NameError::OutOfRange(_) => trouble,
    }
}

fn article(what: &str) -> &'static str {
    if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// A time with its unit: `500ms`, `3s`, `1m`.
pub fn duration(text: &str) -> Result<Duration, Trouble> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let help = "write a number and `ms`, `s` or `m`, up to an hour: `500ms`, `3s`";
    let millis_each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(Trouble::new(format!("`{text}` is not a time")).help(help)),
    };
    let millis = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(millis_each));
    match millis {
        Some(millis @ 1..=3_600_000) => Ok(Duration::from_millis(millis)),
        Some(_) | None => Err(Trouble::new(format!("`{text}` is not a time")).help(help)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_or_without_ports() {
        let shown = |text: &str| endpoint(text).map(|endpoint| endpoint.to_string());
        for text in ["127.0.0.1", "127.0.0.1:7111", "[::1]", "[fd00::1]:1", "vpn.example.org:51820", "a_b-c"]
        {
            assert_eq!(shown(text), Ok(text.to_owned()));
        }
        let bad = [
            "",
            ":1",
            "::1",
            "[::1",
            "[x]",
            "[::1]x",
            "1.2.3.999",
            "a b",
            "a:0",
            "a:65536",
            "a:b:c",
            "-:x",
            ".",
        ];
        for text in bad {
            assert!(endpoint(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_have_a_length_and_are_hosts() {
        assert!(address("192.168.5.1/24").is_ok() && address("fd00::1/64").is_ok());
        for text in
            ["192.168.5.1", "192.168.5.1/33", "192.168.5.1/255.255.255.0", "0.0.0.0/0", "ff02::1/64", "1/8"]
        {
            assert!(address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_plain_decimals() {
        assert_eq!(number("1420", "an MTU", 68, 65535), Ok(1420));
        for text in ["", "010", "1.0", "+1", "-1", "1e3", "0x10", "67", "65536", "99999999999999999999"] {
            assert!(number(text, "an MTU", 68, 65535).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["3", "s", "0s", "-1s", "1h", "61m", "99999999999999999999s", "1.5s"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
