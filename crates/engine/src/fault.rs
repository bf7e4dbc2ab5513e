//! A fault on the floors that do IO: a stable code, the particulars, and the chain of causes.
//!
//! The detail is fit for a person who may see the configuration (names of tables, slots, columns) and never holds
//! SQL text, host names or secrets; the source chain may hold anything and goes to the log only. `Display` does not
//! print the source: whoever handles the fault walks the chain, once.

use std::{borrow::Cow, error::Error, fmt};

use antiphon_model::{Class, Code};

/// What went wrong, where it is known what it means.
pub struct Fault {
    code: Code,
    detail: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// Makes a fault with its particulars.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Fault {
        Fault { code, detail: detail.into(), source: None }
    }

    /// Adds the error that it was made from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
        self.source = Some(source.into());
        self
    }

    /// Returns the stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns who can do something about it.
    pub fn class(&self) -> Class {
        self.code.class()
    }

    /// Returns the particulars.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the whole chain of causes as one line for the log.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.code.title())?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
