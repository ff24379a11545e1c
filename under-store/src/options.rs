//! The options of a mount's under-store: their names, which are secret, and what the environment adds to them.
//!
//! Names are those of object_store, with or without its prefix `aws_`; here each has one spelling. The environment
//! fills only what the options leave open, and never one half of a pair of credentials whose other half was given.

use std::collections::BTreeMap;

use forebay_types::UnderStoreScheme;

use crate::error::UnderStoreError;
use crate::limits::OPTION_LENGTH_MAX;

/// One option of one scheme.
struct KnownOption {
    name: &'static str,
    is_secret: bool,
    /// Variables that give it where the options do not, the strongest first.
    variables: &'static [&'static str],
}

const fn plain(name: &'static str, variables: &'static [&'static str]) -> KnownOption {
    KnownOption { name, is_secret: false, variables }
}

const fn secret(name: &'static str, variables: &'static [&'static str]) -> KnownOption {
    KnownOption { name, is_secret: true, variables }
}

const FILE_OPTIONS: [KnownOption; 1] = [plain("concurrency", &[])];

const S3_OPTIONS: [KnownOption; 22] = [
    plain("endpoint", &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]),
    plain("region", &["AWS_REGION", "AWS_DEFAULT_REGION"]),
    plain("access_key_id", &["AWS_ACCESS_KEY_ID"]),
    secret("secret_access_key", &["AWS_SECRET_ACCESS_KEY"]),
    secret("session_token", &["AWS_SESSION_TOKEN"]),
    plain("virtual_hosted_style_request", &["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"]),
    plain("allow_http", &["AWS_ALLOW_HTTP"]),
    plain("skip_signature", &["AWS_SKIP_SIGNATURE"]),
    plain("unsigned_payload", &[]),
    plain("request_payer", &["AWS_REQUEST_PAYER"]),
    plain("allow_invalid_certificates", &[]),
    secret("proxy_url", &[]),
    plain("proxy_excludes", &[]),
    plain("imdsv1_fallback", &[]),
    plain("metadata_endpoint", &[]),
    plain("role_arn", &["AWS_ROLE_ARN"]),
    plain("role_session_name", &["AWS_ROLE_SESSION_NAME"]),
    plain("web_identity_token_file", &["AWS_WEB_IDENTITY_TOKEN_FILE"]),
    plain("container_credentials_relative_uri", &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]),
    plain("container_credentials_full_uri", &["AWS_CONTAINER_CREDENTIALS_FULL_URI"]),
    plain("container_authorization_token_file", &["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]),
    plain("concurrency", &[]),
];

/// What proves who asks: given as a whole, or taken from the environment as a whole.
const CREDENTIALS: [&str; 9] = [
    "access_key_id",
    "secret_access_key",
    "session_token",
    "role_arn",
    "role_session_name",
    "web_identity_token_file",
    "container_credentials_relative_uri",
    "container_credentials_full_uri",
    "container_authorization_token_file",
];

const fn options_of(scheme: UnderStoreScheme) -> &'static [KnownOption] {
    match scheme {
        UnderStoreScheme::File => &FILE_OPTIONS,
        UnderStoreScheme::S3 => &S3_OPTIONS,
    }
}

/// The names of the options that a kind of under-store has.
#[must_use]
pub fn known_options(scheme: UnderStoreScheme) -> Vec<&'static str> {
    options_of(scheme).iter().map(|option| option.name).collect()
}

/// Whether the value of this option must be sealed before it is stored and never be shown. A name that is not known
/// counts as secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = one_spelling(name);
    let mut known = S3_OPTIONS.iter().chain(&FILE_OPTIONS);
    known.find(|option| option.name == name).is_none_or(|option| option.is_secret)
}

/// The options under their one spelling, with what the environment adds.
///
/// # Errors
/// `UnknownOption` with the names that are known; `BadOption` for a name given twice or a value that is too long or
/// has control characters.
pub fn resolve_options(
    scheme: UnderStoreScheme,
    options: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, UnderStoreError> {
    let known = options_of(scheme);
    let mut resolved = BTreeMap::new();
    for (given, value) in options {
        let name = one_spelling(given);
        if !known.iter().any(|option| option.name == name) {
            let known = known_options(scheme);
            return Err(UnderStoreError::UnknownOption { scheme, name: given.clone(), known });
        }
        check_value(given, value)?;
        if resolved.insert(name.to_owned(), value.clone()).is_some() {
            let problem = format!("is given twice, once as `{name}`; give it once");
            return Err(UnderStoreError::BadOption { name: given.clone(), problem });
        }
    }
    let given = |name: &str| resolved.contains_key(name);
    let is_anonymous = resolved.get("skip_signature").is_some_and(|value| is_true(value));
    let has_key = given("access_key_id") || given("secret_access_key");
    let has_credentials = CREDENTIALS.iter().any(|name| given(name));
    let mut added = BTreeMap::new();
    for option in known.iter().filter(|option| !given(option.name)) {
        let is_credential = CREDENTIALS.contains(&option.name);
        let completes_key = has_key && matches!(option.name, "access_key_id" | "secret_access_key");
        if is_credential && (is_anonymous || has_credentials && !completes_key) {
            continue;
        }
        let found = option.variables.iter().find_map(|variable| environment.get_key_value(*variable));
        if let Some((variable, value)) = found.filter(|(_, value)| !value.is_empty()) {
            check_value(variable, value)?;
            added.insert(option.name.to_owned(), value.clone());
        }
    }
    resolved.append(&mut added);
    Ok(resolved)
}

/// Values go into headers and URLs, where a control character would be refused late or split a line.
fn check_value(name: &str, value: &str) -> Result<(), UnderStoreError> {
    let bad = |problem: String| Err(UnderStoreError::BadOption { name: name.to_owned(), problem });
    if value.len() > OPTION_LENGTH_MAX {
        return bad(format!("has {} bytes, more than {OPTION_LENGTH_MAX}", value.len()));
    }
    if !value.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return bad(
            "has a character that is not printable ASCII; is there a line break at its end?".to_owned()
        );
    }
    Ok(())
}

