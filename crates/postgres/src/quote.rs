//! The one place where names and literals become SQL text (SEC-04).
//!
//! Names come from configuration and from catalogues, so they may hold anything that Postgres allows: quotes, spaces,
//! semicolons, every script. Values never come here: they travel as parameters, except in statements that take none.
//! Refused: what Postgres could not store or would silently cut (NUL, empty names, more than 63 bytes).

use antiphon_engine::Fault;
use antiphon_model::{Code, RelationName};

/// The longest name that Postgres keeps whole, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// Quotes an identifier.
///
/// # Errors
/// Fails with `CONFIG_INVALID` where the name is empty, too long, or holds a NUL.
pub fn ident(name: &str) -> Result<String, Fault> {
    let refused = if name.is_empty() {
        "a name is empty".to_owned()
    } else if name.len() > NAME_BYTES_MAX {
        format!("the name `{}` is longer than {NAME_BYTES_MAX} bytes", shown(name))
    } else if name.contains('\0') {
        format!("the name `{}` holds a NUL", shown(name))
    } else {
        return Ok(format!("\"{}\"", name.replace('"', "\"\"")));
    };
    Err(Fault::new(Code::ConfigInvalid, refused))
}

/// Quotes a table's full name.
///
/// # Errors
/// As `ident`.
pub fn qualified(name: &RelationName) -> Result<String, Fault> {
    Ok(format!("{}.{}", ident(&name.schema)?, ident(&name.name)?))
}

/// Quotes a string as a literal, for statements that take no parameters; it does not depend on
/// `standard_conforming_strings`.
///
/// # Errors
/// Fails with `CONFIG_INVALID` where the text holds a NUL.
pub fn literal(text: &str) -> Result<String, Fault> {
    if text.contains('\0') {
        return Err(Fault::new(Code::ConfigInvalid, format!("the text `{}` holds a NUL", shown(text))));
    }
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    let prefix = if escaped.len() > text.len() && text.contains('\\') { "E" } else { "" };
    Ok(format!("{prefix}'{escaped}'"))
}

/// Cuts what is quoted in an error to a readable length, without control characters.
fn shown(name: &str) -> String {
    name.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_postgres_would_cut_or_refuse_are_refused_sec_04() {
        for name in ["", "a\0b", &"x".repeat(64), &"ö".repeat(32)] {
            let fault = ident(name).unwrap_err();
            assert_eq!(fault.code(), Code::ConfigInvalid, "{name:?}");
        }
        assert_eq!(ident("pa\"ge; drop").unwrap(), "\"pa\"\"ge; drop\"");
        assert_eq!(ident(&"x".repeat(63)).unwrap().len(), 65);
        assert!(literal("a\0").is_err());
        assert_eq!(literal("o'clock").unwrap(), "'o''clock'");
        assert_eq!(literal("a\\'").unwrap(), "E'a\\\\'''");
    }

    proptest! {
        #[test]
        fn prop_a_quoted_name_never_ends_early(name in "[^\0]{1,20}") {
            prop_assume!(name.len() <= NAME_BYTES_MAX);
            let quoted = ident(&name).unwrap();
            let inside = &quoted[1..quoted.len() - 1];
            prop_assert_eq!(inside.replace("\"\"", ""), name.replace('"', ""));
            prop_assert_eq!(inside.matches('"').count() % 2, 0);
        }
    }
}
