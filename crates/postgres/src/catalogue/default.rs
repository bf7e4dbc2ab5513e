//! What a column holds when an insert leaves it out, as far as a client can know it without asking.
//!
//! Only what is certain is a literal; everything that the database would have to compute is said to be the database's.

use antiphon_engine::ports::FieldDefault;
use antiphon_model::TypeKind;

use super::ColumnInfo;

/// Reads a column's default; `None` where there is none, or where it is null.
pub(super) fn read(column: &ColumnInfo) -> Option<FieldDefault> {
    if column.identity {
        return Some(FieldDefault::Database);
    }
    let expression = column.default.as_deref()?.trim();
    if is_now(expression) {
        return Some(FieldDefault::Now);
    }
    let Some(text) = constant(expression) else {
        return Some(FieldDefault::Database);
    };
    let text = text?;
    // What Postgres would print differs from what was written for most types; these print as they are written.
    let printed = match &column.ty.kind {
        TypeKind::Bool => ["true", "false"].contains(&text.as_str()),
        TypeKind::Integer => text.parse::<i64>().is_ok_and(|number| number.to_string() == text),
        TypeKind::Enum(_) | TypeKind::Json => true,
        TypeKind::Jsonb | TypeKind::Array(..) => ["{}", "[]"].contains(&text.as_str()),
        TypeKind::Text => match column.ty.name.as_str() {
            "text" | "character varying" => column.length_max.is_none_or(|max| text.chars().count() <= max as usize),
            "bigint" => text.parse::<i64>().is_ok_and(|number| number.to_string() == text),
            "uuid" => is_canonical_uuid(&text),
            _ => false,
        },
        _ => false,
    };
    if !printed {
        return Some(FieldDefault::Database);
    }
    let mut json = String::new();
    let encoded = antiphon_wire::encode_text(&column.ty, text.as_bytes(), &mut json);
    if encoded.malformed || encoded.lossy { Some(FieldDefault::Database) } else { Some(FieldDefault::Literal(json)) }
}

/// The ways in which `pg_get_expr` prints the time of the transaction.
fn is_now(expression: &str) -> bool {
    let bare = expression.trim_start_matches("pg_catalog.").to_ascii_lowercase();
    ["now()", "transaction_timestamp()", "current_timestamp"].contains(&bare.as_str())
}

/// Reads a printed constant: `'text'::type`, a number, a boolean; `Some(None)` is null, `None` is no constant.
fn constant(expression: &str) -> Option<Option<String>> {
    let (value, rest) = if let Some(quoted) = expression.strip_prefix('\'') {
        let (text, rest) = quoted_text(quoted)?;
        (Some(text), rest)
    } else {
        let end = expression.find("::").unwrap_or(expression.len());
        let (word, rest) = expression.split_at(end);
        let word = word.trim_start_matches('(').trim_end_matches(')');
        let plain = ["true", "false"].contains(&word) || word.parse::<f64>().is_ok_and(f64::is_finite);
        match word.eq_ignore_ascii_case("null") {
            true => (None, rest),
            false if plain => (Some(word.to_owned()), rest),
            false => return None,
        }
    };
    // Only casts may follow, and a cast holds no call or operator.
    let casts_only = rest.is_empty() || rest.starts_with("::");
    let plain = !rest.contains(['|', '+', '*', '/', '\'']) && !rest.contains("COLLATE");
    (casts_only && plain).then_some(value)
}

/// Reads up to the closing quote and returns the text with what follows.
fn quoted_text(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('\'')?;
        text.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return Some((text, after)),
        }
    }
}

fn is_canonical_uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match byte {
            b'-' => dashes.contains(&index),
            b'0'..=b'9' | b'a'..=b'f' => !dashes.contains(&index),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antiphon_model::Type;
    use antiphon_wire::TypeTable;

    use super::*;

    fn column(ty: Arc<Type>, default: Option<&str>) -> ColumnInfo {
        ColumnInfo { default: default.map(str::to_owned), ..ColumnInfo::plain("c", ty) }
    }

    #[test]
    fn only_certain_defaults_are_literals() {
        let types = TypeTable::new();
        let (boolean, integer, bigint, text, timestamp, array, jsonb) = (16, 23, 20, 25, 1184, 1009, 3802);
        for (oid, default, expected) in [
            (boolean, Some("false"), Some("false")),
            (integer, Some("0"), Some("0")),
            (integer, Some("'-5'::integer"), Some("-5")),
            (integer, Some("(1 + 2)"), None),
            (integer, Some("nextval('s'::regclass)"), None),
            (bigint, Some("'9007199254740993'::bigint"), Some("\"9007199254740993\"")),
            (text, Some("'todo'::text"), Some("\"todo\"")),
            (text, Some("'o''clock'::text"), Some("\"o'clock\"")),
            (text, Some("('a'::text || 'b'::text)"), None),
            (text, Some("'a'::text || 'b'::text"), None),
            (array, Some("'{}'::text[]"), Some("[]")),
            (array, Some("'{a,b}'::text[]"), None),
            (jsonb, Some("'{}'::jsonb"), Some("{}")),
            (timestamp, Some("'2020-01-01 00:00:00+00'::timestamp with time zone"), None),
        ] {
            let found = read(&column(types.resolve(oid).unwrap(), default));
            let expected = expected.map_or(FieldDefault::Database, |json| FieldDefault::Literal(json.to_owned()));
            assert_eq!(found, Some(expected), "{default:?}");
        }
        let timestamp = types.resolve(timestamp).unwrap();
        for now in ["now()", "CURRENT_TIMESTAMP"] {
            assert_eq!(read(&column(timestamp.clone(), Some(now))), Some(FieldDefault::Now));
        }
        let text = types.resolve(text).unwrap();
        assert_eq!(read(&column(text.clone(), Some("NULL::text"))), None);
        assert_eq!(read(&column(text, None)), None);
    }
}
