//! AWS Signature Version 4, for the requests that the scenarios and their proxy send to real S3 servers.
//!
//! Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference; payloads are unsigned.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::http_message::Head;

/// The access key of each server that the scenarios start.
pub const KEY_ID: &str = "forebaykeyid";
/// Its secret: a text that is found again wherever it leaks to.
pub const SECRET_KEY: &str = "Hush5ecretOfTheForebayTests0123456789";

const REGION: &str = "us-east-1";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Signs a request to `host`, instead of as it was signed before.
pub(crate) fn sign(request: &mut Head, host: &str) {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &now[..8];
    request.set("Host", host);
    request.set("X-Amz-Date", &now);
    request.set("X-Amz-Content-Sha256", UNSIGNED);
    let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
    let mut parts: Vec<_> = query.split('&').filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    let parts: Vec<_> = parts
        .into_iter()
        .map(|part| if part.contains('=') { part.to_owned() } else { format!("{part}=") })
        .collect();
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "{}\n{path}\n{}\nhost:{host}\nx-amz-content-sha256:{UNSIGNED}\nx-amz-date:{now}\n\n{names}\n{UNSIGNED}",
        request.method(),
        parts.join("&"),
    );
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}");
    let key = [day, REGION, "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| keyed(&key, part));
    let signature = hex(&keyed(&key, &text));
    request.set(
        "Authorization",
        format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={signature}"),
    );
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
