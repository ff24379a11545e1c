//! Generates the wire code into OUT_DIR; `bytes` fields become `bytes::Bytes`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["types", "namespace", "mounts", "cluster", "blocks", "jobs", "admin", "masters", "raft"]
        .map(|name| format!("forebay/v1/{name}.proto"));
    tonic_prost_build::configure().bytes(".").compile_protos(&files, &[".".to_owned()])?;
    Ok(())
}
