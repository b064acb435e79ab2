//! Names and numbers of things, each checked once, where it is made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text cannot be the name or number of something.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// Nothing at all.
    #[error("empty name")]
    Empty,
    /// More bytes than the kernel (or a file system) has room for.
    #[error("`{name}` is {length} bytes long, {limit} is the limit")]
    TooLong {
        /// The text.
        name: String,
        /// Its length in bytes.
        length: usize,
        /// The longest that is allowed, in bytes.
        limit: usize,
    },
    /// A character that may not stand in it.
    #[error("`{name}` has {found:?} in it")]
    Character {
        /// The text.
        name: String,
        /// The first offending character.
        found: char,
    },
    /// A word that means something else.
    #[error("`{0}` is reserved")]
    Reserved(String),
    /// Not a decimal number without sign or leading zeros.
    #[error("`{0}` is not a number")]
    NotANumber(String),
    /// A number beyond the range.
    #[error("{0} is out of range")]
    OutOfRange(String),
}

/// The number of a routing domain, and of the domain's own rtable.
///
/// 0 is the default domain. On Linux 0 to 4294967295 without 253-255, which are the kernel's own tables
/// (linux/rtnetlink.h, `RT_TABLE_DEFAULT`, `_MAIN`, `_LOCAL`); OpenBSD has 0 to 255 (rdomain(4)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DomainId(u32);

impl DomainId {
    /// The default domain: where the supervisor was started.
    pub const DEFAULT: DomainId = DomainId(0);

    /// The domain of this number; an error for the numbers of the kernel's own tables.
    pub fn new(number: u32) -> Result<Self, NameError> {
        match number {
            253..=255 => Err(NameError::Reserved(number.to_string())),
            _ => Ok(Self(number)),
        }
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Whether this is domain 0.
    pub fn is_default(self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<u32> for DomainId {
    type Error = NameError;

    fn try_from(number: u32) -> Result<Self, NameError> {
        Self::new(number)
    }
}

impl From<DomainId> for u32 {
    fn from(domain: DomainId) -> Self {
        domain.0
    }
}

/// The number of an rtable: a domain's own, which has the domain's number, or another of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RtableId(DomainId);

impl RtableId {
    /// The rtable of this number; numbers are those of domains, and have the same range.
    pub fn new(number: u32) -> Result<Self, NameError> {
        DomainId::new(number).map(Self)
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0.number()
    }
}

impl From<DomainId> for RtableId {
    fn from(domain: DomainId) -> Self {
        Self(domain)
    }
}

impl FromStr for RtableId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for RtableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DomainId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return Err(NameError::NotANumber(text.to_owned()));
        }
        let number = text.parse().map_err(|_| NameError::OutOfRange(text.to_owned()))?;
        Self::new(number)
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes a name type: a checked `String` with the usual traits.
macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The checked name; an error says what is wrong with the text.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

/// The bytes of an interface's name at most.
const INTERFACE_NAME_LIMIT: usize = 15;

/// The name of a network interface: 1 to 15 bytes (`IFNAMSIZ` less the NUL, linux/if.h), no `/`, `:` or space.
///
/// Kept in place, with NULs behind it: a network has many, and every step and every [`End`] has one of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName([u8; INTERFACE_NAME_LIMIT]);

impl InterfaceName {
    /// The checked name; an error says what is wrong with the text.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        let text = text.as_ref();
        check_interface(text)?;
        Ok(Self::padded(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..length]).expect("made of text")
    }

    /// `lo`, which every domain is born with.
    pub fn loopback() -> Self {
        Self::padded("lo")
    }

    /// The name of a domain's VRF device: `vrf1`.
    pub fn of_vrf(domain: DomainId) -> Self {
        Self::padded(&format!("vrf{domain}"))
    }

    /// A text that is short enough.
    fn padded(text: &str) -> Self {
        let mut bytes = [0; INTERFACE_NAME_LIMIT];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self(bytes)
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InterfaceName").field(&self.as_str()).finish()
    }
}

name_type!(
    /// The name of a domain, which on Linux is the name of its namespace under /run/netns.
    DomainName,
    check_file_name
);
name_type!(
    /// The name of a network: of its state, its lock and its control socket.
    NetworkName,
    check_file_name
);
name_type!(
    /// The name of a service: of its log, and in messages.
    #[derive(Serialize, Deserialize)]
    #[serde(try_from = "String", into = "String")]
    ServiceName,
    check_file_name
);
name_type!(
    /// A sysctl in dots, `net.ipv4.ip_forward`; only below `net.`, for only that is a domain's own.
    ///
    /// As in sysctl(8), a `/` stands for a dot within one component: `net.ipv4.conf.eth0/7.rp_filter`.
    SysctlName,
    check_sysctl
);

impl DomainName {
    /// The name of a domain whose file gives none: `rdom1`, and `default` for domain 0.
    pub fn of_number(id: DomainId) -> Self {
        match id {
            DomainId::DEFAULT => Self("default".to_owned()),
            _ => Self(format!("rdom{id}")),
        }
    }

    /// The domain of this name and number as people call it: by its number, unless it has a name of its own.
    pub fn word(&self, id: DomainId) -> String {
        if *self == Self::of_number(id) { id.to_string() } else { self.to_string() }
    }
}

impl TryFrom<String> for ServiceName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl SysctlName {
    /// Its file below /proc/sys: `net/ipv4/ip_forward`.
    pub fn path(&self) -> String {
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        self.0.chars().map(swap).collect()
    }

