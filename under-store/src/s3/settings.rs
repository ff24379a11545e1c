//! From a mount's options to what every request to a bucket needs: address, region, client and credentials.
//!
//! object_store gives the HTTP client (TLS, proxy, pool) and the sources of credentials (keys, web identity,
//! container, instance); the requests of reading are made in this crate, those of writing an object as a whole are its own.

use std::collections::BTreeMap;

use forebay_types::UnderStoreUri;
use http::{HeaderValue, Uri};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use crate::error::UnderStoreError;
use crate::limits::{
    BACKOFF_MAX, BODY_IDLE_TIMEOUT, CONNECT_TIMEOUT, CREDENTIALS_BUDGET, CREDENTIALS_RETRIES_MAX,
    UPLOAD_ANSWER_TIMEOUT, UPLOAD_RETRIES_MAX, UPLOAD_RETRY_BUDGET,
};
use crate::options::{concurrency, flag};

/// The region that is signed for where none is given; servers other than Amazon's mostly take any.
const REGION_DEFAULT: &str = "us-east-1";

/// What requests to one bucket need.
#[derive(Debug)]
pub(super) struct S3Settings {
    /// Everything before `/KEY`: `http://host:port/bucket`, or `https://bucket.host`.
    pub(super) bucket_url: String,
    /// The server alone, for messages.
    pub(super) endpoint: String,
    /// The region that is signed for.
    pub(super) region: String,
    /// `None`: requests are not signed.
    pub(super) credentials: Option<AwsCredentialProvider>,
    pub(super) is_payload_signed: bool,
    pub(super) pays_as_requester: bool,
    pub(super) concurrency: usize,
    pub(super) client: HttpClient,
}

impl S3Settings {
    /// Reads `options`, which were resolved.
    pub(super) fn new(
        uri: &UnderStoreUri,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, UnderStoreError> {
        let bucket = uri.authority();
        check_bucket(bucket)?;
        let region = options.get("region").map_or(REGION_DEFAULT, String::as_str);
        let (endpoint, bucket_url) = addresses(bucket, region, options)?;
        let client_options = client_options(&endpoint, options)?;
        let client = ReqwestConnector::default()
            .connect(&client_options)
            .map_err(|problem| bad("endpoint", &format!("cannot be used: {problem}")))?;
        let credentials = match flag(options, "skip_signature", false)? {
            true => None,
            false => Some(credentials(bucket, region, client_options, options)?),
        };
        let request_payer =
            options.get("request_payer").is_some_and(|value| value.eq_ignore_ascii_case("requester"));
        Ok(Self {
            bucket_url,
            endpoint,
            region: region.to_owned(),
            credentials,
            is_payload_signed: !flag(options, "unsigned_payload", false)?,
            pays_as_requester: request_payer || flag(options, "request_payer", false)?,
            concurrency: concurrency(options)?,
            client,
        })
    }
}

fn bad(name: &str, problem: &str) -> UnderStoreError {
    UnderStoreError::BadOption { name: name.to_owned(), problem: problem.to_owned() }
}

/// A bucket's name becomes a part of a host name or path as it is.
fn check_bucket(bucket: &str) -> Result<(), UnderStoreError> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if bucket.bytes().all(is_legal) && !matches!(bucket, "" | "." | "..") {
        return Ok(());
    }
    Err(bad("bucket", &format!("`{bucket}` is no name of a bucket: use letters, digits, `-`, `.` and `_`")))
}

