//! The outside of WireGuard's four messages: section 5.4 of the paper.

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// First message of a handshake.
    Initiation,
    /// Second message of a handshake.
    Response,
    /// The receiver is under load and wants proof of the sender's address.
    Cookie,
    /// An encrypted IP packet, or nothing: a keepalive.
    Data,
}

/// Where the peer's number is in a data message: the receiver index is little-endian, its lowest byte the session's.
#[cfg(target_os = "linux")]
pub(super) const PEER_NUMBER_AT: u32 = 5;

/// Header and tag of a data message.
pub(super) const DATA_OVERHEAD: usize = 32;

/// The kind of a message; its length is not looked at.
pub(super) fn kind(message: &[u8]) -> Option<Kind> {
    match *message.first_chunk::<4>()? {
        [1, 0, 0, 0] => Some(Kind::Initiation),
        [2, 0, 0, 0] => Some(Kind::Response),
        [3, 0, 0, 0] => Some(Kind::Cookie),
        [4, 0, 0, 0] => Some(Kind::Data),
        _ => None,
    }
}

/// The sender's index of a handshake message.
pub(super) fn sender_index(message: &[u8]) -> Option<u32> {
    word(message, 4)
}

/// The receiver's index, if it is a data message of a possible length.
pub(super) fn data_receiver_index(message: &[u8]) -> Option<u32> {
    let is_data = message.len() >= DATA_OVERHEAD && kind(message) == Some(Kind::Data);
    is_data.then(|| word(message, 4)).flatten()
}

/// The receiver's index of a data message.
pub(super) fn receiver_index(message: &[u8]) -> Option<u32> {
    word(message, 4)
}

/// The receiver's index of a handshake response.
pub(super) fn response_receiver_index(message: &[u8]) -> Option<u32> {
    word(message, 8)
}

fn word(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))
}
