//! The bearer token of calls that change something.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use gibbon_net::identity;

/// Shortest token that is taken from a file, in bytes.
const MIN_TOKEN: usize = 16;

/// A secret that callers show.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token in `file`; made on first use, readable by its owner alone.
    pub fn load_or_make(file: &Path) -> anyhow::Result<Self> {
        if !file.exists() {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)
                    .with_context(|| format!("cannot make the folder {}", folder.display()))?;
            }
            let made = format!("{:032x}{:032x}\n", rand::random::<u128>(), rand::random::<u128>());
            identity::write_secret(file, made.as_bytes())?;
        }
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the portal's token from {}", file.display()))?;
        let token = text.trim();
        ensure!(
            token.len() >= MIN_TOKEN,
            "{} holds no token of {MIN_TOKEN} bytes or more; remove it and a new one is made",
            file.display()
        );
        Ok(Self(token.to_owned()))
    }

    /// Whether an `Authorization` header shows this token. Takes the same time wherever they differ.
    pub fn is_shown_by(&self, authorization: &str) -> bool {
        let Some((scheme, shown)) = authorization.split_once(' ') else { return false };
        let (shown, token) = (shown.trim().as_bytes(), self.0.as_bytes());
        let differ = shown.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
        scheme.eq_ignore_ascii_case("bearer") && shown.len() == token.len() && differ == 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_private_and_only_it_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("certs/portal.token");
        let token = Token::load_or_make(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Token::load_or_make(&file).unwrap().0, token.0);
        assert!(token.is_shown_by(&format!("Bearer {}", token.0)));
        let other = Token::load_or_make(&folder.path().join("other")).unwrap().0;
        let shorter = &token.0[1..];
        for wrong in [other.as_str(), shorter, "", &format!("{}0", token.0)] {
            assert!(!token.is_shown_by(&format!("Bearer {wrong}")), "{wrong}");
        }
        assert!(!token.is_shown_by(&token.0) && !token.is_shown_by(&format!("Basic {}", token.0)));
        fs::write(&file, "short").unwrap();
        assert!(Token::load_or_make(&file).is_err());
    }
}
