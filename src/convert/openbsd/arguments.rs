//! The words of a command line one after the other, and what OpenBSD's tools say of one that is no good.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnetwork::IpNetwork;
use thiserror::Error;

/// What a tool prints on standard error before it ends with status 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Refusal(pub String);

/// 32 secret bytes of a command line: never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyBytes(pub [u8; 32]);

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(key)")
    }
}

/// The words that are still to be read.
pub(super) struct Arguments<'a> {
    program: &'static str,
    words: std::slice::Iter<'a, String>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(program: &'static str, words: &'a [String]) -> Self {
        Self { program, words: words.iter() }
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        self.words.next().map(String::as_str)
    }

    pub(super) fn peek(&self) -> Option<&'a str> {
        self.words.as_slice().first().map(String::as_str)
    }

    pub(super) fn rest(self) -> Vec<String> {
        self.words.cloned().collect()
    }

    pub(super) fn refuse(&self, why: impl fmt::Display) -> Refusal {
        Refusal(format!("{}: {why}", self.program))
    }

    /// The argument of `word`.
    pub(super) fn value(&mut self, word: &str) -> Result<&'a str, Refusal> {
        self.next().ok_or_else(|| Refusal(format!("{}: '{word}' requires argument", self.program)))
    }

    /// A number as strtonum(3) takes it, with its words for what is out of range.
    pub(super) fn number(&mut self, word: &str, least: u32, most: u32) -> Result<u32, Refusal> {
        let text = self.value(word)?;
        number(text, least, most).map_err(|why| self.refuse(format_args!("{word} {text}: {why}")))
    }

    pub(super) fn key(&mut self, word: &str) -> Result<KeyBytes, Refusal> {
        let text = self.value(word)?;
        let bytes = STANDARD.decode(text);
        let bytes = bytes.map_err(|_| self.refuse(format_args!("{word} (key): invalid base64")))?;
        let bytes =
            bytes.try_into().map_err(|_| self.refuse(format_args!("{word} (key): invalid length")))?;
        Ok(KeyBytes(bytes))
    }
}

/// A number between two others, or strtonum(3)'s word for why not.
pub(super) fn number(text: &str, least: u32, most: u32) -> Result<u32, &'static str> {
    let number: i64 = text.parse().map_err(|_| "invalid")?;
    match number {
        _ if number < i64::from(least) => Err("too small"),
        _ if number > i64::from(most) => Err("too large"),
        _ => u32::try_from(number).map_err(|_| "invalid"),
    }
}

/// An address with an optional length; of IPv4 trailing bytes may be missing where there is a length: `10.9/16`.
pub(super) fn address(text: &str) -> Option<(IpAddr, Option<u8>)> {
    let (host, length) = match text.split_once('/') {
        Some((host, length)) => (host, Some(length.parse().ok()?)),
        None => (text, None),
    };
    let address = match host.parse() {
        Ok(address) => address,
        Err(_) => IpAddr::V4(short(host).filter(|_| length.is_some())?),
    };
    length.is_none_or(|length| length <= width(address)).then_some((address, length))
}

/// `10.9` as 10.9.0.0.
pub(super) fn short(text: &str) -> Option<Ipv4Addr> {
    let mut bytes = [0; 4];
    let parts: Vec<&str> = text.split('.').collect();
    for (byte, part) in bytes.iter_mut().zip(&parts) {
        *byte = part.parse().ok()?;
    }
    (parts.len() <= 4).then(|| bytes.into())
}

/// Bits of an address.
pub(super) fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The length of a contiguous IPv4 mask.
pub(super) fn mask_length(mask: Ipv4Addr) -> Option<u8> {
    IpNetwork::with_netmask(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(mask)).ok().map(|net| net.prefix())
}
