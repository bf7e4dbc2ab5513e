//! Reading `antiphon.toml` with the place of everything, so that each refusal names a line.
//!
//! Laws: every key is known or the file is refused with the nearest known name; a value of the wrong kind is refused,
//! never converted; nothing that the file says is ignored.

use antiphon_model::Code;
use antiphon_server::admin::Fault;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::nearest::nearest;

/// A parsed text and where it came from.
pub(super) struct Document<'a> {
    /// How the place is named to people: a path, or a variable.
    pub(super) place: &'a str,
    /// The text.
    pub(super) text: &'a str,
}

/// A value with its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

impl<'a> Document<'a> {
    /// Parses the text.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'a>>, Fault> {
        DeTable::parse(self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line_at(span.start));
            invalid(format!("{} line {line}: {}", self.place, error.message()))
        })
    }

    /// Returns the line of a value or key.
    pub(super) fn line<T>(&self, at: &Spanned<T>) -> usize {
        self.line_at(at.span().start)
    }

    fn line_at(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    /// Refuses keys that are not known, naming the nearest that is.
    pub(super) fn refuse_unknown(&self, table: &DeTable<'_>, section: &str, known: &[&str]) -> Result<(), Fault> {
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let full = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
                return Err(unknown_key(&format!("{} line {}", self.place, self.line(key)), &full, name, known));
            }
        }
        Ok(())
    }

    /// Makes the refusal of a value.
    pub(super) fn refuse(&self, value: &Value<'_>, name: &str, why: &str) -> Fault {
        invalid(format!("{} line {}: {name} {why}", self.place, self.line(value)))
    }

    /// Reads a text.
    pub(super) fn text(&self, value: &Value<'_>, name: &str) -> Result<String, Fault> {
        let text = value.get_ref().as_str();
        text.map(str::to_owned).ok_or_else(|| self.wrong_kind(value, name, "a text in quotes"))
    }

    /// Reads a whole number as text.
    pub(super) fn count(&self, value: &Value<'_>, name: &str) -> Result<String, Fault> {
        let number = value.get_ref().as_integer();
        let parsed = number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        parsed.map(|number| number.to_string()).ok_or_else(|| self.wrong_kind(value, name, "a whole number from 0"))
    }

    /// Reads a truth value.
    pub(super) fn flag(&self, value: &Value<'_>, name: &str) -> Result<bool, Fault> {
        value.get_ref().as_bool().ok_or_else(|| self.wrong_kind(value, name, "true or false"))
    }

    /// Reads a table.
    pub(super) fn table<'v, 'i>(&self, value: &'v Value<'i>, name: &str) -> Result<&'v DeTable<'i>, Fault> {
        value.get_ref().as_table().ok_or_else(|| self.wrong_kind(value, name, "a table"))
    }

    /// Reads a list.
    pub(super) fn list<'v, 'i>(&self, value: &'v Value<'i>, name: &str) -> Result<&'v [Value<'i>], Fault> {
        value.get_ref().as_array().map(|list| &list[..]).ok_or_else(|| self.wrong_kind(value, name, "a list"))
    }

    /// Reads a list of texts, none of them empty or twice.
    pub(super) fn texts(&self, value: &Value<'_>, name: &str) -> Result<Vec<String>, Fault> {
        let mut texts: Vec<String> = Vec::new();
        for item in self.list(value, name)? {
            let text = self.text(item, name)?;
            if text.is_empty() || texts.contains(&text) {
                return Err(self.refuse(item, name, "has an entry that is empty or stands twice"));
            }
            texts.push(text);
        }
        Ok(texts)
    }

    fn wrong_kind(&self, value: &Value<'_>, name: &str, wanted: &str) -> Fault {
        self.refuse(value, name, &format!("must be {wanted}, not {}", value.get_ref().type_str()))
    }
}

/// Makes the refusal of an unknown key.
pub(super) fn unknown_key(place: &str, full: &str, name: &str, known: &[&str]) -> Fault {
    let advice = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known here are {}", known.join(", ")),
    };
    Fault::new(Code::ConfigUnknownKey, format!("{place}: {full} is not known; {advice}"))
}

/// Makes the refusal of a configuration.
pub(super) fn invalid(detail: String) -> Fault {
    Fault::new(Code::ConfigInvalid, detail)
}
