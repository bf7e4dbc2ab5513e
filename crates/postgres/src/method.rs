//! The ways in which a database can be captured, by the words of the configuration.

/// A capture method (CAP-01).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureMethod {
    /// By logical decoding of the server's log.
    #[default]
    Log,
    /// By triggers that record rows in an audit table.
    Trigger,
    /// By queries that look for rows that have changed.
    Query,
}

impl CaptureMethod {
    /// Every method.
    pub const ALL: [CaptureMethod; 3] = [CaptureMethod::Log, CaptureMethod::Trigger, CaptureMethod::Query];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            CaptureMethod::Log => "log",
            CaptureMethod::Trigger => "trigger",
            CaptureMethod::Query => "query",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<CaptureMethod> {
        CaptureMethod::ALL.into_iter().find(|method| method.as_str() == word)
    }

    /// Tells whether slot, publication and replica identities are of use to it.
    pub fn decodes(self) -> bool {
        self == CaptureMethod::Log
    }
}
