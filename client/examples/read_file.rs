//! Reads one file of a cluster from its begin to its end and prints its length and SHA-256.
//!
//! `cargo run -p forebay-client --example read_file -- 127.0.0.1:7411 /data/train.bin`

use anyhow::{Context, bail};
use forebay_client::{Client, ClientSettings};
use forebay_types::{FileOffset, HostId, NamespacePath, Principal};
use sha2::{Digest, Sha256};

/// Bytes of one read; readahead works below it.
const READ_LENGTH: usize = 1 << 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(master), Some(path)) = (arguments.next(), arguments.next()) else {
        bail!("write: read_file HOST:PORT /PATH");
    };
    let path: NamespacePath = path.parse()?;
    let principal = Principal { name: "anonymous".into(), ..Principal::default() };
    let client =
        Client::connect(ClientSettings::new(vec![master], HostId::new("example"), principal)).await?;
    let (found, _) = client.resolve(&path).await?;
    let (entry, _) = client.open(found.inode).await?;
    let (version, capability) = entry.version.with_context(|| format!("`{path}` is no file"))?;
    let reader = client.reader(version, capability).renewed_by(entry.inode);
    let (mut offset, mut digest) = (0, Sha256::new());
    loop {
        let bytes = reader.read_at(FileOffset::new(offset), READ_LENGTH).await?;
        if bytes.is_empty() {
            break;
        }
        digest.update(&bytes);
        offset += bytes.len() as u64;
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{digest}  {offset}  {path}");
    drop(reader);
    client.close().await;
    Ok(())
}