/// The endpoint and the bucket's URL. With an endpoint the bucket stands in the path unless the options say otherwise;
/// at Amazon it stands in the host, where its name allows that.
fn addresses(
    bucket: &str,
    region: &str,
    options: &BTreeMap<String, String>,
) -> Result<(String, String), UnderStoreError> {
    let given = options.get("endpoint").map(|endpoint| endpoint.trim_end_matches('/'));
    let endpoint = given.map_or_else(|| format!("https://s3.{region}.amazonaws.com"), str::to_owned);
    let (scheme, host) = split_endpoint(&endpoint)?;
    let in_host_by_default = given.is_none() && !bucket.contains(['.', '_']);
    let in_host = flag(options, "virtual_hosted_style_request", in_host_by_default)?;
    if scheme == "http" && !flag(options, "allow_http", true)? {
        return Err(bad(
            "endpoint",
            "begins with http:// while allow_http is false; use https:// or drop allow_http",
        ));
    }
    let bucket_url = match in_host {
        // As object_store wants it: the endpoint may have the bucket in it already.
        true if host.starts_with(&format!("{bucket}.")) => endpoint.clone(),
        true => format!("{scheme}://{bucket}.{host}"),
        false => format!("{endpoint}/{bucket}"),
    };
    Ok((endpoint, bucket_url))
}

/// The scheme of an endpoint, and what follows it.
fn split_endpoint(endpoint: &str) -> Result<(&str, &str), UnderStoreError> {
    let refused =
        || bad("endpoint", "must be http://HOST[:PORT] or https://HOST[:PORT], perhaps with a path");
    let (scheme, rest) = endpoint.split_once("://").ok_or_else(refused)?;
    let parsed: Uri = endpoint.parse().map_err(|_| refused())?;
    let is_plain = parsed.query().is_none() && !rest.contains(['@', '#', '?']);
    if !matches!(scheme, "http" | "https") || parsed.host().is_none_or(str::is_empty) || !is_plain {
        return Err(refused());
    }
    Ok((scheme, rest))
}

fn client_options(
    endpoint: &str,
    options: &BTreeMap<String, String>,
) -> Result<ClientOptions, UnderStoreError> {
    let agent = HeaderValue::from_static(concat!("forebay/", env!("CARGO_PKG_VERSION")));
    let mut client = ClientOptions::new()
        .with_user_agent(agent)
        .with_allow_http(endpoint.starts_with("http://"))
        .with_allow_invalid_certificates(flag(options, "allow_invalid_certificates", false)?)
        .with_connect_timeout(CONNECT_TIMEOUT)
        // A body may take long; only silence in it is an error.
        .with_read_timeout(BODY_IDLE_TIMEOUT)
        .with_timeout_disabled();
    if let Some(proxy) = options.get("proxy_url") {
        client = client.with_proxy_url(proxy);
    }
    if let Some(excludes) = options.get("proxy_excludes") {
        client = client.with_proxy_excludes(excludes);
    }
    Ok(client)
}

/// The source of credentials that the options name: the one of object_store, in its order.
fn credentials(
    bucket: &str,
    region: &str,
    client: ClientOptions,
    options: &BTreeMap<String, String>,
) -> Result<AwsCredentialProvider, UnderStoreError> {
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: BACKOFF_MAX, ..BackoffConfig::default() },
        max_retries: CREDENTIALS_RETRIES_MAX,
        retry_timeout: CREDENTIALS_BUDGET,
    };
    let builder = builder(bucket, region, client, options)?.with_retry(retry);
    let store =
        builder.build().map_err(|problem| bad("access_key_id", &format!("cannot be used: {problem}")))?;
    Ok(store.credentials().clone())
}

