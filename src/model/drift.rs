//! What becomes of differences that nobody asked for.

/// What to do when a kernel no longer holds what the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drift {
    /// Put it back, and say what it was.
    #[default]
    Repair,
    /// Say what it is.
    Report,
    /// Do not look.
    Off,
}