/// Whether a value says yes. Used where a wrong value is refused elsewhere.
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y")
}

/// The value of an option that is yes or no; `default` where it is not given.
#[cfg(feature = "s3")]
pub(crate) fn flag(
    options: &BTreeMap<String, String>,
    name: &str,
    default: bool,
) -> Result<bool, UnderStoreError> {
    let Some(value) = options.get(name) else { return Ok(default) };
    match value.to_ascii_lowercase().as_str() {
        "0" | "false" | "off" | "no" | "n" => Ok(false),
        _ if is_true(value) => Ok(true),
        _ => Err(UnderStoreError::BadOption {
            name: name.to_owned(),
            problem: "must be true or false".to_owned(),
        }),
    }
}

/// How many requests may run at once.
pub(crate) fn concurrency(options: &BTreeMap<String, String>) -> Result<usize, UnderStoreError> {
    use crate::limits::{CONCURRENCY_DEFAULT, CONCURRENCY_MAX};
    let Some(value) = options.get("concurrency") else { return Ok(CONCURRENCY_DEFAULT) };
    value.parse().ok().filter(|number| (1..=CONCURRENCY_MAX).contains(number)).ok_or_else(|| {
        let problem = format!("must be a number from 1 to {CONCURRENCY_MAX}");
        UnderStoreError::BadOption { name: "concurrency".to_owned(), problem }
    })
}

/// The spelling that this crate uses for an option that object_store knows under several.
fn one_spelling(name: &str) -> &str {
    match name.strip_prefix("aws_").unwrap_or(name) {
        "endpoint_url" | "endpoint_url_s3" => "endpoint",
        "default_region" => "region",
        "token" => "session_token",
        bare => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn resolve(options: &[(&str, &str)], environment: &[(&str, &str)]) -> BTreeMap<String, String> {
        resolve_options(UnderStoreScheme::S3, &map(options), &map(environment)).expect("legal options")
    }

    #[test]
    fn an_unknown_option_is_refused_by_name_with_those_that_are_known() {
        let refused = resolve_options(UnderStoreScheme::S3, &map(&[("regoin", "x")]), &map(&[])).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("`regoin`") && text.contains("region") && text.contains("access_key_id"),
            "{text}"
        );
        assert!(resolve_options(UnderStoreScheme::File, &map(&[("region", "x")]), &map(&[])).is_err());
    }

    #[test]
    fn the_environment_fills_only_what_the_options_leave_open() {
        let environment = [
            ("AWS_ENDPOINT_URL", "http://env"),
            ("AWS_DEFAULT_REGION", "far"),
            ("AWS_ACCESS_KEY_ID", "env-key"),
        ];
        let resolved = resolve(&[("endpoint", "http://option")], &environment);
        assert_eq!(
            resolved,
            map(&[("endpoint", "http://option"), ("region", "far"), ("access_key_id", "env-key")])
        );
    }

    #[test]
    fn a_session_token_of_the_environment_is_never_paired_with_a_key_of_the_options() {
        let environment = [("AWS_SECRET_ACCESS_KEY", "env-secret"), ("AWS_SESSION_TOKEN", "env-token")];
        let resolved = resolve(&[("access_key_id", "key")], &environment);
        assert_eq!(resolved, map(&[("access_key_id", "key"), ("secret_access_key", "env-secret")]));
        assert_eq!(resolve(&[("skip_signature", "true")], &environment).len(), 1);
    }

    #[test]
    fn the_names_of_object_store_mean_the_same_here() {
        let resolved =
            resolve(&[("aws_token", "t"), ("aws_default_region", "r"), ("endpoint_url", "e")], &[]);
        assert_eq!(resolved, map(&[("session_token", "t"), ("region", "r"), ("endpoint", "e")]));
        let twice = map(&[("aws_region", "a"), ("region", "b")]);
        assert!(resolve_options(UnderStoreScheme::S3, &twice, &map(&[])).is_err());
    }

    #[test]
    fn what_must_be_sealed_is_known_by_name() {
        for name in
            ["secret_access_key", "aws_secret_access_key", "session_token", "token", "proxy_url", "whatever"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["endpoint", "region", "access_key_id", "skip_signature", "concurrency"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_value_with_a_line_break_is_refused_without_being_shown() {
        let options = map(&[("secret_access_key", "hidden\n")]);
        let text = resolve_options(UnderStoreScheme::S3, &options, &map(&[])).unwrap_err().to_string();
        assert!(text.contains("secret_access_key") && !text.contains("hidden"), "{text}");
    }
}