/// object_store's own access to a bucket, for what is written as a whole.
pub(super) fn store(
    uri: &UnderStoreUri,
    options: &BTreeMap<String, String>,
) -> Result<AmazonS3, UnderStoreError> {
    let bucket = uri.authority();
    check_bucket(bucket)?;
    let region = options.get("region").map_or(REGION_DEFAULT, String::as_str);
    let (endpoint, bucket_url) = addresses(bucket, region, options)?;
    let client = client_options(&endpoint, options)?.with_read_timeout(UPLOAD_ANSWER_TIMEOUT);
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: BACKOFF_MAX, ..BackoffConfig::default() },
        max_retries: UPLOAD_RETRIES_MAX,
        retry_timeout: UPLOAD_RETRY_BUDGET,
    };
    let request_payer =
        options.get("request_payer").is_some_and(|value| value.eq_ignore_ascii_case("requester"));
    let builder = builder(bucket, region, client, options)?
        .with_retry(retry)
        // The URL has the bucket in it already, in the host or in the path.
        .with_endpoint(bucket_url)
        .with_virtual_hosted_style_request(true)
        .with_skip_signature(flag(options, "skip_signature", false)?)
        .with_unsigned_payload(flag(options, "unsigned_payload", false)?)
        .with_request_payer(request_payer || flag(options, "request_payer", false)?);
    builder.build().map_err(|problem| bad("endpoint", &format!("cannot be used: {problem}")))
}

fn builder(
    bucket: &str,
    region: &str,
    client: ClientOptions,
    options: &BTreeMap<String, String>,
) -> Result<AmazonS3Builder, UnderStoreError> {
    use AmazonS3ConfigKey as Key;
    let mut builder =
        AmazonS3Builder::new().with_bucket_name(bucket).with_region(region).with_client_options(client);
    let keys = [
        (Key::AccessKeyId, "access_key_id", "secret_access_key"),
        (Key::SecretAccessKey, "secret_access_key", "access_key_id"),
    ];
    for (key, name, other) in keys {
        match (options.get(name), options.contains_key(other)) {
            (Some(value), true) => builder = builder.with_config(key, value),
            (Some(_), false) => return Err(bad(name, &format!("is given without `{other}`; give both"))),
            (None, _) => {}
        }
    }
    let others = [
        (Key::Token, "session_token"),
        (Key::ImdsV1Fallback, "imdsv1_fallback"),
        (Key::MetadataEndpoint, "metadata_endpoint"),
        (Key::RoleArn, "role_arn"),
        (Key::RoleSessionName, "role_session_name"),
        (Key::WebIdentityTokenFile, "web_identity_token_file"),
        (Key::ContainerCredentialsRelativeUri, "container_credentials_relative_uri"),
        (Key::ContainerCredentialsFullUri, "container_credentials_full_uri"),
        (Key::ContainerAuthorizationTokenFile, "container_authorization_token_file"),
    ];
    for (key, name) in others {
        if let Some(value) = options.get(name) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses_of(bucket: &str, pairs: &[(&str, &str)]) -> Result<(String, String), UnderStoreError> {
        let options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        addresses(bucket, "eu-west-1", &options)
    }

    fn bucket_url(bucket: &str, pairs: &[(&str, &str)]) -> String {
        addresses_of(bucket, pairs).expect("legal").1
    }

    #[test]
    fn the_bucket_is_in_the_path_with_an_endpoint_and_in_the_host_at_amazon() {
        assert_eq!(bucket_url("b", &[("endpoint", "http://h:9000/")]), "http://h:9000/b");
        assert_eq!(bucket_url("b", &[]), "https://b.s3.eu-west-1.amazonaws.com");
        assert_eq!(bucket_url("a.b", &[]), "https://s3.eu-west-1.amazonaws.com/a.b");
        let hosted = ("virtual_hosted_style_request", "true");
        assert_eq!(bucket_url("b", &[("endpoint", "https://h"), hosted]), "https://b.h");
        assert_eq!(bucket_url("b", &[("endpoint", "https://b.h"), hosted]), "https://b.h");
    }

    #[test]
    fn an_endpoint_without_tls_is_taken_unless_it_was_forbidden() {
        assert!(addresses_of("b", &[("endpoint", "http://h")]).is_ok());
        assert!(addresses_of("b", &[("endpoint", "http://h"), ("allow_http", "false")]).is_err());
        for endpoint in ["h:9000", "ftp://h", "http://", "http://user:pw@h", "http://h?x=1"] {
            assert!(addresses_of("b", &[("endpoint", endpoint)]).is_err(), "{endpoint}");
        }
    }
}
