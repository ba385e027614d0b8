//! Writes `crds/yaml/` from the types: `cargo run -p crds --example generate`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    for crd in crds::all() {
        std::fs::write(
            folder.join(crds::file_name(&crd)),
            process::yaml::write(&crd)?,
        )?;
    }
    Ok(())
}