    /// The interface whose own it is, if it is one's: `eth0` of `net.ipv4.conf.eth0.rp_filter`.
    pub fn interface(&self) -> Option<InterfaceName> {
        let path = self.path();
        let ["net", "ipv4" | "ipv6", "conf" | "neigh", name, _] = *path.split('/').collect::<Vec<_>>() else {
            return None;
        };
        InterfaceName::new(name).ok()
    }

    /// Whether it turns forwarding of IPv4 on and off, for all interfaces of a namespace at once (ip-sysctl.rst).
    pub fn is_forwarding(&self) -> bool {
        matches!(self.as_str(), "net.ipv4.ip_forward" | "net.ipv4.conf.all.forwarding")
    }

    /// What turns it on and off for what comes in by one interface.
    pub fn forwarding_of(interface: &InterfaceName) -> Self {
        Self(format!("net.ipv4.conf.{}.forwarding", interface.as_str().replace('.', "/")))
    }

    /// The same sysctl of this interface, if it is an interface's.
    #[must_use]
    pub fn of(&self, interface: &InterfaceName) -> Self {
        if self.interface().is_none() {
            return self.clone();
        }
        let component = interface.as_str().replace('.', "/");
        let mut components: Vec<&str> = self.0.split('.').collect();
        let place = components.len() - 2;
        components[place] = &component;
        Self(components.join("."))
    }
}

fn check_interface(text: &str) -> Result<(), NameError> {
    check_length(text, INTERFACE_NAME_LIMIT)?;
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    check_characters(text, bad)?;
    if matches!(text, "." | ".." | "all" | "default") {
        return Err(NameError::Reserved(text.to_owned()));
    }
    Ok(())
}

fn check_file_name(text: &str) -> Result<(), NameError> {
    check_length(text, 64)?;
    check_characters(text, |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))?;
    if text.starts_with(['.', '-']) || text == "default" {
        return Err(NameError::Reserved(text.to_owned()));
    }
    Ok(())
}

fn check_sysctl(text: &str) -> Result<(), NameError> {
    check_length(text, 128)?;
    check_characters(text, |c: char| c.is_whitespace() || c.is_control())?;
    let inside = text.starts_with("net.")
        && text.split('.').all(|part| !part.is_empty() && part != "/" && part != "//");
    if !inside {
        return Err(NameError::Reserved(text.to_owned()));
    }
    Ok(())
}

fn check_length(text: &str, limit: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        length if length > limit => Err(NameError::TooLong { name: text.to_owned(), length, limit }),
        _ => Ok(()),
    }
}

fn check_characters(text: &str, bad: impl Fn(char) -> bool) -> Result<(), NameError> {
    match text.chars().find(|&c| bad(c)) {
        Some(found) => Err(NameError::Character { name: text.to_owned(), found }),
        None => Ok(()),
    }
}

/// One interface of one domain, printed as `DOMAIN/IF`: an end of a link, or where a tunnel is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// The domain that the interface is in.
    pub domain: DomainId,
    /// The interface's name there.
    pub interface: InterfaceName,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.interface)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_numbers_are_plain_decimals() {
        assert_eq!("4294967295".parse::<DomainId>().map(DomainId::number), Ok(u32::MAX));
        for text in ["", "010", "1.0", "+1", "-1", "0x1", "one"] {
            assert_eq!(text.parse::<DomainId>(), Err(NameError::NotANumber(text.into())));
        }
        assert_eq!("254".parse::<DomainId>(), Err(NameError::Reserved("254".into())));
        assert_eq!("4294967296".parse::<DomainId>(), Err(NameError::OutOfRange("4294967296".into())));
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        assert!(InterfaceName::new("abcdefghijklmno").is_ok());
        for text in ["", "abcdefghijklmnop", "a/b", "a b", "a:b", "..", "all"] {
            assert!(InterfaceName::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn domain_names_stay_below_run_netns() {
        assert!(DomainName::new("blue-1.x").is_ok());
        for text in ["../x", "a/b", ".hidden", "-n", "default", ""] {
            assert!(DomainName::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sysctls_stay_below_net() {
        let path = |text: &str| SysctlName::new(text).map(|name| name.path());
        assert_eq!(path("net.ipv4.conf.eth0/7.rp_filter"), Ok("net/ipv4/conf/eth0.7/rp_filter".into()));
        let interface = |text: &str| SysctlName::new(text).ok()?.interface().map(|name| name.to_string());
        assert_eq!(interface("net.ipv4.conf.eth0/7.rp_filter"), Some("eth0.7".into()));
        assert_eq!(interface("net.ipv4.conf.all.rp_filter"), None);
        assert_eq!(interface("net.ipv4.ip_forward"), None);
        let of =
            |text: &str| SysctlName::new(text).unwrap().of(&InterfaceName::new("e.8").unwrap()).to_string();
        assert_eq!(of("net.ipv4.conf.eth0/7.rp_filter"), "net.ipv4.conf.e/8.rp_filter");
        assert_eq!(of("net.ipv4.ip_forward"), "net.ipv4.ip_forward");
        for text in ["kernel.hostname", "net", "net..ipv4", "net.//.//.kernel.x", "net.a b"] {
            assert!(SysctlName::new(text).is_err(), "{text:?}");
        }
    }
}
