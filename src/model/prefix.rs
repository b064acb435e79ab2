//! A prefix whose host bits are zero.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use thiserror::Error;

/// Why a text or a network is no prefix.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParsePrefixError {
    /// Not an address with or without a length.
    #[error("`{0}` is not a prefix")]
    Malformed(String),
    /// An address of the network, not the network itself.
    #[error("`{given}` has bits set to the right of its length")]
    HostBits {
        /// What was written.
        given: IpNetwork,
        /// The prefix that it lies in.
        network: Prefix,
    },
}

/// An IPv4 or IPv6 prefix: an address and a length, with no bit set to the right of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNetwork);

impl Prefix {
    /// The prefix that an address with a length lies in; host bits are dropped.
    pub fn containing(network: IpNetwork) -> Self {
        Self(IpNetwork::new(network.network(), network.prefix()).unwrap_or(network))
    }

    /// The prefix of one address alone: /32 or /128.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNetwork::from(address))
    }

    /// 0.0.0.0/0 or ::/0, whichever is of this address's family.
    pub fn everything_like(address: IpAddr) -> Self {
        let whole = IpNetwork::from(address);
        IpNetwork::new(address, 0).map_or(Self(whole), Self::containing)
    }

    /// The address part.
    pub fn address(self) -> IpAddr {
        self.0.ip()
    }

    /// The length in bits.
    pub fn length(self) -> u8 {
        self.0.prefix()
    }

    /// Whether this is 0.0.0.0/0 or ::/0.
    pub fn is_default(self) -> bool {
        self.0.prefix() == 0
    }

    /// Whether this is one address alone.
    pub fn is_host(self) -> bool {
        self == Self::host(self.address())
    }

    /// Whether there is an address in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address()) || other.contains(self.address())
    }

    /// Whether this is an IPv6 prefix.
    pub fn is_ipv6(self) -> bool {
        self.0.is_ipv6()
    }

    /// Whether the address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// The mask, as an address of the same family.
    pub fn mask(self) -> IpAddr {
        self.0.mask()
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, ParsePrefixError> {
        let given: IpNetwork = text.parse().map_err(|_| ParsePrefixError::Malformed(text.to_owned()))?;
        let network = Self::containing(given);
        if network.0 != given {
            return Err(ParsePrefixError::HostBits { given, network });
        }
        Ok(network)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_an_error_that_names_the_prefix() {
        let error = "192.168.5.1/24".parse::<Prefix>().unwrap_err();
        let ParsePrefixError::HostBits { network, .. } = error else { panic!("{error}") };
        assert_eq!(network.to_string(), "192.168.5.0/24");
    }

    #[test]
    fn a_bare_address_is_a_host() {
        assert_eq!("fd00::1".parse::<Prefix>().map(|p| p.length()), Ok(128));
    }
}
