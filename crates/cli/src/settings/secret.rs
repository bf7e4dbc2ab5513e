//! Connection URLs as secrets: they can be used, compared and shown without their password, never printed whole.

use std::fmt;

const HIDDEN: &str = "(hidden)";

/// A text that holds a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub(crate) fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Returns the whole text, to connect with it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Shows a URL without its password; what is no URL is hidden whole.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str(HIDDEN) };
        // The last @ ends the login: a password may hold one that nobody encoded.
        let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        write!(f, "{scheme}://")?;
        if let Some(login) = login {
            match login.split_once(':') {
                Some((user, _)) => write!(f, "{user}:{HIDDEN}@")?,
                None => write!(f, "{login}@")?,
            }
        }
        let (address, parameters) = place.split_once('?').map_or((place, None), |(a, p)| (a, Some(p)));
        f.write_str(address)?;
        for (index, parameter) in parameters.into_iter().flat_map(|all| all.split('&')).enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                Some((name, _)) if name.to_lowercase().contains("pass") => write!(f, "{name}={HIDDEN}")?,
                _ => f.write_str(parameter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_password_is_ever_shown_se_16() {
        for url in [
            "postgres://u:s3cret@h:5432/d",
            "postgres://u:s3c@ret@h/d",
            "postgres://u:a/s3cret?x@h/d",
            "postgres://u@h/d?password=s3cret&sslmode=require",
            "postgres://u@h/d?sslpassword=s3cret",
            "host=h user=u password=s3cret",
        ] {
            let shown = format!("{0} {0:?}", Secret::new(url));
            assert!(!shown.contains("s3c") && !shown.contains("ret@"), "{shown}");
        }
        assert_eq!(Secret::new("postgres://u:p@h:1/d?a=b").to_string(), "postgres://u:(hidden)@h:1/d?a=b");
        assert_eq!(Secret::new("postgres://h/d").to_string(), "postgres://h/d");
    }
}
