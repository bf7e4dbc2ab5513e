//! What serde's attributes say, as far as the client's types use them.
//!
//! The types say it once, to serde and to us. Law: names come out as serde makes them. An attribute that is not known
//! here is refused where it stands, since leaving it out would read something else.

use syn::{Attribute, ExprPath, LitStr, Path, Result, meta::ParseNestedMeta};

/// How names in Rust become names in JSON.
#[derive(Clone, Copy, Default)]
pub(crate) enum Case {
    #[default]
    AsIs,
    Camel,
    Snake,
    Lower,
}

/// Of a type, a variant or a member; what does not apply is as it is by default.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) tag: Option<String>,
    /// Where a tagged variant's content stands, if not beside the tag.
    pub(crate) content: Option<String>,
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Case,
    pub(crate) rename_all_fields: Case,
    pub(crate) default: bool,
    pub(crate) flatten: bool,
    pub(crate) skip: bool,
    pub(crate) other: bool,
    pub(crate) deny_unknown: bool,
    /// A function that says whether the member is left out where it is written.
    pub(crate) skip_writing: Option<ExprPath>,
    /// `#[form(with = path)]`: a function that reads the member, beside serde's `deserialize_with`.
    pub(crate) with: Option<Path>,
}

impl Attributes {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Attributes> {
        let mut read = Attributes::default();
        for attribute in attributes {
            if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| read.serde(&meta))?;
            } else if attribute.path().is_ident("form") {
                attribute.parse_nested_meta(|meta| {
                    read.with = Some(meta.value()?.parse()?);
                    Ok(())
                })?;
            }
        }
        Ok(read)
    }

    fn serde(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(name) = meta.path.get_ident().map(ToString::to_string) else {
            return Err(meta.error("`Form` does not know this"));
        };
        match &*name {
            "default" => self.default = true,
            "flatten" => self.flatten = true,
            "skip" => self.skip = true,
            "other" => self.other = true,
            "deny_unknown_fields" => self.deny_unknown = true,
            "tag" => self.tag = Some(text(meta)?),
            "content" => self.content = Some(text(meta)?),
            "skip_serializing_if" => self.skip_writing = Some(meta.value()?.parse::<LitStr>()?.parse()?),
            "rename" => self.rename = Some(text(meta)?),
            "rename_all" => self.rename_all = case(meta)?,
            "rename_all_fields" => self.rename_all_fields = case(meta)?,
            // Said again by `#[form(with)]`.
            "deserialize_with" => drop(text(meta)?),
            _ => return Err(meta.error("`Form` does not know this")),
        }
        Ok(())
    }
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<String> {
    Ok(meta.value()?.parse::<LitStr>()?.value())
}

fn case(meta: &ParseNestedMeta<'_>) -> Result<Case> {
    match &*text(meta)? {
        "camelCase" => Ok(Case::Camel),
        "snake_case" => Ok(Case::Snake),
        "lowercase" => Ok(Case::Lower),
        _ => Err(meta.error("`Form` does not know this case")),
    }
}

impl Case {
    /// Names a member, which Rust writes in snake case.
    pub(crate) fn member(self, name: &str) -> String {
        let Case::Camel = self else { return name.to_owned() };
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| name + &raised(word))
    }

    /// Names a variant, which Rust writes in upper camel case.
    pub(crate) fn variant(self, name: &str) -> String {
        match self {
            Case::AsIs => name.to_owned(),
            Case::Lower => name.to_lowercase(),
            Case::Camel => name.chars().take(1).flat_map(char::to_lowercase).chain(name.chars().skip(1)).collect(),
            Case::Snake => {
                let apart = |(place, letter): (usize, char)| {
                    let between = (place > 0 && letter.is_uppercase()).then_some('_');
                    between.into_iter().chain(letter.to_lowercase())
                };
                name.chars().enumerate().flat_map(apart).collect()
            }
        }
    }
}

fn raised(word: &str) -> String {
    word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::Case;

    #[test]
    fn names_are_those_that_serde_gives_core_11() {
        assert_eq!(Case::Camel.member("retry_after_ms"), "retryAfterMs");
        assert_eq!(Case::Snake.member("as_of"), "as_of");
        assert_eq!(Case::Camel.variant("KeepMine"), "keepMine");
        assert_eq!(Case::Snake.variant("LaterWins"), "later_wins");
        assert_eq!(Case::Lower.variant("Truncate"), "truncate");
    }
}
